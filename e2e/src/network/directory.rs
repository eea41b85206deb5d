//! What the cluster's Services and EndpointSlices say, in the form that a proxy and a name server need. It decides which
//! endpoint serves a connection; it neither listens nor dials.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use crate::follow::{Change, Follower, Identity};
use crate::kubelet::addresses;

use super::Ready;
use super::loopback::Loopback;

/// Ties an EndpointSlice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace and name of a Service.
pub(super) type Key = (String, String);

/// All Services and their endpoints.
pub(super) struct Directory {
    loopback: Loopback,
    state: RwLock<State>,
    /// One turn for all Services: each new connection moves on, which spreads those of any one of them.
    turn: AtomicUsize,
}

#[derive(Default)]
struct State {
    services: HashMap<Key, Arc<Service>>,
    slices: HashMap<Key, BTreeMap<String, Slice>>,
    /// To which Service a slice belonged when it was last seen.
    owners: HashMap<(String, String), Key>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Service {
    /// Empty for a headless one.
    pub(super) cluster_ips: Vec<Ipv4Addr>,
    pub(super) load_balancer_ips: Vec<Ipv4Addr>,
    /// The TCP ports: name (may be empty) and number.
    pub(super) ports: Vec<(String, u16)>,
}

struct Slice {
    /// Port names of the Service and where they are served.
    ports: Vec<(String, u16)>,
    endpoints: Vec<Endpoint>,
}

struct Endpoint {
    address: Ipv4Addr,
    hostname: Option<String>,
    /// Takes new connections. True for a pod of a Service with `publishNotReadyAddresses`, whatever its probes say.
    ready: bool,
    /// Is being deleted, but its probes still succeed.
    last_resort: bool,
}

impl Directory {
    pub(super) fn new(loopback: Loopback) -> Directory {
        Directory { loopback, state: RwLock::default(), turn: AtomicUsize::new(0) }
    }

    /// Takes note of a Service, and returns what is known of it now.
    pub(super) fn put_service(&self, service: &core::Service) -> (Key, Arc<Service>) {
        let key = (service.namespace().unwrap_or_default(), service.name_any());
        let service = Arc::new(Service::of(service));
        self.write().services.insert(key.clone(), service.clone());
        (key, service)
    }

    pub(super) fn remove_service(&self, key: &Key) {
        self.write().services.remove(key);
    }

    fn put_slice(&self, slice: &discovery::EndpointSlice) {
        let namespace = slice.namespace().unwrap_or_default();
        let name = (namespace.clone(), slice.name_any());
        self.remove_slice(&name);
        let Some(service) = slice.labels().get(SERVICE_NAME) else { return };
        let owner = (namespace, service.clone());
        let mut state = self.write();
        state.slices.entry(owner.clone()).or_default().insert(name.1.clone(), Slice::of(slice));
        state.owners.insert(name, owner);
    }

    fn remove_slice(&self, name: &(String, String)) {
        let mut state = self.write();
        let Some(owner) = state.owners.remove(name) else { return };
        if let Some(slices) = state.slices.get_mut(&owner) {
            slices.remove(&name.1);
            if slices.is_empty() {
                state.slices.remove(&owner);
            }
        }
    }

