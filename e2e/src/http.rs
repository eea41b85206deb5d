//! Requests of the harness itself to servers on loopback: readiness probes and the emulators' control interfaces.
//! One connection per request, since there are few; it refuses to dial anything but loopback.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that trusts one set of authorities.
#[derive(Clone)]
pub struct Http {
    tls: TlsConnector,
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl Http {
    /// A client for plain http, and for https under these authorities (PEM).
    ///
    /// # Errors
    /// When the PEM is no list of certificates.
    pub fn new(authorities: &str) -> anyhow::Result<Http> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(certificate.context("cannot read an authority")?).context("cannot trust an authority")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Http { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, url, Bytes::new()).await
    }

    /// POST of a JSON document.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn post(&self, url: &str, document: &serde_json::Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, url, document.to_string().into()).await
    }

    async fn send(&self, method: Method, url: &str, body: Bytes) -> anyhow::Result<Answer> {
        let attempt = format!("{method} {url}");
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(method, url, body)).await;
        answer.with_context(|| format!("{attempt}: no answer in {} s", TIMEOUT.as_secs()))?.context(attempt)
    }

    async fn exchange(&self, method: Method, url: &str, body: Bytes) -> anyhow::Result<Answer> {
        let uri: Uri = url.parse().context("not a URL")?;
        let authority = uri.authority().context("the URL has no host")?;
        let secure = uri.scheme_str() == Some("https");
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = authority.host().parse().context("the host is no address")?;
        let address = SocketAddr::new(address, port);
        ensure!(address.ip().is_loopback(), "{address} is not on loopback");
        let request = Request::builder()
            .method(method)
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, authority.as_str())
            // RFC 8555 section 6.1 has ACME clients send one, and pebble insists.
            .header(USER_AGENT, concat!("tenant-operator-e2e/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .context("cannot make the request")?;
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        if secure {
            let stream = self.tls.connect(ServerName::from(address.ip()), stream).await.context("no TLS session")?;
            talk(stream, request).await
        } else {
            talk(stream, request).await
        }
    }
}

impl Answer {
    /// The body of a successful answer; any other is an error that quotes it.
    ///
    /// # Errors
    /// When the status is not a success.
    pub fn success(self) -> anyhow::Result<Bytes> {
        if !self.status.is_success() {
            bail!("the answer was {}: {}", self.status, String::from_utf8_lossy(&self.body).trim());
        }
        Ok(self.body)
    }
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context("cannot speak HTTP")?;
    let exchange = async move {
        let response = sender.send_request(request).await.context("no response")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the response broke off")?.to_bytes();
        anyhow::Ok(Answer { status, body })
    };
    // The connection has to be driven while the exchange runs, and no longer: a server may keep its half open.
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}
