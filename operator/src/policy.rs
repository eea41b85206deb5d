//! The fleet policy as it is now: the ConfigMap is watched, the last good text of each of its two keys is kept, and every
//! tenant is looked at again when one changes. A bad edit changes nothing, and is told: by a metric, a log line, an event of
//! the ConfigMap and a condition of every tenant. A bad edit of one key never holds back the other: they have different owners.

use std::sync::{Arc, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use plan::feed::Feed;
use plan::fleet::Installation;

use crate::metrics::Metrics;
use crate::serve::Health;

pub mod check;
mod kept;
mod text;

use kept::Kept;
use text::{INSTALLATION, RELEASES};

/// The policy, shared by everything that reads it.
#[derive(Clone)]
pub struct Policy {
    current: Arc<RwLock<Current>>,
}

struct Current {
    installation: Kept<Installation>,
    feed: Kept<Feed>,
    loaded: bool,
    /// Counts what concerns those who ask: whoever takes it first, the watch tells everybody.
    revision: u64,
}

/// A change of the policy that concerns tenants.
#[derive(Clone, Debug)]
pub struct Change {
    /// The ConfigMap.
    pub object: ObjectReference,
    /// Why it cannot be used, if that is news.
    pub fault: Option<String>,
}

/// What became of each key.
#[derive(Debug, PartialEq)]
struct Taken {
    installation: Result<bool, String>,
    feed: Result<bool, String>,
}

impl Default for Policy {
    fn default() -> Self {
        let current = Current { installation: Kept::default(), feed: Kept::default(), loaded: false, revision: 0 };
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

    /// What is wrong with the policy as it is written now, while the last good one is in force.
    pub fn fault(&self) -> Option<String> {
        let current = self.read();
        let keys = [(INSTALLATION, current.installation.overruled()), (RELEASES, current.feed.overruled())];
        let faults = keys.into_iter().filter_map(|(key, fault)| Some(format!("{key}: {}", fault?)));
        Some(faults.collect::<Vec<_>>().join("; ")).filter(|faults| !faults.is_empty())
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
        let (installation, feed) = text::read(config_map.and_then(|found| found.data.as_ref()), name);
        let mut current = self.current.write().expect("no holder of this lock panics");
        current.loaded = true;
        let faults = (current.installation.fault.clone(), current.feed.fault.clone());
        let taken = Taken {
            installation: current.installation.take(installation.map_err(|faults| faults.join("; "))),
            feed: current.feed.take(feed.map_err(|faults| faults.join("; "))),
        };
        let changed = taken.installation == Ok(true) || taken.feed == Ok(true);
        if changed || faults != (current.installation.fault.clone(), current.feed.fault.clone()) {
            current.revision += 1;
        }
        taken
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

    /// Follows the ConfigMap; the stream yields once for each change that concerns tenants, also for one that
    /// [`Policy::read_live`] has seen before.
    pub fn follow(
        &self,
        client: Client,
        namespace: &str,
        name: String,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> impl Stream<Item = Change> + Send + use<> {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let selection = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let policy = self.clone();
        let mut listed: Option<ConfigMap> = None;
        let mut told = Told { revision: 0, fault: None };
        let nameless = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
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
            let change = found.and_then(|found| {
                let Taken { installation, feed } = policy.take(found.as_ref(), &name);
                metrics.set_policy_valid(installation.is_ok());
                metrics.set_feed_valid(feed.is_ok());
                health.set_policy_loaded(policy.current().is_ok());
                let fault = told.news(&policy)?;
                Some(Change { object: found.as_ref().unwrap_or(&nameless).object_ref(&()), fault })
            });
            futures::future::ready(change)
        })
    }

    /// What is wrong with any key, whether or not there is a last good one.
    fn faults(&self) -> Option<String> {
        let current = self.read();
        let keys = [(INSTALLATION, &current.installation.fault), (RELEASES, &current.feed.fault)];
        let faults = keys.into_iter().filter_map(|(key, fault)| Some(format!("{key}: {}", fault.as_ref()?)));
        Some(faults.collect::<Vec<_>>().join("; ")).filter(|faults| !faults.is_empty())
    }
}

/// What everybody was told last.
struct Told {
    revision: u64,
    fault: Option<String>,
}

impl Told {
    /// Whether there is news, and the fault if that is.
    fn news(&mut self, policy: &Policy) -> Option<Option<String>> {
        let revision = policy.read().revision;
        if revision == self.revision {
            return None;
        }
        let fault = policy.faults();
        let news = fault.clone().filter(|_| fault != self.fault);
        if let Some(fault) = &news {
            tracing::error!(%fault, "the fleet policy cannot be used; the last good one stays in force");
        }
        *self = Told { revision, fault };
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const GOOD: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com, rolePath: /t/}]}
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
        assert_eq!(policy.fault(), None);
        let bad = both("releases: [{version: 18.1, releasedAt: 2026-10-12T00:00:00Z}]");
        assert!(policy.take(Some(&bad), "fleet").feed.is_err());
        assert_eq!(releases(&policy), Ok(1));
        let fault = policy.fault().expect("a fault");
        assert!(fault.starts_with("releases.yaml: releases[0].version:"), "{fault}");
        assert_eq!(policy.take(Some(&both(FEED)), "fleet").feed, Ok(true), "whoever shows the fault must look again");
        assert_eq!(policy.fault(), None);
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
        assert_eq!((releases(&policy), policy.fault()), (Ok(0), None));
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
        assert!(releases(&policy).is_err_and(|fault| fault.starts_with("releases.yaml cannot be read")));
        assert_eq!(policy.fault(), None, "none is in force, which is told otherwise");
    }

    #[test]
    fn a_change_that_a_last_look_took_is_still_told_and_a_fault_once() {
        let policy = Policy::default();
        let mut told = Told { revision: 0, fault: None };
        policy.take(Some(&both(FEED)), "fleet");
        assert_eq!(told.news(&policy), Some(None));
        assert_eq!(told.news(&policy), None);
        // A last look before a hop reads the ConfigMap before the watch shows it.
        for _ in 0..2 {
            policy.take(Some(&both("releases: [")), "fleet");
        }
        let fault = told.news(&policy).flatten().expect("a fault");
        assert!(fault.starts_with("releases.yaml: releases.yaml cannot be read"), "{fault}");
        policy.take(Some(&both("releases: [")), "fleet");
        assert_eq!(told.news(&policy), None, "the same text again");
        policy.take(Some(&both(FEED)), "fleet");
        assert_eq!(told.news(&policy), Some(None), "whoever shows the fault must look again");
    }
}
