//! The licence of an Enterprise tenant: its end is told, and another one waits for a window.

use chrono::{DateTime, TimeDelta, Utc};
use plan::observed::{LicenseSecret, Observed};
use plan::{Fact, Plan};
use serde_json::json;

use super::world::World;
use super::{planned, settled};

fn licensed() -> World {
    settled(json!({"edition": "Enterprise", "licenseSecretRef": {"name": "licence"}}))
}

/// Auth says when the licence ends that it runs with.
fn says(observed: &mut Observed, ends: Option<DateTime<Utc>>) {
    if let Fact::Known(ping) = &mut observed.teleport.auth {
        ping.license_expires = ends;
    }
}

fn condition(plan: &Plan, type_: &str) -> (String, String, String) {
    let found = plan.status.conditions.iter().find(|found| found.type_ == type_).expect("the condition");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn its_end_is_told_thirty_days_before() {
    let world = licensed();
    for (left, status, reason) in [
        (TimeDelta::days(31), "True", "AsSpecified"),
        (TimeDelta::days(29), "True", "LicenseExpiring"),
        (TimeDelta::seconds(-1), "False", "LicenseExpired"),
    ] {
        let mut observed = world.observe();
        let ends = observed.wall + left;
        says(&mut observed, Some(ends));
        let plan = planned(&world, observed);
        let (found, why, message) = condition(&plan, "LicenseValid");
        assert_eq!((found.as_str(), why.as_str()), (status, reason), "{left}");
        assert!(message.contains(&ends.format("%Y-%m-%dT%H:%M").to_string()), "{message}");
        assert_eq!(condition(&plan, "Ready").0, "True", "what runs is as the spec asks");
        assert!(reason == "AsSpecified" || message.contains("put a new one into Secret licence"), "{message}");
    }
}

#[test]
fn what_auth_has_said_stands_while_it_does_not_answer() {
    let mut world = licensed();
    let mut observed = world.observe();
    let ends = observed.wall + TimeDelta::days(100);
    says(&mut observed, Some(ends));
    let told = planned(&world, observed);
    assert!(world.write(&told));
    let mut observed = world.observe();
    says(&mut observed, None);
    let plan = planned(&world, observed);
    assert_eq!(condition(&plan, "LicenseValid"), condition(&told, "LicenseValid"));
    assert!(!world.write(&plan), "nothing is news");
}

#[test]
fn another_one_is_a_template_of_its_own_and_a_lost_one_is_none() {
    let world = licensed();
    let mut observed = world.observe();
    observed.secrets.license = Fact::Known(Ok(LicenseSecret { digest: "fedcba9876543210".into() }));
    // Outside a window.
    observed.updates.window = plan::updates::WindowFact::Missing { window: "customers/default".into() };
    let plan = planned(&world, observed);
    let next = plan.status.next.clone().expect("it is due");
    assert_eq!(next.kind, crds::update_status::HopKind::Template);
    assert!(plan.steps.is_empty(), "pods keep the one that they have: {:?}", plan.steps);

    for lost in [Fact::Absent, Fact::Unknown] {
        let mut observed = world.observe();
        observed.secrets.license = lost;
        let plan = planned(&world, observed);
        assert!(plan.status.next.is_none() && plan.steps.is_empty(), "{:?}", plan.steps);
    }
}
