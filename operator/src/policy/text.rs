//! The two keys of the policy ConfigMap as values.

use std::collections::BTreeMap;

use plan::feed::Feed;
use plan::fleet::Installation;

/// Key of the installation.
pub(super) const INSTALLATION: &str = "installation.yaml";
/// Key of the release feed.
pub(super) const RELEASES: &str = "releases.yaml";

/// What a ConfigMap of this name says or all that is wrong with it, each key by itself: they have different owners.
pub(super) fn read(
    data: Option<&BTreeMap<String, String>>,
    name: &str,
) -> (Result<Installation, Vec<String>>, Result<Feed, Vec<String>>) {
    let data = data.ok_or_else(|| vec![format!("ConfigMap {name} does not exist or is empty")]);
    let installation = data.clone().and_then(|data| match data.get(INSTALLATION) {
        None => Err(vec![format!("ConfigMap {name} has no key {INSTALLATION}")]),
        Some(text) => Installation::parse(text),
    });
    // A whole ConfigMap that is gone is an accident, and the last good feed stays; a key that is not there is a policy
    // without releases.
    let feed = data.and_then(|data| match data.get(RELEASES) {
        None => Ok(Feed::default()),
        Some(text) => Feed::parse(text),
    });
    (installation, feed)
}
