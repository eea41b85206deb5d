//! Diagnostics: `/healthz`, `/readyz`, `/metrics` on the diagnostic address, and the separate metrics service.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::sync::watch;

use crate::config::Metrics;
use crate::key_pair;
use crate::pki;
use crate::process::Process;
use crate::release::Release;
use crate::rule::{Refusal, Rule};
use crate::web::{self, Page, Pages};

/// How a process is, as `/readyz` and `process_state` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Starting,
    Ok,
    Degraded,
    /// One good heartbeat after being degraded; the second makes it Ok.
    Recovering,
}

/// The readiness of one process.
#[derive(Debug, Clone)]
pub(crate) struct Health(watch::Sender<Readiness>);

impl Health {
    pub(crate) fn new() -> Health {
        Health(watch::Sender::new(Readiness::Starting))
    }

    pub(crate) fn set(&self, readiness: Readiness) {
        self.0.send_replace(readiness);
    }

    pub(crate) fn get(&self) -> Readiness {
        *self.0.borrow()
    }
}

/// The pages of the diagnostic address.
pub(crate) struct Diagnostics {
    pub(crate) health: Health,
    pub(crate) release: Release,
    /// Off when the metrics service has them.
    pub(crate) metrics: bool,
}

/// The one page of the metrics service.
pub(crate) struct MetricsPage {
    pub(crate) health: Health,
    pub(crate) release: Release,
}

impl Pages for Diagnostics {
    fn page(&self, request: &Request<Incoming>, _peer: SocketAddr) -> Page {
        let status = |code, text: &str| web::json(code, &json!({ "status": text }));
        match request.uri().path() {
            "/healthz" => status(StatusCode::OK, "ok"),
            "/readyz" => match self.health.get() {
                Readiness::Ok => status(StatusCode::OK, "ok"),
                Readiness::Starting => {
                    status(StatusCode::BAD_REQUEST, "teleport is starting and hasn't joined the cluster yet")
                }
                Readiness::Recovering => status(
                    StatusCode::BAD_REQUEST,
                    "teleport is recovering from a degraded state, check logs for details",
                ),
                Readiness::Degraded => {
                    status(StatusCode::SERVICE_UNAVAILABLE, "teleport is in a degraded state, check logs for details")
                }
            },
            "/metrics" if self.metrics => metrics(&self.health, &self.release),
            other => web::not_found(other),
        }
    }
}

impl Pages for MetricsPage {
    fn page(&self, request: &Request<Incoming>, _peer: SocketAddr) -> Page {
        match request.uri().path() {
            "/metrics" => metrics(&self.health, &self.release),
            other => web::not_found(other),
        }
    }
}

fn metrics(health: &Health, release: &Release) -> Page {
    let state = match health.get() {
        Readiness::Ok => 0,
        Readiness::Recovering => 1,
        Readiness::Degraded => 2,
        Readiness::Starting => 3,
    };
    let text = format!(
        "# HELP process_state State of the process\n# TYPE process_state gauge\nprocess_state {state}\n\
         # HELP teleport_build_info Provides build information\n# TYPE teleport_build_info gauge\n\
         teleport_build_info{{gitref=\"v{0}\",goversion=\"go1.24\",version=\"{0}\"}} 1\n",
        release.version
    );
    web::page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// TLS of the metrics service: on exactly when it has both key pairs and CAs, and then clients must have a certificate.
pub(crate) fn metrics_tls(process: &Process, metrics: &Metrics) -> Result<Option<Arc<ServerConfig>>, Refusal> {
    if metrics.key_pairs.is_empty() || metrics.authorities.is_empty() {
        return Ok(None);
    }
    let keys = key_pair::load(process, &metrics.key_pairs)?;
    let mut roots = RootCertStore::empty();
    for file in &metrics.authorities {
        let unreadable = |error: String| Rule::KeyPairFile.by(format!("{file}: {error}"));
        let pem = process.read(file).map_err(|error| unreadable(error.to_string()))?;
        for certificate in pki::certificates(&pem).map_err(unreadable)? {
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
    }
    let broken = |error: &dyn std::fmt::Display| Rule::KeyPairFile.by(error);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), pki::provider()).build();
    let config = ServerConfig::builder_with_provider(pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(&error))?
        .with_client_cert_verifier(verifier.map_err(|error| broken(&error))?)
        .with_cert_resolver(Arc::new(keys));
    Ok(Some(Arc::new(config)))
}
