//! Hops in the simulated world: they begin inside the window, go in order, and survive a crash after any effect.

use std::sync::Arc;

use crds::MaintenanceWindowSpec;
use crds::update_status::{HopKind, HopResult, HopStage};
use plan::Fact;
use plan::object::{Kind, Ref};
use plan::step::Step;
use plan::updates::WindowFact;
use plan::window::Schedule;
use serde_json::{Value, json};

use super::world::World;
use super::{ENOUGH, assert_silent, block, converge, run};

/// A window that is open for the first hours of every day in UTC.
fn nightly() -> WindowFact {
    let spec: MaintenanceWindowSpec = serde_json::from_value(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], "start": "02:00", "duration": "3h"}],
    }))
    .expect("a window");
    let schedule = Arc::new(Schedule::parse(&spec).expect("a schedule"));
    WindowFact::Known { window: "customers/default".into(), schedule, limit: 1 }
}

/// A settled tenant with this version, in a window that has been open for a while.
pub fn at_night(version: &str) -> World {
    let mut world = World::new(merged(block(), json!({"version": version})));
    world.window = nightly();
    converge(&mut world);
    world.now = (world.now + chrono::TimeDelta::days(1)).date_naive().and_hms_opt(2, 30, 0).expect("a time").and_utc();
    settle_at(&mut world);
    world
}

/// The world at a moment of its own: what ages is read anew.
pub fn settle_at(world: &mut World) {
    world.tick();
    runs(world, 5);
}

/// So many runs, with some seconds after each.
pub fn runs(world: &mut World, many: usize) {
    for _ in 0..many {
        run(world, usize::MAX);
        world.tick();
    }
}

/// Runs until this holds.
pub fn reach(world: &mut World, holds: impl Fn(&World) -> bool) {
    for _ in 0..ENOUGH {
        if holds(world) {
            return;
        }
        runs(world, 1);
    }
    panic!("it is never reached: {:#?}", world.tenant.status)
}

fn merged(mut one: Value, other: Value) -> Value {
    for (key, value) in other.as_object().expect("a map") {
        one[key] = value.clone();
    }
    one
}

pub fn pin(world: &mut World, version: &str) {
    world.edit(|spec| spec.version = Some(version.into()));
}

pub fn version(world: &World) -> String {
    world.tenant.status.as_ref().and_then(|status| status.version.clone()).unwrap_or_default()
}

pub fn blockers(world: &World) -> Vec<String> {
    let next = world.tenant.status.as_ref().and_then(|status| status.next.clone());
    next.map(|next| next.blockers.into_iter().map(|blocker| blocker.reason).collect()).unwrap_or_default()
}

pub fn stage(world: &World) -> Option<HopStage> {
    world.tenant.status.as_ref()?.update.as_ref().map(|update| update.stage)
}

/// Runs until a version is settled; answers the stages that were seen.
pub fn until(world: &mut World, wanted: &str) -> Vec<HopStage> {
    let mut seen = Vec::new();
    for _ in 0..ENOUGH {
        run(world, usize::MAX);
        check_order(world);
        seen.extend(stage(world).filter(|stage| seen.last() != Some(stage)));
        if version(world) == wanted && stage(world).is_none() {
            return seen;
        }
        world.tick();
    }
    panic!("{wanted} is not reached: {:#?}", world.tenant.status)
}

/// Never Proxy newer than Auth, and never two majors of Auth at once.
fn check_order(world: &World) {
    let versions = world.auth_pod_versions();
    let majors: std::collections::BTreeSet<u64> = versions.iter().map(|version| version.major).collect();
    assert!(majors.len() <= 1, "Auth runs as {versions:?}");
    if let (Some(oldest), Some(proxy)) = (versions.iter().min(), world.proxy_pod_version()) {
        assert!(proxy <= *oldest || stage(world) >= Some(HopStage::RevertProxy), "Proxy {proxy} before Auth {oldest}");
    }
}

#[test]
fn a_patch_runs_inside_the_window() {
    let mut world = at_night("18.1.0");
    pin(&mut world, "18.1.1");
    let stages = until(&mut world, "18.1.1");
    assert_eq!(stages, [HopStage::Preflight, HopStage::Auth, HopStage::Proxy, HopStage::Verify]);
    let status = world.tenant.status.clone().expect("a status");
    let record = &status.history[0];
    assert_eq!((record.kind, record.result, record.to.as_str()), (HopKind::Patch, HopResult::Succeeded, "18.1.1"));
    assert!(status.next.is_none() && record.skipped.is_empty());
    converge(&mut world);
    assert_silent(&mut world);
}

