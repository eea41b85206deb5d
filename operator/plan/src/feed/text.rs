//! `releases.yaml` as it is written, and its checks. Read whole or not at all; every fault is named with its field, so
//! that one edit mends them all.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Channel, Digests, Feed, Freeze, Release, Soak, Waves};
use crate::version::Version;
use crate::{duration, pattern};

/// Years of releases; a status is compared with each of them in every run.
const MOST_RELEASES: usize = 500;
/// More than a platform team can tell apart.
const MOST_CHANNELS: usize = 32;

/// `releases.yaml` of the policy ConfigMap.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct FeedText {
    /// Every version that a tenant may run. A tenant passes one major at a time: keep the newest release of each major that
    /// some tenant must pass.
    #[schemars(length(max = MOST_RELEASES))]
    releases: Vec<ReleaseText>,
    /// What `spec.channel` of a Tenant may name.
    #[schemars(extend("maxProperties" = MOST_CHANNELS, "propertyNames" = {"pattern": pattern::NAME}))]
    channels: BTreeMap<String, ChannelText>,
    /// How a release spreads over the fleet.
    waves: WavesText,
    /// Tenants of the fleet that may be in an update at once.
    #[schemars(range(min = 1, max = 10_000))]
    max_concurrent_updates: usize,
    /// No update starts anywhere until then.
    freeze: Option<FreezeText>,
    /// A tenant that was down longer than this in a month gets only critical updates until the month ends.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    monthly_downtime_budget: String,
}

