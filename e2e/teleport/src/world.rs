//! What the tests decide (which agents a cluster has, what hangs) and what they may ask afterwards (who called what).
//! Shared by all processes of one test bed; it must not know anything that a real cluster would keep in its tables.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_sdk_dynamodb::config::SharedHttpClient;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// Calls kept per cluster; the oldest go first.
const CALLS_KEPT: usize = 4096;

/// The part of the world that no process of the control plane makes: agents, and the record of calls.
#[derive(Debug, Default)]
pub struct World {
    clusters: Mutex<BTreeMap<String, Cluster>>,
    hangs: watch::Sender<Hangs>,
    /// One connection pool to the emulators for all processes: hundreds of them have a pool each otherwise.
    http: OnceLock<SharedHttpClient>,
}

#[derive(Debug, Default)]
struct Cluster {
    agents: Arc<Vec<Agent>>,
    calls: VecDeque<Call>,
    auths: BTreeSet<String>,
}

/// What does not come to an end until a test lets it.
#[derive(Debug, Default)]
struct Hangs {
    /// Clusters whose Auth does not answer what its inventory is.
    inventories: BTreeSet<String>,
    /// Beginnings of host names, and the version that does not become ready there.
    starts: BTreeSet<(String, String)>,
}

/// One agent of a cluster's inventory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agent {
    /// Host UUID, the name of the instance.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Version, with or without a leading `v`; the API answers with one.
    pub version: String,
    /// Services as Teleport names its roles: `Node`, `Kube`, `App`, `Db` …
    pub services: Vec<String>,
    /// `unit`, `kube`, `binary`, or empty for none.
    pub upgrader: String,
    /// Version of the upgrader.
    pub upgrader_version: String,
    /// Update group, reported by version 2 of the updater only.
    pub update_group: String,
    /// Last heartbeat. Unset means "just now, whenever it is asked"; older than the heartbeat's life, the agent is not listed.
    pub last_seen: Option<DateTime<Utc>>,
}

/// One call that a process answered or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it came.
    pub at: DateTime<Utc>,
    /// Host name (pod) of the process that served it.
    pub process: String,
    /// Version of that process.
    pub version: String,
    /// Full method, `/proto.AuthService/Ping`, or the path of a web request.
    pub method: String,
    /// The client certificate's subject, if one was presented and its chain verified.
    pub identity: Option<Identity>,
    /// Where it came from.
    pub peer: SocketAddr,
    /// Empty when it was let through; else the refusal.
    pub refused: String,
}

/// Who a client certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Subject CN.
    pub common_name: String,
    /// All values of subject O: the roles.
    pub organizations: Vec<String>,
}

impl World {
    /// An empty world.
    pub fn new() -> Arc<World> {
        Arc::new(World::default())
    }

    /// Replaces the agents of a cluster.
    pub fn set_agents(&self, cluster: &str, agents: Vec<Agent>) {
        self.lock().entry(cluster.to_owned()).or_default().agents = Arc::new(agents);
    }

    /// The agents of a cluster, as last set.
    pub fn agents(&self, cluster: &str) -> Vec<Agent> {
        self.shared_agents(cluster).to_vec()
    }

    /// Calls to processes of a cluster, oldest first.
    pub fn calls(&self, cluster: &str) -> Vec<Call> {
        self.lock().get(cluster).map(|cluster| cluster.calls.iter().cloned().collect()).unwrap_or_default()
    }

    /// Has every Auth of a cluster keep whoever asks for the inventory waiting, as one does whose backend is throttled;
    /// or answer again, those who wait too.
    pub fn hang_inventory(&self, cluster: &str, hangs: bool) {
        self.hangs.send_modify(|all| {
            if hangs {
                all.inventories.insert(cluster.to_owned())
            } else {
                all.inventories.remove(cluster)
            };
        });
    }

    /// Has processes of a version whose host name begins so start and never become ready, as a bad release does; or go
    /// on, those that hang too.
    pub fn hang_start(&self, hostname: &str, version: &str, hangs: bool) {
        let which = (hostname.to_owned(), version.to_owned());
        self.hangs.send_modify(|all| {
            if hangs {
                all.starts.insert(which)
            } else {
                all.starts.remove(&which)
            };
        });
    }