#[test]
fn on_the_way_down_proxy_goes_first() {
    let mut world = at_night("18.1.1");
    pin(&mut world, "18.1.0");
    until(&mut world, "18.1.0");
    converge(&mut world);
    assert_silent(&mut world);
}

#[test]
fn outside_the_window_it_waits_and_begins_with_it() {
    let mut world = at_night("18.1.0");
    world.now += chrono::TimeDelta::hours(4);
    settle_at(&mut world);
    pin(&mut world, "18.1.1");
    settle_at(&mut world);
    assert_eq!((blockers(&world), stage(&world)), (vec!["WindowClosed".to_owned()], None));
    assert_eq!(world.condition("UpdateBlocked"), Some(("False".into(), "Waiting".into())));
    world.now = (world.now + chrono::TimeDelta::days(1)).date_naive().and_hms_opt(2, 0, 1).expect("a time").and_utc();
    settle_at(&mut world);
    until(&mut world, "18.1.1");
}

#[test]
fn a_major_takes_a_recovery_point_and_begins_with_one_auth() {
    let mut world = at_night("17.5.2");
    pin(&mut world, "18.1.0");
    let stages = until(&mut world, "18.1.0");
    let expected = [
        HopStage::Preflight,
        HopStage::RecoveryPoint,
        HopStage::Confirm,
        HopStage::Auth,
        HopStage::Proxy,
        HopStage::Verify,
    ];
    assert_eq!(stages, expected);
    assert_eq!(world.backups.len(), 1);
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.history[0].recovery_point.as_ref(), Some(&world.backups[0].arn));
    assert_eq!(status.auth_high_water.as_deref(), Some("18.1.0"));
}

#[test]
fn a_new_major_does_not_start_beside_what_could_not_be_read_or_is_not_wanted_any_more() {
    let mut world = at_night("17.5.2");
    pin(&mut world, "18.1.0");
    reach(&mut world, |world| stage(world) == Some(HopStage::Auth));
    let second = Ref::new(Kind::Deployment, world.auth_name(1));
    let seen = |fact: Fact<serde_json::Value>| {
        let mut observed = world.observe();
        let all = world.objects.iter().map(|(reference, live)| (reference.clone(), Fact::Known((**live).clone())));
        observed.objects.live.extend(all);
        observed.objects.live.insert(second.clone(), fact);
        plan::tenant(&observed)
    };
    let unread = seen(Fact::Unknown);
    assert_eq!((unread.steps, unread.needs), (vec![], vec![]));
    let mut orphan = (*world.objects[&second]).clone();
    orphan["metadata"].as_object_mut().expect("a map").remove("ownerReferences");
    let orphaned = seen(Fact::Known(orphan));
    assert_eq!((orphaned.steps, orphaned.needs), (vec![], vec![]));
    let stalled = orphaned.status.conditions.into_iter().find(|found| found.type_ == "Stalled").expect("it stalls");
    assert_eq!(stalled.reason, "NameTaken");
    assert!(matches!(seen(Fact::Absent).steps[..], [(_, Step::Apply(_))]), "where it is gone the first one starts");
    world.edit(|spec| spec.auth.replicas = 1);
    let deleted = world.plan().steps;
    assert!(matches!(deleted[..], [(_, Step::Delete { .. })]), "{deleted:?}");
    until(&mut world, "18.1.0");
}

#[test]
fn majors_come_one_after_the_other() {
    let mut world = at_night("16.4.3");
    pin(&mut world, "18.1.0");
    run(&mut world, usize::MAX);
    until(&mut world, "17.5.3");
    until(&mut world, "18.1.0");
    let status = world.tenant.status.clone().expect("a status");
    let hops: Vec<_> = status.history.iter().map(|record| (record.from.as_str(), record.to.as_str())).collect();
    assert_eq!(hops, [("17.5.3", "18.1.0"), ("16.4.3", "17.5.3")]);
}

#[test]
fn an_apply_now_that_is_given_once_more_is_used_up_by_the_hop_that_runs() {
    let mut world = at_night("17.5.2");
    world.now += chrono::TimeDelta::hours(4);
    settle_at(&mut world);
    pin(&mut world, "18.1.0");
    let ask = |world: &mut World| {
        let at = world.now.to_rfc3339();
        let asked = serde_json::from_value(json!(at)).expect("a time");
        world.edit(|spec| spec.maintenance.apply_now = Some(asked));
    };
    ask(&mut world);
    reach(&mut world, |world| stage(world) == Some(HopStage::RecoveryPoint));
    ask(&mut world);
    until(&mut world, "18.1.0");
    assert_eq!(world.tenant.status.and_then(|status| status.applied_now), world.tenant.spec.maintenance.apply_now);
}

