//! Hops that do not succeed: they touch nothing, go back or halt, and another release leads out.

use crds::update_status::{HopResult, HopStage};
use plan::Fact;
use plan::object::{Kind, Ref};
use plan::version::Version;
use serde_json::json;

use super::hops::{at_night, blockers, pin, reach, runs, settle_at, stage, until, version};
use super::world::World;
use super::{assert_silent, converge, run};

/// A tenant in whose hop to this version Proxy is being replaced.
fn replacing_proxy(from: &str, to: Version) -> World {
    let mut world = at_night(from);
    pin(&mut world, &to.to_string());
    reach(&mut world, |world| world.proxy_pod_version().as_ref() == Some(&to));
    world
}

#[test]
fn a_version_that_refuses_the_configuration_touches_nothing() {
    let mut world = at_night("18.1.0");
    world.refused = vec!["18.1.1".into()];
    pin(&mut world, "18.1.1");
    let before = world.auth_pod_versions();
    settle_at(&mut world);
    settle_at(&mut world);
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.history[0].result, HopResult::PreflightFailed, "{:?}", status.history);
    assert_eq!((blockers(&world), world.auth_pod_versions()), (vec!["FailedBefore".to_owned()], before));
    assert_eq!(status.history.len(), 1, "it is not tried again by itself");
    world.refused.clear();
    pin(&mut world, "18.1.1");
    until(&mut world, "18.1.1");
}

#[test]
fn an_override_lets_nothing_fail_again_and_again() {
    let mut world = at_night("18.1.0");
    world.refused = vec!["18.1.1".into()];
    pin(&mut world, "18.1.1");
    let until = (world.now + chrono::TimeDelta::days(1)).to_rfc3339();
    let exemption = json!({"checks": ["Window", "Agents", "Policy"], "reason": "a test", "until": until});
    world.edit(|spec| spec.maintenance.exemption = serde_json::from_value(exemption).expect("an override"));
    for _ in 0..5 {
        settle_at(&mut world);
    }
    let history = world.tenant.status.clone().expect("a status").history;
    assert_eq!((history.len(), blockers(&world)), (1, vec!["FailedBefore".to_owned()]));
}

#[test]
fn a_patch_that_takes_too_long_goes_back() {
    let mut world = at_night("18.1.0");
    world.broken = vec!["18.1.1".into()];
    pin(&mut world, "18.1.1");
    runs(&mut world, 10);
    assert_eq!(stage(&world), Some(HopStage::Auth));
    world.now += chrono::TimeDelta::hours(1);
    let stages = {
        let mut seen = Vec::new();
        for _ in 0..20 {
            run(&mut world, usize::MAX);
            seen.extend(stage(&world).filter(|stage| seen.last() != Some(stage)));
            world.tick();
        }
        seen
    };
    assert_eq!(stages.last(), Some(&HopStage::RevertAuth));
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!((status.history[0].result, version(&world).as_str()), (HopResult::RolledBack, "18.1.0"));
    assert_eq!(blockers(&world), ["FailedBefore"]);
    converge(&mut world);
}

#[test]
fn a_patch_whose_auth_breaks_late_goes_back_too() {
    let mut world = replacing_proxy("18.1.0", Version::new(18, 1, 1));
    world.broken = vec!["18.1.1".into()];
    settle_at(&mut world);
    world.now += chrono::TimeDelta::hours(2);
    runs(&mut world, 20);
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.history.first().map(|record| record.result), Some(HopResult::RolledBack), "{:?}", status.update);
    assert_eq!(version(&world), "18.1.0");
}

#[test]
fn where_no_auth_serves_it_follows_a_proxy_that_cannot_come_up() {
    let mut world = replacing_proxy("18.1.0", Version::new(18, 1, 1));
    // Without Auth the old Proxy does not come up either.
    world.broken = vec!["18.1.1".into(), "18.1.0".into()];
    settle_at(&mut world);
    world.now += chrono::TimeDelta::hours(2);
    settle_at(&mut world);
    assert_eq!(stage(&world), Some(HopStage::RevertProxy));
    let wake = world.plan().wake.expect("nothing else tells of it");
    assert!(wake <= chrono::TimeDelta::minutes(5), "{wake}");
    let mut observed = world.observe();
    observed.now += chrono::TimeDelta::minutes(6);
    for ordinal in 0..2 {
        observed.objects.live.insert(Ref::new(Kind::Deployment, world.auth_name(ordinal)), Fact::Unknown);
    }
    let unread = plan::tenant(&observed).status.update.map(|update| update.stage);
    assert_eq!(unread, Some(HopStage::RevertProxy), "what was not read may serve");
    world.now += chrono::TimeDelta::minutes(6);
    settle_at(&mut world);
    assert_eq!(stage(&world), Some(HopStage::RevertAuth));
    world.broken.clear();
    until(&mut world, "18.1.0");
}

#[test]
fn a_way_back_that_takes_too_long_halts_and_ends_when_it_is_mended() {
    let mut world = replacing_proxy("18.1.0", Version::new(18, 1, 1));
    world.broken = vec!["18.1.1".into(), "18.1.0".into()];
    settle_at(&mut world);
    let halted = |world: &World| world.tenant.status.as_ref()?.update.as_ref()?.halted_at.clone();
    for expected in [HopStage::RevertProxy, HopStage::RevertAuth] {
        assert_eq!(halted(&world), None);
        world.now += chrono::TimeDelta::minutes(45);
        settle_at(&mut world);
        assert_eq!(stage(&world), Some(expected), "each way has its own time");
    }
    world.now += chrono::TimeDelta::minutes(45);
    settle_at(&mut world);
    assert!(halted(&world).is_some(), "it holds a place");
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "HopHalted".into())));
    assert_eq!(stage(&world), Some(HopStage::RevertAuth), "what is wanted stays");
    world.broken.clear();
    until(&mut world, "18.1.0");
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.history[0].result, HopResult::RolledBack);
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_major_that_takes_too_long_halts_and_a_newer_release_takes_its_place() {
    let mut world = at_night("17.5.2");
    world.broken = vec!["18.1.0".into()];
    pin(&mut world, "18.1.0");
    runs(&mut world, 15);
    assert_eq!(stage(&world), Some(HopStage::Auth));
    world.now += chrono::TimeDelta::hours(2);
    settle_at(&mut world);
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "HopHalted".into())));
    pin(&mut world, "18.1.1");
    until(&mut world, "18.1.1");
    let results: Vec<_> =
        world.tenant.status.clone().expect("a status").history.iter().map(|record| record.result).collect();
    assert_eq!(results, [HopResult::Succeeded, HopResult::Halted]);
}

#[test]
fn an_older_release_takes_the_place_of_a_halted_one_with_proxy_first() {
    let mut world = replacing_proxy("17.5.2", Version::new(18, 1, 1));
    world.broken = vec!["18.1.1".into()];
    settle_at(&mut world);
    world.now += chrono::TimeDelta::hours(2);
    settle_at(&mut world);
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "HopHalted".into())));
    pin(&mut world, "18.1.0");
    until(&mut world, "18.1.0");
    let status = world.tenant.status.clone().expect("a status");
    let hops: Vec<_> =
        status.history.iter().map(|record| (record.from.as_str(), record.to.as_str(), record.result)).collect();
    assert_eq!(hops, [("18.1.1", "18.1.0", HopResult::Succeeded), ("17.5.2", "18.1.1", HopResult::Halted)]);
    assert_eq!(status.auth_high_water.as_deref(), Some("18.1.1"));
    converge(&mut world);
    assert_silent(&mut world);
}
