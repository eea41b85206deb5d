//! A tenant at rest: what is done and told while nothing is due, and that it stays Ready meanwhile.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use plan::Plan;
use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus};
use plan::observed::StageName;
use serde_json::json;

use super::world::World;
use super::{planned, settled};

fn backup(world: &World, name: &str, created: DateTime<Utc>) -> BackupFacts {
    let id = world.identity().id;
    let table_arn = format!("arn:aws:dynamodb:us-west-2:123456789012:table/eu1-{id}-state");
    BackupFacts {
        arn: format!("{table_arn}/backup/{name}"),
        name: format!("eu1-{id}-{name}"),
        table_arn,
        status: BackupStatus::Available,
        kind: BackupKind::User,
        created,
        size: None,
    }
}

/// Two recovery points of former hops, six and five weeks old, and a backup that a person made before them.
fn with_backups() -> World {
    let mut world = settled(json!({}));
    let (old, newest) = (world.now - TimeDelta::days(42), world.now - TimeDelta::days(35));
    world.backups = vec![
        backup(&world, "before-surgery", old - TimeDelta::days(1)),
        backup(&world, "16.4.3-to-17.5.2-20260101T000000Z", old),
        backup(&world, "17.5.2-to-18.1.0-20260201T000000Z", newest),
    ];
    world
}

fn steps(plan: &Plan) -> Vec<String> {
    let id = |text: String| text.rsplit('/').next().unwrap_or_default().to_owned();
    plan.steps.iter().map(|(_, step)| format!("{} {}", step.label(), id(step.to_string()))).collect()
}

#[test]
fn an_old_recovery_point_goes_and_nobody_waits_for_it() {
    let mut world = with_backups();
    let plan = world.plan();
    assert_eq!(steps(&plan), ["DeleteBackup 16.4.3-to-17.5.2-20260101T000000Z"]);
    assert_eq!((plan.steps[0].0, plan.open), (StageName::Update, None));
    assert!(!world.write(&plan), "nothing is told of it");
    world.perform(&plan.steps[0].1).expect("nobody else writes");
    assert!(world.plan().steps.is_empty(), "once is enough");
}

#[test]
fn what_history_names_stays_until_it_is_as_old_itself() {
    let mut world = with_backups();
    let old = world.backups[1].arn.clone();
    let record = |finished: DateTime<Utc>| {
        serde_json::from_value(json!({
            "kind": "Major", "from": "16.4.3", "to": "17.5.2", "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": finished, "result": "Succeeded", "generation": 1, "pauseSeconds": 0, "recoveryPoint": old,
        }))
        .expect("a record")
    };
    let now = world.now;
    let mut with = |finished| {
        world.tenant.status.as_mut().expect("a status").history = vec![record(finished)];
        steps(&world.plan()).len()
    };
    assert_eq!(with(now - TimeDelta::days(34)), 0);
    assert_eq!(with(now - TimeDelta::days(35)), 1);
}

#[test]
fn only_a_settled_tenant_that_stays_loses_a_recovery_point() {
    let deletes = |world: &World| steps(&world.plan()).iter().any(|step| step.starts_with("DeleteBackup"));
    assert!(deletes(&with_backups()));
    let mut unsettled = with_backups();
    unsettled.role = None;
    assert!(!deletes(&unsettled));
    let mut leaving = with_backups();
    leaving.tenant.spec.deletion_protection = true;
    leaving.tenant.metadata.deletion_timestamp = serde_json::from_value(json!("2026-07-01T00:00:00Z")).expect("a time");
    assert!(!deletes(&leaving), "a protected one that is being deleted destroys nothing");
}

/// Reason and message of a condition that is True.
fn told(world: &World, type_: &str) -> Option<(String, String)> {
    let conditions = &world.tenant.status.as_ref().expect("a status").conditions;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    assert_eq!(found.status, "True");
    Some((found.reason.clone(), found.message.clone()))
}

#[test]
fn a_release_that_left_the_feed_is_told_and_nothing_is_done() {
    let mut world = settled(json!({}));
    let feed = world.feed.clone();
    let runs = plan::version::Version::parse("18.1.0").expect("a version");
    let see = |world: &mut World| {
        let plan = world.plan();
        assert!(plan.steps.is_empty() && plan.open.is_none(), "{:?}", plan.steps);
        world.write(&plan);
        assert!(world.ready());
        assert_eq!(world.condition("UpdateDue"), Some(("False".into(), "UpToDate".into())));
        told(world, "ReleaseUnlisted")
    };
    assert_eq!(see(&mut world), None);
    Arc::make_mut(&mut world.feed).releases.get_mut(&runs).expect("listed").withdrawn = true;
    let (reason, message) = see(&mut world).expect("a remark");
    assert_eq!(reason, "ReleaseWithdrawn");
    assert_eq!(message, "18.1.0 runs and was withdrawn from the release feed: it stays until another one is due");
    Arc::make_mut(&mut world.feed).releases.remove(&runs);
    assert_eq!(see(&mut world).expect("a remark").0, "ReleaseNotListed");
    Arc::make_mut(&mut world.feed).releases.clear();
    assert_eq!(see(&mut world), None, "a feed without releases lists nothing that could leave it");
    world.feed = feed;
    assert_eq!(see(&mut world), None);
}

#[test]
fn a_policy_that_cannot_be_used_is_told_while_the_last_good_one_is_in_force() {
    let mut world = settled(json!({}));
    let see = |world: &mut World, fault: Option<&str>| {
        let mut observed = world.observe();
        observed.updates.policy_fault = fault.map(str::to_owned);
        let plan = planned(world, observed);
        world.write(&plan);
        told(world, "PolicyStale")
    };
    assert_eq!(see(&mut world, None), None);
    let (reason, message) = see(&mut world, Some("releases.yaml: releases[0].version: no version")).expect("a remark");
    assert_eq!(reason, "FleetPolicyInvalid");
    assert!(message.ends_with("in force: releases.yaml: releases[0].version: no version"), "{message}");
    assert!(world.ready());
    // Also on a tenant whose spec cannot be carried out.
    world.tenant.spec.agents.report_ttl = "soon".into();
    assert!(see(&mut world, Some("fault")).is_some() && !world.ready());
    assert_eq!(see(&mut world, None), None);
}
