//! The load-balancer controller: gives every Service of type LoadBalancer an address of its own and takes it back.
//! Traffic is the service proxy's business.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::follow::{Change, Follower, Identity};

use super::loopback::Loopback;

const RETRY: Duration = Duration::from_secs(1);

/// Serves load balancers until it is dropped.
pub(super) async fn run(client: Client, loopback: Loopback) {
    let mut services = Follower::<Service>::new(Api::all(client.clone()), watcher::Config::default());
    let mut addresses = Addresses { loopback, held: HashMap::new() };
    // Until all Services are known, an address that looks free may be some Service's already.
    let mut early = Some(Vec::new());
    loop {
        match services.next().await {
            Change::Applied(service) => {
                addresses.recognise(&service);
                match &mut early {
                    Some(early) => early.push(service),
                    None => settle(&client, &mut addresses, &service).await,
                }
            }
            Change::Gone(identity) => {
                addresses.held.remove(&identity);
            }
            Change::Complete => {
                for service in early.take().into_iter().flatten() {
                    settle(&client, &mut addresses, &service).await;
                }
            }
        }
    }
}

/// Makes the status of a Service what it should be.
async fn settle(client: &Client, addresses: &mut Addresses, service: &Service) {
    let Some(ingress) = addresses.wanted(service) else { return };
    let identity = Identity::of(service);
    let api = Api::<Service>::namespaced(client.clone(), &identity.namespace);
    // The uid makes the write fail on a successor of the same name.
    let patch = json!({"metadata": {"uid": identity.uid}, "status": {"loadBalancer": {"ingress": ingress}}});
    loop {
        match api.patch_status(&identity.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return,
            // It has gone or changed its life; the watch tells what comes next.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
            Err(error) => {
                tracing::warn!(service = %identity.name, %error, "cannot publish a load balancer address");
                // A refusal is for good; anything else is an API server that will be back.
                if matches!(&error, kube::Error::Api(status) if (400..429).contains(&status.code)) {
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Who holds which address.
struct Addresses {
    loopback: Loopback,
    held: HashMap<Identity, u16>,
}

impl Addresses {
    /// Takes note of the address that a Service already has, unless another one has it too.
    fn recognise(&mut self, service: &Service) {
        let identity = Identity::of(service);
        let Some(number) = published(service).and_then(|address| self.number(address)) else { return };
        let taken = self.held.iter().any(|(holder, held)| *held == number && *holder != identity);
        if balanced(service) && !taken {
            self.held.entry(identity).or_insert(number);
        }
    }

    /// What the status should say, if it says something else.
    fn wanted(&mut self, service: &Service) -> Option<Value> {
        let published = published(service);
        if !balanced(service) {
            self.held.remove(&Identity::of(service));
            // Only what was given here is taken back.
            return published.and_then(|address| self.number(address)).map(|_| Value::Null);
        }
        let number = self.claim(Identity::of(service))?;
        let address = self.loopback.load_balancer(number);
        (published != Some(address)).then(|| json!([{"ip": address.to_string(), "ipMode": "VIP"}]))
    }

    fn claim(&mut self, identity: Identity) -> Option<u16> {
        if let Some(number) = self.held.get(&identity) {
            return Some(*number);
        }
        let taken: BTreeSet<u16> = self.held.values().copied().collect();
        let Some(number) = (1..u16::MAX).find(|number| !taken.contains(number)) else {
            tracing::error!(service = %identity.name, "no load balancer address is left");
            return None;
        };
        self.held.insert(identity, number);
        Some(number)
    }

    fn number(&self, address: Ipv4Addr) -> Option<u16> {
        let [_, _, c, d] = address.octets();
        let number = u16::from_be_bytes([c, d]);
        (self.loopback.load_balancer(number) == address).then_some(number)
    }
}

fn balanced(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    kind == Some("LoadBalancer") && service.metadata.deletion_timestamp.is_none()
}

/// The first address that the status shows.
fn published(service: &Service) -> Option<Ipv4Addr> {
    let load_balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    load_balancer.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Slot;

    fn addresses() -> Addresses {
        Addresses { loopback: Loopback::of(&Slot::claim().unwrap()), held: HashMap::new() }
    }

    fn service(name: &str, kind: &str, ip: Option<Ipv4Addr>) -> Service {
        let ingress = ip.map(|ip| json!([{"ip": ip.to_string()}]));
        serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": name, "uid": format!("uid-{name}")},
            "spec": {"type": kind}, "status": {"loadBalancer": {"ingress": ingress}},
        }))
        .unwrap()
    }

    fn told(value: Option<Value>) -> Option<Ipv4Addr> {
        value.map(|value| value[0]["ip"].as_str().unwrap().parse().unwrap())
    }

    #[test]
    fn two_services_never_share_an_address() {
        let mut addresses = addresses();
        let first = told(addresses.wanted(&service("a", "LoadBalancer", None))).unwrap();
        let second = told(addresses.wanted(&service("b", "LoadBalancer", None))).unwrap();
        assert_ne!(first, second);
        assert_eq!(told(addresses.wanted(&service("a", "LoadBalancer", None))), Some(first), "it is stable");
        assert_eq!(addresses.wanted(&service("a", "LoadBalancer", Some(first))), None, "it is written once");
    }

    #[test]
    fn a_service_keeps_the_address_it_had() {
        let mut addresses = addresses();
        let had = addresses.loopback.load_balancer(1);
        addresses.recognise(&service("old", "LoadBalancer", Some(had)));
        assert_ne!(told(addresses.wanted(&service("new", "LoadBalancer", None))), Some(had));
        assert_eq!(addresses.wanted(&service("old", "LoadBalancer", Some(had))), None);
    }

    #[test]
    fn a_service_that_claims_the_address_of_another_gets_its_own() {
        let mut addresses = addresses();
        let had = addresses.loopback.load_balancer(1);
        for name in ["owner", "thief"] {
            addresses.recognise(&service(name, "LoadBalancer", Some(had)));
        }
        assert_eq!(addresses.wanted(&service("owner", "LoadBalancer", Some(had))), None);
        let given = told(addresses.wanted(&service("thief", "LoadBalancer", Some(had))));
        assert!(given.is_some_and(|given| given != had), "{given:?}");
    }

    #[test]
    fn a_service_that_stops_being_one_gives_its_address_back() {
        let mut addresses = addresses();
        let had = told(addresses.wanted(&service("a", "LoadBalancer", None))).unwrap();
        assert_eq!(addresses.wanted(&service("a", "ClusterIP", Some(had))), Some(Value::Null));
        assert_eq!(told(addresses.wanted(&service("b", "LoadBalancer", None))), Some(had));
        let foreign = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(addresses.wanted(&service("c", "ClusterIP", Some(foreign))), None, "another controller's");
    }
}