#[test]
fn a_window_that_closes_in_the_middle_lets_the_hop_finish() {
    let mut world = at_night("18.1.0");
    pin(&mut world, "18.1.1");
    reach(&mut world, |world| stage(world) == Some(HopStage::Auth));
    world.window = WindowFact::Missing { window: "customers/default".into() };
    until(&mut world, "18.1.1");
}

#[test]
fn an_apply_now_that_comes_after_the_claim_carries_the_hop_over_the_end_of_the_window() {
    let mut world = at_night("17.5.2");
    pin(&mut world, "18.1.0");
    run(&mut world, usize::MAX);
    assert_eq!(stage(&world), Some(HopStage::Preflight));
    let asked = serde_json::from_value(json!(world.now.to_rfc3339())).expect("a time");
    world.edit(|spec| spec.maintenance.apply_now = Some(asked));
    world.window = WindowFact::Missing { window: "customers/default".into() };
    until(&mut world, "18.1.0");
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.history[0].skipped, [crds::maintenance::Check::Window], "history names it");
    assert_eq!((status.history.len(), status.applied_now), (1, world.tenant.spec.maintenance.apply_now));
}

#[test]
fn a_window_that_closes_before_anything_was_touched_gives_the_hop_up() {
    let mut world = at_night("18.1.0");
    pin(&mut world, "18.1.1");
    run(&mut world, usize::MAX);
    assert_eq!(stage(&world), Some(HopStage::Preflight));
    world.window = WindowFact::Missing { window: "customers/default".into() };
    settle_at(&mut world);
    assert_eq!((stage(&world), blockers(&world)), (None, vec!["WindowMissing".to_owned()]));
    assert_eq!(world.auth_pod_versions(), vec![plan::version::Version::new(18, 1, 0); 2]);
}

#[test]
fn a_hop_survives_a_crash_after_every_effect() {
    for (from, to) in [("18.1.0", "18.1.1"), ("17.5.2", "18.1.0")] {
        let settled = at_night(from);
        let crashes = (0..).take_while(|crash| survives(&settled, to, *crash)).count();
        println!("counted: a hop from {from} to {to} killed at {crashes} points");
        assert!(crashes > 10, "a hop from {from} to {to} has more than {crashes} effects");
    }
}

/// A hop in which the process dies once, after this many effects; answers whether there were so many.
fn survives(settled: &World, to: &str, crash: usize) -> bool {
    let mut world = settled.clone();
    pin(&mut world, to);
    let (mut effects, mut died) = (0, false);
    for _ in 0..ENOUGH {
        let survive = if died { usize::MAX } else { crash - effects };
        let (steps, written) = run(&mut world, survive);
        let done = steps + usize::from(written);
        effects += done;
        died |= done == survive;
        check_order(&world);
        if version(&world) == to && stage(&world).is_none() {
            break;
        }
        world.tick();
    }
    assert_eq!(version(&world), to, "killed after effect {crash}: {:#?}", world.tenant.status);
    assert!(world.backups.len() <= 1, "killed after effect {crash}: {} recovery points", world.backups.len());
    if died {
        converge(&mut world);
        assert_silent(&mut world);
    }
    died
}

#[test]
fn a_due_change_that_finds_no_start_in_a_whole_window_has_missed_it_once() {
    let mut world = at_night("18.1.0");
    world.place = plan::line::Place::WindowFull { limit: 1 };
    world.now -= chrono::TimeDelta::hours(2);
    settle_at(&mut world);
    pin(&mut world, "18.1.1");
    settle_at(&mut world);
    world.now += chrono::TimeDelta::hours(2);
    settle_at(&mut world);
    assert_eq!(blockers(&world), ["ConcurrencyReached"]);
    world.now += chrono::TimeDelta::hours(4);
    settle_at(&mut world);
    let missed = |world: &World| {
        let next = world.tenant.status.as_ref().and_then(|status| status.next.clone()).expect("a change is due");
        (next.missed, next.last_missed.map(|missed| missed.reason))
    };
    assert_eq!(missed(&world), (1, Some("ConcurrencyReached".to_owned())));
    settle_at(&mut world);
    assert_eq!(missed(&world).0, 1);
}
