//! Updates seen from outside: a tenant is updated only inside its window, a major only when its agents allow it, and
//! everybody can read on the object what comes next and what is in the way. One test bed; the operator's clock is set.
//!
//! `SCENARIOS=name,name` runs some of them only.

// The tools of the other scenarios are shared, and not all of them are needed here.
#[path = "tenant/cloud.rs"]
#[expect(dead_code)]
mod cloud;
#[path = "tenant/cluster.rs"]
#[expect(dead_code)]
mod cluster;
#[path = "tenant/covered.rs"]
mod covered;
#[path = "tenant/fields.rs"]
#[expect(dead_code)]
mod fields;
#[path = "tenant/manifest.rs"]
#[expect(dead_code)]
mod manifest;
#[path = "tenant/probes.rs"]
#[expect(dead_code)]
mod probes;
#[path = "tenant/runner.rs"]
mod runner;
mod updates {
    pub mod crash;
    pub mod crowd;
    pub mod forgetting;
    pub mod gate;
    pub mod halts;
    pub mod majors;
    pub mod overrides;
    pub mod paused;
    pub mod policy;
    pub mod publish;
    pub mod remarks;
    pub mod reports;
    pub mod retention;
    pub mod setting;
    pub mod steps;
    pub mod template;
    pub mod verify;
    pub mod windows;
}

use runner::{Runner, scenario};
use serde_json::Value;
use updates::{
    crash, crowd, forgetting, gate, halts, majors, overrides, paused, policy, publish, remarks, reports, retention,
    setting, steps, template, verify, windows,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_are_what_was_promised() {
    runner::run(setting::values(), scenarios).await;
}

/// The clock and the fleet policy are one for all: scenarios that change either run alone, or on a policy of their own.
async fn scenarios(runner: &mut Runner<'_>) {
    let bed = runner.bed();
    runner.together(vec![scenario("another build", &["template"], template::of_another_build(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("a major waits for agents and window", &["major"], majors::waits(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("old recovery points end", &["keep"], retention::ends(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("a release that left the feed is told", &["keep"], remarks::told(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("agents are told what to run", &["told"], publish::agents_are_told(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner
        .together(vec![
            scenario("the gate by window and policy", &["gate"], gate::by_window_and_policy(bed)),
            scenario("two majors are two steps", &["steps"], steps::lead_to_the_goal(bed)),
            scenario("two tenants in a window of one", &["pair"], gate::one_at_a_time(bed)),
            scenario("a paused tenant stands still", &["paused"], paused::stands_still(bed)),
            scenario("every process is verified", &["each"], verify::every_process(bed)),
        ])
        .await;
    begin(runner, &policy::feed(true)).await;
    runner
        .together(vec![
            scenario("the gate by soak, waves and budget", &["policy"], policy::rows(bed)),
            scenario("the gate by windows that cannot be waited for", &["grants"], windows::rows(bed)),
            scenario("overrides skip what they name", &["override"], overrides::skip_what_they_name(bed)),
        ])
        .await;
    begin(runner, &setting::feed()).await;
    let reports = reports::hold_majors_back(bed);
    runner.together(vec![scenario("reports hold majors back", &["reports", "confirm"], reports)]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("bad releases go back or halt", &["halts"], halts::bad_releases(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner.together(vec![scenario("killed at each write of a minor", &["minor"], crash::minor(bed))]).await;
    runner.together(vec![scenario("killed at each write of a major", &["slain"], crash::major(bed))]).await;
    begin(runner, &setting::feed()).await;
    runner
        .together(vec![scenario("agents that left are forgotten", &["forgetting"], forgetting::of_agents(bed))])
        .await;
    begin(runner, &setting::feed()).await;
    // Last, since its tenants stay.
    let crowd = scenario("a window opens for a crowd", &[], crowd::shares_a_window(bed));
    runner.together(vec![crowd.within(crowd::LIMIT)]).await;
    let every_field = covered::every_field(bed, covered::Suite::Updates);
    runner.together(vec![scenario("each field is seen", &[], every_field)]).await;
}

/// Whatever became of the last scenarios, the next ones find the time as it is and this policy.
async fn begin(runner: &mut Runner<'_>, feed: &Value) {
    let begun = async {
        runner.bed().clock().set(chrono::Utc::now()).await?;
        setting::set_feed(runner.bed(), feed).await
    };
    if let Err(error) = begun.await {
        runner.broke(&format!("{error:#}"));
    }
}
