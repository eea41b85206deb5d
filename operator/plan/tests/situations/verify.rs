//! A hop has come through only when every single process says so; behind the Service one of them answers for all.

use chrono::TimeDelta;
use crds::update_status::{HopResult, HopStage};
use plan::observed::Process;
use plan::{Fact, Plan};
use serde_json::json;

use super::world::World;
use super::{ENOUGH, edit, message, planned, run, settled};

/// A tenant of two Auth and two Proxy processes whose hop waits for nothing but its last look.
fn at_verify() -> World {
    let mut world = settled(json!({"auth": {"replicas": 2}, "proxy": {"replicas": 2}}));
    edit(&mut world, |spec| spec.version = Some("18.1.1".into()));
    for _ in 0..ENOUGH {
        run(&mut world);
        if stage(&world) == Some(HopStage::Verify) {
            return world;
        }
        world.tick();
    }
    panic!("not verified: {:#?}", world.tenant.status);
}

fn stage(world: &World) -> Option<HopStage> {
    world.tenant.status.as_ref()?.update.as_ref().map(|update| update.stage)
}

/// Plans with these answers of the single processes.
fn with(world: &World, each: Fact<Vec<Process>>) -> Plan {
    let mut observed = world.observe();
    observed.teleport.each = each;
    planned(world, observed)
}

/// All as they should be, but for one.
fn but_for(world: &World, pod: &str, version: Fact<String>) -> Fact<Vec<Process>> {
    let mut each = world.each();
    each.iter_mut().find(|process| process.pod == pod).expect("such a pod").version = version;
    Fact::Known(each)
}

#[test]
fn one_process_that_is_old_or_does_not_answer_keeps_the_hop_from_its_end() {
    let world = at_verify();
    assert_eq!(world.each().len(), 4);
    let old = || Fact::Known("18.1.0".to_owned());
    let missing = Fact::Known(world.each().into_iter().skip(1).collect());
    let cases = [
        (but_for(&world, "acme-auth-1-0", old()), "the auth of pod acme-auth-1-0 to run 18.1.1: it answers as 18.1.0"),
        (but_for(&world, "acme-proxy-1", old()), "the proxy of pod acme-proxy-1 to run 18.1.1: it answers as 18.1.0"),
        (but_for(&world, "acme-proxy-0", Fact::Unknown), "the proxy of pod acme-proxy-0 to answer as 18.1.1"),
        (but_for(&world, "acme-auth-0-0", Fact::Absent), "the auth of pod acme-auth-0-0 to answer as 18.1.1"),
        (missing, "2 processes of auth to answer as 18.1.1"),
        (Fact::Unknown, "every process to be asked for its version"),
    ];
    for (each, waits_for) in cases {
        let mut world = world.clone();
        let plan = with(&world, each);
        world.write(&plan);
        assert_eq!(stage(&world), Some(HopStage::Verify), "{waits_for}");
        let told = message(&world, "Updating");
        assert_eq!(told, format!("Patch from 18.1.0 to 18.1.1: Verify, waits for {waits_for}"));
        assert!(plan.wake.is_some_and(|wake| wake <= TimeDelta::seconds(1)), "what a process says sends no event");
    }
    let mut world = world;
    let plan = with(&world, Fact::Known(world.each()));
    world.write(&plan);
    let status = world.tenant.status.as_ref().expect("a status");
    assert_eq!((stage(&world), status.history[0].result), (None, HopResult::Succeeded));
}

#[test]
fn a_process_that_stays_old_sends_a_patch_back() {
    let mut world = at_verify();
    let deadline = world.tenant.status.as_ref().and_then(|status| status.update.as_ref()?.deadline.clone());
    world.now = plan::clock::from_jiff(deadline.expect("a deadline").0) + TimeDelta::seconds(1);
    let plan = with(&world, but_for(&world, "acme-auth-1-0", Fact::Known("18.1.0".into())));
    world.write(&plan);
    assert_eq!(stage(&world), Some(HopStage::RevertProxy));
}
