//! What agents and users are told: after everything else, never in a hop, the intent in status first, and at rest nothing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::MaintenanceWindowSpec;
use crds::agent_pool::Strategy;
use crds::published::Published;
use plan::Fact;
use plan::agents::Pool;
use plan::observed::Told;
use plan::publish::{Found, Live};
use plan::teleport::Instance;
use plan::updates::WindowFact;
use plan::window::Schedule;
use serde_json::{Value, json};

use super::world::World;
use super::{ENOUGH, assert_silent, block, converge, run};

fn sundays(exclusions: &Value) -> WindowFact {
    let spec: MaintenanceWindowSpec = serde_json::from_value(json!({
        "timeZone": "UTC", "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}], "exclusions": exclusions,
    }))
    .expect("a window");
    let schedule = Arc::new(Schedule::parse(&spec).expect("a schedule"));
    WindowFact::Known { window: "customers/default".into(), schedule, limit: 1 }
}

fn pool(name: &str, order: i32, enrolled: bool) -> Pool {
    Pool {
        name: name.into(),
        created: DateTime::UNIX_EPOCH,
        services: vec![],
        update_groups: vec![name.into()],
        required: true,
        enrolled,
        strategy: Strategy::HaltOnError,
        order,
    }
}

fn agent(id: &str, version: &str, updater: &str, update_group: &str) -> Instance {
    Instance {
        id: id.into(),
        hostname: format!("host-of-{id}"),
        version: version.into(),
        services: vec!["Node".into()],
        updater: updater.into(),
        update_group: update_group.into(),
    }
}

/// A settled tenant whose agents have all reported, and whose Teleport was never told anything.
fn untold(version: &str) -> World {
    let mut spec = block();
    spec["version"] = json!(version);
    let mut world = World::new(spec);
    world.window = sundays(&json!([]));
    let live = Live { cloud: false, version: Found::Absent, config: Found::Absent, maintenance: Found::Absent };
    world.told = Told { agents: Fact::Known(live), alerts: Fact::Known(vec![]) };
    converge(&mut world);
    later(&mut world, TimeDelta::minutes(30));
    world
}

/// The same with pools, settled.
fn told(version: &str) -> World {
    let mut world = untold(version);
    world.pools = vec![pool("prod", 2, true), pool("staging", 1, true), pool("lab", 1, false)];
    converge(&mut world);
    world
}

fn later(world: &mut World, by: TimeDelta) {
    world.now += by;
    world.tick();
    for _ in 0..3 {
        run(world, usize::MAX);
        world.tick();
    }
}

fn pin(world: &mut World, version: &str) {
    world.tenant.spec.version = Some(version.into());
    world.tenant.metadata.generation = world.tenant.metadata.generation.map(|generation| generation + 1);
}

fn live(world: &World) -> &Live {
    world.told.agents.known().expect("it answers")
}

/// What stands in Teleport, in one line.
fn line(world: &World) -> String {
    let Live { version, config, maintenance, .. } = live(world);
    let (Some(version), Some(config)) = (version.agents(), config.agents()) else { return "nothing".into() };
    let groups: Vec<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    let hour = maintenance.agents().map(|hour| format!("{}:00", hour.utc_start_hour)).unwrap_or_default();
    format!("{} {} {} at {hour}", version.target_version, config.mode, groups.join(" "))
}

fn recorded(world: &World) -> Published {
    world.tenant.status.as_ref().and_then(|status| status.published.clone()).unwrap_or_default()
}

fn condition(world: &World) -> (String, String) {
    world.condition("AgentUpdatesPublished").expect("the condition")
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

fn alert(world: &World) -> Option<(String, DateTime<Utc>)> {
    let raised = world.told.alerts.known()?.first()?;
    Some((raised.alert.message.clone(), raised.expires.expect("an end")))
}

const SUNDAY: &str = "2026-09-27T02:30:00Z";

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("RFC 3339")
}

#[test]
fn agents_are_told_version_hour_and_order_and_then_nothing_is_written() {
    let mut world = told("18.1.0");
    assert_eq!(line(&world), "18.1.0 enabled staging prod not-enrolled at 2:00");
    assert_eq!(condition(&world), is("True", "Published"));
    assert_silent(&mut world);
    world.told = Told::default();
    let plan = world.plan();
    assert!(plan.listen && plan.steps.is_empty());
    assert_eq!(world.tenant.status, Some(plan.status), "a restart writes nothing before Teleport was asked");
}

