//! Updates seen from outside: a tenant is updated only inside its window, a major only when its agents allow it, and
//! everybody can read on the object what comes next and what is in the way. One test bed; the operator's clock is set.
//!
//! `SCENARIOS=name,name` runs some of them only.

// The tools of the other scenarios are shared, and not all of them are needed here.
#[path = "tenant/cluster.rs"]
#[expect(dead_code)]
mod cluster;
#[path = "tenant/manifest.rs"]
#[expect(dead_code)]
mod manifest;
#[path = "tenant/runner.rs"]
mod runner;
mod updates {
    pub mod gate;
    pub mod majors;
    pub mod publish;
    pub mod setting;
}

use e2e::testbed::{Options, TestBed};
use runner::{Runner, scenario};
use updates::{gate, majors, publish, setting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_are_what_was_promised() {
    let values = setting::values();
    let bed = TestBed::with_operator(&Options { values, ..Options::default() }).await.expect("the test bed starts");
    let mut runner = Runner::new(&bed);
    tokio::select! {
        () = scenarios(&mut runner) => {}
        exit = bed.control_plane().failure() => runner.broke(&exit.to_string()),
    }
    let outcome = runner.finish();
    bed.stop().await;
    outcome.unwrap();
}

/// The clock is one for all: scenarios that move it run alone.
async fn scenarios(runner: &mut Runner<'_>) {
    let bed = runner.bed();
    runner.together(vec![scenario("a major waits for agents and window", &["major"], majors::waits(bed))]).await;
    runner.together(vec![scenario("agents are told what to run", &["told"], publish::agents_are_told(bed))]).await;
    // Also after a failure the next ones find the time as it is.
    if let Err(error) = bed.clock().set(chrono::Utc::now()).await {
        runner.broke(&format!("{error:#}"));
    }
    runner
        .together(vec![
            scenario("the gate by window and policy", &["gate"], gate::by_window_and_policy(bed)),
            scenario("two tenants in a window of one", &["pair"], gate::one_at_a_time(bed)),
        ])
        .await;
}
