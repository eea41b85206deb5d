//! The API as users meet it: schema, rules, columns, charts, rights and deletion protection, judged by a real API server.
//! One control plane for the whole file; every fault is collected and all are reported at the end.

mod api {
    pub mod agent_pools;
    pub mod bed;
    pub mod cases;
    pub mod charts;
    pub mod crd;
    pub mod examples;
    pub mod override_right;
    pub mod protection;
    pub mod report;
    pub mod rights;
    pub mod tables;
    pub mod views;
}

use api::bed::Bed;
use api::report::Report;

/// Few enough that a table cut short by mistake is noticed.
const FEWEST_REFUSALS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_what_it_says() {
    let bed = Bed::start().await.expect("the control plane starts");
    let mut report = Report::default();
    let refusals = tokio::select! {
        refusals = conformance(&bed, &mut report) => refusals,
        failure = bed.failure() => panic!("the control plane failed: {failure}"),
    };
    bed.stop().await;
    println!("{refusals} refusals and {} checks in all", report.checks());
    report.finish();
    assert!(refusals >= FEWEST_REFUSALS, "only {refusals} refusals were tried");
}

/// In this order, since each part stands on the one before: the schema, tenants without the admission policy, the
/// operator's chart, and what only the chart brings.
async fn conformance(bed: &Bed, report: &mut Report) -> usize {
    api::crd::check(bed, report).await;
    let refusals = api::cases::check(bed, report).await + api::agent_pools::check(bed, report).await;
    api::views::check(bed, report).await;
    api::charts::check(bed, report).await;
    api::rights::check(bed, report).await;
    api::protection::check(bed, report).await;
    api::override_right::check(bed, report).await;
    api::examples::check(bed, report).await;
    refusals
}
