//! Pools share the agents out: each agent is in one pool, or in the implicit one, which is required.

use chrono::{DateTime, Utc};
use crds::AgentPool;
use crds::agent_pool::Strategy;
use kube::ResourceExt;

use crate::clock;

/// A pool, as far as planning goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Name of the AgentPool.
    pub name: String,
    /// When it was created, by the API server's clock.
    pub created: DateTime<Utc>,
    /// Services of which an agent runs one; empty for any.
    pub services: Vec<String>,
    /// Update groups to one of which it belongs; empty for any.
    pub update_groups: Vec<String>,
    /// Whether its agents hold a major update back.
    pub required: bool,
    /// Whether its agents are told of new versions.
    pub enrolled: bool,
    /// How pools wait for each other.
    pub strategy: Strategy,
    /// When its turn is.
    pub order: i32,
}

impl From<&AgentPool> for Pool {
    fn from(object: &AgentPool) -> Pool {
        let created = object.metadata.creation_timestamp.as_ref();
        let spec = &object.spec;
        Pool {
            name: object.name_any(),
            created: created.map(|created| clock::from_jiff(created.0)).unwrap_or_default(),
            services: spec.matches.services.clone(),
            update_groups: spec.matches.update_groups.clone(),
            required: spec.required,
            enrolled: spec.automatic_updates.enrolled,
            strategy: spec.automatic_updates.strategy,
            order: spec.automatic_updates.order,
        }
    }
}

impl Pool {
    /// Whether it takes every agent that no other pool took.
    pub fn takes_all(&self) -> bool {
        self.services.is_empty() && self.update_groups.is_empty()
    }

    fn takes(&self, services: &[String], update_group: &str) -> bool {
        let serves = |wanted: &String| services.iter().any(|found| found.eq_ignore_ascii_case(wanted));
        (self.services.is_empty() || self.services.iter().any(serves))
            && (self.update_groups.is_empty() || self.update_groups.iter().any(|wanted| wanted == update_group))
    }
}

/// The order in which pools are asked: those that take all come last, else the oldest first.
pub fn in_order(pools: &[Pool]) -> Vec<&Pool> {
    let mut ordered: Vec<&Pool> = pools.iter().collect();
    ordered.sort_by(|one, other| {
        (one.takes_all(), one.created, &one.name).cmp(&(other.takes_all(), other.created, &other.name))
    });
    ordered
}

/// Place of the first of these pools that takes such an agent; past the last one is the implicit pool.
pub fn place(ordered: &[&Pool], services: &[String], update_group: &str) -> usize {
    ordered.iter().position(|pool| pool.takes(services, update_group)).unwrap_or(ordered.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn pool(name: &str, created: i64, services: &[&str], update_groups: &[&str]) -> Pool {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Pool {
            name: name.into(),
            created: DateTime::from_timestamp(created, 0).expect("in range"),
            services: owned(services),
            update_groups: owned(update_groups),
            required: true,
            enrolled: true,
            strategy: Strategy::HaltOnError,
            order: 1,
        }
    }

    fn taken_by(pools: &[Pool], services: &[&str], update_group: &str) -> Option<String> {
        let ordered = in_order(pools);
        let services: Vec<String> = services.iter().map(|service| (*service).to_owned()).collect();
        ordered.get(place(&ordered, &services, update_group)).map(|pool| pool.name.clone())
    }

    #[test]
    fn the_oldest_pool_that_fits_takes_an_agent_and_the_name_decides_between_twins() {
        let pools = [pool("young", 9, &["Node"], &[]), pool("b", 5, &["Node"], &[]), pool("a", 5, &["Node"], &[])];
        assert_eq!(taken_by(&pools, &["App", "Node"], "").as_deref(), Some("a"));
    }

    #[test]
    fn a_pool_that_takes_all_gets_what_is_left_however_old_it_is() {
        let pools = [pool("rest", 1, &[], &[]), pool("nodes", 9, &["Node"], &[])];
        assert_eq!(taken_by(&pools, &["Node"], "").as_deref(), Some("nodes"));
        assert_eq!(taken_by(&pools, &["App"], "").as_deref(), Some("rest"));
    }

    #[test]
    fn both_lists_must_fit_and_of_each_one_entry() {
        let pools = [pool("p", 1, &["node", "Kube"], &["canary", "staging"])];
        assert_eq!(taken_by(&pools, &["Node"], "staging").as_deref(), Some("p"));
        assert_eq!(taken_by(&pools, &["Node"], "production"), None);
        assert_eq!(taken_by(&pools, &["App"], "canary"), None);
    }
}
