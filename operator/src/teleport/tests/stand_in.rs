//! Servers for one test: an Auth with mTLS and gRPC, a Proxy with HTTPS. Each listens on a loopback port of its own,
//! serves until it is dropped, and remembers who called. What agents are told is in `stand_in/told.rs`.

pub mod told;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::{Stream, StreamExt, stream};
use http_body_util::{Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use plan::keys::{Authorities, Authority};
use prost::Message;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::Service;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::kept::Kept;
use super::super::rpc::service::auth_service_server::{AuthService, AuthServiceServer};
use super::super::rpc::service::{
    Features, GetClusterAlertsResponse, PingRequest, PingResponse, UpsertClusterAlertRequest,
};
use super::super::rpc::types::{
    GetClusterAlertsRequest, InstanceFilter, InstanceSpecV1, InstanceV1, Metadata, ResourceHeader, UpdaterV2Info,
};
use super::super::rpc::update::auto_update_service_server::AutoUpdateServiceServer;
use crate::clock;
use crate::pki;
use told::{Told, Updates};

/// What a client showed in its TLS handshake.
#[derive(Clone, Debug)]
pub struct Hello {
    pub server_name: Option<String>,
    pub alpn: Option<String>,
    pub client_certificates: usize,
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    hellos: Mutex<Vec<Hello>>,
    requests: Mutex<Vec<String>>,
    told: Mutex<Told>,
}

impl Server {
    /// The first handshake.
    pub fn hello(&self) -> Hello {
        self.seen.hellos.lock().expect("no panic").first().expect("somebody called").clone()
    }

    /// What agents are told by this Auth, for looking and changing. Not to be held across an await.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.seen.told.lock().expect("no panic")
    }

    /// All requests of a Proxy: method, path and host.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("no panic").clone()
    }
}

/// How Auth answers GetInstances.
#[derive(Clone, Debug)]
pub enum AuthBehaviour {
    /// With these entries and a status.
    Answers(Vec<InstanceV1>),
    /// With three entries; then the connection is gone.
    HangsUp,
    /// With three entries and a clean end of the stream that has no status.
    EndsWithoutStatus,
    /// With three entries and a status that says that it failed.
    FailsLate,
    /// Not at all.
    Refuses,
}

/// One entry of the inventory.
pub fn entry(number: i32) -> InstanceV1 {
    InstanceV1 {
        header: Some(ResourceHeader {
            metadata: Some(Metadata { name: format!("id-{number}"), ..Metadata::default() }),
            ..ResourceHeader::default()
        }),
        spec: Some(InstanceSpecV1 {
            version: "v16.4.3".to_owned(),
            services: vec!["Node".to_owned(), "Kube".to_owned()],
            hostname: format!("host-{number}"),
            last_seen: Some(prost_types::Timestamp { seconds: 1_700_000_000 + i64::from(number), nanos: 5 }),
            external_upgrader: "unit".to_owned(),
            updater_info: Some(UpdaterV2Info { update_group: "staging".to_owned() }),
        }),
    }
}

/// An Auth of these authorities.
pub async fn auth(keys: &Authorities, domain: &str, behaviour: AuthBehaviour) -> Server {
    auth_trusting(keys, &[&keys.host, &keys.user], domain, behaviour).await
}

/// An Auth that shows a certificate of these authorities and accepts clients of those.
pub async fn auth_trusting(
    keys: &Authorities,
    trusted: &[&Authority],
    domain: &str,
    behaviour: AuthBehaviour,
) -> Server {
    let names = vec!["teleport.cluster.local".to_owned(), "*.teleport.cluster.local".to_owned()];
    let key = KeyPair::generate().expect("key");
    let issuer_key = KeyPair::from_pem(&keys.host.key.0).expect("the authority's key");
    let issuer = Issuer::from_ca_cert_pem(&keys.host.certificate, issuer_key).expect("the authority");
    let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("certificate");

    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).expect("PEM")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM"),
        )
        .expect("a server certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];

    let domain = domain.to_owned();
    serve(config, move |stream, seen| serve_auth(stream, domain.clone(), behaviour.clone(), seen)).await
}

/// A Proxy that answers everything with this.
pub async fn proxy(keys: &Authorities, domain: &str, status: u16, body: String) -> Server {
    let web = pki::web_certificate(&keys.web, domain, clock::wall()).expect("certificate");
    let chain = CertificateDer::pem_slice_iter(web.certificate.as_bytes()).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(web.key.0.as_bytes()).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a server certificate");
    serve(config, move |stream, seen| {
        let body = Bytes::from(body.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let host = request.headers().get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
            let line = format!("{} {} {}", request.method(), request.uri().path(), host.unwrap_or_default());
            seen.requests.lock().expect("no panic").push(line);
            let answer = Response::builder().status(status).body(Full::new(body.clone())).expect("an answer");
            async move { Ok::<_, Infallible>(answer) }
        });
        async move {
            // How it ends is the client's matter.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await
}

async fn serve<F, S>(config: ServerConfig, answer: F) -> Server
where
    F: Fn(TlsStream<TcpStream>, Arc<Seen>) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let seen = Arc::new(Seen::default());
    let (acceptor, seen_here) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            // A handshake that fails is seen by the client.
            if let Ok(stream) = acceptor.accept(tcp).await {
                seen_here.hellos.lock().expect("no panic").push(hello(&stream));
                connections.spawn(answer(stream, Arc::clone(&seen_here)));
            }
        }
    });
    Server { address, seen, _tasks: tasks }
}

