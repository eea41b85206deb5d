//! What the scenarios of updates stand on: a release feed, windows, and a tenant.

use std::time::Duration;

use anyhow::Context;
use e2e::testbed::{NAMESPACE, TestBed};
use serde_json::{Value, json};

use super::super::manifest::tenant;

/// How long a hop may take, beside others.
pub const HOP: Duration = Duration::from_secs(120);
/// How long a change may take to show on the object.
pub const SHOWS: Duration = Duration::from_secs(30);

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

/// A tenant at a version, with its namespace and a window called `default`.
pub async fn with_window(bed: &TestBed, namespace: &str, version: &str, window: &Value) -> anyhow::Result<String> {
    let domain = format!("{namespace}.example.com");
    let mut wanted = tenant(namespace, namespace, &domain);
    wanted["spec"]["version"] = json!(version);
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [space, window, wanted]});
    bed.apply(&list.to_string()).await?;
    bed.await_condition(namespace, namespace, "Ready", "True", Duration::from_secs(100)).await?;
    Ok(domain)
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
