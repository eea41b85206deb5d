//! What is not known of the agents holds a major back, row by row; and one that is old again at the last look stops it.

use anyhow::ensure;
use chrono::TimeDelta;
use e2e::testbed::{TestBed, blockers};
use serde_json::{Value, json};

use super::super::cluster::{self, component};
use super::super::manifest::{edit, id};
use super::setting::{HOP, SHOWS, always, await_event, await_stage, make, pinned};

/// After this time every agent has reported, and a reading from before is stale.
const HEARTBEATS: TimeDelta = TimeDelta::minutes(21);

/// A memory that is spoilt, an Auth that does not answer, an agent whose version nobody can read.
pub async fn hold_majors_back(bed: &TestBed) -> anyhow::Result<()> {
    let node: &[&str] = &["Node"];
    bed.agents("missing-reports.example.com", &[("left", "16.4.3", node)]);
    bed.agents("unknown-reports.example.com", &[("odd", "weird", node)]);
    bed.agents("stale-confirm.example.com", &[("steady", "17.5.2", node)]);
    let mut narrow = always("confirm", "default");
    narrow["spec"]["maxConcurrentUpdates"] = json!(1);
    let reports = [pinned("reports", "missing", "17.5.2"), pinned("reports", "unknown", "17.5.2")];
    let confirm = [pinned("confirm", "stale", "17.5.2"), pinned("confirm", "second", "18.1.0")];
    futures::future::try_join(
        make(bed, "reports", &[always("reports", "default")], &reports),
        make(bed, "confirm", &[narrow], &confirm),
    )
    .await?;
    spoil_the_memory(bed).await?;
    bed.world().hang_inventory("stale-confirm.example.com", true);
    for (namespace, name) in [("reports", "missing"), ("reports", "unknown"), ("confirm", "stale")] {
        edit(bed, namespace, name, json!({"version": "18.1.0"})).await?;
    }
    bed.await_blockers("reports", "missing", &["AgentReportMissing"], SHOWS).await?;
    bed.clock().advance(HEARTBEATS).await?;
    let held = bed.await_blockers("reports", "unknown", &["AgentVersionUnknown"], SHOWS).await?;
    let message = held["next"]["blockers"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("odd (weird)"), "{message}");
    bed.await_blockers("confirm", "stale", &["AgentReportStale"], SHOWS).await?;
    bed.await_blockers("reports", "missing", &["AgentReportMissing"], SHOWS).await?;

    data(bed, "").await?;
    bed.agents("unknown-reports.example.com", &[("odd", "17.5.2", node)]);
    bed.world().hang_inventory("stale-confirm.example.com", false);
    old_again_at_the_last_look(bed).await?;
    for name in ["missing", "unknown"] {
        bed.await_version("reports", name, "18.1.0", HOP).await?;
    }
    Ok(())
}

/// The ConfigMap that remembers agents that left, written by the operator, spoilt by a person.
async fn spoil_the_memory(bed: &TestBed) -> anyhow::Result<()> {
    let remembers = |count: i64| move |status: &Value| status["agents"]["behind"] == count;
    bed.await_status("reports", "missing", "the agent to be counted", HOP, remembers(1)).await?;
    bed.agents("missing-reports.example.com", &[]);
    let remembered = |status: &Value| status["agents"]["remembered"] == 1;
    bed.await_status("reports", "missing", "the agent to be remembered", HOP, remembered).await?;
    data(bed, "spoilt").await
}

async fn data(bed: &TestBed, agents: &str) -> anyhow::Result<()> {
    let patch = json!({"data": {"agents": agents}}).to_string();
    let patch = ["patch", "configmap", "missing-agents", "--type=merge", "-p", &patch];
    bed.kubectl(["-n", "reports"].into_iter().chain(patch)).await.map(drop)
}

/// Between the gate and the first disruptive write an agent comes back on an old major: nothing was touched, and the place
/// is another's. Once it is up to date, the hop runs.
async fn old_again_at_the_last_look(bed: &TestBed) -> anyhow::Result<()> {
    let domain = "stale-confirm.example.com";
    let tenant = bed.tenants("confirm").get("stale").await?;
    let auth = component(&id(&tenant)?, "auth");
    bed.await_status("confirm", "stale", "its hop to begin", HOP, |status| status["update"].is_object()).await?;
    bed.world().hang_inventory(domain, true);
    let pods = cluster::names(bed, "confirm", "pods", &auth).await?;
    edit(bed, "confirm", "second", json!({"version": "18.1.1"})).await?;
    bed.await_blockers("confirm", "second", &["ConcurrencyReached"], SHOWS).await?;
    let update = await_stage(bed, "confirm", "stale", "Confirm").await?;
    ensure!(update["recoveryPoint"].is_string(), "{update}");
    bed.agents(domain, &[("steady", "17.5.2", &["Node"]), ("back", "16.4.3", &["Node"])]);
    bed.world().hang_inventory(domain, false);

    let given_up = |status: &Value| status["update"].is_null() && blockers(status) == ["AgentsBehind"];
    let status = bed.await_status("confirm", "stale", "its hop to be given up", SHOWS, given_up).await?;
    ensure!(status["version"] == "17.5.2" && status["history"].as_array().is_none_or(Vec::is_empty), "{status}");
    ensure!(cluster::names(bed, "confirm", "pods", &auth).await? == pods, "Auth was replaced");
    await_event(bed, "confirm", "UpdateAbandoned", &["Major to 18.1.0"]).await?;
    bed.await_version("confirm", "second", "18.1.1", HOP).await?;
    bed.agents_move_to(domain, "17.5.2");
    bed.await_version("confirm", "stale", "18.1.0", HOP).await.map(drop)
}
