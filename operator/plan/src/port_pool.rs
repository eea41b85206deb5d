//! `portPools` of the fleet policy: ranges of public ports, handed out in blocks of five, and what stands before them. Which block
//! a tenant gets is decided in `claims::ports`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use crds::network::Exposure;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cluster_network::NodePorts;
use crate::{duration, pattern};

/// Ports in a block: ssh, tunnel, kube, mysql, postgres.
pub const BLOCK: u16 = 5;
/// Pools in which nobody finds anything any more.
pub const MOST_POOLS: usize = 64;
/// As many as fit between 1024 and 65535.
const MOST_BLOCKS: u16 = 12902;
const MOST_ANNOTATIONS: usize = 32;

/// A range of public ports, handed out in blocks of five.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortPool {
    /// The name that tenants refer to.
    #[schemars(regex(pattern = pattern::NAME))]
    pub name: String,
    /// First port.
    #[schemars(range(min = 1024, max = 65531))]
    pub start: u16,
    /// Last port.
    #[schemars(range(min = 1028, max = 65535))]
    pub end: u16,
    /// How many blocks may be held at once: what the address of the pool can carry, whatever room the range has. A network load
    /// balancer of AWS has 50 listeners, which is 9 blocks beside port 443. Blocks that rest are not counted. Absent: as many as
    /// the range holds. Lowered, it moves nobody.
    #[serde(default)]
    #[schemars(range(min = 1, max = MOST_BLOCKS))]
    pub max_blocks: Option<u16>,
    /// The pool that new tenants of this one get their block from while this one is full; it may name another one in turn. Who has
    /// a block keeps it.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::NAME))]
    pub overflow: Option<String>,
    /// How long a block rests after its release, so that nobody reaches another tenant by an old address.
    #[serde(default = "default_quarantine")]
    #[schemars(regex(pattern = pattern::DURATION), length(min = 2))]
    pub quarantine: String,
    /// The Gateway that port 443 of tenants with exposure `Gateway` goes through.
    #[serde(default)]
    pub gateway_ref: Option<GatewayRef>,
    /// The load balancer that carries the blocks of tenants with exposure `Gateway`.
    #[serde(default)]
    pub load_balancer: PoolBalancer,
}

/// A Gateway, with a listener of protocol TLS in mode Passthrough that admits routes from the namespaces of the tenants.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayRef {
    /// Its name.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub name: String,
    /// Its namespace.
    #[schemars(regex(pattern = pattern::NAMESPACE))]
    pub namespace: String,
    /// The one of its listeners; absent: every one that admits the route.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub section_name: Option<String>,
}

/// What a tenant's Service for its block says, so that it shares the address of the Gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PoolBalancer {
    /// The implementation, as `spec.loadBalancerClass` names it; absent: the cluster's default one.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::LABEL_KEY))]
    pub class: Option<String>,
    /// Annotations, such as `metallb.io/allow-shared-ip` or `lbipam.cilium.io/sharing-key`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST_ANNOTATIONS))]
    pub annotations: BTreeMap<String, String>,
}

fn default_quarantine() -> String {
    "168h".to_owned()
}

impl PortPool {
    /// How long a block rests.
    pub fn rest(&self) -> TimeDelta {
        duration::parse(&self.quarantine).unwrap_or(TimeDelta::hours(168))
    }

    /// The first ports of its blocks.
    pub fn bases(&self) -> impl Iterator<Item = u16> + use<> {
        (self.start..=self.end - (BLOCK - 1)).step_by(usize::from(BLOCK))
    }

    /// Whether one of its blocks begins here.
    pub fn has(&self, base: u16) -> bool {
        (self.start..=self.end - (BLOCK - 1)).contains(&base) && (base - self.start).is_multiple_of(BLOCK)
    }

    /// How many blocks may be held at once.
    pub fn capacity(&self) -> usize {
        let blocks = self.bases().count();
        self.max_blocks.map_or(blocks, |most| blocks.min(usize::from(most)))
    }

