//! Where pods run and with how much: what a tenant asks for, what the fleet policy says beneath it, and what only the API
//! server can refuse.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{TestBed, namespace, wait_until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::cluster::component;
use super::covered::seen;
use super::manifest::{apply, apply_ready, condition, edit, id, tenant, with};
use super::{edits, fleet};

const FOLLOWS: Duration = Duration::from_secs(60);
/// Where everything is that the cluster has one of.
const NAMESPACE: &str = "placed";
const NODE: &str = "front-door";

/// Pods on a node of their own, with labels and amounts of their own; edited, mis-typed, and under another fleet policy.
pub async fn of_pods(bed: &TestBed) -> anyhow::Result<()> {
    surroundings(bed).await?;
    let pod = |labels: Value| {
        json!({
            "nodeSelector": {"pool": NODE},
            // Lists whose items share a key, and texts that the API server does not store.
            "tolerations": [
                {"key": "dedicated", "operator": "Equal", "value": "teleport", "effect": "NoSchedule"},
                {"key": "dedicated", "operator": "Exists", "value": "", "effect": "NoExecute", "tolerationSeconds": 60},
                {"key": "spot", "operator": "Exists", "effect": ""},
            ],
            "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 2, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "In", "values": ["b"]}]}}},
                {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"c": ""}}}},
            ]}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
                {"maxSkew": 5, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"},
            ],
            "priorityClassName": "front-door",
            "runtimeClassName": "sandboxed",
            "imagePullSecrets": [{"name": "registry"}],
            "labels": labels,
            "annotations": {"example.com/scrape": "true"},
        })
    };
    let resources = json!({"requests": {"cpu": "250m", "memory": "768Mi"}, "limits": {"memory": "1536Mi"}});
    let auth = json!({"replicas": 1, "pod": pod(json!({"team": "one"})), "resources": resources});
    let proxy = json!({"replicas": 1, "minReadySeconds": 0, "pod": pod(json!({"team": "one"}))});
    let wanted = with(with(tenant(NAMESPACE, "placed", "placed.example.com"), "auth", auth), "proxy", proxy);
    let tenant_id = id(&apply_ready(bed, &wanted).await?)?;
    let [auth] = pods(bed, &component(&tenant_id, "auth")).await?.try_into().ok().context("one Auth pod")?;
    let [proxy] = pods(bed, &component(&tenant_id, "proxy")).await?.try_into().ok().context("one Proxy pod")?;
    let mut asked = pod(json!({}));
    asked.as_object_mut().context("a map")?.retain(|field, _| !["labels", "annotations"].contains(&field.as_str()));
    is_placed(&auth, &asked, &json!({"cpu": "250m", "memory": "768Mi"}), "1536Mi", "1382MiB")?;
    is_placed(&proxy, &asked, &json!({"cpu": "500m", "memory": "1Gi"}), "1Gi", "921MiB")?;

    // Only the pods that are meant are made anew.
    edit(bed, NAMESPACE, "placed", json!({"proxy": {"pod": {"labels": {"team": "two"}}}})).await?;
    edits::settled(bed, NAMESPACE, "placed").await?;
    let after = pods(bed, &component(&tenant_id, "proxy")).await?;
    ensure!(
        after.iter().all(|pod| pod.labels().get("team").map(String::as_str) == Some("two")),
        "Proxy is of the old team"
    );
    let still = pods(bed, &component(&tenant_id, "auth")).await?;
    ensure!(names(&still) == names(std::slice::from_ref(&auth)), "Auth was restarted for Proxy's labels");

    mistyped(bed, &tenant_id).await?;
    from_the_fleet(bed, &tenant_id).await
}

/// A node that only those who ask for it may use, and what pods refer to.
async fn surroundings(bed: &TestBed) -> anyhow::Result<()> {
    let amounts = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    let items = json!([
        namespace(NAMESPACE),
        {"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": NODE, "labels": {"pool": NODE, "kubernetes.io/hostname": NODE},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        }, "spec": {"taints": [{"key": "dedicated", "value": "teleport", "effect": "NoSchedule"}]},
         "status": {"allocatable": amounts, "capacity": amounts}},
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "front-door"}, "value": 1000},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sandboxed"}, "handler": "sandboxed"},
    ]);
    bed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await.map(drop)
}

fn is_placed(pod: &Pod, asked: &Value, requests: &Value, limit: &str, garbage_collector: &str) -> anyhow::Result<()> {
    let name = pod.name_any();
    let pod = serde_json::to_value(pod).context("a pod serializes")?;
    let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
    ensure!(spec["nodeName"] == NODE, "{name} is on {}", spec["nodeName"]);
    ensure!(spec["priority"] == 1000 && spec["runtimeClassName"] == "sandboxed", "{name}: {spec}");
    ensure!(spec["imagePullSecrets"] == json!([{"name": "registry"}]), "{name}: {}", spec["imagePullSecrets"]);
    let metadata = &pod["metadata"];
    ensure!(metadata["annotations"]["example.com/scrape"] == "true", "{name} has {}", metadata["annotations"]);
    let part = if name.contains("-auth-") { "auth" } else { "proxy" };
    for (field, found) in [
        ("nodeSelector", json!({"pool": spec["nodeName"]})),
        ("priorityClassName", spec["priorityClassName"].clone()),
        ("runtimeClassName", spec["runtimeClassName"].clone()),
        ("imagePullSecrets[].name", spec["imagePullSecrets"][0]["name"].clone()),
        ("annotations", json!({"example.com/scrape": metadata["annotations"]["example.com/scrape"]})),
        ("labels", json!({"team": metadata["labels"]["team"]})),
    ] {
        seen("Tenant", &format!("spec.{part}.pod.{field}"), found);
    }
    // As it was asked for, so that the API server's own defaults do not stand between.
    for (field, asked) in asked.as_object().into_iter().flatten() {
        let within = &spec[field.as_str()];
        ensure!(contains(within, asked), "{name} has {field} {within}, and was to have {asked}");
        if ["affinity", "tolerations", "topologySpreadConstraints"].contains(&field.as_str()) {
            seen("Tenant", &format!("spec.{part}.pod.{field}"), asked.clone());
        }
    }
    let resources = &container["resources"];
    ensure!(resources["requests"] == *requests, "{name} requests {}", resources["requests"]);
    ensure!(resources["limits"] == json!({"memory": limit}), "{name} is limited to {}", resources["limits"]);
    let variables = container["env"].as_array().context("no variables")?;
    let told = variables.iter().find(|variable| variable["name"] == "GOMEMLIMIT").map(|variable| &variable["value"]);
    ensure!(told == Some(&json!(garbage_collector)), "{name} has GOMEMLIMIT {told:?}");
    Ok(())
}

