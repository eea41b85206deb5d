//! What the scenarios of updates stand on: a release feed, windows, and a tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Days, NaiveTime, Utc};
use e2e::testbed::{NAMESPACE, TestBed, wait_until};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::super::manifest::tenant;

/// How long a hop may take, beside others.
pub const HOP: Duration = Duration::from_secs(120);
/// How long a change may take to show on the object.
pub const SHOWS: Duration = Duration::from_secs(60);

/// Values of the operator's chart.
pub fn values() -> Value {
    json!({"cloudResync": "12s", "inventoryInterval": "10s", "fleet": {"releases": feed()}})
}

/// The release feed as every scenario finds it.
pub fn feed() -> Value {
    let release = |version: &str| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z"});
    let releases = ["16.4.3", "17.5.2", "17.5.3", "18.1.0", "18.1.1", "18.2.0"].map(release);
    json!({
        "releases": releases,
        "channels": {"stable": {"soak": {"patch": "24h", "minor": "72h", "major": "720h"}}},
    })
}

/// Puts another feed in force.
pub async fn set_feed(bed: &TestBed, feed: &Value) -> anyhow::Result<()> {
    let patch = json!({"data": {"releases.yaml": feed.to_string()}}).to_string();
    let map = "tenant-operator-fleet";
    bed.kubectl(["-n", NAMESPACE, "patch", "configmap", map, "--type=merge", "-p", &patch]).await.map(drop)
}

/// A window that is always open but for its exclusions.
pub fn always(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "timeZone": "UTC",
            "windows": [{
                "days": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], "start": "00:00", "duration": "24h",
            }],
        },
    })
}

/// A window of three hours on Sunday night.
pub fn sunday(namespace: &str, name: &str) -> Value {
    let mut window = always(namespace, name);
    window["spec"]["windows"] = json!([{"days": ["Sun"], "start": "02:00", "duration": "3h"}]);
    window
}

/// A window that opens for three hours in three days, and when it does.
pub fn later(namespace: &str, name: &str) -> (Value, DateTime<Utc>) {
    let opens = (Utc::now() + Days::new(3)).date_naive().and_time(NaiveTime::MIN).and_utc();
    let mut window = always(namespace, name);
    let day = opens.format("%a").to_string();
    window["spec"]["windows"] = json!([{"days": [day], "start": "00:00", "duration": "3h"}]);
    (window, opens)
}

/// A tenant that pins a version.
pub fn pinned(namespace: &str, name: &str, version: &str) -> Value {
    let mut wanted = tenant(namespace, name, &format!("{name}-{namespace}.example.com"));
    wanted["spec"]["version"] = json!(version);
    wanted
}

/// Makes a namespace with windows and tenants, and waits until all tenants are ready.
pub async fn make(bed: &TestBed, namespace: &str, windows: &[Value], tenants: &[Value]) -> anyhow::Result<()> {
    let space = e2e::testbed::namespace(namespace);
    let items: Vec<&Value> = [&space].into_iter().chain(windows).chain(tenants).collect();
    bed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await?;
    let names = tenants.iter().filter_map(|tenant| tenant["metadata"]["name"].as_str());
    let ready = names.map(|name| bed.await_condition(namespace, name, "Ready", "True", HOP));
    try_join_all(ready).await.map(drop)
}

/// Waits until the hop of a tenant has come to this stage; answers the hop.
pub async fn await_stage(bed: &TestBed, namespace: &str, name: &str, stage: &str) -> anyhow::Result<Value> {
    let what = format!("its hop to come to {stage}");
    let status = bed.await_status(namespace, name, &what, HOP, |status| status["update"]["stage"] == stage).await?;
    Ok(status["update"].clone())
}

/// Waits until the last hop of a tenant has ended so; answers the status.
pub async fn await_result(bed: &TestBed, namespace: &str, name: &str, result: &str) -> anyhow::Result<Value> {
    let ended = |status: &Value| status["update"].is_null() && status["history"][0]["result"] == result;
    bed.await_status(namespace, name, &format!("its hop to end as {result}"), HOP, ended).await
}

/// Says how long users could not log in during the last hop, which must be less than a minute. Pods are faster here than
/// they would be elsewhere, so the number is a lower bound.
pub fn pause(bed: &TestBed, whose: &str, status: &Value) -> anyhow::Result<()> {
    let record = &status["history"][0];
    let seconds = record["pauseSeconds"].as_i64().context("no pause")?;
    bed.say(&format!(
        "  {whose}: {} from {} to {}, users could not log in for {seconds} s",
        record["kind"], record["from"], record["to"]
    ));
    ensure!(seconds < 60, "{record}");
    Ok(())
}

/// Waits until there is one event of this reason about the only tenant of the namespace with all these words.
pub async fn await_event(bed: &TestBed, namespace: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    wait_until(&format!("an event {reason} with {words:?}"), SHOWS, || async {
        let found = events(bed, namespace, reason).await?;
        if found.iter().any(|note| words.iter().all(|word| note.contains(word))) {
            return Ok(Some(()));
        }
        bail!("{found:?}")
    })
    .await
}

/// A tenant at a version, with its namespace and a window called `default`.
pub async fn with_window(bed: &TestBed, namespace: &str, version: &str, window: &Value) -> anyhow::Result<String> {
    let domain = format!("{namespace}.example.com");
    let mut wanted = tenant(namespace, namespace, &domain);
    wanted["spec"]["version"] = json!(version);
    let space = e2e::testbed::namespace(namespace);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [space, window, wanted]});
    bed.apply(&list.to_string()).await?;
    bed.await_condition(namespace, namespace, "Ready", "True", Duration::from_secs(100)).await?;
    Ok(domain)
}

/// How often each Deployment of a namespace was rolled.
pub async fn revisions(bed: &TestBed, namespace: &str) -> anyhow::Result<BTreeMap<String, u32>> {
    let printed = bed.kubectl(["-n", namespace, "get", "deployments", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed).context("kubectl prints no JSON")?;
    let deployments = list["items"].as_array().context("no Deployments")?;
    let revision = |found: &Value| {
        let revision = found["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
        Ok((found["metadata"]["name"].to_string(), revision.context("no revision")?.parse()?))
    };
    deployments.iter().map(revision).collect()
}

/// The same after each was rolled once more.
pub fn rolled_once(revisions: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    revisions.iter().map(|(name, revision)| (name.clone(), revision + 1)).collect()
}

/// Messages of the events about a Tenant that have this reason.
pub async fn events(bed: &TestBed, namespace: &str, reason: &str) -> anyhow::Result<Vec<String>> {
    let selector = format!("reason={reason}");
    let arguments = ["-n", namespace, "get", "events.events.k8s.io", "--field-selector", &selector, "-o", "json"];
    let printed = bed.kubectl(arguments).await?;
    let list: Value = serde_json::from_str(&printed).context("events are JSON")?;
    let notes = list["items"].as_array().into_iter().flatten().filter_map(|event| event["note"].as_str());
    Ok(notes.map(str::to_owned).collect())
}