#[test]
fn the_intent_is_recorded_before_the_first_write_and_a_crash_anywhere_ends_the_same() {
    let base = {
        let mut world = untold("18.1.0");
        world.pools = vec![pool("prod", 2, true), pool("staging", 1, true)];
        world
    };
    let mut first = base.clone();
    assert_eq!(run(&mut first, usize::MAX), (0, true));
    assert!(recorded(&first).config.is_some_and(|config| config.written.is_none() && config.intended.is_some()));
    let mut straight = base.clone();
    converge(&mut straight);
    for whole in 0..3 {
        for survive in 0..4 {
            let mut world = base.clone();
            for _ in 0..whole {
                run(&mut world, usize::MAX);
            }
            run(&mut world, survive);
            converge(&mut world);
            assert_eq!((line(&world), recorded(&world)), (line(&straight), recorded(&straight)), "{whole} {survive}");
            assert_silent(&mut world);
        }
    }
}

#[test]
fn a_new_version_is_told_when_its_hop_has_ended_and_not_before() {
    let mut world = told("18.1.0");
    world.now = instant(SUNDAY);
    later(&mut world, TimeDelta::zero());
    pin(&mut world, "18.1.1");
    let mut stages = 0;
    for _ in 0..ENOUGH {
        run(&mut world, usize::MAX);
        let status = world.tenant.status.as_ref().expect("a status");
        if status.update.is_some() {
            stages += 1;
            assert!(line(&world).starts_with("18.1.0 "), "{}", line(&world));
        } else if status.version.as_deref() == Some("18.1.1") {
            break;
        }
        world.tick();
    }
    assert!(stages > 3, "no hop ran");
    converge(&mut world);
    later(&mut world, TimeDelta::minutes(30));
    converge(&mut world);
    assert!(line(&world).starts_with("18.1.1 enabled staging prod"), "{}", line(&world));
    assert_eq!(live(&world).version.agents().map(|version| version.start_version.as_str()), Some("18.1.0"));
    assert_silent(&mut world);
}

#[test]
fn a_halted_hop_tells_nothing_new() {
    let mut world = told("17.5.2");
    world.agents = vec![agent("a", "17.5.2", "binary", "prod")];
    world.now = instant(SUNDAY);
    later(&mut world, TimeDelta::zero());
    world.broken.push("18.1.0".into());
    pin(&mut world, "18.1.0");
    (0..40).for_each(|_| later(&mut world, TimeDelta::minutes(1)));
    world.pools.push(pool("more", 3, true));
    (0..10).for_each(|_| later(&mut world, TimeDelta::minutes(1)));
    let status = world.tenant.status.as_ref().expect("a status");
    assert!(status.update.as_ref().is_some_and(|update| update.halted_at.is_some()), "{:?}", status.update);
    assert_eq!(line(&world), "17.5.2 enabled staging prod not-enrolled at 2:00");
}

#[test]
fn a_foreign_edit_is_told_left_alone_and_no_reason_to_be_unready() {
    let mut world = told("18.1.0");
    let before = world.told.clone();
    let Fact::Known(edited) = &mut world.told.agents else { panic!("it answers") };
    let Found::There { revision, agents: Some(config) } = &mut edited.config else { panic!("it was told") };
    config.mode = "disabled".into();
    revision.push('x');
    converge(&mut world);
    assert_eq!(
        (line(&world), condition(&world)),
        ("18.1.0 disabled staging prod not-enrolled at 2:00".into(), is("False", "ForeignEdit"))
    );
    assert_eq!(recorded(&world).foreign.len(), 1);
    assert!(world.ready());
    assert_silent(&mut world);
    world.told = before;
    converge(&mut world);
    assert_eq!((condition(&world), recorded(&world).foreign), (is("True", "Published"), vec![]));
}

#[test]
fn what_is_told_stands_while_nobody_knows_the_agents() {
    let mut world = told("18.1.0");
    world.pools.push(pool("more", 3, true));
    world.inventory = None;
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.listen), (0, false));
    assert_eq!(world.tenant.status, Some(plan.status));
    assert!(world.ready());
    // Taking back needs to know nobody.
    world.window = WindowFact::Missing { window: "customers/default".into() };
    for _ in 0..4 {
        run(&mut world, usize::MAX);
    }
    assert!(line(&world).starts_with("18.1.0 suspended"), "{}", line(&world));
    assert_eq!((condition(&world), world.ready()), (is("False", "WindowMissing"), true));
}

#[test]
fn agents_that_may_not_have_reported_yet_are_waited_for() {
    let mut world = World::new(block());
    world.window = sundays(&json!([]));
    world.told = untold("18.1.0").told;
    world.pools = vec![pool("prod", 2, true)];
    converge(&mut world);
    assert_eq!((line(&world), condition(&world)), ("nothing".into(), is("Unknown", "AgentReportIncomplete")));
    assert!(world.plan().wake.is_some_and(|wake| wake <= TimeDelta::minutes(20)));
    later(&mut world, TimeDelta::minutes(20));
    converge(&mut world);
    assert_eq!(condition(&world), is("True", "Published"));
}

