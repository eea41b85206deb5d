use proptest::prelude::*;

use super::super::inventory::tests::{instance, read};
use super::super::memory::{Rules, remember};
use super::super::pool::tests::pool;
use super::*;
use crate::teleport::Instance;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("in range")
}

fn view_of(agents: &[Instance], memory: &Memory, pools: &[Pool]) -> AgentsView {
    AgentsView::new(Some(&read(agents, at(0))), Observation::Fresh, (Recall::Loaded, memory), pools, 18)
}

fn view(agents: &[Instance], pools: &[Pool]) -> AgentsView {
    view_of(agents, &Memory::default(), pools)
}

/// After a reading in which these were there and one in which nobody is.
fn all_left(agents: &[Instance]) -> Memory {
    let rules = Rules { major: 18, remember_for: chrono::TimeDelta::hours(24), forget: None };
    let memory = remember(&Memory::default(), &read(agents, at(0)), &rules, at(0));
    remember(&memory, &read(&[], at(60)), &rules, at(60))
}

#[test]
fn without_pools_everybody_is_required() {
    let view = view(&[instance("a", "17.5.2", &["Node"]), instance("b", "weird", &["App"])], &[]);
    assert_eq!((view.total, view.required_behind, view.required_unknown), (2, 2, 1));
    assert_eq!((view.pools.len(), view.pools[0].pool.as_deref(), view.pools[0].required), (1, None, true));
}

#[test]
fn a_pool_that_is_not_required_shows_its_laggards_and_holds_nothing_back() {
    let optional = Pool { required: false, ..pool("optional", 1, &["Node"], &[]) };
    let view = view(&[instance("a", "17.5.2", &["Node"]), instance("b", "18.1.0", &["App"])], &[optional]);
    assert_eq!((view.behind, view.required_behind, view.first_few.len()), (1, 0, 0));
    assert_eq!(view.pools[0].laggards[0].to_string(), "host-of-a (17.5.2)");
}

#[test]
fn an_agent_on_a_newer_major_is_counted_and_not_behind() {
    let view = view(&[instance("a", "v19.0.0", &["Node"])], &[]);
    assert_eq!((view.total, view.behind), (1, 0));
    assert_eq!(view.majors(), [MajorCount { major: 19, count: 1 }]);
}

#[test]
fn those_that_left_count_in_the_pool_that_they_were_in() {
    let memory = all_left(&[instance("a", "v17.5.2", &["Node"]), instance("b", "17.0.0", &["App"])]);
    let view = view_of(&[], &memory, &[pool("nodes", 1, &["Node"], &[])]);
    assert_eq!((view.total, view.behind, view.remembered, view.required_behind), (0, 2, 2, 2));
    assert_eq!((view.pools[0].remembered, view.pools[1].remembered), (1, 1));
    assert_eq!(view.pools[0].laggards[0].to_string(), "host-of-a (17.5.2, left 1970-01-01 00:00 UTC)");
    assert_eq!(view.oldest(), None, "they are not in the inventory");
}

#[test]
fn one_that_is_back_is_not_counted_twice() {
    let memory = all_left(&[instance("a", "17.5.2", &["Node"])]);
    let view = view_of(&[instance("a", "17.5.2", &["Node"])], &memory, &[]);
    assert_eq!((view.behind, view.remembered), (1, 0));
}

#[test]
fn the_oldest_are_named_first_and_no_more_than_fit() {
    let mut agents: Vec<Instance> =
        (0..50).map(|number| instance(&format!("{number:0>2}"), "17.5.2", &["Node"])).collect();
    agents.push(instance("zz", "16.0.0", &["Node"]));
    agents.push(instance("zy", "weird", &["App"]));
    let view = view(&agents, &[]);
    assert_eq!(view.pools[0].laggards.len(), LAGGARDS);
    let first: Vec<&str> = view.first_few.iter().map(|laggard| laggard.id.as_str()).collect();
    assert_eq!(first, ["zy", "zz", "00"]);
}

