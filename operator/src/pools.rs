//! AgentPools as the planner needs them, by tenant, from a watch; and what was last seen of each tenant's agents, for the
//! pools to show.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};

use crds::{AgentPool, Tenant};
use futures::{Stream, StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use plan::Fact;
use plan::agents::{AgentsView, Pool};
use plan::names::Identity;
use tokio::sync::mpsc;

/// A Tenant by namespace and name.
type Key = (String, String);
/// Pools of one tenant by name.
type Named = BTreeMap<String, Pool>;
/// The uid of a Tenant, and what was last seen of its agents.
type View = (String, Option<Arc<AgentsView>>);
/// Who is to be run.
pub type Queue = mpsc::UnboundedSender<ObjectRef<DeserializeGuard<AgentPool>>>;

/// All pools, and all views.
pub struct Pools {
    by_tenant: RwLock<Option<BTreeMap<Key, Named>>>,
    views: Mutex<HashMap<Key, View>>,
    queue: Queue,
}

impl Pools {
    /// None known; those whose tenant was seen anew go into the queue.
    pub fn new(queue: Queue) -> Pools {
        Pools { by_tenant: RwLock::default(), views: Mutex::default(), queue }
    }

    /// The pools of a tenant; Unknown before the first complete list.
    pub fn of(&self, tenant: &Identity) -> Fact<Vec<Pool>> {
        let key = (tenant.namespace.clone(), tenant.slug.clone());
        match &*self.by_tenant.read().expect("no holder of this lock panics") {
            None => Fact::Unknown,
            Some(pools) => Fact::Known(pools.get(&key).into_iter().flat_map(BTreeMap::values).cloned().collect()),
        }
    }

    /// Whether the pools were listed once.
    pub fn is_synced(&self) -> bool {
        self.by_tenant.read().expect("no holder of this lock panics").is_some()
    }

    /// Follows the pools; yields the Tenants that a change concerns, the former and the new.
    pub fn follow(&self, client: &Client) -> impl Stream<Item = ObjectRef<Tenant>> + Send + use<'_> {
        let api: Api<DeserializeGuard<AgentPool>> = Api::all(client.clone());
        let mut listing: BTreeMap<Key, Named> = BTreeMap::new();
        watcher(api, watcher::Config::default()).default_backoff().flat_map(move |event| {
            let concerned = match event {
                Ok(watcher::Event::Init) => {
                    listing.clear();
                    BTreeSet::new()
                }
                Ok(watcher::Event::InitApply(object)) => {
                    put(&mut listing, &object);
                    BTreeSet::new()
                }
                Ok(watcher::Event::InitDone) => self.replace(std::mem::take(&mut listing)),
                Ok(watcher::Event::Apply(object)) => self.change(&object, true),
                Ok(watcher::Event::Delete(object)) => self.change(&object, false),
                Err(error) => {
                    tracing::warn!(%error, "agent pools cannot be watched");
                    BTreeSet::new()
                }
            };
            stream::iter(concerned.into_iter().map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)))
        })
    }

    /// A complete list takes the place of everything known; answers whose pools are others now.
    fn replace(&self, listed: BTreeMap<Key, Named>) -> BTreeSet<Key> {
        let mut pools = self.by_tenant.write().expect("no holder of this lock panics");
        let before = pools.replace(listed).unwrap_or_default();
        let known = pools.get_or_insert_default();
        let keys: BTreeSet<Key> = before.keys().chain(known.keys()).cloned().collect();
        keys.into_iter().filter(|key| before.get(key) != known.get(key)).collect()
    }

    /// Takes one pool as it is now, or as gone; answers whose pools are others now. A status that was written is no news.
    fn change(&self, object: &DeserializeGuard<AgentPool>, there: bool) -> BTreeSet<Key> {
        let mut pools = self.by_tenant.write().expect("no holder of this lock panics");
        let known = pools.get_or_insert_default();
        let before = take(known, object);
        let after = there.then(|| put(known, object)).flatten();
        if before == after {
            return BTreeSet::new();
        }
        before.into_iter().chain(after).map(|(key, _)| key).collect()
    }

    /// What is to be seen of a tenant's agents now, if anything; when that is new, its pools are run.
    pub fn see(&self, tenant: &Identity, view: Option<AgentsView>) {
        let key = (tenant.namespace.clone(), tenant.slug.clone());
        let mut views = self.views.lock().expect("no holder of this lock panics");
        let before = views.get(&key).filter(|(uid, _)| *uid == tenant.uid);
        let news = match (before, &view) {
            (None, _) => true,
            // Nothing new: what was seen stands.
            (Some(_), None) => false,
            (Some((_, before)), Some(view)) => before.as_deref() != Some(view),
        };
        if news {
            views.insert(key.clone(), (tenant.uid.clone(), view.map(Arc::new)));
            drop(views);
            self.run(&key);
        }
    }

    /// What was last seen of a tenant's agents.
    pub fn view(&self, namespace: &str, name: &str) -> Option<Arc<AgentsView>> {
        let views = self.views.lock().expect("no holder of this lock panics");
        views.get(&(namespace.to_owned(), name.to_owned()))?.1.clone()
    }

    /// Only these tenants are left; the pools of the others are run.
    pub fn retain(&self, uids: &HashSet<String>) {
        let gone: Vec<Key> = {
            let mut views = self.views.lock().expect("no holder of this lock panics");
            views.extract_if(|_, (uid, _)| !uids.contains(uid)).map(|(key, _)| key).collect()
        };
        gone.iter().for_each(|key| self.run(key));
    }

    fn run(&self, key: &Key) {
        let pools = self.by_tenant.read().expect("no holder of this lock panics");
        for name in pools.iter().filter_map(|pools| pools.get(key)).flat_map(BTreeMap::keys) {
            // The receiver lives as long as the controller.
            let _ = self.queue.send(ObjectRef::new(name).within(&key.0));
        }
    }
}

