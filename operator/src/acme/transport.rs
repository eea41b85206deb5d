//! How the ACME server is reached: HTTPS with a bound on time, trusting what the fleet policy says, and remembering until when the
//! server asks for patience, which the client library does not hand on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::clock;

/// More than any limit of a server lasts is a mistake of its.
const LONGEST: TimeDelta = TimeDelta::days(30);
/// One request with its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Chains and directories have some kilobytes.
const LARGEST: usize = 1024 * 1024;

/// What the server asks for: not before this has passed.
pub(super) type Patience = Arc<Mutex<Option<TimeDelta>>>;

/// The client.
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    patience: Patience,
}

impl Transport {
    /// One that trusts these authorities, or those of the system.
    ///
    /// # Errors
    /// When none can be read.
    pub(super) fn new(ca_bundle: Option<&str>, patience: Patience) -> Result<Transport, String> {
        let mut roots = RootCertStore::empty();
        match ca_bundle {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| format!("acme.caBundle is no PEM: {error}"))?;
                    roots.add(certificate).map_err(|error| format!("acme.caBundle holds no authority: {error}"))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err("no authority is trusted: set acme.caBundle in the fleet policy".into());
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions().build();
        Ok(Transport { client: Client::builder(TokioExecutor::new()).build(connector), patience })
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let answer = self.client.request(request);
        let patience = Arc::clone(&self.patience);
        Box::pin(async move {
            let other = |source: Box<dyn std::error::Error + Send + Sync>| instant_acme::Error::Other(source);
            let whole = async {
                let (parts, body) = answer.await?.into_parts();
                let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
                Ok(Response::from_parts(parts, Full::new(body)))
            };
            let late = || other(format!("no answer within {} s", TIMEOUT.as_secs()).into());
            let answer = tokio::time::timeout(TIMEOUT, whole).await.map_err(|_| late())?.map_err(other)?;
            let refused = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let asked = asked.filter(|_| refused).and_then(|text| asked_for(text, clock::wall()));
            if asked.is_some() {
                *patience.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = asked;
            }
            Ok(BytesResponse::from(answer))
        })
    }
}

/// Seconds, or a date of HTTP (RFC 9110, section 10.2.3).
fn asked_for(text: &str, wall: DateTime<Utc>) -> Option<TimeDelta> {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(seconds) => TimeDelta::try_seconds(seconds).filter(|asked| *asked <= LONGEST),
        Err(_) => DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc() - wall),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_comes_in_seconds_or_as_a_date() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        assert_eq!(asked_for("120", now), Some(TimeDelta::seconds(120)));
        assert_eq!(asked_for("Fri, 15 Jan 2027 08:00:30 GMT", now), Some(TimeDelta::seconds(30)));
        assert_eq!(asked_for("soon", now), None);
        assert_eq!(asked_for("9223372036854775", now), None);
    }
}
