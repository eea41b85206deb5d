//! Who may speak with a tenant's pods, and with whom they may: nobody but whom these policies name. `operator/docs/network.md`
//! has the pairs, which a test derives from the objects in the cluster.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::listen::{AUTH, KUBE, METRICS, MYSQL, SSH, TUNNEL, WEB};
use crate::cluster_network::{ClusterDns, single};
use crate::monitoring::Scraper;
use crate::names::{Component, TENANT_ID};
use crate::object::{Kind, Object};

/// The label by which Kubernetes lets a namespace be named.
const NAMESPACE: &str = "kubernetes.io/metadata.name";
/// The label of the operator's pods.
const OPERATOR: (&str, &str) = ("tenancy.dev/process", "operator");
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// All pods of the tenant, those of checks included: what no other policy allows is refused.
pub fn nothing(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let selector = LabelSelector {
        match_labels: Some([(TENANT_ID.to_owned(), tenant.id.clone())].into()),
        ..LabelSelector::default()
    };
    policy(inputs, tenant.slug.clone(), tenant.labels(), selector, Vec::new(), Vec::new())
}

/// Auth: its own Proxy and the operator come in; it goes out to DNS, and to AWS and identity providers on 443.
pub fn auth(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labels(NAMESPACE, inputs.operator_namespace)),
        pod_selector: Some(labels(OPERATOR.0, OPERATOR.1)),
        ip_block: None,
    };
    let proxy = NetworkPolicyPeer { pod_selector: Some(tenant.label_selector(Component::Proxy)), ..Default::default() };
    let ingress = NetworkPolicyIngressRule { from: Some(vec![proxy, operator]), ports: Some(vec![tcp(AUTH)]) };
    let (labels, selector) = (tenant.component_labels(Component::Auth), tenant.label_selector(Component::Auth));
    let ingress = std::iter::once(ingress).chain(scraped(inputs)).collect();
    policy(inputs, tenant.auth(), labels, selector, ingress, outside(inputs))
}

/// Proxy: everybody comes in, on the ports that it serves; it goes out to its own Auth, to DNS and on 443.
pub fn proxy(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let mut served = vec![WEB];
    if inputs.ports.is_some() {
        served.extend([SSH, TUNNEL, KUBE, MYSQL]);
    }
    let ingress = NetworkPolicyIngressRule { from: None, ports: Some(served.into_iter().map(tcp).collect()) };
    let own = NetworkPolicyPeer { pod_selector: Some(tenant.label_selector(Component::Auth)), ..Default::default() };
    let to_auth = NetworkPolicyEgressRule { to: Some(vec![own]), ports: Some(vec![tcp(AUTH)]) };
    let egress = std::iter::once(to_auth).chain(outside(inputs)).collect();
    let (labels, selector) = (tenant.component_labels(Component::Proxy), tenant.label_selector(Component::Proxy));
    let ingress = std::iter::once(ingress).chain(scraped(inputs)).collect();
    policy(inputs, tenant.proxy_deployment(), labels, selector, ingress, egress)
}

/// Who reads metrics, if the policy names somebody.
fn scraped(inputs: &Inputs<'_>) -> Option<NetworkPolicyIngressRule> {
    let Scraper { namespace, pod_labels } = inputs.installation.monitoring.scraper.as_ref()?;
    let scraper = NetworkPolicyPeer {
        namespace_selector: Some(labels(NAMESPACE, namespace)),
        pod_selector: Some(LabelSelector { match_labels: Some(pod_labels.clone()), ..LabelSelector::default() }),
        ip_block: None,
    };
    Some(NetworkPolicyIngressRule { from: Some(vec![scraper]), ports: Some(vec![tcp(METRICS)]) })
}

/// DNS, and 443 everywhere but in the ranges that are out of reach.
fn outside(inputs: &Inputs<'_>) -> Vec<NetworkPolicyEgressRule> {
    let network = &inputs.installation.network;
    let ClusterDns { namespace, pod_labels, addresses, port: of_dns } = &network.dns;
    let pods = NetworkPolicyPeer {
        namespace_selector: Some(labels(NAMESPACE, namespace)),
        pod_selector: Some(LabelSelector { match_labels: Some(pod_labels.clone()), ..LabelSelector::default() }),
        ip_block: None,
    };
    let range = |cidr: String, except: Option<Vec<String>>| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr, except }),
        ..NetworkPolicyPeer::default()
    };
    let caches: Vec<NetworkPolicyPeer> = addresses.iter().map(|address| range(single(address), None)).collect();
    let dns = |to: Vec<NetworkPolicyPeer>, number| NetworkPolicyEgressRule {
        to: Some(to),
        ports: Some(vec![port("UDP", number), tcp(number)]),
    };
    let everywhere = EVERYWHERE.map(|cidr| range(cidr.to_owned(), Some(network.blocked(cidr.contains(':')))));
    let beside = (!caches.is_empty()).then(|| dns(caches, 53));
    let web = NetworkPolicyEgressRule { to: Some(everywhere.to_vec()), ports: Some(vec![tcp(443)]) };
    [dns(vec![pods], *of_dns)].into_iter().chain(beside).chain([web]).collect()
}

fn policy(
    inputs: &Inputs<'_>,
    name: String,
    labels: std::collections::BTreeMap<String, String>,
    selector: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> Object {
    Object::new(
        Kind::NetworkPolicy,
        &NetworkPolicy {
            metadata: inputs.tenant.metadata(name, labels),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(selector),
                policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
                ingress: Some(ingress).filter(|rules| !rules.is_empty()),
                egress: Some(egress).filter(|rules| !rules.is_empty()),
            }),
        },
    )
}

fn labels(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(key.to_owned(), value.to_owned())].into()), ..LabelSelector::default() }
}

fn tcp(number: u16) -> NetworkPolicyPort {
    port("TCP", number)
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}
