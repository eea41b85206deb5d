//! Kubernetes objects of a tenant: what they should be, against what they are. Comparing is our own, since a blind
//! apply is a write, and a settled tenant writes nothing.

mod owner;
mod said;

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fact::Fact;
use crate::names::{self, APPLIED};

pub use owner::{foreign, foreign_by, foreign_owner, is_foreign};
pub use said::condition;

/// The kinds that a tenant consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// core/v1 ServiceAccount.
    ServiceAccount,
    /// core/v1 ConfigMap.
    ConfigMap,
    /// core/v1 Secret.
    Secret,
    /// core/v1 Service.
    Service,
    /// apps/v1 Deployment.
    Deployment,
    /// batch/v1 Job.
    Job,
    /// policy/v1 PodDisruptionBudget.
    PodDisruptionBudget,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
    /// gateway.networking.k8s.io/v1 TLSRoute, which is there only where the Gateway API is installed.
    TLSRoute,
    /// monitoring.coreos.com/v1 PodMonitor, which is there only where the Prometheus operator is.
    PodMonitor,
    /// cert-manager.io/v1 Certificate, which is there only where cert-manager is installed.
    Certificate,
    /// cert-manager.io/v1 CertificateRequest, which cert-manager makes for a Certificate; it is read only.
    CertificateRequest,
}

/// A tenant's object by kind and name; the namespace is the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
}

impl Ref {
    /// Names an object.
    pub fn new(kind: Kind, name: impl Into<String>) -> Ref {
        Ref { kind, name: name.into() }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.kind, self.name)
    }
}

/// An object as it should be.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Which.
    pub reference: Ref,
    /// The whole manifest, keys sorted, with the digest of itself as an annotation.
    pub manifest: Value,
}

impl fmt::Debug for Object {
    /// Without the manifest, which may hold keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.reference)
    }
}

impl Object {
    /// Takes a typed object.
    ///
    /// # Panics
    /// Never in practice: Kubernetes types always serialize to a map with metadata.
    pub fn new<K: Serialize>(kind: Kind, object: &K) -> Object {
        let mut manifest = sorted(serde_json::to_value(object).expect("a Kubernetes object serializes"));
        let digest = names::digest(manifest.to_string().as_bytes())[..16].to_owned();
        let name = manifest["metadata"]["name"].as_str().expect("every object is named").to_owned();
        let metadata = manifest["metadata"].as_object_mut().expect("every object has metadata");
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        annotations.as_object_mut().expect("annotations are a map").insert(APPLIED.into(), digest.into());
        Object { reference: Ref::new(kind, name), manifest: sorted(manifest) }
    }

    /// The same Deployment with the pod template that is live; `settled` says that nothing else differs, and then it keeps
    /// the live digest too, so that holding a rendering back is no write.
    pub fn keeping_template(&self, live: &Value, settled: bool) -> Object {
        let mut manifest = self.manifest.clone();
        manifest["spec"]["template"] = live["spec"]["template"].clone();
        let annotations = &mut manifest["metadata"]["annotations"];
        if settled {
            annotations[APPLIED] = live["metadata"]["annotations"][APPLIED].clone();
            // Left out, so that what a newer rendering says beside the template waits as well.
            if let Some(spec) = manifest["spec"].as_object_mut() {
                spec.retain(|key, _| key == "replicas" || key == "template" || key == "selector");
            }
            return Object { reference: self.reference.clone(), manifest };
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(APPLIED);
        }
        Object::new(self.reference.kind, &manifest)
    }

    fn digest(&self) -> &Value {
        &self.manifest["metadata"]["annotations"][APPLIED]
    }
}

/// The distance of an object from what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// None.
    Same,
    /// It is not there.
    Missing,
    /// It differs at this path.
    At(String),
    /// It belongs to somebody else.
    Foreign(String),
    /// It is ours, and on its way out.
    Terminating,
    /// It could not be read.
    Unknown,
}

/// Compares an object with what was read. Fields that the wanted object does not name are the API server's or somebody
/// else's, and none of our business; a field that we named once and no longer do shows in the digest.
pub fn difference(wanted: &Object, live: &Fact<Value>, owner_uid: &str) -> Difference {
    let live = match live {
        Fact::Absent => return Difference::Missing,
        Fact::Unknown => return Difference::Unknown,
        Fact::Known(live) => live,
    };
    if let Some(how) = foreign(live, owner_uid) {
        return Difference::Foreign(format!("{} {how}", wanted.reference));
    }
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Difference::Terminating;
    }
    if live["metadata"]["annotations"][APPLIED] != *wanted.digest() {
        return Difference::At("metadata.annotations".into());
    }
    match first_difference(&wanted.manifest, live) {
        Some(path) => Difference::At(path),
        None => Difference::Same,
    }
}

