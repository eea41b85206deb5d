//! What is in the cluster, as kubectl shows it.

use anyhow::Context;
use e2e::testbed::TestBed;
use serde_json::Value;

/// What the API server writes into an object by itself, or another controller does.
const NOT_SPECIFIED: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// Names of the objects of a kind with these labels; an empty selector means all.
pub async fn names(bed: &TestBed, namespace: &str, kind: &str, labels: &str) -> anyhow::Result<Vec<String>> {
    let printed = bed.kubectl(["-n", namespace, "get", kind, "-l", labels, "-o", "name"]).await?;
    Ok(printed.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name.to_owned()).collect())
}

/// The labels of a tenant's Auth or Proxy pods.
pub fn component(tenant_id: &str, component: &str) -> String {
    format!("tenancy.dev/tenant-id={tenant_id},app.kubernetes.io/component={component}")
}

/// An object; `None` if there is none.
pub async fn object(bed: &TestBed, namespace: &str, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let printed = bed.kubectl(["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"]).await?;
    if printed.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&printed).map(Some).context("kubectl prints no JSON")
}

/// An object as somebody specified it: without what the cluster adds, which differs in a successor.
pub async fn specified(bed: &TestBed, namespace: &str, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let Some(mut object) = object(bed, namespace, kind, name).await? else { return Ok(None) };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| !NOT_SPECIFIED.contains(&field.as_str()));
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if kind == "service"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    if object["type"] == "kubernetes.io/tls"
        && let Some(data) = object["data"].as_object_mut()
    {
        // Another certificate of the same issuer is as good.
        data.retain(|key, _| key == "ca.crt");
    }
    Ok(Some(object))
}

/// Deletes an object; does not wait for its end.
pub async fn delete(bed: &TestBed, namespace: &str, kind: &str, name: &str) -> anyhow::Result<()> {
    bed.kubectl(["-n", namespace, "delete", kind, name, "--wait=false"]).await.map(drop)
}

/// Name of the claim (Lease) of this kind that a tenant holds.
pub async fn claim(bed: &TestBed, kind: &str, tenant_id: &str) -> anyhow::Result<String> {
    let labels = format!("tenancy.dev/claim={kind},tenancy.dev/tenant-id={tenant_id}");
    let found = names(bed, e2e::testbed::NAMESPACE, "lease", &labels).await?;
    anyhow::ensure!(found.len() == 1, "tenant {tenant_id} has the {kind} claims {found:?}");
    found.into_iter().next().context("no claim")
}