fn hello(stream: &TlsStream<TcpStream>) -> Hello {
    let (_, tls) = stream.get_ref();
    Hello {
        server_name: tls.server_name().map(str::to_owned),
        alpn: tls.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        client_certificates: tls.peer_certificates().map_or(0, <[_]>::len),
    }
}

/// Teleport takes the role from the organization.
fn is_admin(stream: &TlsStream<TcpStream>) -> bool {
    let Some([leaf]) = stream.get_ref().1.peer_certificates() else { return false };
    let (_, certificate) = X509Certificate::from_der(leaf).expect("the verifier has read it");
    certificate.subject().iter_organization().any(|organization| organization.as_str() == Ok("Admin"))
}

async fn serve_auth(stream: TlsStream<TcpStream>, domain: String, behaviour: AuthBehaviour, seen: Arc<Seen>) {
    let hang_up = CancellationToken::new();
    let admin = is_admin(&stream);
    let (io, server) = (TokioIo::new(stream), Builder::new(TokioExecutor::new()));
    if matches!(behaviour, AuthBehaviour::EndsWithoutStatus) {
        let answer = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(without_status()) });
        let _ = server.serve_connection(io, answer).await;
        return;
    }
    let updates = AutoUpdateServiceServer::new(Updates { seen: Arc::clone(&seen), admin });
    let auth = AuthServiceServer::new(Auth { domain, behaviour, admin, hang_up: hang_up.clone(), seen });
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut auth, mut updates) = (auth.clone(), updates.clone());
        async move {
            match request.uri().path().starts_with("/teleport.autoupdate.v1.") {
                true => updates.call(request).await,
                false => auth.call(request).await,
            }
        }
    });
    tokio::select! {
        _ = server.serve_connection(io, service) => {}
        () = hang_up.cancelled() => {}
    }
}

/// Three entries in gRPC framing and a clean end, but no trailers.
fn without_status() -> Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>>>> {
    let frames = (0..3).map(|number| {
        let message = entry(number).encode_to_vec();
        let length = u32::try_from(message.len()).expect("a small message").to_be_bytes();
        Ok(Frame::data(Bytes::from([&[0], length.as_slice(), &message].concat())))
    });
    let body = StreamBody::new(stream::iter(frames.collect::<Vec<_>>()));
    Response::builder().header("content-type", "application/grpc").body(body).expect("an answer")
}

struct Auth {
    domain: String,
    behaviour: AuthBehaviour,
    admin: bool,
    hang_up: CancellationToken,
    seen: Arc<Seen>,
}

/// When the licence of every Auth here ends, in Unix seconds.
pub const LICENSE_ENDS: i64 = 1_800_000_000;

#[tonic::async_trait]
impl AuthService for Auth {
    async fn ping(&self, _: tonic::Request<PingRequest>) -> Result<tonic::Response<PingResponse>, Status> {
        let cluster_name = self.domain.clone();
        let cloud = self.seen.told.lock().expect("no panic").cloud;
        Ok(tonic::Response::new(PingResponse {
            cluster_name,
            server_version: "v17.5.2".to_owned(),
            server_features: Some(Features { cloud }),
            license_expiry: Some(prost_types::Timestamp { seconds: LICENSE_ENDS, nanos: 0 }),
        }))
    }

    async fn get_cluster_maintenance_config(&self, _: tonic::Request<()>) -> Result<tonic::Response<Kept>, Status> {
        self.seen.told(self.admin)?.read("cluster_maintenance_config")
    }

    async fn update_cluster_maintenance_config(
        &self,
        request: tonic::Request<Kept>,
    ) -> Result<tonic::Response<()>, Status> {
        self.seen.told(self.admin)?.write_window(request.into_inner())
    }

    async fn upsert_cluster_alert(
        &self,
        request: tonic::Request<UpsertClusterAlertRequest>,
    ) -> Result<tonic::Response<()>, Status> {
        self.seen.told(self.admin)?.alerts.extend(request.into_inner().alert);
        Ok(tonic::Response::new(()))
    }

    async fn get_cluster_alerts(
        &self,
        _: tonic::Request<GetClusterAlertsRequest>,
    ) -> Result<tonic::Response<GetClusterAlertsResponse>, Status> {
        let alerts = self.seen.told(self.admin)?.alerts.clone();
        Ok(tonic::Response::new(GetClusterAlertsResponse { alerts }))
    }

    type GetInstancesStream = Pin<Box<dyn Stream<Item = Result<InstanceV1, Status>> + Send>>;

    async fn get_instances(
        &self,
        _: tonic::Request<InstanceFilter>,
    ) -> Result<tonic::Response<Self::GetInstancesStream>, Status> {
        if !self.admin {
            return Err(Status::permission_denied("instance: list and read are needed"));
        }
        let three = stream::iter((0..3).map(entry).map(Ok));
        let hang_up = self.hang_up.clone();
        let answer: Self::GetInstancesStream = match &self.behaviour {
            AuthBehaviour::Answers(entries) => Box::pin(stream::iter(entries.clone().into_iter().map(Ok))),
            AuthBehaviour::Refuses => return Err(Status::permission_denied("not you")),
            AuthBehaviour::FailsLate => {
                Box::pin(three.chain(stream::once(async { Err(Status::unavailable("shutting down")) })))
            }
            AuthBehaviour::HangsUp | AuthBehaviour::EndsWithoutStatus => {
                Box::pin(three.chain(stream::once(async move {
                    hang_up.cancel();
                    std::future::pending().await
                })))
            }
        };
        Ok(tonic::Response::new(answer))
    }
}
