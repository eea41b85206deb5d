//! The release feed and the update policy: `releases.yaml` of the policy ConfigMap. Which Teleport versions there are,
//! when a channel takes one, and how it spreads over the fleet. `feed/text.rs` reads it, `feed/target.rs` decides by it what
//! a tenant should run next, `feed/standing.rs` tells how the fleet has fared so far.

mod first;
pub mod hold;
pub mod standing;
pub mod target;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant::Edition;
use crds::tenant_status::HopKind;

use crate::fleet::Images;
use crate::version::Version;

/// What the platform team decides about updates. Without any release nothing is ever due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The releases, each under its version.
    pub releases: BTreeMap<Version, Release>,
    /// The channels that tenants may follow.
    pub channels: BTreeMap<String, Channel>,
    /// How a release spreads over the fleet.
    pub waves: Waves,
    /// How many hops may run at once in the whole fleet.
    pub max_concurrent_updates: usize,
    /// While it lasts, no hop and no voluntary restart starts.
    pub freeze: Option<Freeze>,
    /// How long a tenant may be down in a month before hops that are not critical stop.
    pub monthly_downtime_budget: TimeDelta,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            releases: BTreeMap::new(),
            channels: BTreeMap::new(),
            waves: Waves::default(),
            max_concurrent_updates: 50,
            freeze: None,
            // 99.9 % of a month of 30.4 days.
            monthly_downtime_budget: TimeDelta::minutes(44),
        }
    }
}

/// One Teleport version that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version; never a pre-release.
    pub version: Version,
    /// When it was released: the soak counts from here.
    pub released_at: DateTime<Utc>,
    /// Whether it mends something that cannot wait. Such a patch or minor update skips soak and waves.
    pub critical: bool,
    /// Whether it must not be started any more.
    pub withdrawn: bool,
    /// Failures that ended before this instant do not count: it resumes a halted release.
    pub resumed_at: Option<DateTime<Utc>>,
    /// The images that this version must be.
    pub digests: Digests,
}

/// Image digests of a release, `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of the Enterprise build.
    pub enterprise: Option<String>,
    /// Of the Community build.
    pub community: Option<String>,
}

/// A line of releases that tenants follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// How old a release must be.
    pub soak: Soak,
    /// The highest major that the channel takes.
    pub max_major: Option<u64>,
}

/// How long after its release a version is taken, by what it changes for the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soak {
    /// Same major and minor.
    pub patch: TimeDelta,
    /// Same major.
    pub minor: TimeDelta,
    /// Another major.
    pub major: TimeDelta,
}

impl Soak {
    /// The soak of this kind of change.
    pub fn of(self, kind: HopKind) -> TimeDelta {
        match kind {
            HopKind::Template => TimeDelta::zero(),
            HopKind::Patch => self.patch,
            HopKind::Minor => self.minor,
            HopKind::Major => self.major,
        }
    }
}

/// How a release spreads over the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waves {
    /// How long after a wave has come through the next one begins.
    pub soak: TimeDelta,
    /// Tenants on which a release fails until it is halted for all.
    pub halt_after_failures: usize,
    /// After this time a release is open to every wave.
    pub max_wait: TimeDelta,
}

impl Default for Waves {
    fn default() -> Waves {
        Waves { soak: TimeDelta::hours(24), halt_after_failures: 3, max_wait: TimeDelta::hours(336) }
    }
}

/// A time without updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Its end.
    pub until: DateTime<Utc>,
    /// Why, for the people who wait.
    pub reason: String,
}

/// What is odd about the version that a tenant runs. It is told and never acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The feed does not list it, or not any more.
    NotListed(Version),
    /// It was withdrawn after it was started.
    Withdrawn(Version),
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::NotListed(version) => {
                write!(formatter, "{version} runs and is not in the release feed: it stays until another one is due")
            }
            Remark::Withdrawn(version) => {
                write!(
                    formatter,
                    "{version} runs and was withdrawn from the release feed: it stays until another one is due"
                )
            }
        }
    }
}

