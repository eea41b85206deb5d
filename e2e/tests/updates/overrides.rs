//! The ways round the gate: each skips what it names and no more, ends when it says, and is told of by name.

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::super::covered::{says, seen};
use super::super::manifest::edit;
use super::setting::{HOP, SHOWS, await_event, later, with_window};

/// The namespace and the tenant in it.
const NAME: &str = "override";

/// From 17.5.2 to 18.1.1 without a window ever being open, over agents that are too old and a soak that is not over.
pub async fn skip_what_they_name(bed: &TestBed) -> anyhow::Result<()> {
    let domain = with_window(bed, NAME, "17.5.2", &later(NAME, "default").0).await?;
    bed.agents(&domain, &[("old", "16.4.3", &["Node"])]);

    // Once per instant, and for the window alone.
    edit(bed, NAME, NAME, json!({"version": "17.5.3"})).await?;
    bed.await_blockers(NAME, NAME, &["WindowClosed"], SHOWS).await?;
    let now = instant(bed.clock().now()?);
    edit(bed, NAME, NAME, json!({"maintenance": {"applyNow": now}})).await?;
    let done = bed.await_version(NAME, NAME, "17.5.3", HOP).await?;
    ensure!(done["history"][0]["skipped"] == json!(["Window"]) && done["appliedNow"] == now.as_str(), "{done}");
    await_event(bed, NAME, "UpdateStarted", &["to 17.5.3", "[Window]", "applyNow", &now]).await?;
    says("Tenant", &done, &json!({"appliedNow": now}))?;
    seen("Tenant", "spec.maintenance.applyNow", now);
    edit(bed, NAME, NAME, json!({"version": "17.5.2"})).await?;
    bed.await_blockers(NAME, NAME, &["WindowClosed"], SHOWS).await?;

    // One that is over counts for nothing.
    let over = bed.clock().now()? - TimeDelta::minutes(1);
    exempt(bed, &["Window", "Agents", "Policy"], "it was urgent", over).await?;
    bed.await_blockers(NAME, NAME, &["WindowClosed"], SHOWS).await?;
    let until = bed.clock().now()? + TimeDelta::hours(1);
    exempt(bed, &["Window"], "CVE-2026-1234", until).await?;
    let done = bed.await_version(NAME, NAME, "17.5.2", HOP).await?;
    ensure!(done["history"][0]["skipped"] == json!(["Window"]), "{done}");
    await_event(bed, NAME, "UpdateStarted", &["to 17.5.2", "[Window]", "CVE-2026-1234", &instant(until)]).await?;
    seen("Tenant", "spec.maintenance.override.checks[]", done["history"][0]["skipped"][0].clone());
    seen("Tenant", "spec.maintenance.override.reason", "CVE-2026-1234");
    seen("Tenant", "spec.maintenance.override.until", instant(until));

    // What it does not name is checked.
    edit(bed, NAME, NAME, json!({"version": "18.1.0"})).await?;
    bed.await_blockers(NAME, NAME, &["AgentReportIncomplete"], SHOWS).await?;
    exempt(bed, &["Window", "Agents"], "they are gone", until).await?;
    let done = bed.await_version(NAME, NAME, "18.1.0", HOP).await?;
    ensure!(done["history"][0]["skipped"] == json!(["Window", "Agents"]), "{done}");
    await_event(bed, NAME, "UpdateStarted", &["to 18.1.0", "[Window, Agents]", "they are gone"]).await?;

    edit(bed, NAME, NAME, json!({"version": null, "channel": "slow"})).await?;
    bed.await_blockers(NAME, NAME, &["SoakPending"], SHOWS).await?;
    exempt(bed, &["Window", "Policy"], "it cannot wait", until).await?;
    let done = bed.await_version(NAME, NAME, "18.1.1", HOP).await?;
    ensure!(done["history"][0]["skipped"] == json!(["Window", "Policy"]), "{done}");
    seen("Tenant", "spec.channel", "slow");
    await_event(bed, NAME, "UpdateStarted", &["to 18.1.1", "[Window, Policy]", "it cannot wait"]).await
}

/// Writes an override and waits until the operator has seen it.
async fn exempt(bed: &TestBed, checks: &[&str], reason: &str, until: DateTime<Utc>) -> anyhow::Result<()> {
    let exemption = json!({"checks": checks, "reason": reason, "until": instant(until)});
    edit(bed, NAME, NAME, json!({"maintenance": {"override": exemption}})).await?;
    let generation = bed.tenants(NAME).get(NAME).await?.metadata.generation;
    let seen = |status: &Value| status["observedGeneration"].as_i64() >= generation;
    bed.await_status(NAME, NAME, "the override to be seen", SHOWS, seen).await.map(drop)
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
