//! The fleet policy as it is now: the ConfigMap is watched, the last good text of each of its two keys is kept, and every
//! tenant is looked at again when one changes. A bad edit changes nothing but a metric and a log line, and a bad edit of one
//! key never holds back the other: they have different owners.

use std::sync::{Arc, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use plan::feed::Feed;
use plan::fleet::Installation;

use crate::metrics::Metrics;
use crate::serve::Health;

/// Key of the installation.
const INSTALLATION: &str = "installation.yaml";
/// Key of the release feed.
const RELEASES: &str = "releases.yaml";

/// The policy, shared by everything that reads it.
#[derive(Clone)]
pub struct Policy {
    current: Arc<RwLock<Current>>,
}

struct Current {
    installation: Kept<Installation>,
    feed: Kept<Feed>,
    loaded: bool,
}

/// One key.
struct Kept<T> {
    /// The last good one, or why there never was one.
    good: Result<Arc<T>, String>,
    /// What is wrong with the text as it stands now.
    fault: Option<String>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept { good: Err("it was not read yet".to_owned()), fault: None }
    }
}

impl<T: PartialEq> Kept<T> {
    /// Takes what was read; answers whether anything has changed for those who ask, or what is wrong.
    fn take(&mut self, parsed: Result<T, String>) -> Result<bool, String> {
        match parsed {
            Ok(new) => {
                let mended = self.fault.take().is_some();
                let same = self.good.as_ref().is_ok_and(|known| **known == new);
                if !same {
                    self.good = Ok(Arc::new(new));
                }
                Ok(!same || mended)
            }
            Err(fault) => {
                if self.good.is_err() {
                    self.good = Err(fault.clone());
                }
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }
}

/// What became of each key.
#[derive(Debug, PartialEq)]
struct Taken {
    installation: Result<bool, String>,
    feed: Result<bool, String>,
}

impl Default for Policy {
    fn default() -> Self {
        let current = Current { installation: Kept::default(), feed: Kept::default(), loaded: false };
        Policy { current: Arc::new(RwLock::new(current)) }
    }
}

impl Policy {
    /// The last good installation, or why there is none.
    pub fn current(&self) -> Result<Arc<Installation>, String> {
        self.read().installation.good.clone()
    }

    /// The last good release feed, or why there is none. A policy without the key has a feed without releases.
    pub fn feed(&self) -> Result<Arc<Feed>, String> {
        self.read().feed.good.clone()
    }

    /// What is wrong with the release feed as it is written now; the last good one stays in force meanwhile.
    pub fn feed_fault(&self) -> Option<String> {
        self.read().feed.fault.clone()
    }

    /// Whether the ConfigMap was looked for at least once.
    pub fn is_loaded(&self) -> bool {
        self.read().loaded
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().expect("no holder of this lock panics")
    }

    /// Takes what the ConfigMap says.
    fn take(&self, config_map: Option<&ConfigMap>, name: &str) -> Taken {
        let missing = || format!("ConfigMap {name} does not exist or is empty");
        let data = config_map.and_then(|found| found.data.as_ref()).ok_or_else(missing);
        let installation = data.clone().and_then(|data| match data.get(INSTALLATION) {
            None => Err(format!("ConfigMap {name} has no key {INSTALLATION}")),
            Some(text) => Installation::parse(text).map_err(|faults| faults.join("; ")),
        });
        // A whole ConfigMap that is gone is an accident, and the last good feed stays; a key that is not there is a policy
        // without releases.
        let feed = data.and_then(|data| match data.get(RELEASES) {
            None => Ok(Feed::default()),
            Some(text) => Feed::parse(text).map_err(|faults| faults.join("; ")),
        });
        let mut current = self.current.write().expect("no holder of this lock panics");
        current.loaded = true;
        Taken { installation: current.installation.take(installation), feed: current.feed.take(feed) }
    }

    /// The release feed as the API server has it now. A text that cannot be used keeps the last good one.
    ///
    /// # Errors
    /// When the ConfigMap cannot be read.
    pub async fn read_live(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> crate::error::Result<Result<Arc<Feed>, String>> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|source| crate::error::Error::kube("read the fleet policy", source))?;
        self.take(found.as_ref(), name);
        Ok(self.feed())
    }

    /// Follows the ConfigMap; the stream yields once for each change that concerns tenants.
    pub fn follow(
        &self,
        client: Client,
        namespace: &str,
        name: String,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> impl Stream<Item = ()> + Send + use<> {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let selection = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let policy = self.clone();
        let mut listed: Option<ConfigMap> = None;
        watcher(api, selection).default_backoff().filter_map(move |event| {
            let found = match event {
                Ok(watcher::Event::Init) => {
                    listed = None;
                    None
                }
                Ok(watcher::Event::InitApply(found)) => {
                    listed = Some(found);
                    None
                }
                Ok(watcher::Event::InitDone) => Some(listed.take()),
                Ok(watcher::Event::Apply(found)) => Some(Some(found)),
                Ok(watcher::Event::Delete(_)) => Some(None),
                Err(error) => {
                    tracing::warn!(%error, "the fleet policy cannot be watched");
                    None
                }
            };
            let seen = found.is_some();
            let changed = found.is_some_and(|found| {
                let Taken { installation, feed } = policy.take(found.as_ref(), &name);
                metrics.set_policy_valid(installation.is_ok());
                metrics.set_feed_valid(feed.is_ok());
                told(INSTALLATION, installation) | told(RELEASES, feed)
            });
            if seen {
                health.set_policy_loaded(policy.current().is_ok());
            }
            futures::future::ready(changed.then_some(()))
        })
    }
}

/// Logs what is wrong with a key; answers whether tenants must be looked at again.
fn told(key: &'static str, taken: Result<bool, String>) -> bool {
    taken.unwrap_or_else(|fault| {
        tracing::error!(key, %fault, "the fleet policy cannot be used; the last good one stays in force");
        true
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const GOOD: &str = r#"
id: eu1
aws: {account: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com, rolePath: /t/}
images: {enterprise: example.com/ent, community: example.com/oss}
"#;

    const FEED: &str = "releases: [{version: 18.1.0, releasedAt: 2026-10-12T00:00:00Z}]";

    fn config_map<const N: usize>(keys: [(&str, &str); N]) -> ConfigMap {
        let data = keys.map(|(key, text)| (key.to_owned(), text.to_owned()));
        ConfigMap { data: Some(BTreeMap::from(data)), ..ConfigMap::default() }
    }

    fn installation(text: &str) -> ConfigMap {
        config_map([(INSTALLATION, text)])
    }

    fn both(feed: &str) -> ConfigMap {
        config_map([(INSTALLATION, GOOD), (RELEASES, feed)])
    }

    fn releases(policy: &Policy) -> Result<usize, String> {
        policy.feed().map(|feed| feed.releases.len())
    }

    #[test]
    fn a_bad_edit_keeps_the_last_good_policy() {
        let policy = Policy::default();
        assert!(policy.current().is_err());
        assert_eq!(policy.take(Some(&installation(GOOD)), "fleet").installation, Ok(true));
        assert!(policy.take(Some(&installation("id: [")), "fleet").installation.is_err());
        assert_eq!(policy.current().map(|found| found.id.clone()), Ok("eu1".to_owned()));
    }

    #[test]
    fn without_any_good_policy_the_fault_is_told() {
        let policy = Policy::default();
        assert!(policy.take(None, "fleet").installation.is_err());
        assert_eq!(policy.current().map(|_| ()), Err("ConfigMap fleet does not exist or is empty".to_owned()));
        assert!(policy.is_loaded());
    }

    #[test]
    fn the_same_text_again_is_no_change() {
        let policy = Policy::default();
        assert_eq!(policy.take(Some(&both(FEED)), "fleet"), Taken { installation: Ok(true), feed: Ok(true) });
        assert_eq!(policy.take(Some(&both(FEED)), "fleet"), Taken { installation: Ok(false), feed: Ok(false) });
    }

    #[test]
    fn a_bad_edit_keeps_the_last_good_feed_and_says_what_is_wrong() {
        let policy = Policy::default();
        assert_eq!(releases(&policy), Err("it was not read yet".to_owned()));
        assert_eq!(policy.take(Some(&both(FEED)), "fleet").feed, Ok(true));
        assert_eq!(policy.feed_fault(), None);
        let bad = both("releases: [{version: 18.1, releasedAt: 2026-10-12T00:00:00Z}]");
        assert!(policy.take(Some(&bad), "fleet").feed.is_err());
        assert_eq!(releases(&policy), Ok(1));
        let fault = policy.feed_fault().expect("a fault");
        assert!(fault.starts_with("releases[0].version:"), "{fault}");
        assert_eq!(policy.take(Some(&both(FEED)), "fleet").feed, Ok(true), "whoever shows the fault must look again");
        assert_eq!(policy.feed_fault(), None);
    }

    #[test]
    fn a_bad_key_does_not_hold_back_the_other() {
        let policy = Policy::default();
        let taken = policy.take(Some(&config_map([(INSTALLATION, "id: ["), (RELEASES, FEED)])), "fleet");
        assert!(taken.installation.is_err());
        assert_eq!((taken.feed, releases(&policy)), (Ok(true), Ok(1)));
        let taken = policy.take(Some(&both("releases: [")), "fleet");
        assert_eq!(taken.installation, Ok(true));
        assert!(taken.feed.is_err());
    }

    #[test]
    fn a_missing_key_is_a_feed_without_releases() {
        let policy = Policy::default();
        policy.take(Some(&both(FEED)), "fleet");
        assert_eq!(policy.take(Some(&installation(GOOD)), "fleet").feed, Ok(true));
        assert_eq!((releases(&policy), policy.feed_fault()), (Ok(0), None));
    }

    #[test]
    fn a_missing_config_map_keeps_the_last_good_feed() {
        let policy = Policy::default();
        policy.take(Some(&both(FEED)), "fleet");
        assert!(policy.take(None, "fleet").feed.is_err());
        assert_eq!(releases(&policy), Ok(1));
    }

    #[test]
    fn without_any_good_feed_the_fault_is_told() {
        let policy = Policy::default();
        policy.take(Some(&both("releases: {}")), "fleet");
        assert_eq!(releases(&policy).err(), policy.feed_fault());
        assert!(policy.feed_fault().is_some_and(|fault| fault.starts_with("releases.yaml cannot be read")));
    }
}
