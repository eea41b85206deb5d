//! Another build of the operator renders other pods: nothing restarts before the window opens, and then everything once.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use chrono::Utc;
use e2e::testbed::{NAMESPACE, TestBed, pod_of, wait_until};
use serde_json::Value;

use super::setting::{HOP, SHOWS, await_result, later, revisions, rolled_once, with_window};

/// Tells the operator's test build to render other images.
const BUILD: &str = "TENANT_OPERATOR_TEST_TEMPLATE=next";

/// Later scenarios go on with that build.
pub async fn of_another_build(bed: &TestBed) -> anyhow::Result<()> {
    let (window, opens) = later("template", "default");
    with_window(bed, "template", "18.1.0", &window).await?;
    let before = pods(bed).await?;
    let revised = revisions(bed, "template").await?;

    let since = Utc::now();
    let former = bed.leader().await?;
    bed.kubectl(["-n", NAMESPACE, "set", "env", "deployment/tenant-operator", BUILD]).await?;
    bed.kubectl(["-n", NAMESPACE, "rollout", "status", "deployment/tenant-operator", "--timeout=90s"]).await?;
    let leader = wait_until("the new build to lead", SHOWS, || async {
        let leader = bed.leader().await?;
        Ok((!leader.is_empty() && leader != former).then_some(leader))
    })
    .await?;
    let held = bed.await_blockers("template", "template", &["WindowClosed"], SHOWS).await?;
    ensure!(held["next"]["kind"] == "Template" && held["next"]["to"] == "18.1.0", "{}", held["next"]);
    ensure!(pods(bed).await? == before, "pods changed outside the window");
    let touched = bed.writes_since(since)?.into_iter().filter(|write| write.namespace == "template");
    let touched: Vec<String> =
        touched.filter(|write| write.resource == "deployments").map(|write| write.what()).collect();
    ensure!(touched.is_empty(), "{} wrote {touched:?} outside the window", pod_of(&leader));

    bed.clock().set(opens).await?;
    let done = await_result(bed, "template", "template", "Succeeded").await?;
    ensure!(done["history"][0]["kind"] == "Template" && done["history"][1].is_null(), "{}", done["history"]);
    bed.await_condition("template", "template", "Ready", "True", HOP).await?;
    let after = wait_until("the former pods to be gone", HOP, || async {
        let after = pods(bed).await?;
        if after.keys().any(|name| before.contains_key(name)) { bail!("{after:?}") } else { Ok(Some(after)) }
    })
    .await?;
    ensure!(after.len() == before.len(), "{after:?}");
    for (name, (image, restarts)) in &after {
        ensure!(image.starts_with("next/") && restarts == "0", "{name} runs {image}, {restarts} restarts");
    }
    let rolled = revisions(bed, "template").await?;
    ensure!(rolled == rolled_once(&revised), "Deployments were rolled from {revised:?} to {rolled:?}");
    bed.clock().set(Utc::now()).await.map(drop)
}

/// Image and restarts of each pod of Auth and Proxy.
async fn pods(bed: &TestBed) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let printed = bed.kubectl(["-n", "template", "get", "pods", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed).context("kubectl prints no JSON")?;
    let pods = list["items"].as_array().context("no pods")?.iter().filter(|pod| {
        pod["metadata"]["labels"]["app.kubernetes.io/component"].is_string()
            && pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    });
    let described = pods.map(|pod| {
        let name = format!("{} {}", pod["metadata"]["name"], pod["metadata"]["uid"]);
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        (name, (image, pod["status"]["containerStatuses"][0]["restartCount"].to_string()))
    });
    Ok(described.collect())
}
