//! Which images exist, and what runs for them. Nothing is ever pulled.

use std::collections::BTreeSet;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Repositories of Teleport, by their last element.
const TELEPORT: [&str; 2] = ["teleport-distroless", "teleport-ent-distroless"];
const OPERATOR: &str = "tenant-operator";

/// The images of this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Images {
    pub(super) operator: Option<PathBuf>,
    pub(super) versions: Option<BTreeSet<String>>,
}

/// What runs for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Runtime {
    /// The stand-in Teleport, in this process.
    Teleport,
    /// A program of this machine, as a child process.
    Local(PathBuf),
}

impl Images {
    /// # Errors
    /// Why the image cannot be pulled, in the words of a container runtime.
    pub(super) fn runtime(&self, image: &str) -> Result<Runtime, String> {
        let missing = |why: &str| {
            Err(format!("rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": {why}"))
        };
        let reference = Reference::parse(image);
        if TELEPORT.contains(&reference.name) {
            return match (reference.tag, &self.versions) {
                (None, _) => missing("not found: the version of Teleport is its tag"),
                (Some(tag), Some(versions)) if !versions.contains(tag) => missing("not found"),
                (Some(_), _) => Ok(Runtime::Teleport),
            };
        }
        match &self.operator {
            Some(binary) if reference.name == OPERATOR && binary.exists() => Ok(Runtime::Local(binary.clone())),
            _ => missing("not found"),
        }
    }
}

/// As a container runtime would identify what it pulled.
pub(super) fn id(image: &str) -> String {
    let repository = image.split_once('@').map_or(image, |(name, _)| name);
    let repository = Reference::parse(repository).repository;
    match image.split_once('@') {
        Some((_, digest)) => format!("{repository}@{digest}"),
        None => format!("{repository}@sha256:{}", hex::encode(Sha256::digest(image))),
    }
}

struct Reference<'a> {
    repository: &'a str,
    name: &'a str,
    tag: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn parse(image: &'a str) -> Reference<'a> {
        let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
        // A colon before the last slash belongs to the registry's port.
        let name_at = tagged.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match tagged[name_at..].split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (&tagged[name_at..], None),
        };
        Reference { repository: &tagged[..name_at + name.len()], name, tag }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:0123";

    #[test]
    fn only_what_this_machine_can_stand_in_for_is_pulled() {
        let versions = Some(BTreeSet::from(["18.1.0".to_owned()]));
        let images = Images { operator: Some("/proc/self/exe".into()), versions };
        let local = Some(Runtime::Local("/proc/self/exe".into()));
        let cases = [
            ("public.example.com/gravitational/teleport-distroless:18.1.0".to_owned(), Some(Runtime::Teleport)),
            ("teleport-ent-distroless:18.1.0".to_owned(), Some(Runtime::Teleport)),
            (format!("example.com:5000/teleport-ent-distroless:18.1.0@{SHA}"), Some(Runtime::Teleport)),
            ("teleport-distroless:18.2.0".to_owned(), None),
            ("teleport-distroless".to_owned(), None),
            (format!("teleport-distroless@{SHA}"), None),
            ("example.com:5000/teleport-distroless-debug:18.1.0".to_owned(), None),
            ("example.com:5000/tenant-operator".to_owned(), local.clone()),
            ("tenant-operator:0.1.0".to_owned(), local),
            ("nginx:latest".to_owned(), None),
            (String::new(), None),
        ];
        for (image, expected) in cases {
            let told = images.runtime(&image);
            assert_eq!(told.clone().ok(), expected, "{image}: {told:?}");
        }
        assert!(Images::default().runtime("tenant-operator:0.1.0").is_err(), "no binary was given");
        assert!(Images::default().runtime("teleport-distroless:99.0.0").is_ok(), "every version exists");
    }

    #[test]
    fn an_image_keeps_its_digest() {
        assert_eq!(id(&format!("example.com:5000/a/b:1@{SHA}")), format!("example.com:5000/a/b@{SHA}"));
        let first = id("example.com:5000/a/b:1");
        assert!(first.starts_with("example.com:5000/a/b@sha256:"), "{first}");
        assert_ne!(first, id("example.com:5000/a/b:2"));
    }
}
