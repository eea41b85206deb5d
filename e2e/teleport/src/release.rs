//! What an image reference says: version and edition.

use semver::Version;

use crate::rule::{Refusal, Rule};

/// Which build it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    Community,
    Enterprise,
}

/// The build that an image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) version: Version,
    pub(crate) edition: Edition,
    pub(crate) fips: bool,
}

impl Release {
    pub(crate) fn of_image(image: &str) -> Result<Release, Refusal> {
        let reference = image.split('@').next().unwrap_or_default();
        let (repository, tag) = match reference.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => return Err(Rule::ImageTag.by(image)),
        };
        let version = Version::parse(tag).map_err(|error| Rule::ImageTag.by(format!("{image}: {error}")))?;
        let name = repository.rsplit('/').next().unwrap_or_default();
        let edition = if name.starts_with("teleport-ent") { Edition::Enterprise } else { Edition::Community };
        Ok(Release { version, edition, fips: name.contains("fips") })
    }

    pub(crate) fn major(&self) -> u64 {
        self.version.major
    }

    /// The first line of `teleport version`.
    pub(crate) fn banner(&self) -> String {
        let edition = if self.edition == Edition::Enterprise { " Enterprise" } else { "" };
        format!("Teleport{edition} v{} git:v{}-0-g0000000 go1.24", self.version, self.version)
    }

    /// The oldest client that is served: one major behind.
    pub(crate) fn oldest_client(&self) -> Version {
        Version::new(self.major().saturating_sub(1), 0, 0)
    }
}

/// Versions come with and without a leading `v`.
pub(crate) fn parse(version: &str) -> Option<Version> {
    Version::parse(version.strip_prefix('v').unwrap_or(version)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_is_the_edition_and_tag_is_the_version() {
        let ent = Release::of_image("127.0.0.1:5000/gravitational/teleport-ent-distroless:18.1.0@sha256:00").unwrap();
        assert_eq!((ent.version.to_string().as_str(), ent.edition, ent.fips), ("18.1.0", Edition::Enterprise, false));
        let oss = Release::of_image("public.ecr.aws/gravitational/teleport-distroless:17.5.2").unwrap();
        assert_eq!(oss.edition, Edition::Community);
        assert!(Release::of_image("public.ecr.aws/gravitational/teleport-ent-fips-distroless:17.5.2").unwrap().fips);
    }

    #[test]
    fn the_banner_matches_the_published_pattern() {
        let line = Release::of_image("r/teleport-ent-distroless:17.0.1").unwrap().banner();
        assert!(line.starts_with("Teleport Enterprise v17.0.1 ") && line.contains(" go1."), "{line}");
    }
}