    /// Where the next connection to a port of a Service goes. The address may be one that nobody serves.
    ///
    /// Like kube-proxy: ready endpoints; if there are none, those that still serve while they terminate.
    pub(super) fn endpoint(&self, service: &Key, port: &str) -> Option<SocketAddr> {
        let state = self.read();
        let slices = || state.slices.get(service).into_iter().flat_map(BTreeMap::values);
        let served = |fit: fn(&Endpoint) -> bool| -> Vec<SocketAddr> {
            let found = slices().flat_map(|slice| {
                let ports = slice.ports.iter().filter(|(name, _)| name == port);
                ports.flat_map(move |(_, port)| {
                    let endpoints = slice.endpoints.iter().filter(move |endpoint| fit(endpoint));
                    endpoints.map(|endpoint| SocketAddr::new(self.reach(endpoint.address).into(), *port))
                })
            });
            found.collect()
        };
        let mut candidates = served(|endpoint| endpoint.ready);
        if candidates.is_empty() {
            candidates = served(|endpoint| endpoint.last_resort);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (!candidates.is_empty()).then(|| candidates[turn % candidates.len()])
    }

    /// The addresses of a Service's name: its own, or for a headless one those of its ready pods.
    pub(super) fn addresses(&self, service: &Key) -> Vec<IpAddr> {
        let state = self.read();
        match state.services.get(service) {
            None => Vec::new(),
            Some(known) if known.cluster_ips.is_empty() => self.pods(&state, service, |_| true),
            Some(known) => known.cluster_ips.iter().copied().map(IpAddr::from).collect(),
        }
    }

    /// The addresses of one named pod of a headless Service.
    pub(super) fn pod_addresses(&self, service: &Key, hostname: &str) -> Vec<IpAddr> {
        let state = self.read();
        match state.services.get(service) {
            Some(known) if known.cluster_ips.is_empty() => {
                self.pods(&state, service, |endpoint| endpoint.hostname.as_deref() == Some(hostname))
            }
            _ => Vec::new(),
        }
    }

    fn pods(&self, state: &State, service: &Key, fit: impl Fn(&Endpoint) -> bool) -> Vec<IpAddr> {
        let slices = state.slices.get(service).into_iter().flat_map(BTreeMap::values);
        let ready = slices.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready && fit(endpoint));
        let mut addresses: Vec<IpAddr> = ready.map(|endpoint| self.reach(endpoint.address).into()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Pods of the stand-in kubelet have a loopback address; any other pod is nowhere, and keeps an address that is not
    /// on loopback so that nobody mistakes it for a process.
    fn reach(&self, pod: Ipv4Addr) -> Ipv4Addr {
        if addresses::is_stand_in(pod) { self.loopback.pod(pod) } else { pod }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Directory").field("services", &self.read().services.len()).finish_non_exhaustive()
    }
}

impl Service {
    fn of(service: &core::Service) -> Service {
        let empty = core::ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&empty);
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
        let ports = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        Service {
            cluster_ips: spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect(),
            load_balancer_ips: ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect(),
            ports: ports.filter_map(|port| Some((port.name.clone().unwrap_or_default(), number(port.port)?))).collect(),
        }
    }
}

impl Slice {
    fn of(slice: &discovery::EndpointSlice) -> Slice {
        let ports = slice.ports.iter().flatten();
        let endpoints = slice.endpoints.iter().flatten();
        Slice {
            ports: ports
                .filter_map(|port| Some((port.name.clone().unwrap_or_default(), number(port.port?)?)))
                .collect(),
            endpoints: endpoints.filter_map(Endpoint::of).collect(),
        }
    }
}

impl Endpoint {
    fn of(endpoint: &discovery::Endpoint) -> Option<Endpoint> {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        // Unset means unknown, which the API defines to be read as ready.
        let ready = conditions.ready.unwrap_or(true);
        Some(Endpoint {
            address: endpoint.addresses.first()?.parse().ok()?,
            hostname: endpoint.hostname.clone(),
            ready,
            last_resort: conditions.serving.unwrap_or(ready) && conditions.terminating.unwrap_or(false),
        })
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

/// Keeps the directory's endpoints up to date.
pub(super) async fn follow_endpoints(client: Client, directory: Arc<Directory>, ready: Ready) {
    let mut slices = Follower::<discovery::EndpointSlice>::new(Api::all(client), watcher::Config::default());
    let mut ready = Some(ready);
    loop {
        match slices.next().await {
            Change::Applied(slice) => directory.put_slice(&slice),
            Change::Gone(Identity { namespace, name, .. }) => directory.remove_slice(&(namespace, name)),
            Change::Complete => drop(ready.take()),
        }
    }
}

#[cfg(test)]
impl Directory {
    /// As the API server would tell of a slice.
    pub(super) fn put_slice_json(&self, slice: serde_json::Value) {
        self.put_slice(&serde_json::from_value(slice).expect("an EndpointSlice"));
    }

    /// As the API server would tell of a Service.
    pub(super) fn put_service_json(&self, service: serde_json::Value) -> (Key, Arc<Service>) {
        self.put_service(&serde_json::from_value(service).expect("a Service"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::slot::Slot;

    fn key() -> Key {
        ("n".into(), "s".into())
    }

    fn slice(name: &str, endpoints: &[Value]) -> Value {
        json!({
            "metadata": {"namespace": "n", "name": name, "labels": {SERVICE_NAME: "s"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "web", "port": 3080, "protocol": "TCP"}],
        })
    }

    fn endpoint(address: &str, ready: bool, serving: bool, terminating: bool) -> Value {
        json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
    }

    fn directory() -> Directory {
        Directory::new(Loopback::of(&Slot::claim().unwrap()))
    }

    fn reached(directory: &Directory, times: usize) -> Vec<String> {
        let mut found: Vec<_> =
            (0..times).filter_map(|_| directory.endpoint(&key(), "web")).map(|a| a.to_string()).collect();
        found.sort();
        found.dedup();
        found
    }

    fn loopback(directory: &Directory, pod: [u8; 4]) -> String {
        format!("{}:3080", directory.loopback.pod(pod.into()))
    }

    #[test]
    fn connections_go_round_the_ready_endpoints_of_all_slices() {
        let directory = directory();
        directory.put_slice_json(slice("a", &[endpoint("198.18.0.2", true, true, false)]));
        directory.put_slice_json(slice(
            "b",
            &[endpoint("198.18.0.3", true, true, false), endpoint("198.18.0.4", false, false, false)],
        ));
        let expected = [[198, 18, 0, 2], [198, 18, 0, 3]].map(|pod| loopback(&directory, pod));
        assert_eq!(reached(&directory, 2), expected);
        assert_eq!(directory.endpoint(&key(), "other"), None);
    }

    #[test]
    fn a_terminating_endpoint_serves_only_when_no_other_does() {
        let directory = directory();
        let terminating = endpoint("198.18.0.2", false, true, true);
        directory.put_slice_json(slice("a", &[terminating.clone(), endpoint("198.18.0.3", true, true, false)]));
        assert_eq!(reached(&directory, 4), [loopback(&directory, [198, 18, 0, 3])]);
        directory.put_slice_json(slice("a", &[terminating, endpoint("198.18.0.3", false, false, false)]));
        assert_eq!(reached(&directory, 4), [loopback(&directory, [198, 18, 0, 2])]);
    }

    #[test]
    fn a_removed_slice_serves_no_more() {
        let directory = directory();
        directory.put_slice_json(slice("a", &[endpoint("198.18.0.2", true, true, false)]));
        directory.remove_slice(&("n".into(), "a".into()));
        assert_eq!(directory.endpoint(&key(), "web"), None);
    }

    #[test]
    fn a_pod_of_another_kubelet_is_never_taken_for_a_process_here() {
        let directory = directory();
        directory.put_slice_json(slice("a", &[endpoint("198.19.0.2", true, true, false)]));
        let reached = directory.endpoint(&key(), "web").unwrap();
        assert!(!reached.ip().is_loopback(), "{reached}");
    }

    #[test]
    fn a_service_is_read_as_kube_proxy_reads_it() {
        let (_, service) = directory().put_service_json(json!({
            "metadata": {"namespace": "n", "name": "s"},
            "spec": {"clusterIP": "127.64.0.9", "clusterIPs": ["127.64.0.9"], "ports": [
                {"name": "web", "port": 443, "protocol": "TCP", "targetPort": "tls"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.128.0.1"}, {"hostname": "lb"}]}},
        }));
        let expected = Service {
            cluster_ips: vec![Ipv4Addr::new(127, 64, 0, 9)],
            load_balancer_ips: vec![Ipv4Addr::new(127, 128, 0, 1)],
            ports: vec![("web".into(), 443)],
        };
        assert_eq!(*service, expected);
    }
}
