//! Objects that are as good as they can be but for one field.

use serde_json::{Value, json};

use super::super::fields::{Kind, Leaf, Step};

/// A key that is not there.
pub const KMS_KEY: &str = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// What fields hold whose schema alone does not say what would be right, by the end of their path.
const GOOD: [(&str, &str); 27] = [
    ("spec.domain", "hostile.example.com"),
    ("spec.version", "18.1.0"),
    ("spec.channel", "stable"),
    ("spec.region", "us-west-2"),
    ("licenseSecretRef.name", "license"),
    ("spec.agents.reportTTL", "15m"),
    ("spec.agents.rememberFor", "24h"),
    ("requestedAt", "2026-01-01T00:00:00Z"),
    ("override.reason", "a reason"),
    ("windowRef.name", "default"),
    ("windowRef.namespace", "hostile"),
    ("issuerRef.name", "public"),
    ("issuerRef.kind", "Issuer"),
    ("issuerRef.group", "cert-manager.io"),
    ("network.portPool", "default"),
    ("network.loadBalancerClass", "example.com/lb"),
    ("sourceRanges[]", "203.0.113.0/24"),
    ("requests.cpu", "500m"),
    ("memory", "1Gi"),
    ("kmsKeyArn", KMS_KEY),
    ("spec.timeZone", "UTC"),
    ("windows[].start", "02:00"),
    ("windows[].duration", "3h"),
    ("operator", "Exists"),
    ("topologyKey", "kubernetes.io/hostname"),
    ("whenUnsatisfiable", "ScheduleAnyway"),
    ("match.services[]", "Node"),
];
/// A key that the fleet policy of the test bed allows to annotations.
const KEY: &str = "example.com/zone";

/// What a field takes.
pub fn good(path: &str, schema: &Value) -> String {
    if let Some((_, good)) = GOOD.iter().find(|(end, _)| path.ends_with(end)) {
        return (*good).to_owned();
    }
    if path.ends_with("{key}") {
        return KEY.to_owned();
    }
    match (&schema["enum"][0], schema["format"].as_str()) {
        (Value::String(first), _) => first.clone(),
        (_, Some("date-time")) => "2026-01-01T00:00:00Z".to_owned(),
        _ => "a".to_owned(),
    }
}

/// The object with one more text in one field, and around it what the field needs. Maps and lists grow.
pub fn with(kind: &Kind, mut object: Value, leaf: &Leaf, text: &str) -> Value {
    let path = leaf.path();
    if path == "spec.channel" {
        object["spec"].as_object_mut().map(|spec| spec.remove("version"));
    }
    if path.starts_with("spec.licenseSecretRef") {
        object["spec"]["edition"] = json!("Enterprise");
    }
    if path.contains(".issuerRef.") {
        object["spec"]["certificates"]["web"]["issuer"] = json!("CertManager");
    }
    set(&kind.schema, "", &leaf.steps, Some(object), text)
}

fn set(schema: &Value, path: &str, steps: &[Step], current: Option<Value>, text: &str) -> Value {
    let Some((step, rest)) = steps.split_first() else { return json!(text) };
    match step {
        Step::Property(name) => {
            let mut object = current.unwrap_or_else(|| minimal(schema, path));
            let inner = object.get(name).cloned();
            object[name] = set(&schema["properties"][name], &join(path, name), rest, inner, text);
            object
        }
        Step::Item => {
            let mut items = current.and_then(|list| list.as_array().cloned()).unwrap_or_default();
            items.push(set(&schema["items"], &format!("{path}[]"), rest, None, text));
            Value::Array(items)
        }
        Step::Key | Step::Entry => {
            let (schema, path) = (&schema["additionalProperties"], format!("{path}{{}}"));
            let mut entries = current.and_then(|map| map.as_object().cloned()).unwrap_or_default();
            match step {
                Step::Key => entries.insert(text.to_owned(), minimal(schema, &path)),
                _ => {
                    let later = (1..).map(|number| format!("{KEY}-{number}"));
                    let key = std::iter::once(KEY.to_owned()).chain(later).find(|key| !entries.contains_key(key));
                    entries.insert(key.unwrap_or_default(), set(schema, &path, rest, None, text))
                }
            };
            Value::Object(entries)
        }
    }
}

/// The least that a schema takes.
fn minimal(schema: &Value, path: &str) -> Value {
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields =
                required.map(|name| (name.to_owned(), minimal(&schema["properties"][name], &join(path, name))));
            Value::Object(fields.collect())
        }
        Some("array") => json!([minimal(&schema["items"], &format!("{path}[]"))]),
        Some("integer") => json!(schema["minimum"].as_f64().map_or(1, |least| least.max(1.0) as i64)),
        Some("boolean") => json!(true),
        _ => json!(good(path, schema)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
