//! Tenants as the scenarios apply them.

use std::time::Duration;

use anyhow::Context;
use crds::Tenant;
use e2e::testbed::{TestBed, namespace};
use serde_json::{Value, json};

/// How long a tenant may take to be made, beside the others of its wave.
pub const READY: Duration = Duration::from_secs(100);

/// A Community tenant that can be deleted and whose Proxy pods do not wait for agents to reconnect.
pub fn tenant(namespace: &str, name: &str, domain: &str) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "domain": domain,
            "edition": "Community",
            "version": "18.1.0",
            "region": "us-west-2",
            "auth": {"replicas": 1},
            "proxy": {"replicas": 1, "minReadySeconds": 0},
            "network": {"portPool": "default"},
            "deletionProtection": false,
        },
    })
}

/// The same with one more field of the spec.
pub fn with(mut tenant: Value, field: &str, value: Value) -> Value {
    tenant["spec"][field] = value;
    tenant
}

/// Applies a tenant and its namespace.
pub async fn apply(bed: &TestBed, tenant: &Value) -> anyhow::Result<()> {
    let namespace = namespace(tenant["metadata"]["namespace"].as_str().context("a tenant without a namespace")?);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [namespace, tenant]});
    bed.apply(&list.to_string()).await.map(drop)
}

/// Applies a tenant and waits until it is Ready.
pub async fn apply_ready(bed: &TestBed, tenant: &Value) -> anyhow::Result<Tenant> {
    apply(bed, tenant).await?;
    let text = |field: &str| tenant["metadata"][field].as_str().context("a tenant without a name");
    bed.await_condition(text("namespace")?, text("name")?, "Ready", "True", READY).await
}

/// Changes the spec of a tenant.
pub async fn edit(bed: &TestBed, namespace: &str, name: &str, spec: Value) -> anyhow::Result<()> {
    let patch = json!({ "spec": spec }).to_string();
    bed.kubectl(["-n", namespace, "patch", "tenant", name, "--type=merge", "-p", &patch]).await.map(drop)
}

/// The tenant id.
pub fn id(tenant: &Tenant) -> anyhow::Result<String> {
    tenant.status.as_ref().and_then(|status| status.tenant_id.clone()).context("the tenant has no id")
}

/// Status, reason and message of a condition.
pub fn condition(tenant: &Tenant, type_: &str) -> anyhow::Result<(String, String, String)> {
    let conditions = tenant.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    let found = found.with_context(|| format!("the tenant has no condition {type_}"))?;
    Ok((found.status.clone(), found.reason.clone(), found.message.clone()))
}
