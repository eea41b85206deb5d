//! Web certificates from cert-manager: what it issues is served, renewals are followed, the former certificate serves until then, and
//! nothing is left behind, also when the process dies at any effect.

use chrono::TimeDelta;
use crds::certificates::{Issuer, IssuerRef};
use plan::observed::{Failure, FailureKind, Source, StageName};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::World;
use super::{ENOUGH, assert_silent, converge, run, status_of, until_gone};

const ISSUER: &str = "ClusterIssuer.cert-manager.io/public";
const OTHER: &str = "Issuer.cert-manager.io/other";

fn managed() -> Value {
    let issuer = json!({"name": "public", "kind": "ClusterIssuer"});
    json!({"certificates": {"web": {"issuer": "CertManager", "issuerRef": issuer}}, "deletionProtection": false})
}

fn asked() -> World {
    let mut world = World::new(managed());
    world.cert_manager.issuers = vec![ISSUER.to_owned()];
    world
}

fn issued() -> World {
    let mut world = asked();
    converge(&mut world);
    world
}

fn runs(world: &mut World, times: usize) {
    for _ in 0..times {
        run(world, usize::MAX);
        world.tick();
    }
}

fn choose(world: &mut World, issuer: Issuer, name: Option<&str>) {
    let reference =
        |name: &str| IssuerRef { name: name.into(), kind: "Issuer".into(), group: "cert-manager.io".into() };
    world.edit(|spec| {
        spec.certificates.web.issuer = issuer;
        spec.certificates.web.issuer_ref = name.map(reference);
    });
}

fn holds(type_: &str, status: &str, reason: &str, world: &World) {
    assert_eq!(world.condition(type_), Some((status.into(), reason.into())), "{type_}");
}

/// Number of the issuance that serves.
fn served(world: &World) -> String {
    world.web.as_ref().map(|web| web.issuer.clone()).unwrap_or_default()
}

fn message(world: &World, type_: &str) -> String {
    let conditions = &world.tenant.status.as_ref().expect("a status").conditions;
    conditions.iter().find(|found| found.type_ == type_).map(|found| found.message.clone()).unwrap_or_default()
}

fn assert_clean(world: &World) {
    assert_eq!(world.certificate(), None);
    assert!(world.cert_manager.secret.is_none());
    assert_eq!(world.tenant.status.as_ref().and_then(|status| status.cert_manager.clone()), None);
}

#[test]
fn what_is_issued_is_served() {
    let mut world = issued();
    assert_silent(&mut world);
    let status = world.tenant.status.clone().expect("a status");
    let objects = status.cert_manager.expect("it is recorded");
    assert_eq!((objects.certificate.as_str(), objects.secret_name.as_str()), ("acme-web", "acme-web-issued"));
    let web = status.certificates.iter().find(|found| found.name == "web").expect("a web certificate");
    assert_eq!((web.issuer.as_str(), world.cert_manager.issued), ("CertManager", 1));
}

#[test]
fn the_names_are_recorded_before_anything_is_made() {
    let mut world = asked();
    for _ in 0..ENOUGH {
        run(&mut world, usize::MAX);
        let recorded = world.tenant.status.as_ref().is_some_and(|status| status.cert_manager.is_some());
        assert!(recorded || world.certificate().is_none());
        world.tick();
    }
    assert!(world.ready());
}

