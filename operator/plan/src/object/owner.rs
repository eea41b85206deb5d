//! Whose an object is.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

/// With these words begins what is said of an object that is somebody else's.
const FOREIGN: &str = "belongs to";

/// Whether this fault of an object is that it is somebody else's.
pub fn is_foreign(fault: &str) -> bool {
    fault.starts_with(FOREIGN)
}

/// An object is somebody else's, as this shows.
pub fn foreign_by(how: impl fmt::Display) -> String {
    format!("{FOREIGN} somebody else ({how})")
}

/// How the owner shows that an object is not the tenant's.
pub fn foreign(live: &Value, owner_uid: &str) -> Option<String> {
    let owners: Vec<OwnerReference> =
        serde_json::from_value(live["metadata"]["ownerReferences"].clone()).unwrap_or_default();
    foreign_owner(&owners, owner_uid)
}

/// The same of an object with these owners.
pub fn foreign_owner(owners: &[OwnerReference], owner_uid: &str) -> Option<String> {
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) if owner.uid == owner_uid => None,
        Some(owner) => Some(format!("{FOREIGN} {} {}", owner.kind, owner.name)),
        None => Some(format!("{FOREIGN} nobody the operator knows")),
    }
}
