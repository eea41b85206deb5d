//! What is told and not acted upon: a release that tenants run and that leaves the feed.

use anyhow::{bail, ensure};
use e2e::testbed::{TestBed, wait_until};
use serde_json::{Value, json};

use super::super::manifest::condition;
use super::super::probes;
use super::setting::{SHOWS, always, events, feed, set_feed, with_window};

const RUNS: &str = "18.1.0";
const METRIC: &str = "tenant_operator_unlisted_release_tenants{reason=\"ReleaseWithdrawn\"}";

/// Withdrawn, taken away, and back again: a condition and one event for each, and nothing else.
pub async fn told(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, "keep", RUNS, &always("keep", "default")).await?;
    let outcome = leaves(bed).await;
    // The scenarios that follow stand on it.
    set_feed(bed, &feed()).await?;
    outcome?;
    bed.await_condition("keep", "keep", "ReleaseUnlisted", "absent", SHOWS).await.map(drop)
}

async fn leaves(bed: &TestBed) -> anyhow::Result<()> {
    let mut withdrawn = feed();
    for release in
        withdrawn["releases"].as_array_mut().into_iter().flatten().filter(|release| release["version"] == RUNS)
    {
        release["withdrawn"] = json!(true);
    }
    set_feed(bed, &withdrawn).await?;
    says(bed, "ReleaseWithdrawn", "18.1.0 runs and was withdrawn from the release feed").await?;
    wait_until(METRIC, SHOWS, || async {
        let found = probes::leaders_metrics(bed).await?.get(METRIC).copied();
        if found.is_some_and(|found| found >= 1.0) { Ok(Some(())) } else { bail!("it is {found:?}") }
    })
    .await?;
    let mut shorter = feed();
    if let Some(releases) = shorter["releases"].as_array_mut() {
        releases.retain(|release| release["version"] != RUNS);
    }
    set_feed(bed, &shorter).await?;
    says(bed, "ReleaseNotListed", "18.1.0 runs and is not in the release feed").await
}

async fn says(bed: &TestBed, reason: &str, message: &str) -> anyhow::Result<()> {
    let holds = |status: &Value| {
        status["conditions"].as_array().into_iter().flatten().any(|condition| {
            condition["type"] == "ReleaseUnlisted"
                && condition["reason"] == reason
                && condition["message"].as_str().is_some_and(|text| text.starts_with(message))
        })
    };
    let status = bed.await_status("keep", "keep", reason, SHOWS, holds).await?;
    ensure!(status["version"] == RUNS && status["next"].is_null() && status["update"].is_null(), "{status}");
    let tenant = bed.tenants("keep").get("keep").await?;
    ensure!(condition(&tenant, "Ready")?.0 == "True", "{:?}", condition(&tenant, "Ready")?);
    wait_until("the event", SHOWS, || async {
        let found = events(bed, "keep", reason).await?;
        if found.len() == 1 { Ok(Some(())) } else { bail!("{found:?}") }
    })
    .await
}
