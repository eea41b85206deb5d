//! The Proxy's way to Auth: joining with a token, then heartbeats with the certificate that it got.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rcgen::KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::config::proxy::Proxy as Config;
use crate::pki;
use crate::process::Process;
use crate::release::{self, Release};
use crate::rule::{Refusal, Rule};
use crate::wire::standin::v1::control_client::ControlClient;
use crate::wire::standin::v1::{HeartbeatRequest, HeartbeatResponse, JoinRequest};

const CALL: Duration = Duration::from_secs(5);
const SERVER_NAME: &str = "teleport.cluster.local";

/// Why Auth could not be used.
#[derive(Debug)]
pub(super) enum LinkError {
    /// For good: the process ends.
    Refused(Refusal),
    /// For now.
    Failed(String),
}

impl LinkError {
    /// Whether one of both sides does not trust the certificate of the other any more; on a connection that stands Auth denies access.
    pub(super) fn is_of_trust(&self) -> bool {
        let text = self.to_string().to_lowercase();
        ["unknownissuer", "unknownca", "certificate", "access denied"].iter().any(|word| text.contains(word))
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Refused(refusal) => refusal.fmt(f),
            LinkError::Failed(error) => error.fmt(f),
        }
    }
}

fn failed(error: impl fmt::Display) -> LinkError {
    LinkError::Failed(error.to_string())
}

fn status(status: Status) -> LinkError {
    match status.code() {
        // The cause of an unreachable Auth is in the chain, not in the message.
        Code::Unavailable | Code::Unknown => {
            let cause = std::error::Error::source(&status).map(ToString::to_string).unwrap_or_default();
            failed(format!("{}: {cause}", status.message()))
        }
        _ => failed(status.message()),
    }
}

/// A Proxy's link to its Auth.
pub(super) struct Link {
    process: Process,
    version: String,
    major: u64,
    host: String,
    port: u16,
    public_addr: String,
    host_id: String,
    joined: Mutex<Option<Joined>>,
}

#[derive(Clone)]
struct Joined {
    cluster: String,
    client: ControlClient<Channel>,
}

impl Link {
    pub(super) fn new(process: &Process, release: &Release, config: &Config, public_addr: String) -> Link {
        Link {
            process: process.clone(),
            version: release.version.to_string(),
            major: release.major(),
            host: config.auth_host.clone(),
            port: config.auth_port,
            public_addr,
            host_id: pki::uuid(),
            joined: Mutex::new(None),
        }
    }

    /// Name of the cluster that was joined.
    pub(super) fn cluster(&self) -> String {
        self.joined().map(|joined| joined.cluster).unwrap_or_default()
    }

    /// Trades the token for a certificate. The first contact trusts whoever answers: no CA pin is configured.
    pub(super) async fn join(&self, token: &str, skip_version_check: bool) -> Result<(), LinkError> {
        let key = KeyPair::generate().map_err(failed)?;
        let public = {
            use rcgen::PublicKeyData;
            key.subject_public_key_info()
        };
        let anyone = ClientConfig::builder_with_provider(pki::provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(FirstContact))
            .with_no_client_auth();
        let mut client = ControlClient::new(self.channel(anyone, SERVER_NAME.to_owned()));
        let request = JoinRequest {
            token: token.to_owned(),
            role: "Proxy".to_owned(),
            host_id: self.host_id.clone(),
            version: self.version.clone(),
            public_key: public,
        };
        let answer = client.join(request).await.map_err(status)?.into_inner();
        let auth = release::parse(&answer.version).ok_or_else(|| failed("Auth has no version"))?;
        if auth.major < self.major && !skip_version_check {
            let detail = format!("this instance is v{}, its Auth is v{auth}", self.version);
            return Err(LinkError::Refused(Rule::AuthTooOld.by(detail)));
        }
        let mut roots = RootCertStore::empty();
        for certificate in pki::certificates(answer.host_authorities.as_bytes()).map_err(failed)? {
            roots.add(certificate).map_err(failed)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), pki::provider()).build().map_err(failed)?;
        let chain = pki::certificates(answer.certificate.as_bytes()).map_err(failed)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let own = ClientConfig::builder_with_provider(pki::provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, private.into())
            .map_err(failed)?;
        // A label holds 63 characters; a longer name is asked for without naming the cluster.
        let encoded = pki::encoded_name(&answer.cluster_name);
        let name = if answer.cluster_name.len() <= 31 { encoded } else { SERVER_NAME.to_owned() };
        let client = ControlClient::new(self.channel(own, name));
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Joined { cluster: answer.cluster_name, client });
        Ok(())
    }

    pub(super) async fn heartbeat(&self) -> Result<HeartbeatResponse, LinkError> {
        let mut joined = self.joined().ok_or_else(|| failed("not joined"))?;
        let request = HeartbeatRequest {
            host_id: self.host_id.clone(),
            hostname: self.process.hostname.clone(),
            version: self.version.clone(),
            public_addr: self.public_addr.clone(),
        };
        Ok(joined.client.heartbeat(request).await.map_err(status)?.into_inner())
    }

    fn joined(&self) -> Option<Joined> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A channel that connects when it is used and again when it broke, resolving the name each time.
    fn channel(&self, mut tls: ClientConfig, server_name: String) -> Channel {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(tls));
        let (process, host, port) = (self.process.clone(), self.host.clone(), self.port);
        let connect = tower::service_fn(move |_: Uri| {
            let (process, host, connector, name) =
                (process.clone(), host.clone(), connector.clone(), server_name.clone());
            async move {
                let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
                let stream = dial(&process, &host, port).await?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        Endpoint::from_static("http://teleport.cluster.local")
            .timeout(CALL)
            .connect_timeout(CALL)
            .connect_with_connector_lazy(connect)
    }
}

/// Connects to the first address of a name that answers.
pub(super) async fn dial(process: &Process, host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, format!("lookup {host}: no such host"));
    for address in process.dial(host, port) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Accepts any server that has the right name and holds the key of what it shows.
#[derive(Debug)]
pub(super) struct FirstContact;

impl ServerCertVerifier for FirstContact {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &pki::provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &pki::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        pki::provider().signature_verification_algorithms.supported_schemes()
    }
}
