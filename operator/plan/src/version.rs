//! Teleport versions as users write them and as processes report them.

pub use semver::Version;

/// The majors whose configuration this operator can render.
pub const KNOWN_MAJORS: std::ops::RangeInclusive<u64> = 16..=18;

/// Reads a version as a process reports it: a leading `v`, a pre-release and a build suffix are accepted.
pub fn parse_reported(text: &str) -> Option<Version> {
    let text = text.trim();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_versions_are_read_in_every_form_that_processes_use() {
        assert_eq!(parse_reported("v16.4.3"), Some(Version::new(16, 4, 3)));
        assert_eq!(parse_reported("18.1.0"), Some(Version::new(18, 1, 0)));
        assert_eq!(parse_reported("18.0.0-dev.x.1").map(|version| version.major), Some(18));
        assert_eq!(parse_reported("eighteen"), None);
        assert_eq!(parse_reported(""), None);
    }
}
