//! `portPools` of the fleet policy: ranges of public ports, handed out in blocks of five, and what stands before them. Which block
//! a tenant gets is decided in `claims::ports`.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{duration, pattern};

/// Ports in a block: ssh, tunnel, kube, mysql, postgres.
pub const BLOCK: u16 = 5;
/// Pools in which nobody finds anything any more.
pub const MOST_POOLS: usize = 64;
/// As many as fit between 1024 and 65535.
const MOST_BLOCKS: u16 = 12902;

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
        let PortPool { name, start, end, max_blocks, overflow, quarantine } = pool;
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
    fn capacity_is_what_the_address_carries_and_the_range_holds() {
        let capacity = |yaml: &str| pools(yaml)[0].capacity();
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118}]"), 3);
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118, maxBlocks: 2}]"), 2);
        assert_eq!(capacity("[{name: a, start: 11100, end: 11118, maxBlocks: 9}]"), 3);
    }
}
