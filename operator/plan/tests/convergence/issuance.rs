//! Web certificates from an ACME server: one order for each, within its limits, also when the process dies at any effect; nothing is
//! left behind, and a certificate that is there serves whatever becomes of the next one.

use chrono::TimeDelta;
use crds::certificates::{IssuanceKind, Issuer};
use plan::acme::problem::{Kind, Problem};
use plan::clock::from_jiff;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::World;
use super::world::acme::LIMITS;
use super::{ENOUGH, assert_silent, converge, run, status_of, until_gone};
use plan::observed::{Failure, FailureKind, Source, StageName};

fn public() -> Value {
    json!({"certificates": {"web": {"issuer": "Acme"}}, "deletionProtection": false})
}

fn issued() -> World {
    let mut world = World::new(public());
    converge(&mut world);
    world
}

/// The server's state after everything that was made for a certificate is gone.
fn assert_clean(world: &World) {
    assert_eq!((world.acme.key, world.acme.records.len()), (None, 0));
    assert_eq!(world.tenant.status.as_ref().and_then(|status| status.issuance.clone()), None);
}

fn runs(world: &mut World, times: usize) {
    for _ in 0..times {
        run(world, usize::MAX);
        world.tick();
    }
}

/// Until the proof stands in the zone.
fn until_presented(world: &mut World) {
    for _ in 0..ENOUGH {
        if !world.acme.records.is_empty() {
            return;
        }
        run(world, usize::MAX);
        world.tick();
    }
    panic!("no proof is presented: {:?}", world.tenant.status);
}

fn problem(kind: Kind) -> Problem {
    Problem { kind, text: "the server says why".into() }
}

fn certificate(world: &World) -> (String, String) {
    let status = world.tenant.status.as_ref().expect("a status");
    let web = status.certificates.iter().find(|certificate| certificate.name == "web").expect("a web certificate");
    (web.issuer.clone(), web.not_after.clone())
}

#[test]
fn a_certificate_comes_with_one_order_and_nothing_is_left_behind() {
    let mut world = issued();
    assert_silent(&mut world);
    assert_clean(&world);
    assert_eq!((world.acme.orders.len(), world.acme.issued), (1, 1));
    assert_eq!(certificate(&world).0, "Acme");
}

#[test]
fn it_is_renewed_in_time_while_the_old_one_serves() {
    let mut world = issued();
    let before = certificate(&world);
    world.now += TimeDelta::days(59);
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!(world.acme.orders.len(), 1);
    world.now += TimeDelta::days(2);
    for _ in 0..ENOUGH {
        run(&mut world, usize::MAX);
        assert_eq!(world.condition("CertificatesReady"), Some(("True".into(), "AsSpecified".into())));
        world.tick();
    }
    assert_silent(&mut world);
    assert_clean(&world);
    assert!(certificate(&world).1 > before.1);
    assert_eq!(world.acme.issued, 2);
}

#[test]
fn what_only_a_person_can_mend_says_so_and_is_tried_again() {
    let mut world = World::new(public());
    world.acme.refuses = Some(problem(Kind::Person));
    runs(&mut world, 30);
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "IssuanceFailed".into())));
    assert_eq!(world.condition("CertificatesReady"), Some(("False".into(), "IssuanceFailed".into())));
    assert_eq!(world.acme.orders.len(), 0);
    world.now += TimeDelta::minutes(6);
    converge(&mut world);
    assert_eq!(world.condition("Stalled"), None);
    assert_clean(&world);
}

#[test]
fn proofs_that_fail_come_no_more_than_five_times_an_hour() {
    let mut world = World::new(public());
    let mut told = Vec::new();
    for _ in 0..(3600 / 5) {
        let before =
            world.acme.orders.iter().filter(|order| matches!(order.stage, plan::acme::OrderStage::Invalid(_))).count();
        // The next proof that is looked at fails.
        if world.acme.orders.last().is_some_and(|order| order.stage == plan::acme::OrderStage::Pending) {
            world.acme.refuses = Some(problem(Kind::Person));
        }
        run(&mut world, usize::MAX);
        world.tick();
        let after =
            world.acme.orders.iter().filter(|order| matches!(order.stage, plan::acme::OrderStage::Invalid(_))).count();
        if after > before {
            told.push(world.now);
        }
    }
    assert!((3..=5).contains(&told.len()), "{told:?}");
    assert!(world.acme.ledger.orders.iter().filter(|order| order.attempt > 0).count() >= 2);
}

#[test]
fn the_server_that_asks_for_patience_gets_it() {
    let mut world = World::new(public());
    let until = world.now + TimeDelta::hours(3);
    world.acme.refuses = Some(problem(Kind::Wait(Some(until))));
    runs(&mut world, 40);
    let issuance = world.tenant.status.as_ref().and_then(|status| status.issuance.clone()).expect("it is being issued");
    assert_eq!((issuance.retry_at.map(|at| from_jiff(at.0)), issuance.needs_person), (Some(until), false));
    assert_eq!(world.condition("Stalled"), None);
    assert_eq!(world.acme.orders.len(), 0);
    world.now = until;
    converge(&mut world);
    assert_clean(&world);
}

