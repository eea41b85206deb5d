//! The question that every Teleport client asks first: `GET /webapi/ping` at the tenant's web address.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use plan::teleport::WebPing;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{TeleportError, WebTarget, tls};

const PING: &str = "/webapi/ping";
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer has some kilobytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// Asks the Proxy who it is.
pub(super) async fn ping(target: &WebTarget) -> Result<WebPing, TeleportError> {
    let address = target.address;
    let seconds = PING_TIMEOUT.as_secs();
    let unanswered = TeleportError::Timeout { address, question: PING, seconds };
    let answer = timeout(PING_TIMEOUT, get(target)).await.unwrap_or(Err(unanswered))?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| TeleportError::Answer {
        address,
        question: PING,
        problem: format!("is not what Teleport answers: {error}"),
    })?;
    Ok(WebPing::from(answer))
}

async fn get(target: &WebTarget) -> Result<Bytes, TeleportError> {
    let WebTarget { address, domain, ca_pem } = target;
    let broken = broken(*address);
    let stream = tls::connect(*address, domain, tls::web_config(domain, ca_pem)?).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Ends with this function, however it ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(PING)
        .header(HOST, domain)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        return Err(TeleportError::Status { address: *address, question: PING, status });
    }
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(&broken)?;
    Ok(body.to_bytes())
}

fn broken(address: SocketAddr) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> TeleportError {
    move |source| TeleportError::Web { address, question: PING, source }
}

/// What is read of the answer (Teleport: api/client/webclient). Addresses that are not set are left out or empty.
#[derive(Debug, Deserialize)]
struct Answer {
    cluster_name: String,
    server_version: String,
    #[serde(default)]
    edition: String,
    #[serde(default)]
    proxy: Proxy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Proxy {
    tls_routing_enabled: bool,
    ssh: Ssh,
    kube: Kube,
    db: Db,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ssh {
    public_addr: String,
    ssh_public_addr: String,
    ssh_tunnel_public_addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kube {
    public_addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Db {
    mysql_public_addr: String,
    postgres_public_addr: String,
}

impl From<Answer> for WebPing {
    fn from(answer: Answer) -> WebPing {
        let Answer { cluster_name, server_version, edition, proxy } = answer;
        let Proxy { tls_routing_enabled, ssh, kube, db } = proxy;
        let set = |address: String| (!address.is_empty()).then_some(address);
        WebPing {
            cluster_name,
            version: server_version,
            edition,
            tls_routing: tls_routing_enabled,
            public_addr: set(ssh.public_addr),
            ssh_public_addr: set(ssh.ssh_public_addr),
            tunnel_public_addr: set(ssh.ssh_tunnel_public_addr),
            kube_public_addr: set(kube.public_addr),
            mysql_public_addr: set(db.mysql_public_addr),
            postgres_public_addr: set(db.postgres_public_addr),
        }
    }
}
