//! Agents that left while they were behind count until they are forgotten: by name at once, and by themselves in the end.

use anyhow::Context;
use chrono::TimeDelta;
use e2e::testbed::{TestBed, agent};
use serde_json::{Value, json};

use super::super::cluster;
use super::super::covered::{says, seen};
use super::super::manifest::edit;
use super::setting::{SHOWS, always, make, pinned};

const NAME: &str = "forgetting";
const DOMAIN: &str = "forgetting-forgetting.example.com";

/// Two agents leave. The pool tells of both; one is forgotten by name, the other after an hour.
pub async fn of_agents(bed: &TestBed) -> anyhow::Result<()> {
    let mut wanted = pinned(NAME, NAME, "17.5.2");
    wanted["spec"]["agents"] = json!({"rememberFor": "1h"});
    make(bed, NAME, &[always(NAME, "default")], &[wanted]).await?;
    let pool = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "AgentPool", "metadata": {"namespace": NAME, "name": "all"},
        "spec": {"tenantRef": {"name": NAME}},
    });
    bed.apply(&pool.to_string()).await?;
    let node: &[&str] = &["Node"];
    bed.agents(DOMAIN, &[("lost", "16.4.3", node), ("sold", "16.4.3", node)]);
    let behind = |count: i64| move |status: &Value| status["agents"]["behind"] == count;
    let remembered = |count: i64| move |status: &Value| status["agents"]["remembered"] == count;
    bed.await_status(NAME, NAME, "both to be counted", SHOWS, behind(2)).await?;
    bed.agents(DOMAIN, &[]);
    bed.await_status(NAME, NAME, "both to be remembered", SHOWS, remembered(2)).await?;
    e2e::testbed::wait_until("the pool to tell when they left", SHOWS, || async {
        let pool = cluster::object(bed, NAME, "agentpool", "all").await?.context("no pool")?;
        let left = json!({"version": "16.4.3", "left": "~^20.*:00:00Z$"});
        says("AgentPool", &pool["status"], &json!({"laggards": [left, left]})).map(Some)
    })
    .await?;

    let id = agent("sold", "16.4.3", node).id;
    let now = bed.clock().now()?.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    edit(bed, NAME, NAME, json!({"agents": {"forget": {"ids": [id], "requestedAt": now}}})).await?;
    bed.await_status(NAME, NAME, "one to be forgotten", SHOWS, remembered(1)).await?;
    seen("Tenant", "spec.agents.forget.ids[]", id);
    seen("Tenant", "spec.agents.forget.requestedAt", now);
    // Hours are remembered, not minutes.
    bed.clock().advance(TimeDelta::minutes(121)).await?;
    bed.await_status(NAME, NAME, "the other to be forgotten", SHOWS, remembered(0)).await?;
    seen("Tenant", "spec.agents.rememberFor", "1h");
    Ok(())
}