impl Default for FeedText {
    fn default() -> FeedText {
        FeedText {
            releases: Vec::new(),
            channels: BTreeMap::new(),
            waves: WavesText::default(),
            max_concurrent_updates: 50,
            freeze: None,
            monthly_downtime_budget: "44m".to_owned(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReleaseText {
    /// Three numbers, without a leading v and without a suffix.
    #[schemars(regex(pattern = pattern::VERSION))]
    version: String,
    /// When it was released: the soak counts from here. RFC 3339, such as 2026-10-12T00:00:00Z.
    #[schemars(regex(pattern = pattern::INSTANT))]
    released_at: String,
    /// Whether it mends something that cannot wait: it skips soak and waves within its major.
    #[serde(default)]
    critical: bool,
    /// Whether it is started nowhere any more.
    #[serde(default)]
    withdrawn: bool,
    /// Failures that ended before this instant do not count: it resumes a halted release.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::INSTANT))]
    resumed_at: Option<String>,
    /// The images that this version must be.
    #[serde(default)]
    digests: DigestsText,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct DigestsText {
    /// Of the Enterprise build.
    #[schemars(regex(pattern = pattern::DIGEST))]
    enterprise: Option<String>,
    /// Of the Community build.
    #[schemars(regex(pattern = pattern::DIGEST))]
    community: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ChannelText {
    /// How old a release must be, by what it changes.
    soak: SoakText,
    /// The highest major that it takes; absent = any.
    #[schemars(range(min = 1))]
    max_major: Option<u64>,
}

// The defaults are what Teleport Cloud does: patches and minors within a week, majors after about a month.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SoakText {
    /// For a new patch.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    patch: String,
    /// For a new minor.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    minor: String,
    /// For a new major.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    major: String,
}

impl Default for SoakText {
    fn default() -> SoakText {
        SoakText { patch: "24h".to_owned(), minor: "72h".to_owned(), major: "720h".to_owned() }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct WavesText {
    /// The next wave (label tenancy.dev/wave) begins so long after 90 % of the one before came through.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    soak: String,
    /// A release that failed on so many tenants is halted for all.
    #[schemars(range(min = 1, max = 10_000))]
    halt_after_failures: usize,
    /// The next wave begins at the latest after this.
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    max_wait: String,
}

impl Default for WavesText {
    fn default() -> WavesText {
        WavesText { soak: "24h".to_owned(), halt_after_failures: 3, max_wait: "336h".to_owned() }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FreezeText {
    /// RFC 3339, such as 2027-01-04T00:00:00Z.
    #[schemars(regex(pattern = pattern::INSTANT))]
    until: String,
    /// Why: everybody who waits reads it.
    #[schemars(length(min = 1, max = 200))]
    reason: String,
}

/// Reads and checks the text.
pub(super) fn parse(yaml: &str) -> Result<Feed, Vec<String>> {
    let text: Option<FeedText> =
        serde_saphyr::from_str(yaml).map_err(|error| vec![format!("releases.yaml cannot be read: {error}")])?;
    let FeedText { releases, channels, waves, max_concurrent_updates, freeze, monthly_downtime_budget } =
        text.unwrap_or_default();
    let mut check = Check { faults: Vec::new() };
    check.that(releases.len() <= MOST_RELEASES, || {
        format!(
            "releases: {} are too many, {MOST_RELEASES} may be listed: drop those that no tenant runs",
            releases.len()
        )
    });
    check.that(channels.len() <= MOST_CHANNELS, || format!("channels: at most {MOST_CHANNELS} may be listed"));
    check.that((1..=10_000).contains(&max_concurrent_updates), || {
        format!("maxConcurrentUpdates: {max_concurrent_updates} must be 1 to 10000; a freeze stops all updates")
    });
    let feed = Feed {
        releases: check.releases(releases),
        channels: channels.into_iter().map(|(name, channel)| check.channel(name, channel)).collect(),
        waves: check.waves(&waves),
        max_concurrent_updates,
        freeze: freeze.map(|freeze| check.freeze(freeze)),
        monthly_downtime_budget: check.duration("monthlyDowntimeBudget", &monthly_downtime_budget),
    };
    if check.faults.is_empty() { Ok(feed) } else { Err(check.faults) }
}

/// Collects faults. A value that is at fault is replaced by any other: the feed is then thrown away whole.
struct Check {
    faults: Vec<String>,
}

impl Check {
    fn that(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    fn duration(&mut self, field: &str, text: &str) -> TimeDelta {
        let duration = duration::parse(text);
        self.that(duration.is_some(), || {
            format!("{field}: {text:?} is no duration: write it in h, m and s, such as 72h")
        });
        duration.unwrap_or_default()
    }

    fn instant(&mut self, field: &str, text: &str) -> DateTime<Utc> {
        let instant = DateTime::parse_from_rfc3339(text);
        self.that(instant.is_ok(), || {
            format!("{field}: {text:?} is no instant: write it as RFC 3339, such as 2026-10-12T00:00:00Z")
        });
        instant.unwrap_or_default().with_timezone(&Utc)
    }

    fn releases(&mut self, releases: Vec<ReleaseText>) -> BTreeMap<Version, Release> {
        let mut checked = BTreeMap::new();
        for (index, release) in releases.into_iter().enumerate() {
            let field = format!("releases[{index}]");
            let ReleaseText { version, released_at, critical, withdrawn, resumed_at, digests } = release;
            let released_at = self.instant(&format!("{field}.releasedAt"), &released_at);
            let resumed_at = resumed_at.map(|text| self.instant(&format!("{field}.resumedAt"), &text));
            let digests = self.digests(&field, digests);
            let Some(version) = self.version(&format!("{field}.version"), &version) else { continue };
            let release = Release { version: version.clone(), released_at, critical, withdrawn, resumed_at, digests };
            if checked.insert(version.clone(), release).is_some() {
                self.faults.push(format!("{field}.version: {version} is listed twice"));
            }
        }
        checked
    }

    fn version(&mut self, field: &str, text: &str) -> Option<Version> {
        let version = Version::parse(text).ok();
        let released = version.filter(|version| version.pre.is_empty() && version.build.is_empty());
        self.that(released.is_some(), || {
            format!(
                "{field}: {text:?} is no release: write three numbers such as 18.1.0, without a leading v and without \
                 a suffix"
            )
        });
        released
    }

    fn digests(&mut self, field: &str, digests: DigestsText) -> Digests {
        let DigestsText { enterprise, community } = digests;
        for (edition, digest) in [("enterprise", &enterprise), ("community", &community)] {
            self.that(digest.as_ref().is_none_or(|digest| pattern::matches(pattern::DIGEST, digest)), || {
                format!(
                    "{field}.digests.{edition}: {:?} must be sha256: and 64 lower-case hexadecimal digits",
                    digest.as_deref().unwrap_or_default()
                )
            });
        }
        Digests { enterprise, community }
    }

    fn channel(&mut self, name: String, channel: ChannelText) -> (String, Channel) {
        self.that(pattern::matches(pattern::NAME, &name), || {
            format!(
                "channels: {name:?} must be 1 to 40 lower-case letters, digits and hyphens, start with a letter and not \
                 end in a hyphen"
            )
        });
        let ChannelText { soak: SoakText { patch, minor, major }, max_major } = channel;
        self.that(max_major != Some(0), || {
            format!("channels.{name}.maxMajor: 0 takes nothing: write the highest major, such as 18")
        });
        let soak = Soak {
            patch: self.duration(&format!("channels.{name}.soak.patch"), &patch),
            minor: self.duration(&format!("channels.{name}.soak.minor"), &minor),
            major: self.duration(&format!("channels.{name}.soak.major"), &major),
        };
        (name, Channel { soak, max_major })
    }

    fn waves(&mut self, waves: &WavesText) -> Waves {
        let WavesText { soak, halt_after_failures, max_wait } = waves;
        self.that((1..=10_000).contains(halt_after_failures), || {
            format!("waves.haltAfterFailures: {halt_after_failures} must be 1 to 10000")
        });
        Waves {
            soak: self.duration("waves.soak", soak),
            halt_after_failures: *halt_after_failures,
            max_wait: self.duration("waves.maxWait", max_wait),
        }
    }

    fn freeze(&mut self, freeze: FreezeText) -> Freeze {
        let FreezeText { until, reason } = freeze;
        self.that(!reason.trim().is_empty() && reason.chars().count() <= 200, || {
            "freeze.reason: say why in 1 to 200 characters: everybody who waits reads it".to_owned()
        });
        Freeze { until: self.instant("freeze.until", &until), reason }
    }
}

#[cfg(test)]
mod tests;
