//! The tenants' objects in the cluster. Their metadata is watched into a compact map, which says what changed; an object
//! itself is read by its name, and read again only when its resource version is another one. Secrets are not watched:
//! nobody may list them.

pub mod monitors;
mod secrets;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crds::Tenant;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use plan::names::{MANAGER, TENANT_ID};
use plan::object::{Kind, Ref};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::refusal;

/// An object by namespace, kind and name.
type Key = (String, Ref);

/// What is known of the tenants' objects.
#[derive(Clone, Default)]
pub struct Children {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    listed: HashMap<Key, Listed>,
    /// Objects as they were read, with their resource version; only of what is listed, or is about to be.
    read: HashMap<Key, (String, Arc<Value>)>,
    /// Secrets as they were read a moment ago.
    secrets: secrets::Secrets,
    /// Kinds whose first list is complete.
    synced: Vec<Kind>,
    /// Whether the cluster knows PodMonitors.
    monitors: bool,
    /// Kinds of which an object was asked for.
    asked: BTreeSet<Kind>,
}

/// An object that the watch shows.
#[derive(Clone)]
struct Listed {
    version: String,
    owner: Option<ObjectRef<Tenant>>,
}

/// How often to look whether a kind is wanted by now that not every cluster knows.
const LOOK: Duration = Duration::from_secs(2);

const WATCHED: [Kind; 7] = [
    Kind::ServiceAccount,
    Kind::ConfigMap,
    Kind::Service,
    Kind::Deployment,
    Kind::Job,
    Kind::PodDisruptionBudget,
    Kind::NetworkPolicy,
];

/// The API of a kind.
pub fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        Kind::Secret => ApiResource::erase::<Secret>(&()),
        Kind::Service => ApiResource::erase::<Service>(&()),
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::Job => ApiResource::erase::<Job>(&()),
        Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
        Kind::PodMonitor => {
            let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor");
            ApiResource::from_gvk_with_plural(&kind, "podmonitors")
        }
        Kind::TLSRoute => {
            let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "TLSRoute");
            ApiResource::from_gvk_with_plural(&kind, "tlsroutes")
        }
        Kind::Certificate => {
            let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate");
            ApiResource::from_gvk_with_plural(&kind, "certificates")
        }
        Kind::CertificateRequest => {
            let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
            ApiResource::from_gvk_with_plural(&kind, "certificaterequests")
        }
    }
}