    /// Whether a tenant can be published in this way by a block of this pool.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn serves(&self, exposure: Exposure, node_ports: &NodePorts) -> Result<(), String> {
        let PortPool { name, start, end, gateway_ref, .. } = self;
        match exposure {
            Exposure::LoadBalancer | Exposure::ClusterIP => Ok(()),
            Exposure::Gateway if gateway_ref.is_some() => Ok(()),
            Exposure::Gateway => Err(format!(
                "pool {name} has no gatewayRef in the fleet policy, and exposure Gateway needs one: add it, or create the Tenant with another pool or exposure"
            )),
            Exposure::NodePort if node_ports.start <= *start && *end <= node_ports.end => Ok(()),
            Exposure::NodePort => Err(format!(
                "pool {name} is {start} to {end}, and the node ports of the cluster are {} to {} (network.nodePorts of the fleet policy, --service-node-port-range of the API server): create the Tenant with a pool that lies in there, or with another exposure",
                node_ports.start, node_ports.end
            )),
        }
    }
}

/// The pools out of which a new tenant of `name` may get its block, in their order.
pub fn in_order<'a>(pools: &'a [PortPool], name: &str) -> Vec<&'a PortPool> {
    let find = |name: &str| pools.iter().find(|pool| pool.name == name);
    let next = |pool: &&PortPool| pool.overflow.as_deref().and_then(find);
    // No longer than all of them: a policy whose pools name each other in a circle is refused, and hangs nothing all the same.
    std::iter::successors(find(name), next).take(pools.len()).collect()
}

/// What is wrong with the pools.
pub fn faults(pools: &[PortPool]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut require = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    require(pools.len() <= MOST_POOLS, format!("portPools: at most {MOST_POOLS} may be listed"));
    for (index, pool) in pools.iter().enumerate() {
        let PortPool { name, start, end, max_blocks, overflow, quarantine, gateway_ref, load_balancer } = pool;
        let field = format!("portPools[{index}]");
        require(
            duration::parse(quarantine).is_some(),
            format!("{field}.quarantine: {quarantine:?} is no duration: write it as 168h"),
        );
        require(
            pattern::matches(pattern::NAME, name),
            format!(
                "{field}.name: {name:?} must be 1 to 40 lower-case letters, digits and hyphens, start with a letter and not end \
                 with a hyphen"
            ),
        );
        require(
            *start >= 1024 && u32::from(*end) >= u32::from(*start) + 4,
            format!("{field}: {start} to {end} must lie above 1023 and hold at least five ports"),
        );
        require(
            max_blocks.is_none_or(|most| (1..=MOST_BLOCKS).contains(&most)),
            format!("{field}.maxBlocks: {} must be 1 to {MOST_BLOCKS}", max_blocks.unwrap_or_default()),
        );
        for other in &pools[..index] {
            require(other.name != *name, format!("{field}.name: {name:?} is used twice"));
            require(
                *end < other.start || *start > other.end,
                format!("{field}: {start} to {end} overlaps pool {:?}", other.name),
            );
        }
        if let Some(overflow) = overflow {
            let known = pools.iter().any(|other| other.name == *overflow);
            require(known, format!("{field}.overflow: there is no pool {overflow:?}: list it, or name one that is"));
            require(
                !circles(pools, name),
                format!("{field}.overflow: {overflow:?} leads back to {name:?}: leave overflow out of the last pool"),
            );
        }
        if let Some(GatewayRef { name, namespace, section_name }) = gateway_ref {
            let section = section_name.as_ref().map(|section| ("sectionName", pattern::OBJECT_NAME, section));
            let named = [("name", pattern::OBJECT_NAME, name), ("namespace", pattern::NAMESPACE, namespace)];
            for (part, pattern, text) in named.into_iter().chain(section) {
                require(
                    pattern::matches(pattern, text),
                    format!("{field}.gatewayRef.{part}: {text:?} is no name of a Kubernetes object"),
                );
            }
        }
        let PoolBalancer { class, annotations } = load_balancer;
        if let Some(class) = class {
            require(
                pattern::matches(pattern::LABEL_KEY, class),
                format!("{field}.loadBalancer.class: {class:?} must be a name such as service.k8s.aws/nlb"),
            );
        }
        require(
            annotations.len() <= MOST_ANNOTATIONS,
            format!("{field}.loadBalancer.annotations: at most {MOST_ANNOTATIONS} may be listed"),
        );
        for key in annotations.keys() {
            require(
                pattern::matches(pattern::LABEL_KEY, key) && !key.starts_with("tenancy.dev/"),
                format!(
                    "{field}.loadBalancer.annotations: {key:?} is no key of an annotation, or is one of the operator's"
                ),
            );
        }
    }
    faults
}

