//! What the operator said of tenants, as the API server's audit log has it: also what stood there for a moment only.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{NAMESPACE, TestBed};

/// One status of a Tenant that the operator wrote.
#[derive(Clone, Debug)]
pub struct Told {
    /// When the API server had stored it.
    pub at: DateTime<Utc>,
    /// Namespace of the Tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole status.
    pub status: Value,
}

impl TestBed {
    /// All of them, in their order.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn statuses(&self) -> anyhow::Result<Vec<Told>> {
        let audit = self.control_plane().audit_log().context("this cluster has no audit log")?;
        let text = std::fs::read_to_string(audit).context("cannot read the audit log")?;
        // Its last line may be half written.
        text.lines().filter_map(|line| told(serde_json::from_str(line).ok()?)).collect()
    }
}

fn told(mut entry: Value) -> Option<anyhow::Result<Told>> {
    let operator = format!("system:serviceaccount:{NAMESPACE}:tenant-operator");
    let status = entry["requestObject"]["status"].take();
    let object = &entry["objectRef"];
    let of_status = object["resource"] == "tenants" && object["subresource"] == "status";
    let stored = entry["responseStatus"]["code"] == 200 && entry["user"]["username"] == operator.as_str();
    if !of_status || !stored {
        return None;
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = word(&entry["stageTimestamp"]).parse().context("the audit log has an unreadable time");
    Some(at.map(|at| Told { at, namespace: word(&object["namespace"]), name: word(&object["name"]), status }))
}
