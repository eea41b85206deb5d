//! Port 3025: TLS with client certificates if given, then gRPC. Every call passes one gate, which judges the client,
//! records the call and lets it through or not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use super::identity::{self, Client};
use super::{Core, access, join, service, update};
use crate::net;
use crate::rule::{Refusal, Rule};
use crate::world::{Call, Identity};

/// Prefix of the ALPN name by which a Proxy forwards to Auth.
const FORWARDED: &[u8] = b"teleport-auth@";

/// Serves until `stop`.
pub(super) async fn serve(core: Arc<Core>, listener: TcpListener, stop: CancellationToken, grace: Duration) {
    let routes = routes(&core);
    let closing = stop.clone();
    net::serve(listener, stop, grace, move |stream, peer| {
        let (core, routes, stop) = (core.clone(), routes.clone(), closing.clone());
        async move {
            match tokio::time::timeout(net::HANDSHAKE, handshake(&core, stream)).await {
                Ok(Ok(tls)) => connection(core, routes, tls, peer, stop).await,
                Ok(Err(refusal)) => core
                    .log
                    .warn("TLS handshake refused", json!({ "peer": peer.to_string(), "error": refusal.to_string() })),
                Err(_) => core.log.warn("TLS handshake timed out", json!({ "peer": peer.to_string() })),
            }
        }
    })
    .await;
}

fn routes(core: &Arc<Core>) -> Routes {
    Routes::new(service::server(core.clone()))
        .add_service(update::server(core.clone()))
        .add_service(join::server(core.clone()))
        .prepare()
}

async fn handshake(core: &Core, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
    let unverified = |error: std::io::Error| Rule::ClientUnverified.by(error);
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.map_err(unverified)?;
    let hello = start.client_hello();
    let mut config = core.trust().config(hello.server_name())?;
    let forwarded =
        hello.alpn().and_then(|mut names| names.find(|name| name.starts_with(FORWARDED)).map(<[u8]>::to_vec));
    if let Some(name) = forwarded {
        let mut with_name = ServerConfig::clone(&config);
        with_name.alpn_protocols.push(name);
        config = Arc::new(with_name);
    }
    start.into_stream(config).await.map_err(unverified)
}

async fn connection(
    core: Arc<Core>,
    routes: Routes,
    tls: TlsStream<TcpStream>,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let chain: Arc<[CertificateDer<'static>]> =
        tls.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
    // A client that is too old loses its connection after the answer.
    let close = stop.child_token();
    let gate = Gate { core, routes, chain, peer, close: close.clone() };
    let service = hyper::service::service_fn(move |request| {
        let gate = gate.clone();
        async move { Ok::<_, Infallible>(gate.call(request).await) }
    });
    let served =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service);
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => return,
        () = close.cancelled() => served.as_mut().graceful_shutdown(),
    }
    // A client that goes away mid-call is its own affair.
    let _ = served.await;
}

/// What stands before every call of one connection.
#[derive(Clone)]
struct Gate {
    core: Arc<Core>,
    routes: Routes,
    chain: Arc<[CertificateDer<'static>]>,
    peer: SocketAddr,
    close: CancellationToken,
}

impl Gate {
    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let method = request.uri().path().to_owned();
        let version = request.headers().get("version").and_then(|version| version.to_str().ok()).map(str::to_owned);
        let judged = self.judge(&method, version.as_deref()).await;
        let refused = judged.as_ref().err().map(Refusal::to_string).unwrap_or_default();
        self.record(&method, refused);
        match judged {
            Ok(client) => {
                let (mut parts, body) = request.into_parts();
                parts.extensions.insert(client);
                parts.extensions.insert(Peer(self.peer));
                let request = Request::from_parts(parts, Body::new(body));
                self.routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
            Err(refusal) => {
                if refusal.rule == Rule::ClientVersion {
                    self.close.cancel();
                }
                let status = match refusal.rule {
                    Rule::KeySchema => tonic::Status::unavailable(refusal.to_string()),
                    _ => tonic::Status::permission_denied("access denied"),
                };
                status.into_http()
            }
        }
    }

    async fn judge(&self, method: &str, version: Option<&str>) -> Result<Client, Refusal> {
        if !self.core.process.env.contains_key("TELEPORT_UNSTABLE_ALLOW_OLD_CLIENTS")
            && let Err(refusal) = access::check_version(version, &self.core.release.oldest_client())
        {
            super::alerts::old_client(&self.core, &refusal).await;
            return Err(refusal);
        }
        let trust = self.core.trust();
        let client = identity::client(&self.chain, &trust.anchors, &self.core.cluster)?;
        access::check(&self.core, &client, method).await?;
        Ok(client)
    }

    fn record(&self, method: &str, refused: String) {
        // Between stand-ins, every few seconds: of no interest unless it fails.
        if refused.is_empty() && method.starts_with("/standin.") {
            return;
        }
        let identity: Option<Identity> = identity::subject(&self.chain);
        let core = &self.core;
        core.log.info(
            if refused.is_empty() { "served" } else { "refused" },
            json!({
                "method": method,
                "cn": identity.as_ref().map(|identity| identity.common_name.clone()),
                "o": identity.as_ref().map(|identity| identity.organizations.clone()),
                "peer": self.peer.to_string(),
                "error": refused,
            }),
        );
        let call = Call {
            at: Utc::now(),
            process: core.process.hostname.clone(),
            version: core.release.version.to_string(),
            method: method.to_owned(),
            identity,
            peer: self.peer,
            refused,
        };
        core.process.world.record(&core.cluster, call);
    }
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);