    /// Waits while the inventory of the cluster hangs.
    pub(crate) async fn inventory_answers(&self, cluster: &str) {
        self.unless(|hangs| hangs.inventories.contains(cluster)).await;
    }

    /// Waits while such a process does not become ready.
    pub(crate) async fn start_goes_on(&self, hostname: &str, version: &str) {
        let this = |(prefix, of): &(String, String)| hostname.starts_with(prefix.as_str()) && of == version;
        self.unless(|hangs| hangs.starts.iter().any(this)).await;
    }

    async fn unless(&self, hangs: impl Fn(&Hangs) -> bool) {
        // It ends with the world at the latest, and the caller holds that.
        let _ = self.hangs.subscribe().wait_for(|all| !hangs(all)).await;
    }

    /// The agents without a copy: a cluster may have many thousands.
    pub(crate) fn shared_agents(&self, cluster: &str) -> Arc<Vec<Agent>> {
        self.lock().get(cluster).map(|cluster| cluster.agents.clone()).unwrap_or_default()
    }

    pub(crate) fn http(&self) -> SharedHttpClient {
        self.http.get_or_init(|| aws_smithy_http_client::Builder::new().build_http()).clone()
    }

    pub(crate) fn record(&self, cluster: &str, call: Call) {
        let mut clusters = self.lock();
        let calls = &mut clusters.entry(cluster.to_owned()).or_default().calls;
        if calls.len() == CALLS_KEPT {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// Notes a serving Auth until the guard is dropped: agents spread their control streams over the live ones.
    pub(crate) fn join_auths(self: &Arc<Self>, cluster: &str, host_id: &str) -> ServingAuth {
        self.lock().entry(cluster.to_owned()).or_default().auths.insert(host_id.to_owned());
        ServingAuth { world: self.clone(), cluster: cluster.to_owned(), host_id: host_id.to_owned() }
    }

    /// Position of an Auth among the serving ones, and their number.
    pub(crate) fn share_of(&self, cluster: &str, host_id: &str) -> (usize, usize) {
        let clusters = self.lock();
        let Some(cluster) = clusters.get(cluster) else { return (0, 1) };
        let index = cluster.auths.iter().position(|id| id == host_id).unwrap_or(0);
        (index, cluster.auths.len().max(1))
    }

    /// How many Auths serve, of all clusters.
    pub(crate) fn serving_auths(&self) -> usize {
        self.lock().values().map(|cluster| cluster.auths.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cluster>> {
        // Every critical section leaves the map whole, so a panic elsewhere does not spoil it.
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An Auth that serves; leaving is dropping it.
pub(crate) struct ServingAuth {
    world: Arc<World>,
    cluster: String,
    host_id: String,
}

impl Drop for ServingAuth {
    fn drop(&mut self) {
        if let Some(cluster) = self.world.lock().get_mut(&self.cluster) {
            cluster.auths.remove(&self.host_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_hangs_goes_on_when_it_may_and_nothing_else_hangs() {
        let world = World::new();
        world.hang_inventory("acme", true);
        world.hang_start("acme-proxy", "18.1.1", true);
        let start = |hostname: &str, version: &str| world.start_goes_on(hostname, version).now_or_never();
        assert_eq!(world.inventory_answers("other").now_or_never(), Some(()));
        assert_eq!(start("acme-proxy-7d9", "18.1.0"), Some(()));
        assert_eq!(start("acme-auth-0-7d9", "18.1.1"), Some(()));
        assert_eq!(start("acme-proxy-7d9", "18.1.1"), None);
        let mut waits = Box::pin(world.inventory_answers("acme"));
        assert_eq!(waits.as_mut().now_or_never(), None);
        world.hang_inventory("acme", false);
        world.hang_start("acme-proxy", "18.1.1", false);
        assert_eq!(waits.now_or_never(), Some(()));
        assert_eq!(start("acme-proxy-7d9", "18.1.1"), Some(()));
    }
}
