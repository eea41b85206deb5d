//! The YAML of every CustomResourceDefinition, as committed and as shipped in the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::agent_pool::AgentPool;
use crate::maintenance_window::MaintenanceWindow;
use crate::tenant::Tenant;

/// One CustomResourceDefinition and its file.
pub struct Manifest {
    /// File name without a directory.
    pub file: &'static str,
    /// The object.
    pub crd: CustomResourceDefinition,
}

/// All kinds, in the order in which they are applied.
pub fn all() -> Vec<Manifest> {
    vec![
        Manifest { file: "tenants.yaml", crd: finished(Tenant::crd()) },
        Manifest { file: "maintenancewindows.yaml", crd: finished(MaintenanceWindow::crd()) },
        Manifest { file: "agentpools.yaml", crd: finished(AgentPool::crd()) },
    ]
}

fn finished(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    keep_on_uninstall(bounded_conditions(without_null(crd)))
}

/// The text of the file, generated header included.
///
/// # Panics
/// Never in practice: a CustomResourceDefinition always serializes.
pub fn render(manifest: &Manifest) -> String {
    let yaml = serde_saphyr::to_string(&manifest.crd).expect("a CustomResourceDefinition serializes");
    format!("# Generated from crds/src by `cargo run -p crds --bin crdgen`. Do not edit.\n{yaml}")
}

/// `helm uninstall` must not take every tenant with it.
fn keep_on_uninstall(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.metadata.annotations.get_or_insert_default().insert("helm.sh/resource-policy".into(), "keep".into());
    crd.metadata.labels.get_or_insert_default().insert("app.kubernetes.io/part-of".into(), "tenant-operator".into());
    crd
}

/// An explicit null means the same as an absent field: the server prunes it before it applies defaults and rules. With
/// `nullable`, which the generator puts on every optional field, it would store the null and apply no default.
fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()) {
        if let Some(root) = &mut schema.open_api_v3_schema {
            refuse_null(root);
        }
    }
    crd
}

fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        refuse_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => refuse_null(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(refuse_null),
        None => {}
    }
}

/// The bounds that Kubernetes gives `metav1.Condition` in Go; its Rust type carries none.
const CONDITION_BOUNDS: [(&str, i64, i64); 3] = [("type", 1, 316), ("reason", 1, 1024), ("message", 0, 32768)];

fn bounded_conditions(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()) {
        let conditions =
            schema.open_api_v3_schema.as_mut().and_then(|root| property(property(root, "status")?, "conditions"));
        let Some(JSONSchemaPropsOrArray::Schema(condition)) = conditions.and_then(|list| list.items.as_mut()) else {
            continue;
        };
        for (name, shortest, longest) in CONDITION_BOUNDS {
            if let Some(field) = property(condition, name) {
                field.min_length = (shortest > 0).then_some(shortest);
                field.max_length = Some(longest);
            }
        }
        if let Some(status) = property(condition, "status") {
            status.enum_ = Some(["True", "False", "Unknown"].map(|word| JSON(word.into())).to_vec());
        }
    }
    crd
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}
