//! What the network of the Kubernetes cluster is like: `network` of the fleet policy. The NetworkPolicies of all tenants go by it.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern;

/// More would make each tenant's policies long.
const MOST_RANGES: usize = 32;
const MOST_ADDRESSES: usize = 8;
const MOST_ANNOTATIONS: usize = 64;

/// Where metadata services answer, which give credentials of the node to whoever asks: link-local IPv4 as a whole (EC2, ECS and
/// EKS), and the range that EC2 uses for them in IPv6. <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>
pub const METADATA_SERVICES: [&str; 2] = ["169.254.0.0/16", "fd00:ec2::/32"];

/// The network of the cluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterNetwork {
    /// Ranges that no pod of a tenant may reach, in CIDR notation: those of pods, Services and nodes, and everything private
    /// that tenants have no business with. Their own Auth and DNS are reached all the same. The metadata services of AWS are
    /// always out of reach.
    #[serde(default)]
    #[schemars(length(max = MOST_RANGES), inner(regex(pattern = pattern::RANGE)))]
    pub blocked_ranges: Vec<String>,
    /// Who answers DNS.
    #[serde(default)]
    pub dns: ClusterDns,
    /// Annotations that tenants may put on their public Service (`spec.network.annotations`), by their whole keys. By some of them
    /// load balancers are given addresses, certificates and security groups of the account: allow what no tenant can take from another.
    #[serde(default)]
    #[schemars(length(max = MOST_ANNOTATIONS), inner(regex(pattern = pattern::LABEL_KEY)))]
    pub service_annotations: Vec<String>,
    /// The node ports of the cluster: `--service-node-port-range` of its API server.
    #[serde(default)]
    pub node_ports: NodePorts,
}

/// A range of node ports.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct NodePorts {
    /// First port.
    #[schemars(range(min = 1, max = 65535))]
    pub start: u16,
    /// Last port.
    #[schemars(range(min = 1, max = 65535))]
    pub end: u16,
}

impl Default for NodePorts {
    /// Those of an API server that is not told otherwise.
    fn default() -> Self {
        NodePorts { start: 30000, end: 32767 }
    }
}

/// The cluster's DNS: pods, addresses, or both.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterDns {
    /// Namespace of its pods.
    #[serde(default = "default_namespace")]
    #[schemars(regex(pattern = pattern::NAMESPACE))]
    pub namespace: String,
    /// Labels of its pods.
    #[serde(default = "default_labels")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub pod_labels: BTreeMap<String, String>,
    /// Addresses beside them, such as that of a cache on each node (`169.254.20.10`).
    #[serde(default)]
    #[schemars(length(max = MOST_ADDRESSES), inner(regex(pattern = pattern::ADDRESS)))]
    pub addresses: Vec<String>,
    /// On which port its pods listen, UDP and TCP: policies speak of the pod behind a Service.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

fn default_port() -> u16 {
    53
}

fn default_namespace() -> String {
    "kube-system".to_owned()
}

/// Which CoreDNS and kube-dns have wherever they are installed by the cluster's maker.
fn default_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())])
}

impl Default for ClusterDns {
    fn default() -> Self {
        ClusterDns {
            namespace: default_namespace(),
            pod_labels: default_labels(),
            addresses: Vec::new(),
            port: default_port(),
        }
    }
}

impl ClusterNetwork {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<String> {
        let ClusterNetwork { blocked_ranges, dns, service_annotations, node_ports } = self;
        let ClusterDns { namespace, pod_labels, addresses, port } = dns;
        let mut faults = Vec::new();
        if blocked_ranges.len() > MOST_RANGES {
            faults.push(format!("network.blockedRanges: at most {MOST_RANGES} may be listed"));
        }
        for (index, text) in blocked_ranges.iter().enumerate() {
            let range = text.parse::<IpNet>();
            let mapped = |range: IpNet| matches!(range, IpNet::V6(range) if range.addr().to_ipv4_mapped().is_some());
            if !range.is_ok_and(|range| range.prefix_len() > 0 && range.trunc() == range && !mapped(range)) {
                faults.push(format!(
                    "network.blockedRanges[{index}]: {text:?} must be a range such as 10.0.0.0/8 or fd00::/8, smaller than everything \
                     and without bits behind its prefix"
                ));
            }
        }
        let NodePorts { start, end } = node_ports;
        if *start == 0 || end < start {
            faults.push(format!("network.nodePorts: {start} to {end} is no range of ports"));
        }
        if *port == 0 {
            faults.push("network.dns.port: 0 is no port".to_owned());
        }
        if service_annotations.len() > MOST_ANNOTATIONS {
            faults.push(format!("network.serviceAnnotations: at most {MOST_ANNOTATIONS} may be listed"));
        }
        for (index, key) in service_annotations.iter().enumerate() {
            if !pattern::matches(pattern::LABEL_KEY, key) {
                faults.push(format!("network.serviceAnnotations[{index}]: {key:?} is no key of an annotation"));
            }
        }
        if !pattern::matches(pattern::NAMESPACE, namespace) {
            faults.push(format!("network.dns.namespace: {namespace:?} is no name of a namespace"));
        }
        if pod_labels.is_empty() {
            faults.push("network.dns.podLabels: name at least one label, such as k8s-app: kube-dns".to_owned());
        }
        faults.extend(label_faults("network.dns.podLabels", pod_labels));
        if addresses.len() > MOST_ADDRESSES {
            faults.push(format!("network.dns.addresses: at most {MOST_ADDRESSES} may be listed"));
        }
        for (index, text) in addresses.iter().enumerate() {
            if text.parse::<IpAddr>().is_err() {
                faults.push(format!(
                    "network.dns.addresses[{index}]: {text:?} must be an IP address such as 169.254.20.10"
                ));
            }
        }
        faults
    }

