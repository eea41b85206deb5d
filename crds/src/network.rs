//! `Tenant.spec.network`: how a tenant is reached. A published address never changes under a running tenant, so most of
//! it is immutable; the rules for that stand at the root, where they also see a field come and go.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::enabled;

/// How the tenant is reached.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.tlsRouting || has(self.portPool)")
    .message("spec.network.portPool is required when spec.network.tlsRouting is false: without TLS routing clients need the ports of a block"))]
pub struct Network {
    /// `LoadBalancer`: a Service of that type with its own address. `ClusterIP`: reachable inside the cluster only.
    /// Both carry port 443 and, with a port pool, the five ports of the block. Immutable.
    #[serde(default)]
    pub exposure: Exposure,

    /// The port pool of the fleet policy from which the tenant gets five consecutive public ports: ssh, tunnel, kube,
    /// mysql, postgres. Absent: no block, everything goes through 443 (TLS routing). Immutable.
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
}

impl Default for Network {
    fn default() -> Self {
        Network {
            exposure: Exposure::default(),
            port_pool: None,
            tls_routing: enabled(),
            proxy_protocol: ProxyProtocol::default(),
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
