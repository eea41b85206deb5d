//! What metrics are served and read with: renewed in a window, in time without one, and always so that the scraper has what the pods
//! trust.

use std::sync::Arc;

use chrono::TimeDelta;
use crds::tenant_status::TenantStatus;
use plan::Fact;
use plan::object::{Kind, Ref};
use plan::updates::WindowFact;
use serde_json::{Value, json};

use super::world::World;
use super::{ENOUGH, message, planned, run, settled};

const SCRAPER: &str = "acme-scraper";

/// Until nothing is left to do.
fn rest(world: &mut World) {
    for _ in 0..ENOUGH {
        if !run(world) {
            return;
        }
        world.tick();
    }
    panic!("it does not come to rest: {:#?}", world.tenant.status);
}

/// The same tenant, whose window never comes.
fn without_window() -> (World, WindowFact) {
    let mut world = settled(json!({}));
    let missing = WindowFact::Missing { window: "customers/default".into() };
    let window = std::mem::replace(&mut world.window, missing);
    rest(&mut world);
    (world, window)
}

fn data(world: &World, name: &str) -> Value {
    world.objects[&Ref::new(Kind::Secret, name)]["data"].clone()
}

/// The Secret that the pods of a Deployment serve their metrics with.
fn served(world: &World, deployment: &str) -> String {
    let live = &world.objects[&Ref::new(Kind::Deployment, deployment)];
    let volumes = live["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == "metrics").expect("a volume");
    volume["secret"]["secretName"].as_str().expect("a name").to_owned()
}

fn ends(world: &World) -> String {
    let status = world.tenant.status.as_ref().expect("a status");
    status.certificates.iter().find(|found| found.name == "metrics").expect("it is told").not_after.clone()
}

#[test]
fn all_pods_serve_what_the_scraper_trusts() {
    let world = settled(json!({}));
    let names = ["acme-auth-0", "acme-auth-1", "acme-proxy"].map(|deployment| served(&world, deployment));
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(data(&world, &names[0])["ca.crt"], data(&world, SCRAPER)["ca.crt"]);
    assert_ne!(data(&world, &names[0])["tls.key"], data(&world, SCRAPER)["tls.key"]);
    let monitor = &world.objects[&Ref::new(Kind::PodMonitor, "acme")];
    let tls = &monitor["spec"]["podMetricsEndpoints"][0]["tlsConfig"];
    for secret in [&tls["ca"]["secret"], &tls["cert"]["secret"], &tls["keySecret"]] {
        assert_eq!(secret["name"], SCRAPER);
    }
}

#[test]
fn a_monitor_is_made_when_the_cluster_comes_to_know_the_kind() {
    let mut world = settled(json!({}));
    let monitor = Ref::new(Kind::PodMonitor, "acme");
    world.objects.remove(&monitor);
    world.pod_monitors = false;
    rest(&mut world);
    assert!(!world.objects.contains_key(&monitor) && world.ready());
    world.pod_monitors = true;
    rest(&mut world);
    assert!(world.objects.contains_key(&monitor));
}

#[test]
fn a_renewal_waits_for_the_window_and_the_scraper_with_it() {
    let (mut world, window) = without_window();
    let before = (served(&world, "acme-proxy"), data(&world, SCRAPER), ends(&world));
    world.renewal = 1;
    rest(&mut world);
    assert_eq!(world.condition("UpdateDue"), Some(("True".into(), "TemplateChanged".into())));
    assert_eq!((served(&world, "acme-proxy"), data(&world, SCRAPER), ends(&world)), before);
    world.window = window;
    rest(&mut world);
    assert_eq!(world.condition("UpdateDue"), Some(("False".into(), "UpToDate".into())));
    assert_eq!(served(&world, "acme-auth-0"), served(&world, "acme-proxy"));
    assert!(served(&world, "acme-proxy") != before.0 && data(&world, SCRAPER) != before.1 && ends(&world) > before.2);
}

#[test]
fn with_a_sixth_left_a_renewal_waits_no_longer() {
    let (mut world, _) = without_window();
    let before = served(&world, "acme-auth-1");
    world.renewal = 2;
    world.now += TimeDelta::days(299);
    rest(&mut world);
    assert_eq!(served(&world, "acme-auth-1"), before);
    world.now += TimeDelta::days(2);
    rest(&mut world);
    assert_ne!(served(&world, "acme-auth-1"), before);
    assert_eq!(served(&world, "acme-auth-1"), served(&world, "acme-proxy"));
    assert!(world.ready());
}

#[test]
fn a_lost_scraper_comes_back_as_it_was_also_while_a_renewal_waits() {
    let (mut world, _) = without_window();
    world.renewal = 1;
    rest(&mut world);
    let (before, served) = (data(&world, SCRAPER), served(&world, "acme-proxy"));
    for name in [SCRAPER, &served] {
        world.objects.remove(&Ref::new(Kind::Secret, name));
    }
    world.objects.remove(&Ref::new(Kind::PodMonitor, "acme"));
    rest(&mut world);
    assert_eq!(data(&world, SCRAPER), before);
    assert_eq!(data(&world, &served)["ca.crt"], before["ca.crt"]);
    assert!(world.objects.contains_key(&Ref::new(Kind::PodMonitor, "acme")));
}

#[test]
fn by_a_clock_that_may_be_wrong_nothing_is_about_to_end() {
    let (mut world, _) = without_window();
    world.renewal = 2;
    world.now += TimeDelta::days(299);
    rest(&mut world);
    world.now += TimeDelta::days(2);
    let template = |status: Option<&TenantStatus>| {
        status.and_then(|status| status.applied.as_ref()).map(|applied| applied.template.clone())
    };
    let rolls = |skew: Fact<TimeDelta>| {
        let mut observed = world.observe();
        observed.clock_skew = skew;
        template(Some(&planned(&world, observed).status)) != template(world.tenant.status.as_ref())
    };
    assert!(rolls(Fact::Known(TimeDelta::seconds(3))));
    assert!(!rolls(Fact::Known(TimeDelta::days(301))) && !rolls(Fact::Unknown));
}

#[test]
fn a_stranger_where_the_scraper_should_be_is_told_and_nothing_else_suffers() {
    let mut world = settled(json!({}));
    let scraper = Ref::new(Kind::Secret, SCRAPER);
    let mut foreign = (*world.objects[&scraper]).clone();
    foreign["metadata"]["ownerReferences"] = json!([]);
    world.objects.insert(scraper, Arc::new(foreign));
    rest(&mut world);
    assert!(world.ready());
    assert_eq!(world.condition("MetricsUnreadable"), Some(("True".into(), "NameTaken".into())));
    assert!(message(&world, "MetricsUnreadable").contains("Secret acme-scraper"));
}

#[test]
fn pods_of_an_operator_without_metrics_have_no_certificate_that_could_end() {
    let (mut world, _) = without_window();
    for name in ["acme-auth-0", "acme-auth-1", "acme-proxy"] {
        let live = world.objects.get_mut(&Ref::new(Kind::Deployment, name)).expect("a Deployment");
        let template = &mut Arc::make_mut(live)["spec"]["template"];
        template["metadata"].as_object_mut().expect("metadata").remove("annotations");
        template["spec"]["volumes"] = json!([]);
    }
    world.tenant.status.as_mut().expect("a status").applied.as_mut().expect("applied").template = "older".into();
    rest(&mut world);
    let status = world.tenant.status.as_ref().expect("a status");
    assert!(
        world.ready() && status.certificates.iter().all(|found| found.name != "metrics"),
        "{:?}",
        status.certificates
    );
    assert_eq!(world.condition("UpdateDue"), Some(("True".into(), "TemplateChanged".into())));
}
