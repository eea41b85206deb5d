//! What the fleet policy says for the pods of all tenants, and what a text of it may not say.

use std::borrow::Cow;

use crds::pod::Pod;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::pattern;

/// What begins with one of these tells the operator its pods.
const RESERVED: [&str; 3] = ["app.kubernetes.io/", "tenancy.dev/", "teleport.dev/"];

/// `pod` of `installation.yaml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDefaults(Pod);

impl AsRef<Pod> for PodDefaults {
    fn as_ref(&self) -> &Pod {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PodDefaults {
    /// A field that Kubernetes does not have is a slip of the pen, and not left out in silence.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PodDefaults, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let pod: Pod =
            serde_json::from_value(written.clone()).map_err(|error| D::Error::custom(format!("pod: {error}")))?;
        let read = serde_json::to_value(&pod).expect("pod fields serialize");
        match lost(&written, &read, "pod") {
            Some(field) => Err(D::Error::custom(format!("{field}: unknown field"))),
            None => Ok(PodDefaults(pod)),
        }
    }
}

impl JsonSchema for PodDefaults {
    fn schema_name() -> Cow<'static, str> {
        "PodDefaults".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Pod::json_schema(generator).to_value();
        close(&mut schema);
        let reserved = format!("^({})", RESERVED.join("|").replace('.', "[.]"));
        let label = json!({"pattern": pattern::LABEL_KEY});
        let own = json!({"pattern": pattern::LABEL_KEY, "not": {"pattern": reserved}});
        let annotation = json!({"pattern": pattern::LABEL_KEY, "not": {"pattern": "^tenancy[.]dev/"}});
        for (field, key) in [("nodeSelector", label), ("labels", own), ("annotations", annotation)] {
            schema["properties"][field]["propertyNames"] = key;
        }
        for field in ["nodeSelector", "labels"] {
            schema["properties"][field]["additionalProperties"]["pattern"] = pattern::LABEL_VALUE.into();
        }
        for field in ["priorityClassName", "runtimeClassName"] {
            schema["properties"][field]["pattern"] = pattern::OBJECT_NAME.into();
        }
        schema["properties"]["imagePullSecrets"]["items"]["properties"]["name"]["pattern"] =
            pattern::OBJECT_NAME.into();
        schema.try_into().unwrap_or_default()
    }
}

/// What has fields has no others.
fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if fields.contains_key("properties") {
        fields.insert("additionalProperties".into(), Value::Bool(false));
    }
    fields.values_mut().for_each(close);
}

/// The first field that was written and not read. What is empty may be left out.
fn lost(written: &Value, read: &Value, path: &str) -> Option<String> {
    let empty = |value: &Value| match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(key, value)| match read.get(key) {
            Some(found) => lost(value, found, &format!("{path}.{key}")),
            None if value.is_null() || (empty(value) && KNOWN.contains(&key.as_str())) => None,
            None => Some(format!("{path}.{key}")),
        }),
        (Value::Array(written), Value::Array(read)) => {
            let pairs = written.iter().zip(read).enumerate();
            pairs.filter_map(|(index, (written, read))| lost(written, read, &format!("{path}[{index}]"))).next()
        }
        _ => None,
    }
}

/// Fields that are not written again when they are empty.
const KNOWN: [&str; 9] = [
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "runtimeClassName",
    "imagePullSecrets",
    "labels",
    "annotations",
];

/// What the API server would refuse in a Tenant, each with its field.
pub fn faults(pod: &Pod) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, map) in [("nodeSelector", &pod.node_selector), ("labels", &pod.labels)] {
        for (key, value) in map {
            if !pattern::matches(pattern::LABEL_KEY, key) || !pattern::matches(pattern::LABEL_VALUE, value) {
                faults.push(format!("{name}: {key:?}: {value:?} is no label: write it as team: payments"));
            }
        }
    }
    for key in pod.labels.keys().filter(|key| RESERVED.iter().any(|reserved| key.starts_with(reserved))) {
        faults.push(format!("labels: {key:?} is how the operator finds its pods: use a domain of your own"));
    }
    for key in pod.annotations.keys() {
        if !pattern::matches(pattern::LABEL_KEY, key) || key.starts_with("tenancy.dev/") {
            faults.push(format!("annotations: {key:?} must be a key such as example.com/scrape"));
        }
    }
    let names = pod.priority_class_name.iter().map(|name| ("priorityClassName", name));
    let names = names.chain(pod.runtime_class_name.iter().map(|name| ("runtimeClassName", name)));
    let secrets = pod.image_pull_secrets.iter().map(|secret| ("imagePullSecrets", &secret.name));
    for (name, value) in names.chain(secrets) {
        if !pattern::matches(pattern::OBJECT_NAME, value) {
            faults.push(format!("{name}: {value:?} must be the name of an object"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<PodDefaults, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_field_is_refused_however_deep() {
        for (yaml, field) in [
            ("nodeselector: {a: b}", "pod.nodeselector"),
            ("tolerations: [{key: a, operater: Exists}]", "pod.tolerations[0].operater"),
            ("affinity: {nodeAffinity: {preferred: []}}", "pod.affinity.nodeAffinity.preferred"),
            ("image: x", "pod.image"),
        ] {
            let fault = read(yaml).expect_err(yaml);
            assert!(fault.contains(&format!("{field}: unknown field")), "{yaml}: {fault}");
        }
        assert_eq!(read("{nodeSelector: {}, tolerations: []}"), Ok(PodDefaults::default()));
        let whole = "{labels: {team: a}, tolerations: [{key: a, operator: Exists}], priorityClassName: high}";
        assert!(read(whole).is_ok(), "{:?}", read(whole));
    }

    #[test]
    fn what_the_api_server_refuses_is_named_with_its_field() {
        for (yaml, part) in [
            ("labels: {app.kubernetes.io/name: x}", "labels: \"app.kubernetes.io/name\""),
            ("labels: {team: 'a b'}", "labels: \"team\""),
            ("nodeSelector: {'-': x}", "nodeSelector:"),
            ("annotations: {tenancy.dev/x: z}", "annotations:"),
            ("priorityClassName: High", "priorityClassName:"),
            ("imagePullSecrets: [{name: ''}]", "imagePullSecrets:"),
        ] {
            let found = faults(read(yaml).expect("it parses").as_ref());
            assert!(found.len() == 1 && found[0].starts_with(part), "{yaml}: {found:?}");
        }
    }
}
