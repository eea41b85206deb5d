//! The Secrets and ConfigMaps that pods refer to. All of them are watched, so that hundreds of pods cost the API server
//! two watches and not thousands of reads; one that is not known yet is asked for.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, reflector as reflect, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

const BURST: Duration = Duration::from_millis(100);

/// The keys of a Secret or ConfigMap.
pub(super) type Content = BTreeMap<String, Vec<u8>>;

/// A Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object {
    pub(super) content: Content,
    pub(super) immutable: bool,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

impl Kind {
    /// As it stands in a kubelet's messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::ConfigMap => "configmap",
        }
    }
}

/// All that exist.
pub(super) struct Objects {
    client: Client,
    secrets: Store<Secret>,
    config_maps: Store<ConfigMap>,
    changes: watch::Sender<()>,
    _watches: JoinSet<()>,
}

impl Objects {
    /// Returns once what exists is known.
    pub(super) async fn start(client: Client) -> Objects {
        let changes = watch::Sender::new(());
        let mut watches = JoinSet::new();
        let secrets = follow(&client, &changes, &mut watches);
        let config_maps = follow(&client, &changes, &mut watches);
        // They fail only when the watching task is gone, which lives as long as this value.
        let _ = tokio::join!(secrets.wait_until_ready(), config_maps.wait_until_ready());
        Objects { client, secrets, config_maps, changes, _watches: watches }
    }

    /// Wakes when some Secret or ConfigMap was written.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// # Errors
    /// When the API server could not be asked.
    pub(super) async fn get(&self, kind: Kind, namespace: &str, name: &str) -> kube::Result<Option<Object>> {
        match kind {
            Kind::Secret => {
                let found = find(&self.client, &self.secrets, namespace, name).await?;
                Ok(found.map(|secret| Object {
                    content: secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
                    immutable: secret.immutable.unwrap_or(false),
                }))
            }
            Kind::ConfigMap => {
                let found = find(&self.client, &self.config_maps, namespace, name).await?;
                Ok(found.map(|map| {
                    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
                    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
                    Object { content: text.chain(binary).collect(), immutable: map.immutable.unwrap_or(false) }
                }))
            }
        }
    }
}

/// Waits for a change and for the burst around it: a cluster that is filled at once writes hundreds a second, and each
/// look at what is still missing is a request.
pub(super) async fn settled(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
    tokio::time::sleep(BURST).await;
}

fn follow<K>(client: &Client, changes: &watch::Sender<()>, watches: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes = changes.clone();
    let events = reflect(writer, watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff());
    watches.spawn(events.for_each(move |event| {
        match event {
            Ok(_) => changes.send_modify(|()| ()),
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "a watch was interrupted"),
        }
        std::future::ready(())
    }));
    store
}

/// The watch may be a moment behind the pod that refers to a new object, so its word is not enough to call it missing.
async fn find<K>(client: &Client, store: &Store<K>, namespace: &str, name: &str) -> kube::Result<Option<Arc<K>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    if let Some(known) = store.get(&ObjectRef::new(name).within(namespace)) {
        return Ok(Some(known));
    }
    let found = Api::<K>::namespaced(client.clone(), namespace).get_opt(name).await?;
    Ok(found.map(Arc::new))
}
