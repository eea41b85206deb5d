//! What a controller says of an object in its status.

use serde_json::Value;

/// One of these conditions, if it is of the object as it is now: of an older generation it says nothing. Who says no generation speaks of
/// what never changes.
pub fn condition<'a>(conditions: &'a Value, type_: &str, generation: i64) -> Option<&'a Value> {
    let found = conditions.as_array()?.iter().find(|condition| condition["type"] == type_)?;
    found["observedGeneration"].as_i64().is_none_or(|seen| seen >= generation).then_some(found)
}
