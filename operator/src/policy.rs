//! The fleet policy as it is now: the ConfigMap is watched, the last good one is kept, and every tenant is looked at
//! again when it changes. A bad edit changes nothing but a metric and a log line.

use std::sync::{Arc, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use plan::fleet::Installation;

use crate::metrics::Metrics;
use crate::serve::Health;

/// Key of the ConfigMap.
const KEY: &str = "installation.yaml";

/// The policy, shared by everything that reads it.
#[derive(Clone)]
pub struct Policy {
    current: Arc<RwLock<Current>>,
}

struct Current {
    /// The last good one, or why there never was one.
    installation: Result<Arc<Installation>, String>,
    loaded: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let installation = Err("it was not read yet".to_owned());
        Policy { current: Arc::new(RwLock::new(Current { installation, loaded: false })) }
    }
}

impl Policy {
    /// The last good policy, or why there is none.
    pub fn current(&self) -> Result<Arc<Installation>, String> {
        self.read().installation.clone()
    }

    /// Whether the ConfigMap was looked for at least once.
    pub fn is_loaded(&self) -> bool {
        self.read().loaded
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().expect("no holder of this lock panics")
    }

    /// Takes what the ConfigMap says; answers whether the policy changed.
    fn take(&self, config_map: Option<&ConfigMap>, name: &str) -> Result<bool, String> {
        let parsed = match config_map.and_then(|found| found.data.as_ref()) {
            None => Err(format!("ConfigMap {name} does not exist or is empty")),
            Some(data) => match data.get(KEY) {
                None => Err(format!("ConfigMap {name} has no key {KEY}")),
                Some(text) => Installation::parse(text).map_err(|faults| faults.join("; ")),
            },
        };
        let mut current = self.current.write().expect("no holder of this lock panics");
        current.loaded = true;
        match parsed {
            Ok(installation) => {
                let changed = current.installation.as_ref().is_ok_and(|known| **known == installation);
                current.installation = Ok(Arc::new(installation));
                Ok(!changed)
            }
            Err(fault) => {
                if current.installation.is_err() {
                    current.installation = Err(fault.clone());
                }
                Err(fault)
            }
        }
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
            let changed = found.is_some_and(|found| match policy.take(found.as_ref(), &name) {
                Ok(changed) => {
                    metrics.set_policy_valid(true);
                    changed
                }
                Err(fault) => {
                    metrics.set_policy_valid(false);
                    tracing::error!(%fault, "the fleet policy cannot be used; the last good one stays in force");
                    true
                }
            });
            if seen {
                health.set_policy_loaded(policy.current().is_ok());
            }
            futures::future::ready(changed.then_some(()))
        })
    }
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

    fn config_map(text: &str) -> ConfigMap {
        ConfigMap { data: Some(BTreeMap::from([(KEY.to_owned(), text.to_owned())])), ..ConfigMap::default() }
    }

    #[test]
    fn a_bad_edit_keeps_the_last_good_policy() {
        let policy = Policy::default();
        assert!(policy.current().is_err());
        assert_eq!(policy.take(Some(&config_map(GOOD)), "fleet"), Ok(true));
        assert!(policy.take(Some(&config_map("id: [")), "fleet").is_err());
        assert_eq!(policy.current().map(|found| found.id.clone()), Ok("eu1".to_owned()));
    }

    #[test]
    fn without_any_good_policy_the_fault_is_told() {
        let policy = Policy::default();
        assert!(policy.take(None, "fleet").is_err());
        assert_eq!(policy.current().map(|_| ()), Err("ConfigMap fleet does not exist or is empty".to_owned()));
        assert!(policy.is_loaded());
    }

    #[test]
    fn the_same_text_again_is_no_change() {
        let policy = Policy::default();
        assert_eq!(policy.take(Some(&config_map(GOOD)), "fleet"), Ok(true));
        assert_eq!(policy.take(Some(&config_map(GOOD)), "fleet"), Ok(false));
    }
}
