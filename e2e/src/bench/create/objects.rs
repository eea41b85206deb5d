//! The Kubernetes objects of a tenant, read back from where the operator made them and stripped of what a server adds: what is
//! left can be created on another cluster under the same name.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::testbed::TestBed;

/// Whose an object is.
const TENANT: &str = "tenancy.dev/tenant-id";

/// Those of one tenant, what others refer to first.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects(Vec<(ApiResource, Value)>);

impl Objects {
    /// Those of all tenants of a namespace, by tenant id; claims are in a namespace of their own.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(super) async fn of(bed: &TestBed, namespace: &str, claims: &str) -> anyhow::Result<BTreeMap<String, Objects>> {
        let lists = kinds().into_iter().map(async |kind| {
            let space = if kind.kind == "Lease" { claims } else { namespace };
            let api: Api<DynamicObject> = Api::namespaced_with(bed.client(), space, &kind);
            let list = api.list(&ListParams::default().labels(TENANT)).await;
            let list = list.with_context(|| format!("cannot list {}", kind.plural))?;
            anyhow::Ok((kind, list.items))
        });
        let mut all: BTreeMap<String, Objects> = BTreeMap::new();
        for (kind, items) in try_join_all(lists).await? {
            for object in items {
                let tenant = object.metadata.labels.as_ref().and_then(|labels| labels.get(TENANT)).cloned();
                let manifest = serde_json::to_value(&object).context("an object is JSON")?;
                let objects = all.entry(tenant.unwrap_or_default()).or_default();
                objects.0.push((kind.clone(), stripped(&kind, &manifest)));
            }
        }
        Ok(all)
    }

    /// How many of them are the tenant's own, and no claims.
    pub(super) fn children(&self) -> usize {
        self.0.iter().filter(|(kind, _)| kind.kind != "Lease").count()
    }

    /// Creates them, one after the other.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn create(self, client: &Client) -> anyhow::Result<()> {
        for (kind, manifest) in self.0 {
            let object: DynamicObject = serde_json::from_value(manifest).context("an object is JSON")?;
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
            let created = api.create(&PostParams::default(), &object).await;
            created.with_context(|| format!("cannot create a copy in {}", kind.plural))?;
        }
        Ok(())
    }
}

/// Everything that a tenant consists of, in the order of creation.
fn kinds() -> [ApiResource; 8] {
    [
        ApiResource::erase::<Lease>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<Deployment>(&()),
    ]
}

/// Without owner, finalizers and status; a Service without the addresses that it was given.
fn stripped(kind: &ApiResource, found: &Value) -> Value {
    let mut manifest = found.clone();
    let kept = ["name", "namespace", "labels", "annotations"];
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| kept.contains(&field.as_str()));
    }
    if let Some(annotations) = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("status");
    }
    manifest["apiVersion"] = json!(kind.api_version);
    manifest["kind"] = json!(kind.kind);
    if kind.kind == "Service" {
        let headless = manifest["spec"]["clusterIP"] == "None";
        if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut).filter(|_| !headless) {
            spec.retain(|field, _| !["clusterIP", "clusterIPs", "healthCheckNodePort"].contains(&field.as_str()));
        }
        let ports = manifest.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_adds_is_left_out() {
        let found = json!({
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"l": "1"},
                "ownerReferences": [{"kind": "Tenant"}], "finalizers": ["f"],
            },
            "spec": {"clusterIP": "127.96.0.1", "clusterIPs": ["127.96.0.1"], "ports": [{"port": 443, "nodePort": 30001}]},
            "status": {"loadBalancer": {}},
        });
        let copy = stripped(&ApiResource::erase::<Service>(&()), &found);
        assert_eq!(
            copy,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}},
                "spec": {"ports": [{"port": 443}]},
            })
        );
    }
}
