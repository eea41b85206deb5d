//! Cluster alerts over gRPC.

use chrono::{DateTime, Utc};
use plan::publish::alert::{self, Alert, Raised};
use tonic::transport::Channel;

use super::{READING, TIMEOUT};
use crate::teleport::auth::{connect, moment, refused, within};
use crate::teleport::rpc::service::UpsertClusterAlertRequest;
use crate::teleport::rpc::service::auth_service_client::AuthServiceClient;
use crate::teleport::rpc::types::{ClusterAlert, ClusterAlertSpec, GetClusterAlertsRequest, Metadata, ResourceHeader};
use crate::teleport::tls::Identities;
use crate::teleport::{AuthTarget, TeleportError, Told};

const LIST: &str = "GetClusterAlerts";
const WRITE: &str = "UpsertClusterAlert";

/// The operator's own alert, if it stands.
pub(in crate::teleport) async fn alerts(
    identities: &Identities,
    target: &AuthTarget,
) -> Result<Vec<Raised>, TeleportError> {
    within(TIMEOUT, READING, target, async {
        let mut auth = AuthServiceClient::new(connect(identities, target).await?);
        // Whoever it is shown to, and whether or not somebody has put it away: it is ours.
        let request = GetClusterAlertsRequest {
            alert_id: alert::NAME.to_owned(),
            with_superseded: true,
            with_acknowledged: true,
            with_untargeted: true,
        };
        let answer = auth.get_cluster_alerts(request).await.map_err(refused(target, LIST))?.into_inner();
        Ok(answer.alerts.into_iter().map(raised).filter(|raised| raised.alert.name == alert::NAME).collect())
    })
    .await
}

/// Writes an alert, whatever stood under its name.
pub(super) async fn raise(
    target: &AuthTarget,
    channel: &Channel,
    alert: &Alert,
    created: DateTime<Utc>,
    expires: DateTime<Utc>,
) -> Result<Told, TeleportError> {
    let Alert { name, severity, message, labels } = alert;
    let metadata = Metadata { name: name.clone(), labels: labels.clone(), expires: Some(stamp(expires)) };
    let alert = ClusterAlert {
        header: Some(ResourceHeader {
            kind: "cluster_alert".to_owned(),
            version: "v1".to_owned(),
            metadata: Some(metadata),
        }),
        spec: Some(ClusterAlertSpec { severity: *severity, message: message.clone(), created: Some(stamp(created)) }),
    };
    let request = UpsertClusterAlertRequest { alert: Some(alert) };
    AuthServiceClient::new(channel.clone()).upsert_cluster_alert(request).await.map_err(refused(target, WRITE))?;
    Ok(Told::Done)
}

fn raised(found: ClusterAlert) -> Raised {
    let Metadata { name, labels, expires } = found.header.and_then(|header| header.metadata).unwrap_or_default();
    let ClusterAlertSpec { severity, message, created: _ } = found.spec.unwrap_or_default();
    Raised { alert: Alert { name, severity, message, labels }, expires: expires.and_then(moment) }
}

/// In whole seconds: the end of an item in the state table has no others.
fn stamp(instant: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: instant.timestamp(), nanos: 0 }
}
