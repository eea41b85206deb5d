//! A paused tenant: a due update does not start and what is deleted is not made again, until it goes on.

use anyhow::{bail, ensure};
use chrono::Utc;
use e2e::testbed::{TestBed, wait_until};
use serde_json::json;

use super::super::cluster;
use super::super::manifest::{condition, edit};
use super::setting::{HOP, SHOWS, always, with_window};

const PENDING: &str = "pending: Proxy: Apply Deployment paused-proxy";

/// Paused with another version pinned, and its Proxy deleted by hand; then it goes on.
pub async fn stands_still(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, "paused", "18.1.0", &always("paused", "default")).await?;
    edit(bed, "paused", "paused", json!({"paused": true, "version": "18.1.1"})).await?;
    bed.await_blockers("paused", "paused", &["Paused"], SHOWS).await?;
    says(bed, "nothing is pending").await?;

    let since = Utc::now();
    cluster::delete(bed, "paused", "deployment", "paused-proxy").await?;
    says(bed, PENDING).await?;
    bed.await_condition("paused", "paused", "Available", "False", SHOWS).await?;
    let written = bed.writes_since(since)?;
    let own = written.iter().filter(|write| write.namespace == "paused");
    let other: Vec<String> = own
        .filter(|write| !["tenants/status", "events"].contains(&&*write.resource))
        .map(|write| write.what())
        .collect();
    ensure!(other.is_empty(), "the operator wrote {other:?}");
    let proxy = cluster::object(bed, "paused", "deployment", "paused-proxy").await?;
    ensure!(proxy.is_none_or(|proxy| !proxy["metadata"]["deletionTimestamp"].is_null()), "it was made again");

    edit(bed, "paused", "paused", json!({"paused": false})).await?;
    let done = bed.await_version("paused", "paused", "18.1.1", HOP).await?;
    ensure!(done["history"][0]["result"] == "Succeeded", "{}", done["history"][0]);
    bed.await_condition("paused", "paused", "Available", "True", SHOWS).await.map(drop)
}

async fn says(bed: &TestBed, pending: &str) -> anyhow::Result<()> {
    wait_until(pending, SHOWS, || async {
        let ready = condition(&bed.tenants("paused").get("paused").await?, "Ready")?;
        let (status, reason, message) = &ready;
        if status == "True" && reason == "Paused" && message.ends_with(pending) {
            Ok(Some(()))
        } else {
            bail!("{ready:?}")
        }
    })
    .await
}
