//! The JSON Schema of the fleet policy, for editors, for pipelines and for the values of the chart. It says what a field
//! may look like; what fields must be to each other, such as pools that do not overlap, only the check tells.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::feed::text::FeedText;
use crate::fleet::Installation;

/// Of `installation.yaml`.
pub fn installation() -> Value {
    of::<Installation>()
}

/// Of `releases.yaml`.
pub fn releases() -> Value {
    of::<FeedText>()
}

/// Of both, as the value `fleet` of the chart has them.
pub fn fleet() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Fleet policy",
        "type": "object",
        "additionalProperties": false,
        "required": ["installation", "releases"],
        "properties": {"installation": installation(), "releases": releases()},
    })
}

fn of<T: JsonSchema>() -> Value {
    // Draft 7 is what helm reads.
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    without_rules(&mut schema);
    schema
}

/// The rules of the API server are in a language that nobody else reads.
fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|key, _| key != "x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}
