//! `releases.yaml` as it is written, and its checks. Read whole or not at all; every fault is named with its field, so
//! that one edit mends them all.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{Channel, Digests, Feed, Freeze, Release, Soak, Waves};
use crate::duration;
use crate::version::Version;

/// Years of releases; a status is compared with each of them in every run.
const MOST_RELEASES: usize = 500;
/// More than a platform team can tell apart.
const MOST_CHANNELS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct FeedText {
    releases: Vec<ReleaseText>,
    channels: BTreeMap<String, ChannelText>,
    waves: WavesText,
    max_concurrent_updates: usize,
    freeze: Option<FreezeText>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReleaseText {
    version: String,
    released_at: String,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    withdrawn: bool,
    #[serde(default)]
    resumed_at: Option<String>,
    #[serde(default)]
    digests: DigestsText,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DigestsText {
    enterprise: Option<String>,
    community: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ChannelText {
    soak: SoakText,
    max_major: Option<u64>,
}

/// The defaults are what Teleport Cloud does: patches and minors within a week, majors after about a month.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SoakText {
    patch: String,
    minor: String,
    major: String,
}

impl Default for SoakText {
    fn default() -> SoakText {
        SoakText { patch: "24h".to_owned(), minor: "72h".to_owned(), major: "720h".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct WavesText {
    soak: String,
    halt_after_failures: usize,
    max_wait: String,
}

impl Default for WavesText {
    fn default() -> WavesText {
        WavesText { soak: "24h".to_owned(), halt_after_failures: 3, max_wait: "336h".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeText {
    until: String,
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
            let hex = digest.as_ref().map(|digest| digest.strip_prefix("sha256:").unwrap_or_default());
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            self.that(hex.is_none_or(|hex| hex.len() == 64 && hex.bytes().all(lower)), || {
                format!(
                    "{field}.digests.{edition}: {:?} must be sha256: and 64 lower-case hexadecimal digits",
                    digest.as_deref().unwrap_or_default()
                )
            });
        }
        Digests { enterprise, community }
    }

    fn channel(&mut self, name: String, channel: ChannelText) -> (String, Channel) {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        self.that(
            (1..=40).contains(&name.len())
                && name.bytes().all(lower)
                && name.starts_with(|first: char| first.is_ascii_lowercase())
                && !name.ends_with('-'),
            || {
                format!(
                    "channels: {name:?} must be 1 to 40 lower-case letters, digits and hyphens, start with a letter and \
                     not end in a hyphen"
                )
            },
        );
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
mod tests {
    use super::*;

    const GOOD: &str = "
releases:
  - {version: 17.5.2, releasedAt: 2026-10-01T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-10-12T02:00:00+02:00, critical: true}
channels:
  stable: {soak: {patch: 12h}, maxMajor: 18}
waves: {soak: 48h}
freeze: {until: 2026-12-28T00:00:00Z, reason: holidays}
";

    #[test]
    fn what_is_not_written_has_its_default() {
        let feed = parse(GOOD).expect("good");
        let release = &feed.releases[&Version::new(18, 1, 0)];
        assert_eq!(release.released_at, "2026-10-12T00:00:00Z".parse::<DateTime<Utc>>().expect("an instant"));
        assert!(release.critical && !release.withdrawn);
        let stable = &feed.channels["stable"];
        assert_eq!(stable.max_major, Some(18));
        let hours = [stable.soak.patch, stable.soak.minor, stable.soak.major].map(|soak| soak.num_hours());
        assert_eq!(hours, [12, 72, 720]);
        assert_eq!(feed.waves, Waves { soak: TimeDelta::hours(48), ..Waves::default() });
    }

    #[test]
    fn an_empty_text_is_a_feed_without_releases() {
        for empty in ["", "\n", "# nothing yet\n", "{}", "---\n", "null\n"] {
            assert_eq!(parse(empty), Ok(Feed::default()), "{empty:?}");
        }
    }

    #[test]
    fn every_fault_is_named_with_its_field() {
        let cases = [
            ("17.5.2", "v17.5.2", "releases[0].version:"),
            ("17.5.2", "17.5", "releases[0].version:"),
            ("18.1.0", "18.1.0-rc.1", "releases[1].version:"),
            ("18.1.0", "18.1.0+build", "releases[1].version:"),
            ("18.1.0", "17.5.2", "releases[1].version: 17.5.2 is listed twice"),
            ("2026-10-01T00:00:00Z", "2026-10-01", "releases[0].releasedAt:"),
            ("critical: true", "resumedAt: today", "releases[1].resumedAt:"),
            ("critical: true", "digests: {community: 'sha256:abc'}", "releases[1].digests.community:"),
            ("critical: true", "digests: {enterprise: abc}", "releases[1].digests.enterprise:"),
            ("critical: true", "urgent: true", "urgent"),
            ("  stable:", "  Stable:", "channels: \"Stable\""),
            ("patch: 12h", "patch: 1d", "channels.stable.soak.patch:"),
            ("patch: 12h", "minor: soon", "channels.stable.soak.minor:"),
            ("patch: 12h", "major: 30", "channels.stable.soak.major:"),
            ("maxMajor: 18", "maxMajor: 0", "channels.stable.maxMajor:"),
            ("soak: 48h", "soak: never", "waves.soak:"),
            ("soak: 48h", "haltAfterFailures: 0", "waves.haltAfterFailures:"),
            ("soak: 48h", "maxWait: ''", "waves.maxWait:"),
            ("2026-12-28T00:00:00Z", "Christmas", "freeze.until:"),
            ("reason: holidays", "reason: ' '", "freeze.reason:"),
            ("waves:", "maxConcurrentUpdates: 0\nwaves:", "maxConcurrentUpdates:"),
            ("waves:", "monthlyDowntimeBudget: 0.1%\nwaves:", "monthlyDowntimeBudget:"),
            ("waves:", "errorBudget: {}\nwaves:", "errorBudget"),
        ];
        for (good, bad, field) in cases {
            let yaml = GOOD.replacen(good, bad, 1);
            assert_ne!(yaml, GOOD, "{bad} replaces nothing");
            let faults = parse(&yaml).expect_err(bad);
            assert!(faults.iter().any(|fault| fault.contains(field)), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let yaml = GOOD.replace("17.5.2", "next").replace("48h", "2 days").replace("holidays", "''");
        assert_eq!(parse(&yaml).expect_err("three faults").len(), 3);
    }

    #[test]
    fn a_feed_that_grew_beyond_use_is_refused() {
        let list: Vec<String> = (0..=MOST_RELEASES)
            .map(|patch| format!("{{version: 18.0.{patch}, releasedAt: 2026-10-01T00:00:00Z}}"))
            .collect();
        let faults = parse(&format!("releases: [{}]", list.join(", "))).expect_err("too many");
        assert!(faults[0].contains("releases: 501 are too many"), "{faults:?}");
    }
}
