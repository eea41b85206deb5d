//! A paused tenant: nothing is written but its status, which shows what would be done.

use chrono::TimeDelta;
use crds::maintenance::Exemption;
use crds::update_status::HopStage;
use plan::Plan;
use plan::object::{Kind, Ref};
use serde_json::json;

use super::world::World;
use super::{ENOUGH, edit, message, run, settled};

fn pause(world: &mut World, paused: bool) {
    edit(world, |spec| spec.paused = paused);
}

/// Runs for a while and sees that nothing is done; answers the last plan.
fn nothing_is_done(world: &mut World) -> Plan {
    let objects = world.objects.clone();
    for _ in 0..20 {
        let plan = world.plan();
        assert!(plan.steps.is_empty() && !plan.look, "{:?}", plan.steps);
        world.write(&plan);
        // Less in all than a reading of the inventory is good for.
        world.now += TimeDelta::seconds(10);
    }
    let plan = world.plan();
    assert!(!world.write(&plan), "at rest the status stays as it is");
    assert!(world.objects == objects);
    plan
}

fn settle(world: &mut World) {
    for _ in 0..ENOUGH {
        if !run(world) && world.ready() && stage(world).is_none() {
            return;
        }
        world.tick();
    }
    panic!("not settled: {:#?}", world.tenant.status);
}

fn stage(world: &World) -> Option<HopStage> {
    world.tenant.status.as_ref()?.update.as_ref().map(|update| update.stage)
}

fn blockers(world: &World) -> Vec<String> {
    let next = world.tenant.status.as_ref().and_then(|status| status.next.clone());
    next.map(|next| next.blockers.into_iter().map(|blocker| blocker.reason).collect()).unwrap_or_default()
}

fn ready(world: &World) -> (String, String) {
    world.condition("Ready").expect("Ready")
}

fn paused() -> (String, String) {
    ("True".into(), "Paused".into())
}

#[test]
fn what_is_missing_is_shown_and_not_mended() {
    let mut world = settled(json!({}));
    pause(&mut world, true);
    let plan = nothing_is_done(&mut world);
    assert!(plan.withheld.is_empty());
    assert_eq!(
        message(&world, "Ready"),
        "spec.paused is true, so that nothing is written but this status; nothing is pending"
    );
    let proxy = Ref::new(Kind::Deployment, "acme-proxy");
    world.objects.remove(&proxy);
    let plan = nothing_is_done(&mut world);
    let withheld: Vec<String> = plan.withheld.iter().map(|(_, step)| step.to_string()).collect();
    assert_eq!(withheld, ["Apply Deployment acme-proxy"]);
    assert_eq!(ready(&world), paused());
    assert!(
        message(&world, "Ready").ends_with("pending: Proxy: Apply Deployment acme-proxy"),
        "{}",
        message(&world, "Ready")
    );
    assert_eq!(world.condition("Available").map(|(status, _)| status), Some("False".into()), "the truth is told");
    assert!(plan.wake.is_none_or(|wake| wake >= TimeDelta::minutes(1)), "{:?}", plan.wake);
    pause(&mut world, false);
    settle(&mut world);
    assert!(world.objects.contains_key(&proxy));
}

#[test]
fn a_due_hop_waits_for_a_person_and_no_override_skips_that() {
    let mut world = settled(json!({}));
    edit(&mut world, |spec| {
        spec.paused = true;
        spec.version = Some("18.1.1".into());
        let until = serde_json::from_value(json!("2100-01-01T00:00:00Z")).expect("a time");
        let checks = serde_json::from_value(json!(["Window", "Agents", "Policy"])).expect("checks");
        spec.maintenance.exemption = Some(Exemption { checks, reason: "at once".into(), until });
    });
    nothing_is_done(&mut world);
    assert_eq!((blockers(&world), stage(&world)), (vec!["Paused".to_owned()], None));
    assert_eq!(world.condition("UpdateBlocked"), Some(("True".into(), "Paused".into())));
    pause(&mut world, false);
    settle(&mut world);
    assert_eq!(world.tenant.status.as_ref().and_then(|status| status.version.as_deref()), Some("18.1.1"));
}

#[test]
fn a_hop_that_replaces_processes_stands_still_and_an_earlier_one_gives_its_place_back() {
    for target in ["18.1.1", "18.1.0"] {
        let from = if target == "18.1.1" { "18.1.0" } else { "17.5.2" };
        let mut world = settled(json!({"version": from, "auth": {"replicas": 2}, "proxy": {"replicas": 2}}));
        world.now += TimeDelta::minutes(30);
        settle(&mut world);
        edit(&mut world, |spec| spec.version = Some(target.into()));
        let mut seen = Vec::new();
        for _ in 0..ENOUGH {
            run(&mut world);
            if let Some(now) = stage(&world).filter(|now| !seen.contains(now)) {
                seen.push(now);
                let mut world = world.clone();
                let before = world.tenant.status.clone().and_then(|status| status.update);
                pause(&mut world, true);
                nothing_is_done(&mut world);
                let after = world.tenant.status.clone().and_then(|status| status.update);
                assert_eq!(ready(&world), paused(), "{now:?}");
                if now < HopStage::Auth {
                    assert_eq!((after, blockers(&world)[0].as_str()), (None, "Paused"), "{now:?}");
                } else {
                    assert_eq!(after, before, "{now:?}");
                }
                pause(&mut world, false);
                // What is read now and then was not read meanwhile.
                for _ in 0..ENOUGH {
                    run(&mut world);
                    if stage(&world).is_none() {
                        break;
                    }
                    world.tick();
                }
                let status = world.tenant.status.as_ref().expect("a status");
                assert!(
                    status.update.is_none() || status.update.as_ref().is_some_and(|update| update.halted_at.is_some())
                );
            }
            if seen.contains(&HopStage::Verify) {
                break;
            }
            world.tick();
        }
        assert!(seen.contains(&HopStage::Verify), "{from} to {target}: {seen:?}");
    }
}

#[test]
fn an_edit_is_neither_applied_nor_recorded_before_it_goes_on() {
    let mut world = settled(json!({}));
    let applied = |world: &World| world.tenant.status.as_ref().and_then(|status| status.applied.clone());
    let before = applied(&world);
    edit(&mut world, |spec| {
        spec.paused = true;
        spec.size = crds::tenant::Size::Medium;
    });
    nothing_is_done(&mut world);
    assert_eq!(applied(&world), before);
    pause(&mut world, false);
    settle(&mut world);
    assert_ne!(applied(&world), before);
}

#[test]
fn paused_from_the_beginning_nothing_is_made_and_a_deletion_works() {
    let mut world = World::new(json!({"paused": true, "deletionProtection": false}));
    nothing_is_done(&mut world);
    assert!(world.objects.is_empty() && world.tables.is_empty() && world.claims.is_empty());
    assert_eq!(ready(&world), paused());
    let status = world.tenant.status.clone().expect("a status");
    assert!(status.version.is_none() && status.applied.is_none() && status.auth_high_water.is_none());
    assert_eq!(status.phase, Some(crds::tenant_status::Phase::Pending));

    let mut world = settled(json!({}));
    pause(&mut world, true);
    nothing_is_done(&mut world);
    world.tenant.metadata.deletion_timestamp = serde_json::from_value(json!("2026-07-01T00:00:00Z")).expect("a time");
    for _ in 0..ENOUGH {
        run(&mut world);
        if world.gone {
            return;
        }
        world.tick();
    }
    panic!("still there: {:#?}", world.tenant.status);
}