/// The objects of a kind in a namespace.
pub fn api(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

impl Children {
    /// Follows all kinds; yields the Tenant whose object changed.
    pub fn follow(&self, client: &Client) -> impl Stream<Item = ObjectRef<Tenant>> + Send + use<> {
        stream::select_all([
            self.follow_kind::<ServiceAccount>(Api::all(client.clone()), Kind::ServiceAccount).boxed(),
            self.follow_kind::<ConfigMap>(Api::all(client.clone()), Kind::ConfigMap).boxed(),
            self.follow_kind::<Service>(Api::all(client.clone()), Kind::Service).boxed(),
            self.follow_kind::<Deployment>(Api::all(client.clone()), Kind::Deployment).boxed(),
            self.follow_kind::<Job>(Api::all(client.clone()), Kind::Job).boxed(),
            self.follow_kind::<PodDisruptionBudget>(Api::all(client.clone()), Kind::PodDisruptionBudget).boxed(),
            self.follow_kind::<NetworkPolicy>(Api::all(client.clone()), Kind::NetworkPolicy).boxed(),
        ])
    }

    /// Follows the objects of a kind that not every cluster knows, as soon as it is `wanted`. Nobody waits for them to be listed: where
    /// the cluster does not know the kind, they never are.
    pub fn follow_optional(
        &self,
        client: &Client,
        kind: Kind,
        wanted: Box<dyn Fn() -> bool + Send>,
    ) -> impl Stream<Item = ObjectRef<Tenant>> + Send + use<> {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource(kind));
        let objects = self.follow_kind::<DynamicObject>(api, kind);
        let awaited = async move {
            while !wanted() {
                tokio::time::sleep(LOOK).await;
            }
            objects
        };
        stream::once(awaited).flatten()
    }

    /// Whether an object of this kind was ever asked for.
    pub fn asked_for(&self, kind: Kind) -> bool {
        self.lock().asked.contains(&kind)
    }

    fn follow_kind<K>(
        &self,
        api: Api<PartialObjectMeta<K>>,
        kind: Kind,
    ) -> impl Stream<Item = ObjectRef<Tenant>> + Send + use<K>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let selection =
            watcher::Config::default().labels(&format!("{TENANT_ID},app.kubernetes.io/managed-by={MANAGER}"));
        let children = self.clone();
        let mut pending: HashMap<Key, Listed> = HashMap::new();
        watcher(api, selection).default_backoff().flat_map(move |event| {
            let changed = match event {
                Ok(watcher::Event::Init) => {
                    pending.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(object)) => {
                    pending.extend(listed(kind, &object));
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => children.replace(kind, std::mem::take(&mut pending)),
                Ok(watcher::Event::Apply(object)) => children.apply(listed(kind, &object)),
                Ok(watcher::Event::Delete(object)) => children.remove(listed(kind, &object)),
                Err(error) => {
                    tracing::warn!(?kind, %error, "objects cannot be watched");
                    Vec::new()
                }
            };
            stream::iter(changed)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// A complete list takes the place of everything known of the kind, in one go. What changed, came or went concerns
    /// its owner.
    fn replace(&self, kind: Kind, objects: HashMap<Key, Listed>) -> Vec<ObjectRef<Tenant>> {
        let mut state = self.lock();
        let before: HashMap<Key, Listed> =
            state.listed.extract_if(|(_, reference), _| reference.kind == kind).collect();
        let gone = before.iter().filter(|(key, _)| !objects.contains_key(*key));
        let changed = objects
            .iter()
            .filter(|(key, listed)| before.get(*key).is_none_or(|before| before.version != listed.version));
        let owners = gone.clone().chain(changed).filter_map(|(_, listed)| listed.owner.clone()).collect();
        for (key, _) in gone {
            state.read.remove(key);
        }
        state.listed.extend(objects);
        if !state.synced.contains(&kind) {
            state.synced.push(kind);
        }
        owners
    }

    fn apply(&self, object: Option<(Key, Listed)>) -> Vec<ObjectRef<Tenant>> {
        let Some((key, listed)) = object else { return Vec::new() };
        let owner = listed.owner.clone();
        self.lock().listed.insert(key, listed);
        owner.into_iter().collect()
    }

    fn remove(&self, object: Option<(Key, Listed)>) -> Vec<ObjectRef<Tenant>> {
        let Some((key, listed)) = object else { return Vec::new() };
        let mut state = self.lock();
        state.listed.remove(&key);
        state.read.remove(&key);
        listed.owner.into_iter().collect()
    }

    /// Whether every kind was listed.
    pub fn is_synced(&self) -> bool {
        WATCHED.iter().all(|kind| self.lock().synced.contains(kind))
    }

    /// Whether the watch shows an object of this name.
    pub fn lists(&self, namespace: &str, reference: &Ref) -> bool {
        self.lock().listed.contains_key(&(namespace.to_owned(), reference.clone()))
    }

    /// What was read of an object is not what is there now.
    pub fn forget(&self, namespace: &str, reference: &Ref) {
        let key = (namespace.to_owned(), reference.clone());
        let mut state = self.lock();
        state.read.remove(&key);
        state.secrets.forget(&key);
    }

    /// Keeps what an apply answered: it need not be asked for when the watch shows just that.
    pub fn keep(&self, namespace: &str, reference: &Ref, applied: &DynamicObject) {
        let key = (namespace.to_owned(), reference.clone());
        let version = applied.resource_version().unwrap_or_default();
        let value = Arc::new(serde_json::to_value(applied).expect("an object that was read serializes"));
        let mut state = self.lock();
        match reference.kind {
            Kind::Secret => state.secrets.keep(key, value, Instant::now()),
            _ => drop(state.read.insert(key, (version, value))),
        }
    }

    /// Reads an object by its name; what the watch shows unchanged since the last time is not asked for again. What the
    /// watch does not show may still be there, without our labels.
    pub async fn read(&self, client: &Client, namespace: &str, reference: &Ref) -> Result<Option<Arc<Value>>> {
        let key = (namespace.to_owned(), reference.clone());
        {
            let mut state = self.lock();
            state.asked.insert(reference.kind);
            if let Some(value) = state.secrets.get(&key, Instant::now()) {
                return Ok(Some(value));
            }
            if let (Some(listed), Some((version, value))) = (state.listed.get(&key), state.read.get(&key))
                && listed.version == *version
            {
                return Ok(Some(Arc::clone(value)));
            }
        }
        let found = match api(client, namespace, reference.kind).get_opt(&reference.name).await {
            Ok(found) => found,
            // Where nobody knows the kind there is none of it.
            Err(kube::Error::Api(status)) if refusal::is_unknown_kind(&status) => None,
            Err(source) => return Err(Error::kube(format!("read {reference}"), source)),
        };
        let Some(found) = found else {
            self.forget(namespace, reference);
            return Ok(None);
        };
        let version = found.resource_version().unwrap_or_default();
        let value = Arc::new(serde_json::to_value(&found).expect("an object that was read serializes"));
        let mut state = self.lock();
        if reference.kind == Kind::Secret {
            state.secrets.keep(key, Arc::clone(&value), Instant::now());
        } else if state.listed.contains_key(&key) {
            state.read.insert(key, (version, Arc::clone(&value)));
        }
        Ok(Some(value))
    }
}

fn listed<K: Resource>(kind: Kind, object: &PartialObjectMeta<K>) -> Option<(Key, Listed)> {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.clone()?;
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.kind == "Tenant");
    let owner = owner.map(|owner| ObjectRef::new(&owner.name).within(&namespace));
    let key = (namespace, Ref::new(kind, metadata.name.clone()?));
    Some((key, Listed { version: metadata.resource_version.clone().unwrap_or_default(), owner }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, version: &str) -> (Key, Listed) {
        let key = ("ns".to_owned(), Ref::new(Kind::Service, name));
        (key, Listed { version: version.into(), owner: Some(ObjectRef::new(name).within("ns")) })
    }

    #[test]
    fn a_new_list_wakes_the_owners_of_what_came_changed_or_went() {
        let children = Children::default();
        children.replace(Kind::Service, [object("same", "1"), object("changed", "1"), object("gone", "1")].into());
        let mut woken: Vec<String> = children
            .replace(Kind::Service, [object("same", "1"), object("changed", "2"), object("new", "1")].into())
            .into_iter()
            .map(|owner| owner.name)
            .collect();
        woken.sort();
        assert_eq!(woken, ["changed", "gone", "new"]);
        assert!(!children.lock().listed.contains_key(&object("gone", "1").0));
    }

    #[test]
    fn what_not_every_cluster_knows_is_not_waited_for() {
        let children = Children::default();
        children.replace(Kind::TLSRoute, HashMap::new());
        for kind in WATCHED {
            assert!(!children.is_synced(), "{kind:?} is not listed");
            children.replace(kind, HashMap::new());
        }
        assert!(children.is_synced());
        children.replace(Kind::Certificate, HashMap::new());
        assert!(children.is_synced());
    }

    #[test]
    fn a_list_of_one_kind_leaves_the_others_alone() {
        let children = Children::default();
        children.replace(Kind::Service, [object("kept", "1")].into());
        children.replace(Kind::Deployment, HashMap::new());
        assert!(children.lock().listed.contains_key(&object("kept", "1").0));
    }
}
