//! What a new tenant of a channel begins with: what the channel's tenants run by now, not what they will run next.

use chrono::{DateTime, Utc};

use super::{Channel, Feed, Release};
use crate::version::{KNOWN_MAJORS, Version};

impl Feed {
    /// The newest release that the channel has taken by now. A major counts as taken once one of its releases has soaked
    /// as long as a change of the major must; where none has, the oldest major is what a fleet begins with.
    pub fn first(&self, channel: &str, now: DateTime<Utc>) -> Option<Version> {
        let channel = self.channels.get(channel)?;
        let known = || self.releases.values().filter(|release| channel.may(release));
        let taken = known().filter(|release| release.released_at + channel.soak.major <= now);
        let major = taken.map(|release| release.version.major).max();
        let major = major.or_else(|| known().map(|release| release.version.major).min())?;
        let soaked = known().filter(|release| release.version.major == major);
        let soaked = soaked.filter(|release| release.released_at + channel.soak.patch <= now);
        soaked.map(|release| release.version.clone()).max()
    }
}

impl Channel {
    fn may(&self, release: &Release) -> bool {
        let major = release.version.major;
        !release.withdrawn && KNOWN_MAJORS.contains(&major) && self.max_major.is_none_or(|most| major <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(now: &str) -> Option<String> {
        let feed = Feed::parse(
            r#"
channels: {stable: {soak: {patch: 24h, minor: 72h, major: 720h}}}
releases:
  - {version: 17.5.2, releasedAt: 2026-10-01T00:00:00Z}
  - {version: 18.0.0, releasedAt: 2026-10-10T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-11-20T00:00:00Z}
  - {version: 18.1.1, releasedAt: 2026-11-21T00:00:00Z, withdrawn: true}
"#,
        )
        .expect("a feed");
        feed.first("stable", now.parse().expect("RFC 3339")).map(|version| version.to_string())
    }

    #[test]
    fn a_new_tenant_begins_with_what_the_others_run() {
        assert_eq!(first("2026-10-20T00:00:00Z").as_deref(), Some("17.5.2"), "18 has not soaked as a major");
        assert_eq!(first("2026-11-20T12:00:00Z").as_deref(), Some("18.0.0"), "18.1.0 has not soaked at all");
        assert_eq!(first("2026-11-25T00:00:00Z").as_deref(), Some("18.1.0"), "18.1.1 is withdrawn");
    }

    #[test]
    fn a_feed_that_is_all_young_has_something_to_begin_with() {
        assert_eq!(first("2026-10-02T00:00:00Z").as_deref(), Some("17.5.2"));
        assert_eq!(first("2026-10-01T00:00:00Z"), None);
    }

    #[test]
    fn an_unknown_channel_has_nothing() {
        assert_eq!(Feed::default().first("stable", DateTime::UNIX_EPOCH), None);
    }
}
