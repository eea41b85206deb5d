//! Teleport versions as users write them and as processes report them.

use crds::tenant_status::HopKind;
pub use semver::Version;

/// The majors whose configuration this operator can render.
pub const KNOWN_MAJORS: std::ops::RangeInclusive<u64> = 16..=18;

/// Reads a version as a process reports it: a leading `v`, a pre-release and a build suffix are accepted.
pub fn parse_reported(text: &str) -> Option<Version> {
    let text = text.trim();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// What a change from one version to another is, upward or downward. Between equal versions only the template can differ.
pub fn change(from: &Version, to: &Version) -> HopKind {
    if from.major != to.major {
        HopKind::Major
    } else if from.minor != to.minor {
        HopKind::Minor
    } else if from != to {
        HopKind::Patch
    } else {
        HopKind::Template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_called_by_its_greatest_part() {
        let from = Version::new(18, 1, 2);
        for (to, kind) in [
            ((18, 1, 2), HopKind::Template),
            ((18, 1, 1), HopKind::Patch),
            ((18, 2, 2), HopKind::Minor),
            ((18, 0, 9), HopKind::Minor),
            ((19, 1, 2), HopKind::Major),
        ] {
            assert_eq!(change(&from, &Version::new(to.0, to.1, to.2)), kind, "{to:?}");
        }
    }

    #[test]
    fn reported_versions_are_read_in_every_form_that_processes_use() {
        assert_eq!(parse_reported("v16.4.3"), Some(Version::new(16, 4, 3)));
        assert_eq!(parse_reported("18.1.0"), Some(Version::new(18, 1, 0)));
        assert_eq!(parse_reported("18.0.0-dev.x.1").map(|version| version.major), Some(18));
        assert_eq!(parse_reported("eighteen"), None);
        assert_eq!(parse_reported(""), None);
    }
}