#[test]
fn a_renewal_that_fails_is_told_and_the_tenant_stays_ready_until_the_end() {
    let mut world = issued();
    world.now += TimeDelta::days(61);
    world.acme.without_zone = true;
    runs(&mut world, 20);
    assert_eq!(world.condition("CertificatesReady"), Some(("True".into(), "RenewalFailing".into())));
    assert!(world.ready() && world.condition("Stalled").is_none());
    world.now += TimeDelta::days(30);
    runs(&mut world, 5);
    assert_eq!(world.condition("CertificatesReady"), Some(("False".into(), "IssuanceFailed".into())));
    assert!(!world.ready());
    world.acme.without_zone = false;
    world.now += TimeDelta::hours(7);
    converge(&mut world);
}

#[test]
fn a_renewal_whose_steps_fail_is_told_as_soon_as_that_lasts() {
    let mut world = issued();
    world.now += TimeDelta::days(61);
    run(&mut world, usize::MAX);
    let told = |kind, minutes| {
        let mut observed = world.observe();
        let since = world.now - TimeDelta::minutes(minutes);
        let failure = Failure { since, kind, message: "Route 53 says no".into() };
        observed.failures.insert((StageName::Certificates, Source::Step), failure);
        let (status, message) = status_of(&plan::tenant(&observed), "CertificatesReady");
        (status, message.contains("the next one does not come") && message.contains("Route 53 says no"))
    };
    assert_eq!(told(FailureKind::Denied, 0), ("True".into(), true));
    assert_eq!(told(FailureKind::Passing, 1), ("True".into(), false));
    assert_eq!(told(FailureKind::Passing, 6), ("True".into(), true));
}

#[test]
fn the_former_certificate_serves_until_the_new_one_is_there() {
    let mut world = World::new(json!({"deletionProtection": false}));
    converge(&mut world);
    assert_eq!(certificate(&world).0, "Tenant");
    world.acme.without_zone = true;
    world.edit(|spec| spec.certificates.web.issuer = Issuer::Acme);
    runs(&mut world, 20);
    assert_eq!(world.condition("Available"), Some(("True".into(), "Serving".into())));
    assert_eq!(world.condition("Ready"), Some(("False".into(), "IssuanceFailed".into())), "it is not as the spec asks");
    world.acme.without_zone = false;
    world.now += TimeDelta::minutes(6);
    converge(&mut world);
    assert_eq!(certificate(&world).0, "Acme");
    world.edit(|spec| spec.certificates.web.issuer = Issuer::Tenant);
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!(certificate(&world).0, "Tenant");
}

#[test]
fn giving_it_up_in_the_middle_leaves_nothing_behind() {
    for effects in 1..12 {
        let mut world = World::new(public());
        until_presented(&mut world);
        runs(&mut world, effects % 3);
        if effects % 2 == 0 {
            world.acme.memory = Default::default();
        }
        world.edit(|spec| spec.certificates.web.issuer = Issuer::Tenant);
        converge(&mut world);
        assert_silent(&mut world);
        assert_clean(&world);
    }
}

#[test]
fn a_removed_tenant_takes_its_proof_along() {
    let mut world = World::new(public());
    until_presented(&mut world);
    assert!(!world.acme.records.is_empty());
    world.acme.memory = Default::default();
    world.delete();
    until_gone(&mut world);
    assert!(world.acme.records.is_empty(), "{:?}", world.acme.records);
}

#[test]
fn a_record_of_somebody_else_is_not_touched() {
    let mut world = World::new(public());
    world.acme.records = ["somebody else's".to_owned()].into();
    runs(&mut world, 60);
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "IssuanceFailed".into())));
    assert_eq!(world.acme.records, ["somebody else's".to_owned()].into());
}

proptest! {
    // Each case is several hundred runs.
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// The process dies after any effect, any number of times: the certificate comes, with no order beyond the places that
    /// were taken, and nothing is left behind.
    #[test]
    fn deaths_and_refusals_change_nothing_of_the_outcome(
        deaths in prop::collection::vec((0..4usize, 0..6u8), 0..60),
        renewed in any::<bool>(),
    ) {
        let mut world = if renewed { issued() } else { World::new(public()) };
        if renewed {
            world.now += TimeDelta::days(61);
        }
        for (survive, what) in deaths {
            match what {
                0 => world.acme.refuses = Some(problem(Kind::Person)),
                1 => world.acme.refuses = Some(problem(Kind::Wait(None))),
                2 => world.now += TimeDelta::hours(1),
                _ => {}
            }
            let plan = world.plan();
            run(&mut world, survive);
            if survive <= plan.steps.len() {
                world.acme.memory = Default::default();
            }
            world.tick();
        }
        world.acme.refuses = None;
        world.now += TimeDelta::days(8);
        for _ in 0..4 {
            runs(&mut world, 60);
            world.now += TimeDelta::hours(7);
        }
        converge(&mut world);
        assert_silent(&mut world);
        assert_clean(&world);
        let taken = world.acme.ledger.orders.len() + world.acme.orders.iter().filter(|order| order.replaces).count();
        for order in &world.acme.orders {
            let three_hours = world.acme.orders.iter().filter(|other| other.at <= order.at && other.at > order.at - TimeDelta::hours(3));
            prop_assert!(three_hours.count() <= LIMITS.orders_per_three_hours);
        }
        // Places of the last week alone are kept.
        prop_assert!(taken <= 40 && world.acme.issued >= 1);
        let kind = world.tenant.status.as_ref().and_then(|status| status.issuance.as_ref()).map(|issuance| issuance.kind);
        prop_assert_ne!(kind, Some(IssuanceKind::First));
    }
}
