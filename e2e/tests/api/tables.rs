//! Reads the tables of cases and makes objects out of them. Knows YAML and JSON, and no server.

use serde::Deserialize;
use serde_json::{Value, json};

/// An object that must be refused or accepted, or a change to one.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about; unique in its table.
    pub name: String,
    /// For updates: what the object is created with.
    #[serde(default)]
    pub from: Value,
    /// For updates: the kind of request.
    pub how: Option<How>,
    /// Merged into the object as it stands.
    #[serde(default)]
    pub set: Value,
    /// Paths to remove.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Refusals: the path that must be named.
    #[serde(default)]
    pub field: String,
    /// Refusals: the text that must be there.
    #[serde(default)]
    pub remedy: String,
    /// Acceptances: what must be stored.
    #[serde(default)]
    pub stored: Value,
    /// Acceptances: paths that must not be stored.
    #[serde(default)]
    pub absent: Vec<String>,
}

/// How an update reaches the server.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The whole object is replaced.
    Put,
    /// A JSON merge patch (RFC 7396).
    Merge,
    /// A server-side apply by the manager who created it.
    Apply,
}

/// Reads one table.
pub fn read(yaml: &str) -> Vec<Case> {
    serde_saphyr::from_str(yaml).expect("the table is valid")
}

/// The smallest valid tenant.
pub fn smallest(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"domain": "acme.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
    })
}

/// The smallest valid maintenance window.
pub fn smallest_window(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"timeZone": "UTC", "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}]},
    })
}

/// Merges `change` into `target`; unlike a merge patch it keeps nulls, which are what some cases are about.
pub fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (_, Value::Null) => {}
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                match target.get_mut(key) {
                    Some(found) if value.is_object() && found.is_object() => merge(found, value),
                    _ => {
                        target.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (target, change) => *target = change.clone(),
    }
}

/// Removes a dotted path.
pub fn remove(target: &mut Value, path: &str) {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let pointer = parents.map(pointer).unwrap_or_default();
    target.pointer_mut(&pointer).and_then(Value::as_object_mut).and_then(|parent| parent.remove(last));
}

/// Finds a dotted path.
pub fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(&pointer(path))
}

/// Whether everything in `wanted` is in `found`.
pub fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (_, Value::Null) => true,
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| contains(found, wanted)))
        }
        (found, wanted) => found == wanted,
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

#[test]
fn a_null_is_kept_and_a_path_is_removed() {
    let mut tenant = json!({"spec": {"a": 1, "b": {"c": 2}}});
    merge(&mut tenant, &json!({"spec": {"a": null, "b": {"d": 3}}}));
    assert_eq!(tenant, json!({"spec": {"a": null, "b": {"c": 2, "d": 3}}}));
    remove(&mut tenant, "spec.b.c");
    assert_eq!(find(&tenant, "spec.b"), Some(&json!({"d": 3})));
    assert!(contains(&tenant, &json!({"spec": {"b": {"d": 3}}})));
    assert!(!contains(&tenant, &json!({"spec": {"b": {"c": 2}}})));
}

#[test]
fn every_case_of_the_tables_can_fail() {
    for (refusals, table) in [
        (true, include_str!("creates.yaml")),
        (true, include_str!("updates.yaml")),
        (true, include_str!("windows.yaml")),
        (false, include_str!("accepted.yaml")),
        (false, include_str!("accepted-windows.yaml")),
    ] {
        let cases = read(table);
        let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases.len(), "two cases have one name");
        for case in cases {
            let expects = !case.field.is_empty() && !case.remedy.is_empty();
            assert_eq!(expects, refusals, "{}: a refusal names field and remedy, an acceptance neither", case.name);
            let changes = !case.set.is_null() || !case.unset.is_empty();
            assert!(changes || !case.stored.is_null(), "{}: changes nothing", case.name);
        }
    }
}
