//! Windows that cannot be waited for, and a window that closes while a hop runs.

use anyhow::ensure;
use e2e::testbed::{TestBed, wait_until};
use serde_json::json;

use super::super::covered::seen;
use super::super::manifest::edit;
use super::setting::{HOP, SHOWS, always, await_stage, later, make, pinned};

const DOMAIN: [&str; 2] = ["grants", "grants"];

/// A window of another namespace that does not grant itself, one in a zone that the API server knows and the operator does
/// not, one that closes, and a tenant that is not settled: each is put in the way, seen, and taken away.
pub async fn rows(bed: &TestBed) -> anyhow::Result<()> {
    let [space, name] = DOMAIN;
    let mut shared = always("platform", "shared");
    shared["spec"]["allowedNamespaces"] = json!({"matchLabels": {"team": "grants"}});
    make(bed, "platform", &[shared], &[]).await?;
    let mut invalid = always(space, "default");
    // A name that stands in the database for machines nobody has told their zone.
    invalid["spec"]["timeZone"] = json!("Factory");
    make(bed, space, &[invalid], &[pinned(space, name, "18.1.0")]).await?;

    let elsewhere = json!({"windowRef": {"name": "shared", "namespace": "platform"}});
    edit(bed, space, name, json!({"version": "18.1.1", "maintenance": elsewhere})).await?;
    bed.await_blockers(space, name, &["WindowNotGranted"], SHOWS).await?;
    bed.kubectl(["label", "namespace", space, "team=grants"]).await?;
    let done = bed.await_version(space, name, "18.1.1", HOP).await?;
    ensure!(done["window"] == "platform/shared", "it is of the window {}", done["window"]);
    seen("Tenant", "spec.maintenance.windowRef.namespace", "platform");
    seen("Tenant", "spec.maintenance.windowRef.name", "shared");
    seen("MaintenanceWindow", "spec.allowedNamespaces.matchLabels", json!({"team": "grants"}));

    edit(bed, space, name, json!({"version": "18.1.0", "maintenance": {"windowRef": null}})).await?;
    bed.await_blockers(space, name, &["WindowInvalid"], SHOWS).await?;
    bed.apply(&always(space, "default").to_string()).await?;
    bed.await_version(space, name, "18.1.0", HOP).await?;
    closes_mid_hop(bed).await?;

    // A Proxy that does not come back: the tenant is not settled.
    let proxy = format!("{name}-proxy");
    bed.world().hang_start(&proxy, "18.1.1", true);
    bed.kubectl(["-n", space, "delete", "pods", "-l", "app.kubernetes.io/component=proxy", "--wait=false"]).await?;
    bed.await_condition(space, name, "Ready", "False", SHOWS).await?;
    bed.apply(&always(space, "default").to_string()).await?;
    edit(bed, space, name, json!({"version": "18.1.0"})).await?;
    bed.await_blockers(space, name, &["NotSettled"], SHOWS).await?;
    bed.world().hang_start(&proxy, "18.1.1", false);
    bed.await_version(space, name, "18.1.0", HOP).await.map(drop)
}

/// What has begun to replace pods goes on when the window closes.
async fn closes_mid_hop(bed: &TestBed) -> anyhow::Result<()> {
    let [space, name] = DOMAIN;
    let proxy = format!("{name}-proxy");
    bed.world().hang_start(&proxy, "18.1.1", true);
    edit(bed, space, name, json!({"version": "18.1.1"})).await?;
    await_stage(bed, space, name, "Proxy").await?;
    bed.apply(&later(space, "default").0.to_string()).await?;
    wait_until("the window to be closed", SHOWS, || async {
        let open = bed.kubectl(["-n", space, "get", "mw", "default", "-o", "jsonpath={.status.open}"]).await?;
        Ok((open == "false").then_some(()))
    })
    .await?;
    bed.world().hang_start(&proxy, "18.1.1", false);
    bed.await_version(space, name, "18.1.1", HOP).await.map(drop)
}
