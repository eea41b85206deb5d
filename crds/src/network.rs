//! `Tenant.spec.network`: how a tenant is reached. A published address never changes under a running tenant, so most of
//! it is immutable; the rules for that stand at the root, where they also see a field come and go.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod::annotation_map;
use crate::tenant::enabled;

/// How the tenant is reached.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.tlsRouting || has(self.portPool)")
    .message("spec.network.portPool is required when spec.network.tlsRouting is false: without TLS routing clients need the ports of a block"))]
#[x_kube(validation = Rule::new("self.exposure != 'Gateway' || has(self.portPool)")
    .message("spec.network.portPool is required for spec.network.exposure Gateway: the pool of the fleet policy names the Gateway"))]
#[x_kube(validation = Rule::new("self.exposure == 'LoadBalancer' || !has(self.loadBalancerClass)")
    .message("spec.network.loadBalancerClass needs spec.network.exposure LoadBalancer: leave it out"))]
#[x_kube(validation = Rule::new("self.exposure == 'LoadBalancer' || !has(self.sourceRanges) || size(self.sourceRanges) == 0")
    .message("spec.network.sourceRanges needs spec.network.exposure LoadBalancer: leave it out"))]
pub struct Network {
    /// `LoadBalancer`: a Service of that type with its own address. `NodePort`: on every node; the ports of the block have their
    /// own numbers there, and 443 one that the cluster gives, which stands in `status.endpoints.nodePort`. `Gateway`: 443 goes
    /// through the Gateway of the port pool, which hands connections for the domain and all names below it through as they are
    /// (TLSRoute); the ports of the block have a Service of type LoadBalancer, which shares the address of the Gateway as the pool
    /// says. `ClusterIP`: reachable inside the cluster only. All carry port 443 and, with a port pool, the five ports of the block.
    /// Default `LoadBalancer`, immutable.
    #[serde(default)]
    pub exposure: Exposure,

    /// The port pool of the fleet policy from which the tenant gets five consecutive public ports: ssh, tunnel, kube,
    /// mysql, postgres; while it is full, from the pool that takes over, which `status.ports.pool` then names. Absent: no block,
    /// everything goes through 443 (TLS routing). Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')")
        .message("spec.network.portPool must be the name of a port pool of the fleet policy: lower-case letters, digits and '-'"))]
    pub port_pool: Option<String>,

    /// Whether clients are told to use port 443 for every protocol. The separate ports of the block stay open either way.
    /// Default true.
    #[serde(default = "enabled")]
    pub tls_routing: bool,

    /// Whether the load balancer sends PROXY protocol headers, which the Proxy then requires. Default `Disabled`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,

    /// Which implementation of load balancers serves the tenant, as the cluster names it; absent: the cluster's default one.
    /// Needs exposure `LoadBalancer`. Immutable, as it is on a Service. Example: `service.k8s.aws/nlb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$')")
        .message("spec.network.loadBalancerClass must be a name such as service.k8s.aws/nlb: a DNS name, a slash, and letters, digits, '-', '_' or '.'"))]
    pub load_balancer_class: Option<String>,

    /// Annotations of the public Service, by which load balancers are told more: those that the fleet policy allows
    /// (`network.serviceAnnotations`). At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotation_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$'))")
        .message("every key of spec.network.annotations must be a name with an optional prefix, such as service.beta.kubernetes.io/aws-load-balancer-scheme"))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('tenancy.dev/') && key != 'external-dns.alpha.kubernetes.io/hostname' && key != 'external-dns.alpha.kubernetes.io/internal-hostname')")
        .message("spec.network.annotations: keys that begin with tenancy.dev/ and the hostnames of external-dns are the operator's; leave them out"))]
    pub annotations: BTreeMap<String, String>,

    /// From where the load balancer lets clients in, as ranges of addresses; none: from everywhere. Needs exposure
    /// `LoadBalancer`. At most 32. Example: `["203.0.113.0/24"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 4, max = 43)))]
    #[x_kube(validation = Rule::new("self.all(range, isCIDR(range))")
        .message("every entry of spec.network.sourceRanges must be a range of addresses such as 203.0.113.0/24 or 2001:db8::/32"))]
    pub source_ranges: Vec<String>,

    /// Whether the public Service has IPv4, IPv6 or both: `SingleStack`, `PreferDualStack` or `RequireDualStack`; absent: what
    /// the cluster gives a Service by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
}

/// Whether the public Service has IPv4, IPv6 or both; absent: what the cluster gives a Service by itself, or what it has. Example:
/// `PreferDualStack`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// The first family of the cluster alone.
    SingleStack,
    /// Both where the cluster has both.
    PreferDualStack,
    /// Both, or nothing.
    RequireDualStack,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            exposure: Exposure::default(),
            port_pool: None,
            tls_routing: enabled(),
            proxy_protocol: ProxyProtocol::default(),
            load_balancer_class: None,
            annotations: BTreeMap::new(),
            source_ranges: Vec::new(),
            ip_family_policy: None,
        }
    }
}

/// Where the tenant's Service is published.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// A Service of type LoadBalancer with its own address.
    #[default]
    LoadBalancer,
    /// A Service of type ClusterIP.
    ClusterIP,
    /// A Service of type NodePort.
    NodePort,
    /// A TLSRoute of the Gateway API, and a Service of type LoadBalancer for the block.
    Gateway,
}

/// PROXY protocol on the Proxy's listeners.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Headers are expected on every connection.
    Enabled,
    /// Headers are refused.
    #[default]
    Disabled,
}
