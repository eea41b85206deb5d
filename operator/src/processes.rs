//! Every process of a tenant by itself: behind a Service one of them answers for all. The pods are listed and asked at their
//! own addresses while a hop is verified, listed when some are late, and at no other time.

use std::net::{IpAddr, SocketAddr};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use plan::Fact;
use plan::keys::Authorities;
use plan::manifest::listen;
use plan::names::{Component, Identity, TENANT_ID};
use plan::observed::Process;
use plan::trouble::{self, Trouble};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::teleport::{AuthTarget, WebTarget};

/// Pods asked at the same time.
const AT_ONCE: usize = 8;
/// The label by which a pod is told to be of Auth or of Proxy.
const COMPONENT: &str = "app.kubernetes.io/component";

/// Asks all of them.
///
/// # Errors
/// When the pods cannot be listed. One that does not answer is Unknown.
pub async fn ask(
    identity: &Identity,
    domain: &str,
    authorities: &Authorities,
    context: &Context,
) -> Result<Vec<Process>> {
    let pods = list(identity, context).await?;
    let asked = pods.iter().filter_map(running).map(|(component, pod, address)| async move {
        let version = match address {
            Some(address) => version(component, address, domain, authorities, context).await,
            None => Fact::Absent,
        };
        Process { component, pod, version }
    });
    let mut found: Vec<Process> = futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    found.sort_by(|one, other| (one.component, &one.pod).cmp(&(other.component, &other.pod)));
    Ok(found)
}

/// What keeps pods from serving, those that were made last first: an older one of another template is on its way out.
///
/// # Errors
/// When the pods cannot be listed.
pub async fn troubles(identity: &Identity, context: &Context) -> Result<Vec<Trouble>> {
    let mut pods = list(identity, context).await?;
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.creation_timestamp()));
    Ok(pods.iter().filter_map(trouble::of).collect())
}

async fn list(identity: &Identity, context: &Context) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &identity.namespace);
    let of_tenant = format!("{TENANT_ID}={},{COMPONENT} in (auth, proxy)", identity.id);
    let pods = api.list(&ListParams::default().labels(&of_tenant)).await;
    Ok(pods.map_err(|source| Error::kube("list the pods of the Tenant", source))?.items)
}

async fn version(
    component: Component,
    address: IpAddr,
    domain: &str,
    authorities: &Authorities,
    context: &Context,
) -> Fact<String> {
    let domain = domain.to_owned();
    let answer = match component {
        Component::Auth => {
            let target =
                AuthTarget { address: SocketAddr::new(address, listen::AUTH), domain, host: authorities.host.clone() };
            context.teleport.ping(&target).await.map(|ping| ping.version)
        }
        Component::Proxy => {
            let ca_pem = authorities.web.trusts();
            let target = WebTarget { address: SocketAddr::new(address, listen::WEB), domain, ca_pem };
            context.teleport.web_ping(&target).await.map(|ping| ping.version)
        }
    };
    answer.map_or(Fact::Unknown, Fact::Known)
}

/// A pod whose process runs or is to run. One that leaves serves only the connections that it has.
fn running(pod: &Pod) -> Option<(Component, String, Option<IpAddr>)> {
    let component = match pod.labels().get(COMPONENT)?.as_str() {
        "auth" => Component::Auth,
        "proxy" => Component::Proxy,
        _ => return None,
    };
    let status = pod.status.as_ref();
    let ended = matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let address = status.and_then(|status| status.pod_ip.as_ref()?.parse().ok());
    Some((component, pod.name_any(), address.map(reachable)))
}

/// Where a pod is reached.
#[cfg(not(feature = "test-clock"))]
fn reachable(pod: IpAddr) -> IpAddr {
    pod
}

/// Where a pod is reached: in the test bed not at the address that the API server knows, but in the network that this
/// variable names by its first two numbers.
#[cfg(feature = "test-clock")]
fn reachable(pod: IpAddr) -> IpAddr {
    const VARIABLE: &str = "TENANT_OPERATOR_TEST_PODS";
    let (IpAddr::V4(address), Ok(network)) = (pod, std::env::var(VARIABLE)) else { return pod };
    let network: std::net::Ipv4Addr =
        network.parse().unwrap_or_else(|_| panic!("{VARIABLE}: {network:?} is no network"));
    let ([a, b, ..], [.., c, d]) = (network.octets(), address.octets());
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_counts_from_its_making_until_it_leaves() {
        let pod = |component: &str, leaves: Option<&str>, status: serde_json::Value| -> Option<_> {
            let pod = json!({
                "metadata": {"name": "p", "deletionTimestamp": leaves, "labels": {COMPONENT: component}},
                "spec": {"containers": []}, "status": status,
            });
            running(&serde_json::from_value(pod).expect("a Pod")).map(|(component, _, address)| (component, address))
        };
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        assert_eq!(
            pod("auth", None, json!({"phase": "Running", "podIP": "10.0.0.7"})),
            Some((Component::Auth, address))
        );
        assert_eq!(pod("proxy", None, json!({"phase": "Pending"})), Some((Component::Proxy, None)));
        assert_eq!(pod("auth", None, json!({"phase": "Failed", "podIP": "10.0.0.7"})), None);
        assert_eq!(pod("auth", Some("2026-07-01T00:00:00Z"), json!({"podIP": "10.0.0.7"})), None);
        assert_eq!(pod("preflight", None, json!({"podIP": "10.0.0.7"})), None);
    }
}