#[test]
fn enrolled_are_those_with_an_updater_in_a_pool_that_enrolls() {
    let with = |id: &str, service: &str| Instance { updater: "binary".into(), ..instance(id, "18.1.0", &[service]) };
    let agents = [with("a", "Node"), instance("b", "18.1.0", &["Node"]), with("c", "App"), with("d", "Db")];
    let left_alone = Pool { enrolled: false, ..pool("apps", 2, &["App"], &[]) };
    let view = view(&agents, &[pool("nodes", 1, &["Node"], &[]), left_alone]);
    assert_eq!(view.pools.iter().map(|share| share.enrolled).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(view.pools[0].updaters, BTreeMap::from([("binary".into(), 1), ("none".into(), 1)]));
}

fn agent() -> impl Strategy<Value = Instance> {
    let version = prop_oneof![Just("16.4.3"), Just("v17.5.2"), Just("18.1.0"), Just("19.0.0"), Just("weird")];
    let services = proptest::collection::vec(prop_oneof![Just("Node"), Just("App"), Just("Db"), Just("Auth")], 0..3);
    let group = prop_oneof![Just(""), Just("staging"), Just("production")];
    (0_u8..40, version, services, group).prop_map(|(id, version, services, group)| Instance {
        update_group: group.into(),
        ..instance(&id.to_string(), version, &services)
    })
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let services = proptest::collection::vec(prop_oneof![Just("Node"), Just("App"), Just("Db")], 0..3);
    let groups = proptest::collection::vec(prop_oneof![Just("staging"), Just("production")], 0..2);
    let one = (0_i64..3, services, groups, any::<bool>());
    proptest::collection::vec(one, 0..6).prop_map(|pools| {
        let made = pools.into_iter().enumerate().map(|(number, (created, services, groups, required))| Pool {
            required,
            ..pool(&format!("pool-{number}"), created, &services, &groups)
        });
        made.collect()
    })
}

proptest! {
    /// Each agent is in exactly one pool, and the sums are those of the whole.
    #[test]
    fn pools_share_the_agents_out(agents in proptest::collection::vec(agent(), 0..60), pools in pools()) {
        let inventory = read(&agents, at(0));
        let view = AgentsView::new(Some(&inventory), Observation::Fresh, (Recall::Loaded, &Memory::default()), &pools, 18);
        prop_assert_eq!(view.pools.len(), pools.len() + 1);
        prop_assert_eq!(view.total, inventory.agents.len() as u64);
        let behind = inventory.agents.iter().filter(|agent| inventory.profile(agent).is_behind(18)).count();
        prop_assert_eq!(view.behind, behind as u64);
        for share in &view.pools {
            let readable: u64 = share.majors.values().sum();
            prop_assert_eq!(readable + share.unknown, share.total);
            prop_assert_eq!(share.updaters.values().sum::<u64>(), share.total);
            prop_assert!(share.unknown <= share.behind && share.behind <= share.total);
            prop_assert_eq!(share.laggards.len(), LAGGARDS.min(usize::try_from(share.behind).expect("small")));
        }
        let required: u64 = view.pools.iter().filter(|share| share.required).map(|share| share.behind).sum();
        prop_assert_eq!(view.required_behind, required);
    }

    /// In which order Auth lists them, and in which order the pools are read, makes no difference.
    #[test]
    fn order_does_not_matter(
        (agents, shuffled) in proptest::collection::vec(agent(), 0..60).prop_flat_map(|agents| (Just(agents.clone()), Just(agents).prop_shuffle())),
        (pools, mixed) in pools().prop_flat_map(|pools| (Just(pools.clone()), Just(pools).prop_shuffle())),
    ) {
        prop_assert_eq!(read(&agents, at(0)), read(&shuffled, at(0)));
        prop_assert_eq!(view(&agents, &pools), view(&shuffled, &mixed));
    }
}
