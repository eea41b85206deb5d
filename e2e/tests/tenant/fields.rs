//! The fields of the three kinds, as the API server that is asked has them: a field that comes later is among them by itself.

use anyhow::{Context, ensure};
use e2e::testbed::TestBed;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

/// One kind with its schema.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Such as `Tenant`.
    pub name: String,
    /// Such as `tenants`.
    pub plural: String,
    /// OpenAPI schema of the one version.
    pub schema: Value,
}

/// One step from an object down to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A named field.
    Property(String),
    /// An item of a list.
    Item,
    /// A key of a map.
    Key,
    /// The value under a key of a map.
    Entry,
}

/// A field that holds no further ones.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The way to it.
    pub steps: Vec<Step>,
    /// Its schema; null for the keys of a map.
    pub schema: Value,
}

impl Leaf {
    /// The way as a text: `spec.network.annotations{}`, `spec.windows[].start`, and `…{key}` for the keys of a map.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Property(name) if path.is_empty() => path.push_str(name),
                Step::Property(name) => path.extend([".", name]),
                Step::Item => path.push_str("[]"),
                Step::Key => path.push_str("{key}"),
                Step::Entry => path.push_str("{}"),
            }
        }
        path
    }

    /// Whether it holds text.
    pub fn is_text(&self) -> bool {
        self.schema.is_null() || self.schema["type"] == "string"
    }

    /// Whether Kubernetes explains and checks it, and not this project: it stands below a type of Kubernetes.
    pub fn is_of_kubernetes(&self) -> bool {
        let path = self.path();
        [".affinity.", ".tolerations[]", ".topologySpreadConstraints[]"].iter().any(|part| path.contains(part))
    }
}

/// The kinds of this project.
pub async fn kinds(bed: &TestBed) -> anyhow::Result<Vec<Kind>> {
    let all = Api::<CustomResourceDefinition>::all(bed.client()).list(&ListParams::default()).await?;
    let own = all.items.into_iter().filter(|crd| crd.spec.group == "tenancy.dev");
    let kinds: anyhow::Result<Vec<Kind>> = own
        .map(|crd| {
            let version = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
            let schema = version.and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = schema.with_context(|| format!("{} has no schema", crd.name_any()))?;
            Ok(Kind { name: crd.spec.names.kind, plural: crd.spec.names.plural, schema: serde_json::to_value(schema)? })
        })
        .collect();
    let kinds = kinds?;
    ensure!(kinds.len() == 3, "the kinds are {:?}", kinds.iter().map(|kind| &kind.name).collect::<Vec<_>>());
    Ok(kinds)
}

/// All leaves below a field of the object, such as `spec`, the keys of maps included.
pub fn leaves(kind: &Kind, below: &str) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(&kind.schema["properties"][below], vec![Step::Property(below.to_owned())], &mut leaves);
    leaves
}

fn collect(schema: &Value, steps: Vec<Step>, leaves: &mut Vec<Leaf>) {
    let below = |step: Step| [steps.clone(), vec![step]].concat();
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            collect(property, below(Step::Property(name.clone())), leaves);
        }
    } else if schema["items"].is_object() {
        collect(&schema["items"], below(Step::Item), leaves);
    } else if schema["additionalProperties"].is_object() {
        leaves.push(Leaf { steps: below(Step::Key), schema: Value::Null });
        collect(&schema["additionalProperties"], below(Step::Entry), leaves);
    } else {
        leaves.push(Leaf { steps, schema: schema.clone() });
    }
}