    /// The ranges of one family that are out of reach.
    pub fn blocked(&self, ipv6: bool) -> Vec<String> {
        let all = METADATA_SERVICES.into_iter().chain(self.blocked_ranges.iter().map(String::as_str));
        all.filter(|range| range.contains(':') == ipv6).map(str::to_owned).collect()
    }
}

/// Which of the labels in this field are none.
pub fn label_faults(field: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
    let wrong = labels.iter().filter(|(key, value)| {
        !pattern::matches(pattern::LABEL_KEY, key) || !pattern::matches(pattern::LABEL_VALUE, value)
    });
    wrong.map(|(key, value)| format!("{field}: {key:?}: {value:?} is no label")).collect()
}

/// An address as a range of its own.
pub fn single(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(yaml: &str) -> Vec<String> {
        serde_saphyr::from_str::<ClusterNetwork>(yaml).expect("it can be read").faults()
    }

    #[test]
    fn what_a_policy_may_say_of_the_network() {
        assert!(faults("{}").is_empty());
        assert!(faults("{blockedRanges: [10.0.0.0/8, 192.168.64.0/18, 'fd00::/8', 10.1.2.3/32]}").is_empty());
        assert!(
            faults("{dns: {namespace: dns, podLabels: {app: unbound}, addresses: [169.254.20.10, 'fd00::a']}}")
                .is_empty()
        );
        for (yaml, field) in [
            ("{blockedRanges: [10.0.0.0]}", "network.blockedRanges[0]"),
            ("{blockedRanges: [10.0.0.0/8, 10.0.0.1/8]}", "network.blockedRanges[1]"),
            ("{blockedRanges: [0.0.0.0/0]}", "network.blockedRanges[0]"),
            ("{blockedRanges: [10.0.0.0/33]}", "network.blockedRanges[0]"),
            ("{blockedRanges: ['::ffff:10.0.0.0/104']}", "network.blockedRanges[0]"),
            ("{serviceAnnotations: ['a b']}", "network.serviceAnnotations[0]"),
            ("{dns: {port: 0}}", "network.dns.port"),
            ("{nodePorts: {start: 0, end: 9}}", "network.nodePorts"),
            ("{nodePorts: {start: 30010, end: 30009}}", "network.nodePorts"),
            ("{dns: {namespace: 'Kube System'}}", "network.dns.namespace"),
            ("{dns: {podLabels: {}}}", "network.dns.podLabels"),
            ("{dns: {podLabels: {a b: c}}}", "network.dns.podLabels"),
            ("{dns: {addresses: [169.254.20.10/32]}}", "network.dns.addresses[0]"),
        ] {
            let found = faults(yaml);
            assert!(found.len() == 1 && found[0].starts_with(field), "{yaml}: {found:?}");
        }
    }

    #[test]
    fn metadata_services_are_out_of_reach_whatever_the_policy_says() {
        let network =
            ClusterNetwork { blocked_ranges: vec!["10.0.0.0/8".into(), "fd00::/8".into()], ..Default::default() };
        assert_eq!(network.blocked(false), ["169.254.0.0/16", "10.0.0.0/8"]);
        assert_eq!(network.blocked(true), ["fd00:ec2::/32", "fd00::/8"]);
        assert_eq!(ClusterNetwork::default().blocked(false), ["169.254.0.0/16"]);
        assert_eq!([single("169.254.20.10"), single("fd00::a")], ["169.254.20.10/32", "fd00::a/128"]);
    }
}
