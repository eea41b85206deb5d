//! Cluster DNS as a function: Service names and the names of pods behind headless Services. It knows no other name, as
//! nothing outside this machine may be dialled.

use std::net::IpAddr;
use std::sync::Arc;

use super::directory::Directory;

/// A handle to the cluster's names.
#[derive(Debug, Clone)]
pub struct Resolver {
    directory: Arc<Directory>,
}

impl Resolver {
    pub(super) fn new(directory: Arc<Directory>) -> Resolver {
        Resolver { directory }
    }

    /// All addresses of a name; none if it does not resolve.
    ///
    /// `<service>.<namespace>.svc.cluster.local` and, as the search path of a pod allows, anything shorter down to
    /// `<service>.<namespace>`. Pods of a stand-in kubelet resolve to their loopback address.
    pub fn resolve(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let name = host.strip_suffix(".cluster.local").unwrap_or(&host);
        let labels: Vec<&str> = name.strip_suffix(".svc").unwrap_or(name).split('.').collect();
        match labels[..] {
            [service, namespace] => self.directory.addresses(&(namespace.into(), service.into())),
            [pod, service, namespace] => self.directory.pod_addresses(&(namespace.into(), service.into()), pod),
            _ => Vec::new(),
        }
    }
}

impl teleport_standin::Resolve for Resolver {
    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        Resolver::resolve(self, host)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;
    use crate::network::loopback::Loopback;
    use crate::slot::Slot;

    struct Cluster {
        slot: Slot,
        resolver: Resolver,
    }

    fn cluster() -> Cluster {
        let slot = Slot::claim().unwrap();
        let directory = Arc::new(Directory::new(Loopback::of(&slot)));
        directory.put_service_json(json!({
            "metadata": {"namespace": "tenants", "name": "acme-proxy"}, "spec": {"clusterIPs": ["127.64.0.9"]},
        }));
        directory.put_service_json(json!({
            "metadata": {"namespace": "tenants", "name": "acme-auth"}, "spec": {"clusterIPs": ["None"]},
        }));
        directory.put_slice_json(json!({
            "metadata": {"namespace": "tenants", "name": "acme-auth-x", "labels": {"kubernetes.io/service-name": "acme-auth"}},
            "addressType": "IPv4", "ports": [],
            "endpoints": [
                {"addresses": ["198.18.1.2"], "hostname": "zero", "conditions": {"ready": true}},
                {"addresses": ["198.18.1.3"], "conditions": {"ready": true}},
                {"addresses": ["198.18.1.4"], "conditions": {"ready": false, "serving": false}},
            ],
        }));
        Cluster { slot, resolver: Resolver::new(directory) }
    }

    #[test]
    fn a_service_resolves_to_its_cluster_address_under_all_its_names() {
        let Cluster { resolver, .. } = cluster();
        for suffix in ["", ".svc", ".svc.cluster.local", ".svc.cluster.local.", ".SVC.Cluster.Local"] {
            let host = format!("acme-proxy.tenants{suffix}");
            assert_eq!(resolver.resolve(&host), [IpAddr::from([127, 64, 0, 9])], "{host}");
        }
    }

    #[test]
    fn a_headless_service_resolves_to_its_ready_pods() {
        let Cluster { slot, resolver } = cluster();
        let pods = [[198, 18, 1, 2], [198, 18, 1, 3]].map(|pod| IpAddr::from(slot.pod_loopback(Ipv4Addr::from(pod))));
        assert_eq!(resolver.resolve("acme-auth.tenants.svc.cluster.local"), pods);
        assert_eq!(resolver.resolve("zero.acme-auth.tenants.svc"), pods[..1]);
    }

    #[test]
    fn other_names_do_not_resolve() {
        let Cluster { resolver, .. } = cluster();
        for host in ["acme-proxy", "acme-proxy.others.svc", "x.acme-proxy.tenants.svc", "example.com", ""] {
            assert_eq!(resolver.resolve(host), [] as [IpAddr; 0], "{host}");
        }
        assert_eq!(resolver.resolve("127.64.0.9"), [IpAddr::from([127, 64, 0, 9])]);
    }
}
