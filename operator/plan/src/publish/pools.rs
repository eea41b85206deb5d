//! From AgentPools and the agents that are known to what is asked: which groups there are, and who must be left alone.

use std::collections::BTreeSet;

use super::{Bystanders, Group, Strategy};
use crate::agents::pool::{in_order, place};
use crate::agents::{Inventory, Memory, Pool};

/// The updater that knows groups, `teleport-update`.
const KNOWS_GROUPS: &str = "binary";

/// The pools, as groups of agents.
pub fn groups(pools: &[Pool]) -> Vec<Group> {
    let group = |pool: &Pool| Group {
        name: pool.name.clone(),
        order: pool.order,
        strategy: match pool.strategy {
            crds::agent_pool::Strategy::HaltOnError => Strategy::HaltOnError,
            crds::agent_pool::Strategy::TimeBased => Strategy::TimeBased,
        },
        enrolled: pool.enrolled,
        update_groups: pool.update_groups.clone(),
        takes_all: pool.takes_all(),
    };
    pools.iter().map(group).collect()
}

/// Agents in no enrolled pool: of the inventory, and those that left it and may come back. What drives these is not
/// remembered; one without a group may be driven by an updater that knows none.
pub fn bystanders(inventory: &Inventory, memory: &Memory, pools: &[Pool]) -> Bystanders {
    let ordered = in_order(pools);
    let left_alone = |services: &[String], update_group: &str| {
        ordered.get(place(&ordered, services, update_group)).is_none_or(|pool| !pool.enrolled)
    };
    let mut bystanders = Bystanders::default();
    // Of a profile nobody may be left.
    let in_use: BTreeSet<u32> = inventory.agents.iter().map(|agent| agent.profile).collect();
    for profile in in_use.iter().filter_map(|index| inventory.profiles.get(*index as usize)) {
        if left_alone(&profile.services, &profile.update_group) {
            bystanders.update_groups.insert(profile.update_group.clone());
            bystanders.old_updaters |= !profile.updater.is_empty() && profile.updater != KNOWS_GROUPS;
        }
    }
    for (_, entry) in memory.entries.iter().filter(|(id, _)| inventory.get(id).is_none()) {
        if left_alone(&entry.services, &entry.update_group) {
            bystanders.old_updaters |= entry.update_group.is_empty();
            bystanders.update_groups.insert(entry.update_group.clone());
        }
    }
    bystanders
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agents::inventory::tests::read;
    use crate::agents::memory::Entry;
    use crate::agents::pool::tests::pool;
    use crate::teleport::Instance;
    use chrono::DateTime;

    fn agent(id: &str, service: &str, updater: &str, group: &str) -> Instance {
        Instance {
            id: id.into(),
            hostname: id.into(),
            version: "18.1.0".into(),
            services: vec![service.into()],
            updater: updater.into(),
            update_group: group.into(),
        }
    }

    fn found(agents: &[Instance], memory: &Memory, pools: &[Pool]) -> (Vec<String>, bool) {
        let inventory = read(agents, DateTime::from_timestamp(0, 0).expect("in range"));
        let Bystanders { update_groups, old_updaters } = bystanders(&inventory, memory, pools);
        (update_groups.into_iter().collect(), old_updaters)
    }

    #[test]
    fn agents_in_no_enrolled_pool_are_bystanders() {
        let left_out = Pool { enrolled: false, ..pool("databases", 2, &["Db"], &[]) };
        let pools = [pool("nodes", 1, &["Node"], &[]), left_out];
        let agents = [agent("a", "Node", "unit", "x"), agent("b", "Db", "binary", "y"), agent("c", "App", "", "")];
        assert_eq!(found(&agents, &Memory::default(), &pools), (vec![String::new(), "y".into()], false));
        assert_eq!(found(&agents[..1], &Memory::default(), &pools), (vec![], false), "an enrolled one");
        assert_eq!(found(&[agent("d", "Db", "kube", "")], &Memory::default(), &pools), (vec![String::new()], true));
    }

    #[test]
    fn an_unknown_updater_counts_as_one_that_knows_no_groups() {
        assert!(found(&[agent("a", "Node", "novel", "")], &Memory::default(), &[]).1);
        assert!(!found(&[agent("a", "Node", "", "")], &Memory::default(), &[]).1, "nothing drives it");
    }

    #[test]
    fn one_that_left_may_come_back() {
        let entry = |group: &str| Entry {
            version: "17.5.2".into(),
            hostname: String::new(),
            services: vec!["Db".into()],
            update_group: group.into(),
            left: None,
        };
        let memory =
            |group: &str| Memory { entries: BTreeMap::from([("z".to_owned(), entry(group))]), ..Memory::default() };
        let pools = [pool("nodes", 1, &["Node"], &[])];
        assert_eq!(found(&[], &memory("y"), &pools), (vec!["y".into()], false));
        assert_eq!(found(&[], &memory(""), &pools), (vec![String::new()], true));
        // Still there: what it reports counts.
        assert_eq!(found(&[agent("z", "Db", "", "")], &memory("y"), &pools), (vec![String::new()], false));
    }
}
