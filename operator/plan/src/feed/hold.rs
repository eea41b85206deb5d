//! Why the policy holds a version back. A message names the remedy, or the time that helps; it carries no count that
//! moves while a release spreads, since every waiting tenant would be written anew with each success.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::version::Version;

/// How many channels a message lists.
const LISTED: usize = 8;

/// One reason why the policy holds a version back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The feed has no such channel.
    ChannelUnknown {
        /// What the tenant follows.
        channel: String,
        /// The channels that there are.
        known: Vec<String>,
    },
    /// Not a release.
    PreRelease {
        /// What the tenant wants.
        version: Version,
    },
    /// The feed does not list the pinned version.
    VersionUnknown {
        /// What the tenant wants.
        version: Version,
    },
    /// The way leads over a major of which the feed lists no release that may be started.
    MajorMissing {
        /// The major.
        major: u64,
        /// Where the way leads.
        goal: Version,
    },
    /// This operator does not know how to run that major.
    MajorUnsupported {
        /// The major.
        major: u64,
        /// The first that it can run.
        first: u64,
        /// The last that it can run.
        last: u64,
    },
    /// An older major than the one whose Auth has already written the tenant's state.
    Downgrade {
        /// What the tenant wants.
        version: Version,
        /// The major below which it cannot go.
        major: u64,
    },
    /// The release was withdrawn.
    Withdrawn {
        /// The release.
        version: Version,
    },
    /// The release failed on too many tenants.
    Halted {
        /// The release.
        version: Version,
        /// How many failures halt it.
        after: usize,
    },
    /// The release failed on this tenant.
    FailedHere {
        /// The release.
        version: Version,
        /// When.
        at: DateTime<Utc>,
    },
    /// The release is too young for the channel.
    SoakPending {
        /// The release.
        version: Version,
        /// When it is old enough.
        until: DateTime<Utc>,
    },
    /// An earlier wave goes first.
    WavePending {
        /// The release.
        version: Version,
        /// The tenant's wave.
        wave: u8,
        /// What it waits for.
        why: WaveWait,
        /// When it is open at the latest.
        until: DateTime<Utc>,
    },
}

/// What a wave waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaveWait {
    /// Too few tenants of an earlier wave have come through.
    Earlier {
        /// That wave.
        wave: u8,
    },
    /// Enough have, and it is watched how they fare.
    Soak {
        /// The wave that is through.
        wave: u8,
    },
}

impl Hold {
    /// That a major cannot be run by an operator that runs these.
    pub fn unsupported(major: u64, supported: &RangeInclusive<u64>) -> Hold {
        Hold::MajorUnsupported { major, first: *supported.start(), last: *supported.end() }
    }

    /// When time alone ends it, at the latest; none: a person must act.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Hold::SoakPending { until, .. } | Hold::WavePending { until, .. } => Some(*until),
            Hold::ChannelUnknown { .. }
            | Hold::PreRelease { .. }
            | Hold::VersionUnknown { .. }
            | Hold::MajorMissing { .. }
            | Hold::MajorUnsupported { .. }
            | Hold::Downgrade { .. }
            | Hold::Withdrawn { .. }
            | Hold::Halted { .. }
            | Hold::FailedHere { .. } => None,
        }
    }
}

/// When the last of these holds ends by time alone; none: a person must act first.
pub fn until(holds: &[Hold]) -> Option<DateTime<Utc>> {
    holds.iter().map(Hold::until).collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max())
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::ChannelUnknown { channel, known } => {
                let listed = match known.as_slice() {
                    [] => "the policy has none: let the platform team add it to releases.yaml".to_owned(),
                    some => format!("choose one of {}", some[..some.len().min(LISTED)].join(", ")),
                };
                write!(
                    formatter,
                    "spec.channel: there is no channel {channel:?}: {listed}, or pin a release with spec.version"
                )
            }
            Hold::PreRelease { version } => {
                write!(formatter, "{version} is no release: choose one without a suffix, such as {}", released(version))
            }
            Hold::VersionUnknown { version } => write!(
                formatter,
                "the release feed does not list {version}: choose a listed release, or let the platform team add it to \
                 releases.yaml"
            ),
            Hold::MajorMissing { major, goal } => write!(
                formatter,
                "the way to {goal} leads over major {major}, and the release feed lists no release of it that may be \
                 started: let the platform team add one to releases.yaml"
            ),
            Hold::MajorUnsupported { major, first, last } => write!(
                formatter,
                "major {major} cannot be run by this operator: choose a release of majors {first} to {last}, or upgrade \
                 the operator"
            ),
            Hold::Downgrade { version, major } => write!(
                formatter,
                "{version} is older than the tenant's state, which major {major} has written and no older major can \
                 read: choose a release of major {major} or a later one"
            ),
            Hold::Withdrawn { version } => {
                write!(formatter, "{version} is withdrawn from the release feed: choose another release")
            }
            Hold::Halted { version, after } => write!(
                formatter,
                "{version} is halted for the whole fleet, since it failed on {after} tenants or more: let the platform \
                 team publish a newer release, or set resumedAt of this one in releases.yaml once the cause is mended"
            ),
            Hold::FailedHere { version, at } => write!(
                formatter,
                "{version} failed on this tenant at {} and is not tried again by itself: mend what status.history names \
                 and edit the spec or set spec.maintenance.applyNow, or wait for a newer release",
                instant(*at)
            ),
            Hold::SoakPending { version, until } => {
                write!(formatter, "{version} is taken by this channel from {} on", instant(*until))
            }
            Hold::WavePending { version, wave, why: WaveWait::Earlier { wave: earlier }, until } => write!(
                formatter,
                "wave {wave} gets {version} after most tenants of wave {earlier}, at the latest at {}",
                instant(*until)
            ),
            Hold::WavePending { version, wave, why: WaveWait::Soak { wave: earlier }, until } => {
                write!(formatter, "wave {wave} gets {version} at {}: wave {earlier} is through", instant(*until))
            }
        }
    }
}

fn released(version: &Version) -> Version {
    Version::new(version.major, version.minor, version.patch)
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_by_time_alone_has_an_end() {
        let (version, early) = (Version::new(18, 1, 0), DateTime::<Utc>::UNIX_EPOCH);
        let late = early + chrono::TimeDelta::hours(1);
        let soak = Hold::SoakPending { version: version.clone(), until: early };
        let wave =
            Hold::WavePending { version: version.clone(), wave: 2, why: WaveWait::Earlier { wave: 1 }, until: late };
        assert_eq!(until(&[soak.clone(), wave]), Some(late));
        assert_eq!(until(&[soak, Hold::Withdrawn { version }]), None);
        assert_eq!(until(&[]), None);
    }

    #[test]
    fn a_message_fits_into_status() {
        let long = |letter: &str| letter.repeat(40);
        let known = vec![long("b"); 32];
        let hold = Hold::ChannelUnknown { channel: long("a"), known };
        assert!(hold.to_string().len() <= 512, "{hold}");
    }

    #[test]
    fn an_unknown_channel_lists_the_known_ones() {
        let known = vec!["early".to_owned(), "stable".to_owned()];
        let hold = Hold::ChannelUnknown { channel: "stabel".to_owned(), known };
        expect_test::expect![[r#"spec.channel: there is no channel "stabel": choose one of early, stable, or pin a release with spec.version"#]]
            .assert_eq(&hold.to_string());
    }
}
