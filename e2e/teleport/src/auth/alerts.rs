//! Cluster alerts: what may be written, and who sees what.

use chrono::Utc;
use prost::Message;

use super::Core;
use super::init::storage;
use super::instances::timestamp;
use crate::rule::{Refusal, Rule};
use crate::state::New;
use crate::wire::types::{ClusterAlert, ClusterAlertSpec, GetClusterAlertsRequest, Metadata, ResourceHeader};

const PREFIX: &str = "cluster-alerts/";
const DAY_SECONDS: i64 = 86_400;

pub(super) async fn upsert(core: &Core, mut alert: ClusterAlert) -> Result<(), Refusal> {
    check(&alert)?;
    let metadata = alert.header.get_or_insert_default().metadata.get_or_insert_default();
    let expires =
        metadata.expires.as_ref().map_or_else(|| Utc::now().timestamp() + DAY_SECONDS, |expires| expires.seconds);
    metadata.expires = Some(prost_types::Timestamp { seconds: expires, nanos: 0 });
    let key = format!("{PREFIX}{}", metadata.name);
    let spec = alert.spec.get_or_insert_default();
    spec.created.get_or_insert_with(|| timestamp(Utc::now()));
    let new = New { key, value: alert.encode_to_vec(), expires: Some(expires) };
    core.state.put(new).await.map(drop).map_err(storage)
}

pub(super) async fn list(core: &Core, request: &GetClusterAlertsRequest) -> Result<Vec<ClusterAlert>, Refusal> {
    let mut alerts = Vec::new();
    for stored in core.state.list(PREFIX).await.map_err(storage)? {
        let alert = ClusterAlert::decode(stored.value.as_slice()).map_err(|error| Rule::Alert.by(error))?;
        let metadata = alert.header.as_ref().and_then(|header| header.metadata.clone()).unwrap_or_default();
        let severity = alert.spec.as_ref().map_or(0, |spec| spec.severity);
        let labels = request.labels.iter().all(|(key, value)| metadata.labels.get(key) == Some(value));
        if (request.alert_id.is_empty() || request.alert_id == metadata.name) && severity >= request.severity && labels
        {
            alerts.push(alert);
        }
    }
    Ok(alerts)
}

/// The alert that an old client leaves behind: one a day.
pub(super) async fn old_client(core: &Core, refusal: &Refusal) {
    let alert = ClusterAlert {
        header: Some(ResourceHeader {
            kind: "cluster_alert".to_owned(),
            sub_kind: String::new(),
            version: "v1".to_owned(),
            metadata: Some(Metadata { name: "rejected-unsupported-connection".to_owned(), ..Metadata::default() }),
        }),
        spec: Some(ClusterAlertSpec { severity: 5, message: refusal.to_string(), created: None }),
    };
    if let Err(error) = upsert(core, alert).await {
        core.log.error("Failed to write a cluster alert", &error);
    }
}

fn check(alert: &ClusterAlert) -> Result<(), Refusal> {
    let metadata = alert.header.as_ref().and_then(|header| header.metadata.clone()).unwrap_or_default();
    let spec = alert.spec.clone().unwrap_or_default();
    if metadata.name.is_empty() {
        return Err(Rule::Alert.by("metadata.name is missing"));
    }
    if !matches!(spec.severity, 0 | 5 | 10) {
        return Err(Rule::Alert.by(format!("severity {}", spec.severity)));
    }
    if spec.message.is_empty() || spec.message.chars().any(char::is_control) {
        return Err(Rule::Alert.by("message is empty or has control characters"));
    }
    for (key, value) in &metadata.labels {
        let free_text = key.ends_with("/link-text");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_/:|".contains(c);
        if !free_text && !value.chars().all(plain) {
            return Err(Rule::Alert.by(format!("label {key}={value:?}")));
        }
        if key.ends_with("/link") && !own_site(value) {
            return Err(Rule::Alert.by(format!("link {value:?} is not on goteleport.com")));
        }
    }
    Ok(())
}

fn own_site(link: &str) -> bool {
    let host = link.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    host == "goteleport.com" || host.ends_with(".goteleport.com")
}