/// Whether everything that was asked for is there; of lists in any place, and what is empty may be left out.
fn contains(found: &Value, asked: &Value) -> bool {
    match (found, asked) {
        (_, Value::String(text)) if text.is_empty() => found.is_null() || found == asked,
        (Value::Object(found), Value::Object(asked)) => {
            asked.iter().all(|(key, asked)| contains(found.get(key).unwrap_or(&Value::Null), asked))
        }
        (Value::Array(found), Value::Array(asked)) => {
            asked.iter().all(|asked| found.iter().any(|found| contains(found, asked)))
        }
        _ => found == asked,
    }
}

/// What the schema lets through and a Deployment does not: the object says so, what runs runs on, and a mended spec ends it.
async fn mistyped(bed: &TestBed, tenant_id: &str) -> anyhow::Result<()> {
    let before = pods(bed, &format!("tenancy.dev/tenant-id={tenant_id}")).await?;
    let tolerations =
        |operator: &str| json!({"proxy": {"pod": {"tolerations": [{"key": "dedicated", "operator": operator}]}}});
    edit(bed, NAMESPACE, "placed", tolerations("Sometimes")).await?;
    wait_until("the object to name the toleration", FOLLOWS, || async {
        let found = bed.tenants(NAMESPACE).get("placed").await?;
        let (status, _, message) = condition(&found, "Ready")?;
        if status == "False" && message.contains("tolerations[0].operator") && message.contains("Sometimes") {
            return Ok(Some(()));
        }
        bail!("Ready={status}: {message}")
    })
    .await?;
    let found = bed.tenants(NAMESPACE).get("placed").await?;
    ensure!(condition(&found, "Available")?.0 == "True", "users cannot log in: {:?}", condition(&found, "Available")?);
    let after = pods(bed, &format!("tenancy.dev/tenant-id={tenant_id}")).await?;
    ensure!(names(&before) == names(&after), "pods were replaced");
    edit(bed, NAMESPACE, "placed", tolerations("Exists")).await?;
    edits::settled(bed, NAMESPACE, "placed").await.map(drop)
}

/// The fleet policy changes the template of everybody: it waits for a window, and what a tenant says itself stays above it.
async fn from_the_fleet(bed: &TestBed, tenant_id: &str) -> anyhow::Result<()> {
    let before = pods(bed, &format!("tenancy.dev/tenant-id={tenant_id}")).await?;
    fleet::for_a_while(bed, async |good| {
        let mut policy: Value = serde_saphyr::from_str(good)?;
        policy["pod"] = json!({"labels": {"team": "fleet", "cost-centre": "4711"}});
        fleet::write(bed, &policy.to_string()).await?;
        beneath(bed, tenant_id, &before).await
    })
    .await
}

async fn beneath(bed: &TestBed, tenant_id: &str, before: &[Pod]) -> anyhow::Result<()> {
    wait_until("a template to be due", FOLLOWS, || async {
        let found = bed.tenants(NAMESPACE).get("placed").await?;
        let (status, reason, message) = condition(&found, "UpdateDue")?;
        if (status.as_str(), reason.as_str()) == ("True", "TemplateChanged") {
            Ok(Some(()))
        } else {
            bail!("{message}")
        }
    })
    .await?;
    let selector = format!("tenancy.dev/tenant-id={tenant_id}");
    ensure!(names(&pods(bed, &selector).await?) == names(before), "pods were replaced outside a window");
    // A new tenant has nothing that could be held back.
    apply(bed, &tenant(NAMESPACE, "beneath", "beneath.example.com")).await?;
    let made = bed.await_condition(NAMESPACE, "beneath", "Ready", "True", super::manifest::READY).await?;
    for pod in pods(bed, &format!("tenancy.dev/tenant-id={}", id(&made)?)).await? {
        ensure!(pod.labels().get("cost-centre").map(String::as_str) == Some("4711"), "labels {:?}", pod.labels());
        ensure!(pod.labels()["app.kubernetes.io/name"] == "teleport", "labels {:?}", pod.labels());
    }
    // What a person edits carries it along at once.
    edit(bed, NAMESPACE, "placed", json!({"auth": {"pod": {"labels": {"team": "three"}}}})).await?;
    edits::settled(bed, NAMESPACE, "placed").await?;
    for pod in pods(bed, &component(tenant_id, "auth")).await? {
        let label = |key: &str| pod.labels().get(key).map(String::as_str);
        ensure!((label("team"), label("cost-centre")) == (Some("three"), Some("4711")), "labels {:?}", pod.labels());
    }
    Ok(())
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

/// The pods with these labels that are not ending.
async fn pods(bed: &TestBed, labels: &str) -> anyhow::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(bed.client(), NAMESPACE);
    let found = api.list(&ListParams::default().labels(labels)).await?;
    Ok(found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}
