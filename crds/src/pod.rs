//! `Tenant.spec.auth` and `.proxy`: with how much, and where, their pods run. Never what runs in them: image, command and
//! volumes are the operator's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tenant::SecretRef;

/// CPU and memory of each pod, in place of what the size gives it. There is no CPU limit on purpose: throttling makes
/// Teleport unstable.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!has(self.limits) || !has(self.limits.memory) || !has(self.requests) || !has(self.requests.memory) || quantity(self.limits.memory).compareTo(quantity(self.requests.memory)) >= 0")
    .message("limits.memory must not be lower than requests.memory: raise it, or leave it out to have it equal to the request"))]
pub struct Resources {
    /// What a node must have free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,

    /// What a pod may not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What a node must have free.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Cores or thousandths of one. Absent: by size. Example: `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.matches('^([1-9][0-9]{0,6}m|[1-9][0-9]{0,3})$')")
        .message("cpu must be a number of cores such as 2, or of thousandths such as 500m"))]
    pub cpu: Option<String>,

    /// Mi or Gi. Absent: the limit, or by size. Example: `2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,6}(Mi|Gi)$')")
        .message("memory must be a number of Mi or Gi such as 512Mi or 2Gi"))]
    pub memory: Option<String>,
}

/// What a pod may not exceed.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Mi or Gi. Absent: the request, or by size. Example: `2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,6}(Mi|Gi)$')")
        .message("memory must be a number of Mi or Gi such as 512Mi or 2Gi"))]
    pub memory: Option<String>,
}

/// Where pods run, and what others know them by. What the fleet policy says for all tenants stays beneath it: maps are
/// merged, lists joined, and anything else replaced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$') && self[key].matches('^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$'))")
        .message("nodeSelector must consist of node labels such as topology.kubernetes.io/zone: eu-central-1a"))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list::<Toleration>")]
    pub tolerations: Vec<Toleration>,

    /// Affinity to nodes and to other pods. Without `podAntiAffinity` the pods of a component keep preferring different
    /// nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "compact::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// How pods spread, in place of an even spread over nodes and zones where that is possible. Without a `labelSelector`
    /// the pods of the component are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list::<TopologySpreadConstraint>")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')")
        .message("priorityClassName must be the name of a PriorityClass: lower-case letters, digits, '-' and '.'"))]
    pub priority_class_name: Option<String>,

    /// RuntimeClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')")
        .message("runtimeClassName must be the name of a RuntimeClass: lower-case letters, digits, '-' and '.'"))]
    pub runtime_class_name: Option<String>,

    /// Secrets in the tenant's namespace with which images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<SecretRef>,

    /// Labels of the pods beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$') && self[key].matches('^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$'))")
        .message("labels must be pairs such as team: payments: letters, digits, '-', '_' and '.', 63 at most, the key after an optional domain and '/'"))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('app.kubernetes.io/') && !key.startsWith('tenancy.dev/') && !key.startsWith('teleport.dev/'))")
        .message("labels must not begin with app.kubernetes.io/, tenancy.dev/ or teleport.dev/: by those the operator finds its pods"))]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotation_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$') && !key.startsWith('tenancy.dev/'))")
        .message("annotations must have keys such as example.com/scrape, and none that begins with tenancy.dev/"))]
    pub annotations: BTreeMap<String, String>,
}

/// Entries of a map, and of a list.
const MOST: usize = 16;

fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": MOST, "additionalProperties": {"type": "string", "maxLength": 63}})
}

pub(crate) fn annotation_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": MOST, "additionalProperties": {"type": "string", "maxLength": 1024}})
}

fn list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": MOST, "items": compact::<T>(generator)})
}

/// The schema of a Kubernetes type with bounds, which it has none of, and without its descriptions, which are Kubernetes' own
/// and as long as all else together.
fn compact<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator).to_value();
    bound(&mut schema);
    schema.try_into().unwrap_or_default()
}

fn bound(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    schema.remove("description");
    let limit = match schema.get("type").and_then(Value::as_str) {
        // A key of a label with its domain, and something to spare.
        Some("string") => Some(("maxLength", 320)),
        Some("array") => Some(("maxItems", MOST)),
        Some("object") if schema.contains_key("additionalProperties") => Some(("maxProperties", MOST)),
        _ => None,
    };
    schema.extend(limit.map(|(key, most)| (key.to_owned(), Value::from(most))));
    for property in
        schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
    {
        bound(property);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            bound(below);
        }
    }
}