#[test]
fn an_issuer_that_is_missing_is_told_and_waited_for() {
    let mut world = asked();
    world.cert_manager.issuers.clear();
    runs(&mut world, 30);
    holds("Stalled", "True", "IssuanceFailed", &world);
    holds("CertificatesReady", "False", "IssuanceFailed", &world);
    for part in [
        "issuerRef",
        ISSUER,
        "CertificateRequest acme-web-1: Pending: Referenced \"Issuer\" not found",
        "describe certificate acme-web",
    ] {
        assert!(message(&world, "Stalled").contains(part), "{}", message(&world, "Stalled"));
    }
    world.cert_manager.issuers.push(ISSUER.into());
    converge(&mut world);
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_renewal_is_served_as_soon_as_it_is_there() {
    let mut world = issued();
    let before = served(&world);
    world.now += TimeDelta::days(61);
    world.tick();
    for _ in 0..ENOUGH {
        run(&mut world, usize::MAX);
        holds("CertificatesReady", "True", "AsSpecified", &world);
        holds("Available", "True", "Serving", &world);
        world.tick();
    }
    assert_silent(&mut world);
    assert_ne!(served(&world), before);
    assert_eq!(world.cert_manager.issued, 2);
}

#[test]
fn a_renewal_that_fails_is_told_and_the_tenant_stays_ready_until_the_end() {
    let mut world = issued();
    world.now += TimeDelta::days(61);
    world.cert_manager.fails = Some("the authority says no".into());
    runs(&mut world, 20);
    holds("CertificatesReady", "True", "RenewalFailing", &world);
    assert!(message(&world, "CertificatesReady").contains("Failed: the authority says no"));
    assert!(world.ready() && world.condition("Stalled").is_none());
    world.now += TimeDelta::days(30);
    runs(&mut world, 5);
    holds("CertificatesReady", "False", "IssuanceFailed", &world);
    assert!(!world.ready());
    world.cert_manager.fails = None;
    converge(&mut world);
}

#[test]
fn a_renewal_that_does_not_come_is_told_after_an_hour() {
    for (stopped, part) in [(true, "see whether its controller runs"), (false, "Referenced \"Issuer\" not found")] {
        let mut world = issued();
        world.now += TimeDelta::days(60);
        world.cert_manager.stopped = stopped;
        world.cert_manager.issuers.clear();
        runs(&mut world, 20);
        holds("CertificatesReady", "True", "AsSpecified", &world);
        world.now += TimeDelta::hours(1);
        runs(&mut world, 5);
        holds("CertificatesReady", "True", "RenewalFailing", &world);
        assert!(message(&world, "CertificatesReady").contains(part), "{}", message(&world, "CertificatesReady"));
        assert!(world.ready());
    }
}

#[test]
fn the_former_certificate_serves_until_the_new_one_is_there() {
    let mut world = World::new(json!({"deletionProtection": false}));
    converge(&mut world);
    choose(&mut world, Issuer::CertManager, Some("other"));
    runs(&mut world, 30);
    holds("Available", "True", "Serving", &world);
    holds("Ready", "False", "IssuanceFailed", &world);
    world.cert_manager.issuers = vec![OTHER.into()];
    converge(&mut world);
    assert!(served(&world).contains(OTHER));
    choose(&mut world, Issuer::Acme, None);
    converge(&mut world);
    assert_silent(&mut world);
    assert_clean(&world);
    choose(&mut world, Issuer::CertManager, Some("other"));
    converge(&mut world);
    choose(&mut world, Issuer::Tenant, None);
    converge(&mut world);
    assert_silent(&mut world);
    assert_clean(&world);
}

#[test]
fn another_issuer_of_cert_manager_replaces_the_certificate() {
    let mut world = issued();
    choose(&mut world, Issuer::CertManager, Some("other"));
    runs(&mut world, 30);
    holds("Available", "True", "Serving", &world);
    holds("Ready", "False", "IssuanceFailed", &world);
    assert!(served(&world).contains(ISSUER));
    world.cert_manager.issuers.push(OTHER.into());
    converge(&mut world);
    assert_silent(&mut world);
    assert!(served(&world).contains(OTHER));
}

#[test]
fn a_cluster_without_cert_manager_is_told_and_keeps_nothing_else_from_being_made() {
    let mut world = asked();
    world.cert_manager.stopped = true;
    runs(&mut world, 30);
    let mut observed = world.observe();
    let message = "apply Certificate acme-web: the cluster has no kind Certificate".to_owned();
    let failure = Failure { since: world.now, kind: FailureKind::Refused, message };
    observed.failures.insert((StageName::Certificates, Source::Step), failure);
    observed
        .objects
        .live
        .insert(plan::object::Ref::new(plan::object::Kind::Certificate, "acme-web"), plan::Fact::Absent);
    let plan = plan::tenant(&observed);
    for condition in ["CertificatesReady", "Stalled", "Ready"] {
        let (_, message) = status_of(&plan, condition);
        assert!(message.contains("the cluster has no kind Certificate"), "{condition}: {message}");
    }
    // The step is tried again all the same, and that soon.
    assert!(plan.steps.iter().any(|(stage, step)| *stage == StageName::Certificates && step.label() == "Apply"));
    assert!(plan.wake.is_some_and(|wake| wake <= TimeDelta::seconds(10)), "{:?}", plan.wake);
}

#[test]
fn what_belongs_to_somebody_else_is_named_and_left_alone() {
    let mut world = asked();
    world.cert_manager.foreign = true;
    runs(&mut world, 30);
    holds("Stalled", "True", "NameTaken", &world);
    assert!(message(&world, "Stalled").contains("Secret acme-web-issued"), "{}", message(&world, "Stalled"));
    assert_eq!(world.certificate(), None, "cert-manager would write over it");
    world.cert_manager.foreign = false;
    converge(&mut world);

    let mut world = asked();
    let reference = plan::object::Ref::new(plan::object::Kind::Certificate, "acme-web");
    let foreign = json!({"metadata": {"name": "acme-web", "uid": "theirs"}, "spec": {}});
    world.objects.insert(reference.clone(), std::sync::Arc::new(foreign));
    world.cert_manager.stopped = true;
    runs(&mut world, 30);
    holds("Stalled", "True", "NameTaken", &world);
    choose(&mut world, Issuer::Tenant, None);
    converge(&mut world);
    assert_eq!(world.objects[&reference]["metadata"]["uid"], "theirs");
    assert_eq!(world.tenant.status.as_ref().and_then(|status| status.cert_manager.clone()), None);
}

#[test]
fn a_removed_tenant_takes_it_along() {
    let mut world = issued();
    world.delete();
    until_gone(&mut world);
    assert_eq!((world.certificate(), world.cert_manager.secret.is_none()), (None, true));
}

proptest! {
    // Each case is several hundred runs.
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// The process dies after any effect, any number of times, and the issuer refuses and comes back: it ends with the certificate
    /// that cert-manager wrote last, or with nothing of it.
    #[test]
    fn deaths_and_refusals_change_nothing_of_the_outcome(
        deaths in prop::collection::vec((0..4usize, 0..8u8), 0..60),
        given_up in any::<bool>(),
    ) {
        let mut world = asked();
        for (survive, what) in deaths {
            match what {
                0 => world.cert_manager.fails = Some("no".into()),
                1 => world.cert_manager.fails = None,
                2 => world.now += TimeDelta::days(20),
                3 => choose(&mut world, Issuer::Tenant, None),
                4 => choose(&mut world, Issuer::CertManager, Some("other")),
                5 => world.cert_manager.stopped = !world.cert_manager.stopped,
                _ => {}
            }
            run(&mut world, survive);
            world.tick();
        }
        world.cert_manager.fails = None;
        world.cert_manager.stopped = false;
        world.cert_manager.issuers = vec![ISSUER.into(), OTHER.into()];
        choose(&mut world, if given_up { Issuer::Tenant } else { Issuer::CertManager }, Some("other").filter(|_| !given_up));
        converge(&mut world);
        runs(&mut world, 5);
        converge(&mut world);
        assert_silent(&mut world);
        if given_up {
            assert_clean(&world);
            prop_assert_eq!(served(&world), "CN=acme");
        } else {
            let (number, _) = world.cert_manager.secret.clone().expect("a certificate");
            prop_assert_eq!(served(&world), format!("cert-manager {number} {OTHER}"));
        }
    }
}
