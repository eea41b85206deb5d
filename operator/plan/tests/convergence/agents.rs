//! Agents that come, go and stay behind, as a tenant remembers and shows them.

use chrono::TimeDelta;
use plan::Fact;
use plan::agents::{Observation, Overflow, Recall};
use plan::teleport::Instance;
use serde_json::json;

use super::world::World;
use super::{assert_silent, block, converge, run};

fn agent(id: &str, version: &str) -> Instance {
    Instance {
        id: id.into(),
        hostname: format!("host-of-{id}"),
        version: version.into(),
        services: vec!["Node".into()],
        updater: String::new(),
        update_group: String::new(),
    }
}

fn with_agents(agents: Vec<Instance>) -> World {
    let mut world = World::new(block());
    converge(&mut world);
    world.agents = agents;
    world.tick();
    converge(&mut world);
    world
}

fn counts(world: &World) -> (i64, i64, i64) {
    let agents = world.tenant.status.clone().and_then(|status| status.agents).expect("counts");
    (agents.total, agents.behind, agents.remembered)
}

#[test]
fn a_tenant_whose_agents_are_up_to_date_has_nothing_to_remember() {
    let world = with_agents(vec![agent("a", "18.0.0"), agent("b", "19.0.0")]);
    assert_eq!((counts(&world), world.memory_writes), ((2, 0, 0), 0));
}

#[test]
fn agents_behind_are_written_down_once_and_then_nothing_is_written() {
    let mut world = with_agents(vec![agent("a", "17.5.2"), agent("b", "18.0.0"), agent("c", "weird")]);
    assert_eq!((counts(&world), world.memory_writes), ((3, 2, 0), 1));
    world.now += TimeDelta::hours(5);
    world.tick();
    assert_silent(&mut world);
    assert_eq!(world.memory_writes, 1);
}

#[test]
fn one_that_vanishes_still_counts_after_a_restart_and_for_the_whole_time() {
    let mut world = with_agents(vec![agent("a", "17.5.2")]);
    // The operator is not there while the agent leaves.
    world.agents.clear();
    world.inventory = None;
    let plan = world.plan();
    let view = plan.agents.expect("a view");
    assert_eq!((view.observation, view.required_behind), (Observation::Missing, 1));
    world.tick();
    converge(&mut world);
    assert_eq!(counts(&world), (0, 1, 1));
    let view = world.plan().agents.expect("a view");
    assert_eq!((view.required_behind, view.first_few[0].hostname.as_str()), (1, "host-of-a"));
    world.now += TimeDelta::hours(23);
    world.tick();
    converge(&mut world);
    assert_eq!(counts(&world), (0, 1, 1));
    world.now += TimeDelta::hours(3);
    world.tick();
    converge(&mut world);
    assert_eq!((counts(&world), world.memory_writes), ((0, 0, 0), 3), "listed, left, forgotten");
}

#[test]
fn nobody_is_forgotten_before_that_is_written_down() {
    let mut world = with_agents(vec![agent("a", "17.5.2")]);
    world.agents.clear();
    world.tick();
    converge(&mut world);
    world.now += TimeDelta::hours(30);
    world.tick();
    assert_eq!(world.plan().agents.expect("a view").required_behind, 1);
    run(&mut world, 0);
    assert_eq!(world.plan().agents.expect("a view").required_behind, 1, "the write did not happen");
    run(&mut world, usize::MAX);
    assert_eq!(world.plan().agents.expect("a view").required_behind, 0);
}

#[test]
fn a_person_can_have_those_that_left_forgotten() {
    let mut world = with_agents(vec![agent("a", "17.5.2"), agent("b", "17.5.2")]);
    world.agents.clear();
    world.tick();
    converge(&mut world);
    let request = json!({"ids": ["a"], "requestedAt": world.now.to_rfc3339()});
    world.tenant.spec.agents.forget = Some(serde_json::from_value(request).expect("a request"));
    converge(&mut world);
    assert_eq!(counts(&world), (0, 1, 1));
    assert_silent(&mut world);
}

#[test]
fn agents_are_remembered_also_while_the_tenant_is_not_whole() {
    let mut world = with_agents(vec![agent("a", "17.5.2")]);
    world.tables.values_mut().for_each(|(table, _)| table.stream = None);
    world.agents = vec![agent("z", "17.0.0")];
    world.tick();
    run(&mut world, usize::MAX);
    let view = world.plan().agents.expect("a view");
    assert_eq!((view.required_behind, view.remembered), (2, 1));
}

#[test]
fn a_memory_that_cannot_be_read_or_understood_changes_no_count_and_says_what_to_do() {
    let mut world = with_agents(vec![agent("a", "17.5.2")]);
    let mut observed = world.observe();
    observed.memory = Fact::Unknown;
    let plan = plan::tenant(&observed);
    assert_eq!(plan.agents.as_ref().map(|view| &view.recall), Some(&Recall::NotLoaded));
    assert_eq!((plan.steps.len(), plan.status.agents), (0, world.tenant.status.clone().expect("a status").agents));
    world.remembered = Some([("agents".to_owned(), "{".to_owned())].into());
    let plan = world.plan();
    let broken = plan.agents.map(|view| view.recall);
    assert!(
        matches!(&broken, Some(Recall::Broken(message)) if message.contains("ConfigMap acme-agents")),
        "{broken:?}"
    );
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    world.write(&world.plan());
    assert_eq!(world.condition("AgentsObserved"), Some(("False".into(), "MemoryUnreadable".into())));
    // Deleting it opens nothing: whoever it named is unknown now.
    world.remembered = None;
    converge(&mut world);
    let view = world.plan().agents.expect("a view");
    assert!(matches!((&view.recall, view.overflow), (Recall::Loaded, Some(Overflow::Ended(_)))), "{view:?}");
}

#[test]
fn a_memory_that_somebody_deleted_is_not_taken_for_an_empty_one() {
    let mut world = with_agents(vec![agent("a", "17.5.2")]);
    world.agents.clear();
    world.tick();
    converge(&mut world);
    world.remembered = None;
    for survive in [0, 1, 2, 9] {
        run(&mut world, survive);
    }
    let view = world.plan().agents.expect("a view");
    assert!(matches!(view.overflow, Some(Overflow::Ended(_))), "{view:?}");
}

#[test]
fn a_restart_writes_nothing_before_the_first_reading() {
    let mut world = with_agents(vec![agent("a", "17.5.2"), agent("b", "18.0.0")]);
    world.inventory = None;
    assert_eq!(run(&mut world, usize::MAX), (0, false));
    world.tick();
    assert_silent(&mut world);
}