/// A pool that does not parse takes nobody: its agents are in another pool, or in the required implicit one.
fn put(pools: &mut BTreeMap<Key, Named>, object: &DeserializeGuard<AgentPool>) -> Option<(Key, Pool)> {
    let pool = object.0.as_ref().ok()?;
    let key = (pool.namespace().unwrap_or_default(), pool.spec.tenant_ref.name.clone());
    let parsed = Pool::from(pool);
    pools.entry(key.clone()).or_default().insert(pool.name_any(), parsed.clone());
    Some((key, parsed))
}

fn take(pools: &mut BTreeMap<Key, Named>, object: &DeserializeGuard<AgentPool>) -> Option<(Key, Pool)> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mut of_namespace = pools.iter_mut().filter(|((place, _), _)| *place == namespace);
    let (key, pool) = of_namespace.find_map(|(key, named)| Some((key.clone(), named.remove(&name)?)))?;
    if pools.get(&key).is_some_and(BTreeMap::is_empty) {
        pools.remove(&key);
    }
    Some((key, pool))
}

#[cfg(test)]
mod tests {
    use plan::agents::memory::Memory;
    use plan::agents::{Observation, Recall};
    use serde_json::json;

    use super::*;

    fn pool(name: &str, tenant: &str) -> DeserializeGuard<AgentPool> {
        let object = json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "AgentPool",
            "metadata": {"name": name, "namespace": "n"}, "spec": {"tenantRef": {"name": tenant}},
        });
        DeserializeGuard(Ok(serde_json::from_value(object).expect("an AgentPool")))
    }

    fn tenant(name: &str, uid: &str) -> Identity {
        Identity { slug: name.into(), namespace: "n".into(), uid: uid.into(), id: "0".repeat(16) }
    }

    fn view() -> AgentsView {
        AgentsView::new(None, Observation::Missing, (Recall::Loaded, &Memory::default()), &[], 18)
    }

    fn names(pools: &Pools, tenant_name: &str) -> Vec<String> {
        let Fact::Known(found) = pools.of(&tenant(tenant_name, "u")) else { return Vec::new() };
        found.into_iter().map(|pool| pool.name).collect()
    }

    #[test]
    fn a_change_concerns_the_tenants_whose_pools_it_changes() {
        let (queue, _queued) = mpsc::unbounded_channel();
        let pools = Pools::new(queue);
        assert_eq!(pools.of(&tenant("acme", "u")), Fact::Unknown);
        let names_of = |keys: BTreeSet<Key>| keys.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        let both = || {
            let mut listed = BTreeMap::new();
            put(&mut listed, &pool("a", "acme"));
            put(&mut listed, &pool("b", "other"));
            names_of(pools.replace(listed))
        };
        assert_eq!(both(), ["acme", "other"]);
        assert!(both().is_empty(), "the same list again");
        let one = |name, of, there| names_of(pools.change(&pool(name, of), there));
        assert!(one("a", "acme", true).is_empty(), "its status was written");
        assert_eq!(one("b", "third", true), ["other", "third"]);
        assert_eq!(one("b", "other", true), ["other", "third"]);
        assert_eq!(one("a", "acme", false), ["acme"]);
        assert_eq!((names(&pools, "acme"), names(&pools, "other")), (vec![], vec!["b".to_owned()]));
    }

    #[test]
    fn pools_are_run_when_something_new_is_seen_and_when_their_tenant_goes() {
        let (queue, mut queued) = mpsc::unbounded_channel();
        let pools = Pools::new(queue);
        pools.change(&pool("a", "acme"), true);
        let mut runs = || std::iter::from_fn(|| queued.try_recv().ok()).count();
        pools.see(&tenant("acme", "u"), None);
        assert_eq!(runs(), 1, "the tenant appeared");
        pools.see(&tenant("acme", "u"), Some(view()));
        pools.see(&tenant("acme", "u"), Some(view()));
        pools.see(&tenant("acme", "u"), None);
        assert_eq!(runs(), 1, "only the first view is news");
        assert!(pools.view("n", "acme").is_some());
        pools.retain(&HashSet::from(["u".to_owned()]));
        assert_eq!(runs(), 0);
        pools.retain(&HashSet::new());
        assert_eq!((runs(), pools.view("n", "acme")), (1, None));
    }
}
