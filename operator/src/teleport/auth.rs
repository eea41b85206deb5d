//! Questions to a tenant's Auth over gRPC. The `version` metadata is left out on purpose: Auth then does not check
//! how old this client is.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper_util::rt::TokioIo;
use plan::agents::{Inventory, Reading};
use plan::teleport::{AuthPing, Instance};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::error::Refusal;
use super::rpc::service::auth_service_client::AuthServiceClient;
use super::rpc::service::{PingRequest, PingResponse};
use super::rpc::types::{InstanceFilter, InstanceV1};
use super::tls::{self, Identities};
use super::{AuthTarget, TeleportError};
use crate::clock;

const PING: &str = "Ping";
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const INVENTORY: &str = "GetInstances";
const INVENTORY_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks which version Auth is.
pub(super) async fn ping(identities: &Identities, target: &AuthTarget) -> Result<AuthPing, TeleportError> {
    within(PING_TIMEOUT, PING, target, async {
        let answer = ping_on(&connect(identities, target).await?, target).await?;
        let license_expires =
            answer.license_expiry.and_then(|at| DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?));
        Ok(AuthPing { cluster_name: answer.cluster_name, version: without_v(answer.server_version), license_expires })
    })
    .await
}

/// Asks it over a connection that is there already.
pub(super) async fn ping_on(channel: &Channel, target: &AuthTarget) -> Result<PingResponse, TeleportError> {
    let answer = AuthServiceClient::new(channel.clone()).ping(PingRequest {}).await;
    Ok(answer.map_err(refused(target, PING))?.into_inner())
}

/// Asks for the whole inventory. Entries are taken in one by one, so that no more than one is held whole.
pub(super) async fn inventory(
    identities: &Identities,
    target: &AuthTarget,
    now: DateTime<Utc>,
) -> Result<Inventory, TeleportError> {
    within(INVENTORY_TIMEOUT, INVENTORY, target, async {
        let mut auth = AuthServiceClient::new(connect(identities, target).await?);
        let refused = refused(target, INVENTORY);
        let mut stream = auth.get_instances(InstanceFilter {}).await.map_err(&refused)?.into_inner();
        let mut reading = Reading::default();
        // The stream ends with a status; without one, reading on is an error, so that what was cut off is never
        // taken for the whole.
        while let Some(entry) = stream.message().await.map_err(&refused)? {
            reading.add(&instance(entry)).map_err(|problem| unusable(target, problem.to_string()))?;
        }
        Ok(reading.finish(now))
    })
    .await
}

/// Bounds everything that one call of the trait does.
pub(super) async fn within<T>(
    limit: Duration,
    question: &'static str,
    target: &AuthTarget,
    ask: impl Future<Output = Result<T, TeleportError>>,
) -> Result<T, TeleportError> {
    let address = target.address;
    timeout(limit, ask).await.unwrap_or(Err(TeleportError::Timeout { address, question, seconds: limit.as_secs() }))
}

/// Opens a connection of one's own. TLS is done before gRPC sees the connection, so that a certificate that is not
/// accepted is told apart from a call that failed.
pub(super) async fn connect(identities: &Identities, target: &AuthTarget) -> Result<Channel, TeleportError> {
    let AuthTarget { address, domain, host } = target;
    let config = identities.config(domain, host, clock::wall())?;
    let stream = tls::connect(*address, &tls::auth_server_name(domain), config).await?;
    let once = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        async move { stream.ok_or_else(|| std::io::Error::other("the one connection of this call was lost")) }
    });
    // The name is only written into requests; where they go is decided above.
    Endpoint::from_static("http://teleport.cluster.local")
        .connect_with_connector(connector)
        .await
        .map_err(|source| TeleportError::Connect { address: *address, source: std::io::Error::other(source) })
}

/// What Auth said, with what it was asked.
pub(super) fn refused(target: &AuthTarget, question: &'static str) -> impl Fn(Status) -> TeleportError {
    let address = target.address;
    move |status| TeleportError::Call { address, question, source: Refusal(Box::new(status)) }
}

fn unusable(target: &AuthTarget, problem: String) -> TeleportError {
    TeleportError::Answer { address: target.address, question: INVENTORY, problem }
}

fn instance(entry: InstanceV1) -> Instance {
    let spec = entry.spec.unwrap_or_default();
    Instance {
        id: entry.header.and_then(|header| header.metadata).map(|metadata| metadata.name).unwrap_or_default(),
        hostname: spec.hostname,
        version: spec.version,
        services: spec.services,
        updater: spec.external_upgrader,
        update_group: spec.updater_info.map(|updater| updater.update_group).unwrap_or_default(),
    }
}

/// A time stamp that no calendar has reads as none.
pub(super) fn moment(time: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

fn without_v(version: String) -> String {
    version.strip_prefix('v').map(str::to_owned).unwrap_or(version)
}