/// Whether a pool comes round to itself.
fn circles(pools: &[PortPool], name: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = Some(name);
    while let Some(pool) = at.and_then(|name| pools.iter().find(|pool| pool.name == name)) {
        if !seen.insert(&pool.name) {
            return pool.name == name;
        }
        at = pool.overflow.as_deref();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(yaml: &str) -> Vec<PortPool> {
        serde_saphyr::from_str(yaml).expect("it can be read")
    }

    #[test]
    fn what_a_policy_may_say_of_its_pools() {
        let good = [
            "[]",
            "[{name: a, start: 11100, end: 11199, maxBlocks: 9, overflow: b}, {name: b, start: 11200, end: 11299}]",
            "[{name: a, start: 30000, end: 30099, gatewayRef: {name: edge, namespace: gateways, sectionName: tls}, loadBalancer: {class: metallb.io/metallb, annotations: {metallb.io/allow-shared-ip: edge}}}]",
        ];
        for yaml in good {
            assert_eq!(faults(&pools(yaml)), Vec::<String>::new(), "{yaml}");
        }
        let base = "start: 11100, end: 11199";
        for (pool, field) in [
            (format!("{{name: a, {base}, maxBlocks: 0}}"), "portPools[0].maxBlocks:"),
            (format!("{{name: a, {base}, maxBlocks: 13000}}"), "portPools[0].maxBlocks:"),
            (format!("{{name: a, {base}, overflow: b}}"), "portPools[0].overflow: there is no pool \"b\""),
            (format!("{{name: a, {base}, overflow: a}}"), "portPools[0].overflow: \"a\" leads back"),
            (format!("{{name: a, {base}, gatewayRef: {{name: E, namespace: g}}}}"), "portPools[0].gatewayRef.name:"),
            (
                format!("{{name: a, {base}, gatewayRef: {{name: e, namespace: g.h}}}}"),
                "portPools[0].gatewayRef.namespace:",
            ),
            (
                format!("{{name: a, {base}, gatewayRef: {{name: e, namespace: g, sectionName: ''}}}}"),
                "portPools[0].gatewayRef.sectionName:",
            ),
            (format!("{{name: a, {base}, loadBalancer: {{class: 'a b'}}}}"), "portPools[0].loadBalancer.class:"),
            (
                format!("{{name: a, {base}, loadBalancer: {{annotations: {{tenancy.dev/x: y}}}}}}"),
                "portPools[0].loadBalancer.annotations:",
            ),
        ] {
            let found = faults(&pools(&format!("[{pool}]")));
            assert!(found.len() == 1 && found[0].starts_with(field), "{pool}: {found:?}");
        }
    }

    #[test]
    fn overflow_is_followed_in_order_and_never_in_a_circle() {
        let three = "[{name: a, start: 11100, end: 11104, overflow: c}, {name: b, start: 11105, end: 11109}, {name: c, start: 11110, end: 11114, overflow: b}]";
        let three = pools(three);
        let order = |name| in_order(&three, name).iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>();
        assert_eq!(order("a"), ["a", "c", "b"]);
        assert_eq!(order("b"), ["b"]);
        assert!(order("none").is_empty());
        let circle = "[{name: a, start: 11100, end: 11104, overflow: b}, {name: b, start: 11105, end: 11109, overflow: c}, {name: c, start: 11110, end: 11114, overflow: b}]";
        let circle = pools(circle);
        let found = faults(&circle);
        assert!(found.len() == 2 && found[0].starts_with("portPools[1].overflow:"), "{found:?}");
        assert_eq!(in_order(&circle, "a").len(), 3);
    }

    #[test]
    fn a_pool_serves_an_exposure_or_says_what_to_do() {
        let pool = &pools("[{name: a, start: 30000, end: 30099}]")[0];
        let default = NodePorts::default();
        assert_eq!(pool.serves(Exposure::NodePort, &default), Ok(()));
        let narrow = NodePorts { start: 30000, end: 30098 };
        let told = pool.serves(Exposure::NodePort, &narrow).expect_err("one port too many");
        assert!(told.contains("30000 to 30099") && told.contains("30000 to 30098"), "{told}");
        let told = pool.serves(Exposure::Gateway, &default).expect_err("no Gateway");
        assert!(told.contains("gatewayRef"), "{told}");
        assert_eq!(pool.serves(Exposure::LoadBalancer, &narrow), Ok(()));
    }

    #[test]
    fn capacity_is_what_the_address_carries_and_the_range_holds() {
        let capacity = |yaml: &str| pools(yaml)[0].capacity();
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118}]"), 3);
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118, maxBlocks: 2}]"), 2);
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118, maxBlocks: 9}]"), 3);
    }
}