/// Path of the first place where `live` does not say what `wanted` says.
fn first_difference(wanted: &Value, live: &Value) -> Option<String> {
    match (wanted, live) {
        (Value::Null, _) => None,
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().find_map(|(key, value)| {
            let inner = match live.get(key) {
                Some(live) => first_difference(value, live)?,
                None if is_empty(value) => return None,
                None => String::new(),
            };
            Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
        }),
        (Value::Array(wanted), Value::Array(live)) if merge_key(wanted).is_some() => {
            let key = merge_key(wanted).unwrap_or_default();
            wanted.iter().find_map(|item| {
                let same = live.iter().find(|live| live[key] == item[key]);
                let inner = match same {
                    Some(live) => first_difference(item, live)?,
                    None => String::new(),
                };
                let index = format!("[{}]", item[key].as_str().map_or_else(|| item[key].to_string(), str::to_owned));
                Some(if inner.is_empty() { index } else { format!("{index}.{inner}") })
            })
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            wanted.iter().zip(live).enumerate().find_map(|(index, (wanted, live))| {
                let inner = first_difference(wanted, live)?;
                Some(if inner.is_empty() { format!("[{index}]") } else { format!("[{index}].{inner}") })
            })
        }
        (wanted, live) => (wanted != live).then(String::new),
    }
}

/// The field by which a list of objects is merged. Items of others in such a list stay when we apply, so they are no
/// difference either: taking them for one would mean to apply for ever. Other lists are replaced whole, and compared item by
/// item: tolerations, expressions of a selector, terms of an affinity.
fn merge_key(list: &[Value]) -> Option<&'static str> {
    let spreads = list.iter().all(|item| item.get("whenUnsatisfiable").is_some());
    ["mountPath", "uid", "name", "containerPort", "port"]
        .into_iter()
        .chain(spreads.then_some("topologyKey"))
        .find(|key| !list.is_empty() && tells_apart(list, key))
}

/// Whether every item has the field, and each another value.
fn tells_apart(list: &[Value], key: &str) -> bool {
    list.iter().enumerate().all(|(index, item)| {
        item.get(key).is_some_and(|value| !value.is_null() && list[..index].iter().all(|other| other[key] != *value))
    })
}

/// The API server drops empty maps and lists.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Keys in order at every depth, whatever map type serde_json was built with: digests must not depend on that.
pub fn sorted(value: Value) -> Value {
    // A map that keeps its keys in order, as that of serde_json does by default, is not built anew.
    if is_sorted(&value) {
        return value;
    }
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

fn is_sorted(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.keys().is_sorted() && map.values().all(is_sorted),
        Value::Array(list) => list.iter().all(is_sorted),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted() -> Object {
        Object::new(
            Kind::Service,
            &json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"ports": [{"port": 443}], "selector": {}}}),
        )
    }

    fn live() -> Value {
        let mut live = wanted().manifest;
        live["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v", "kind": "Tenant", "name": "a", "uid": "u", "controller": true}]);
        live["metadata"]["resourceVersion"] = json!("5");
        live["spec"]["clusterIP"] = json!("127.64.0.9");
        live["spec"]["ports"][0]["protocol"] = json!("TCP");
        live["spec"].as_object_mut().expect("map").remove("selector");
        live
    }

    #[test]
    fn what_the_server_adds_is_no_difference() {
        assert_eq!(difference(&wanted(), &Fact::Known(live()), "u"), Difference::Same);
    }

    #[test]
    fn an_edit_is_found_with_its_path() {
        let mut edited = live();
        edited["spec"]["ports"][0]["port"] = json!(444);
        assert_eq!(difference(&wanted(), &Fact::Known(edited), "u"), Difference::At("spec.ports.[443]".into()));
    }

    #[test]
    fn what_others_add_to_a_list_is_no_difference() {
        let mut more = live();
        more["spec"]["ports"].as_array_mut().expect("a list").push(json!({"port": 9000}));
        assert_eq!(difference(&wanted(), &Fact::Known(more), "u"), Difference::Same);
    }

    #[test]
    fn items_of_a_list_that_share_a_field_are_not_taken_for_each_other() {
        let lists = [
            json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]),
            json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "1"}}}, {"topologyKey": "zone"}]),
            json!([
                {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
                {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway"},
            ]),
        ];
        for list in lists {
            assert_eq!(first_difference(&list, &list), None, "{list}");
            let mut other = list.clone();
            other[1]["added"] = json!("by somebody");
            assert_eq!(first_difference(&list, &other), None, "{list}");
            other[1]["key"] = json!("b");
            other[1]["topologyKey"] = json!("b");
            assert!(first_difference(&list, &other).is_some(), "{list}");
        }
        let tolerations = json!([{"key": "a"}]);
        assert!(
            first_difference(&tolerations, &json!([{"key": "a"}, {"key": "b"}])).is_some(),
            "nobody else adds to it"
        );
    }

    #[test]
    fn a_field_that_we_dropped_is_found_by_the_digest() {
        let mut older = live();
        older["metadata"]["annotations"][APPLIED] = json!("0123");
        assert_eq!(difference(&wanted(), &Fact::Known(older), "u"), Difference::At("metadata.annotations".into()));
    }

    #[test]
    fn an_object_of_somebody_else_is_foreign() {
        assert!(matches!(difference(&wanted(), &Fact::Known(live()), "other"), Difference::Foreign(_)));
        let mut orphan = live();
        orphan["metadata"].as_object_mut().expect("map").remove("ownerReferences");
        assert!(matches!(difference(&wanted(), &Fact::Known(orphan), "u"), Difference::Foreign(_)));
    }

    #[test]
    fn nothing_is_concluded_from_a_lost_answer() {
        assert_eq!(difference(&wanted(), &Fact::Unknown, "u"), Difference::Unknown);
        assert_eq!(difference(&wanted(), &Fact::Absent, "u"), Difference::Missing);
    }
}
