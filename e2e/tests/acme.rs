//! Web certificates from an ACME server, with the limits of a public one in front of it. One test bed; the operator's clock is set.
//!
//! `SCENARIOS=name,name` runs some of them only.

// The tools of the other scenarios are shared, and not all of them are needed here.
#[path = "tenant/cluster.rs"]
#[expect(dead_code)]
mod cluster;
#[path = "acme/course.rs"]
mod course;
#[path = "tenant/covered.rs"]
#[expect(dead_code)]
mod covered;
#[path = "tenant/fields.rs"]
#[expect(dead_code)]
mod fields;
#[path = "acme/front.rs"]
mod front;
#[path = "acme/limits.rs"]
mod limits;
#[path = "acme/line.rs"]
mod line;
#[path = "tenant/manifest.rs"]
#[expect(dead_code)]
mod manifest;
#[path = "tenant/probes.rs"]
#[expect(dead_code)]
mod probes;
#[path = "tenant/runner.rs"]
#[expect(dead_code)]
mod runner;
#[path = "acme/told.rs"]
mod told;

use std::time::Duration;

use e2e::testbed::{Options, TestBed, ZONE};
use front::Front;
use runner::{Runner, scenario};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_what_was_promised() {
    let bed = TestBed::start(&Options::default()).await.expect("the test bed starts");
    let front = Front::start(&bed).await.expect("the front starts");
    let releases = json!({"releases": [{"version": "18.1.0", "releasedAt": "2026-01-01T00:00:00Z"}]});
    let zone = bed.cloud().create_zone(line::DOMAIN).await.expect("another zone");
    let dns = json!({"route53": [{"zone": ZONE}, {"zone": line::DOMAIN}]});
    let acme = json!({"directory": front.directory, "caBundle": front.authority, "dns": dns});
    let values = json!({"fleet": {"releases": releases, "installation": {"acme": acme}}, "inventoryInterval": "5s"});
    bed.install_operator(&values).await.expect("the operator starts");
    let mut runner = Runner::new(&bed);
    scenarios(&mut runner, &front, &zone).await;
    let outcome = runner.finish();
    bed.stop().await;
    outcome.unwrap();
}

/// The clock is one for all: each runs alone. The last leaves tenants behind that are not Ready.
async fn scenarios(runner: &mut Runner<'_>, front: &Front, zone: &str) {
    let bed = runner.bed();
    let statuses = bed.follow_statuses();
    let alone = [
        scenario("a certificate runs by itself", &["course"], course::runs_by_itself(bed, front)),
        scenario("a certificate outlives deaths", &["deaths"], course::outlives_deaths(bed, front)),
        scenario("what is wrong is told", &["refused"], course::is_told_what_is_wrong(bed, front)),
        scenario("the line is kept", &[], line::is_kept(bed, front)).within(Duration::from_secs(900)),
        scenario("status told it", &[], told::of_each_certificate(&statuses, front, zone)),
        scenario("each field is seen", &[], covered::every_field(bed, covered::Suite::Certificates)),
    ];
    for one in alone {
        runner.together(vec![one]).await;
    }
}