#[test]
fn a_group_with_an_agent_that_must_be_left_alone_is_not_updated() {
    let mut world = untold("18.1.0");
    let nodes = Pool { services: vec!["Db".into()], ..pool("prod", 1, true) };
    world.pools = vec![nodes, pool("staging", 2, true)];
    world.agents = vec![agent("a", "18.0.0", "binary", "prod"), agent("b", "18.0.0", "unit", "")];
    world.tick();
    converge(&mut world);
    assert_eq!(line(&world), "18.1.0 enabled staging not-enrolled at ", "no hour for updaters that know no groups");
    assert!(recorded(&world).rounded.iter().any(|note| note.how.contains("agents that are not enrolled are in it")));
}

#[test]
fn an_exclusion_takes_the_hour_back_until_the_week_of_the_next_one() {
    let mut world = told("18.1.0");
    let freeze = json!([{"start": "2026-09-22T00:00:00Z", "end": "2026-10-05T00:00:00Z", "reason": "audit"}]);
    world.window = sundays(&freeze);
    converge(&mut world);
    assert!(line(&world).starts_with("18.1.0 suspended"), "{}", line(&world));
    assert_eq!(condition(&world), is("False", "Excluded"));
    let held_until = instant("2026-10-04T03:00:00Z");
    assert_eq!(world.plan().wake, Some((held_until - world.now).min(TimeDelta::minutes(15))), "or the inventory's age");
    world.now = held_until;
    world.tick();
    converge(&mut world);
    assert_eq!(line(&world), "18.1.0 enabled staging prod not-enrolled at 2:00");
}

#[test]
fn a_tenant_without_pools_is_told_nothing_and_one_that_leaves_them_takes_back() {
    let mut world = untold("18.1.0");
    converge(&mut world);
    assert_eq!((line(&world), world.condition("AgentUpdatesPublished")), ("nothing".into(), None));
    assert_eq!(world.tenant.status.as_ref().and_then(|status| status.published.clone()), None);
    let mut world = told("18.1.0");
    world.pools = vec![pool("lab", 1, false)];
    converge(&mut world);
    assert!(line(&world).starts_with("18.1.0 disabled"), "{}", line(&world));
    assert_eq!(condition(&world), is("True", "NotEnrolled"));
    assert_silent(&mut world);
}

#[test]
fn users_are_warned_while_agents_hold_a_major_back() {
    let mut world = untold("17.5.2");
    world.agents = vec![agent("a", "16.4.3", "", ""), agent("b", "weird", "", ""), agent("c", "17.5.2", "", "")];
    world.tick();
    converge(&mut world);
    assert_eq!(alert(&world), None, "nothing is due");
    pin(&mut world, "18.1.0");
    run(&mut world, usize::MAX);
    assert_eq!((alert(&world), recorded(&world).alert.as_deref()), (None, Some("18.1.0")), "recorded first");
    converge(&mut world);
    let (message, ends) = alert(&world).expect("an alert");
    assert!(
        message.contains("Teleport 18.1.0 waits for 2 agents") && message.contains("host-of-b (weird), host-of-a"),
        "{message}"
    );
    assert_silent(&mut world);
    later(&mut world, TimeDelta::hours(11));
    assert_eq!(alert(&world), Some((message.clone(), ends)), "it is not renewed early");
    later(&mut world, TimeDelta::hours(1));
    assert!(alert(&world).is_some_and(|(same, later)| same == message && later > ends + TimeDelta::hours(11)));

    world.agents[0].version = "17.5.2".into();
    world.tick();
    converge(&mut world);
    assert!(alert(&world).expect("an alert").0.contains("waits for 1 agent that"), "{:?}", alert(&world));

    // Where nobody knows the agents it is neither renewed nor ended.
    let before = alert(&world);
    world.inventory = None;
    run(&mut world, usize::MAX);
    assert_eq!(alert(&world), before);
    world.agents[1].version = "17.5.2".into();
    world.tick();
    converge(&mut world);
    let (message, ends) = alert(&world).expect("it goes within a minute");
    assert!(message.contains("no longer") && ends <= world.now + TimeDelta::minutes(1), "{message} {ends}");
    assert_eq!(recorded(&world).alert, None);
    assert_silent(&mut world);
}

#[test]
fn a_crash_around_the_alert_leaves_no_alert_that_nobody_ends() {
    let mut world = untold("17.5.2");
    world.agents = vec![agent("a", "16.4.3", "", "")];
    world.tick();
    converge(&mut world);
    pin(&mut world, "18.1.0");
    for whole in 0..3 {
        for survive in 0..3 {
            let mut world = world.clone();
            for _ in 0..whole {
                run(&mut world, usize::MAX);
            }
            run(&mut world, survive);
            world.agents.clear();
            world.tenant.spec.agents.remember_for = "1h".into();
            later(&mut world, TimeDelta::zero());
            later(&mut world, TimeDelta::hours(3));
            converge(&mut world);
            let lasting = alert(&world).filter(|(_, ends)| *ends > world.now + TimeDelta::minutes(1));
            assert_eq!((lasting, recorded(&world).alert), (None, None), "{whole} {survive}");
        }
    }
}