impl Feed {
    /// Reads and checks `releases.yaml`. An empty text is a feed without releases.
    ///
    /// # Errors
    /// Every fault, each naming its field.
    pub fn parse(yaml: &str) -> Result<Feed, Vec<String>> {
        text::parse(yaml)
    }

    /// The freeze, while it lasts.
    pub fn frozen(&self, now: DateTime<Utc>) -> Option<&Freeze> {
        self.freeze.as_ref().filter(|freeze| now < freeze.until)
    }

    /// What is odd about a version that runs.
    pub fn remark(&self, running: &Version) -> Option<Remark> {
        match self.releases.get(running) {
            None => Some(Remark::NotListed(running.clone())),
            Some(release) => release.withdrawn.then(|| Remark::Withdrawn(running.clone())),
        }
    }
}

/// The image of a version: pinned by its digest where the feed knows it, so that a tag that was moved starts nothing.
pub fn image(images: &Images, edition: Edition, version: &Version, feed: Option<&Feed>) -> String {
    let digests = feed.and_then(|feed| feed.releases.get(version)).map(|release| &release.digests);
    let (repository, digest) = match edition {
        Edition::Enterprise => (&images.enterprise, digests.and_then(|digests| digests.enterprise.as_ref())),
        Edition::Community => (&images.community, digests.and_then(|digests| digests.community.as_ref())),
    };
    match digest {
        Some(digest) => format!("{repository}:{version}@{digest}"),
        None => format!("{repository}:{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        Images { enterprise: "example.com/ent".into(), community: "example.com/oss".into() }
    }

    #[test]
    fn an_image_is_pinned_where_its_digest_is_known() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let feed = Feed::parse(&format!(
            "releases: [{{version: 18.1.0, releasedAt: 2026-10-12T00:00:00Z, digests: {{community: {digest:?}}}}}]"
        ))
        .expect("good");
        let image = |edition, version| image(&images(), edition, &version, Some(&feed));
        assert_eq!(image(Edition::Community, Version::new(18, 1, 0)), format!("example.com/oss:18.1.0@{digest}"));
        assert_eq!(image(Edition::Enterprise, Version::new(18, 1, 0)), "example.com/ent:18.1.0");
        assert_eq!(image(Edition::Community, Version::new(18, 1, 1)), "example.com/oss:18.1.1");
        assert_eq!(
            super::image(&images(), Edition::Community, &Version::new(18, 1, 0), None),
            "example.com/oss:18.1.0",
            "without a feed the tag is all there is"
        );
    }

    #[test]
    fn a_freeze_ends_by_itself() {
        let feed = Feed::parse("freeze: {until: 2026-12-28T00:00:00Z, reason: holidays}").expect("good");
        let until = feed.freeze.as_ref().expect("a freeze").until;
        assert_eq!(feed.frozen(until - TimeDelta::seconds(1)).map(|freeze| freeze.reason.as_str()), Some("holidays"));
        assert_eq!(feed.frozen(until), None);
    }

    #[test]
    fn a_running_version_that_left_the_feed_is_told() {
        let feed = Feed::parse(
            "releases: [{version: 18.1.0, releasedAt: 2026-10-12T00:00:00Z},
                        {version: 18.1.1, releasedAt: 2026-10-19T00:00:00Z, withdrawn: true}]",
        )
        .expect("good");
        assert_eq!(feed.remark(&Version::new(18, 1, 0)), None);
        assert_eq!(feed.remark(&Version::new(18, 1, 1)), Some(Remark::Withdrawn(Version::new(18, 1, 1))));
        assert_eq!(
            feed.remark(&Version::new(18, 0, 4)).map(|remark| remark.to_string()),
            Some("18.0.4 runs and is not in the release feed: it stays until another one is due".to_owned())
        );
    }
}
