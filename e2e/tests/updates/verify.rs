//! An update is done when every single process says so, not when the one does that the Service happened to choose.

use anyhow::{Context, ensure};
use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::super::cluster::{self, component};
use super::super::manifest::{edit, id};
use super::setting::{HOP, always, with_window};

/// A Proxy that nobody rolls stays behind: the update waits for it, says so, and comes through when it is gone.
pub async fn every_process(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, "each", "18.1.0", &always("each", "default")).await?;
    let tenant = bed.tenants("each").get("each").await?;
    let pods = cluster::names(bed, "each", "pods", &component(&id(&tenant)?, "proxy")).await?;
    let pod = pods.first().context("no Proxy")?;
    let mut stray = cluster::object(bed, "each", "pod", pod).await?.context("the Proxy is gone")?;
    let mut labels = stray["metadata"]["labels"].clone();
    // No ReplicaSet takes it for its own.
    labels.as_object_mut().context("no labels")?.remove("pod-template-hash");
    stray["metadata"] = json!({"namespace": "each", "name": "stray", "labels": labels});
    for field in ["nodeName", "hostname"] {
        stray["spec"].as_object_mut().context("no spec")?.remove(field);
    }
    stray["status"] = Value::Null;
    bed.apply(&stray.to_string()).await?;
    bed.kubectl(["-n", "each", "wait", "pod/stray", "--for=condition=Ready", "--timeout=60s"]).await?;

    edit(bed, "each", "each", json!({"version": "18.1.1"})).await?;
    let waits = |status: &Value| {
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let updating = conditions.find(|condition| condition["type"] == "Updating");
        let message = updating.and_then(|condition| condition["message"].as_str()).unwrap_or_default();
        message.ends_with("the proxy of pod stray to run 18.1.1: it answers as 18.1.0")
    };
    let held = bed.await_status("each", "each", "the stray Proxy to be waited for", HOP, waits).await?;
    ensure!(held["update"]["stage"] == "Verify" && held["version"] == "18.1.0", "{held}");
    cluster::delete(bed, "each", "pod", "stray").await?;
    let done = bed.await_version("each", "each", "18.1.1", HOP).await?;
    ensure!(done["history"][0]["result"] == "Succeeded", "{}", done["history"][0]);
    Ok(())
}
