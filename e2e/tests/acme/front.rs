//! What stands in front of the ACME server: the limits of a public one, by the operator's clock, and a book of every order. The requests
//! go through as they are: they are signed.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use e2e::pki::{Authority, Identity};
use e2e::testbed::{Clock, TestBed};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::limits::{Limits, Order};

/// Pebble's path of new orders.
const NEW_ORDER: &str = "/order-plz";

/// A running front; it ends when it is dropped.
pub struct Front {
    /// URL of the directory.
    pub directory: String,
    /// PEM of the authority of its certificate.
    pub authority: String,
    book: Arc<Mutex<Book>>,
    _serving: JoinSet<()>,
}

/// What it remembers.
#[derive(Default)]
struct Book {
    orders: Vec<Order>,
    refused: usize,
    /// The next orders are refused, with this many seconds of patience.
    refuse_next: Option<(usize, u64)>,
}

struct Served {
    clock: Clock,
    book: Arc<Mutex<Book>>,
    pebble: SocketAddr,
    connector: TlsConnector,
}

impl Front {
    /// In front of the ACME server of a test bed.
    pub async fn start(bed: &TestBed) -> anyhow::Result<Front> {
        let control_plane = bed.control_plane();
        let address: Ipv4Addr = control_plane.acme().name_server();
        let authority = Authority::new("ACME front")?;
        let identity = Identity::Server { name: "acme-front".into(), hosts: vec![address.to_string()] };
        let pair = authority.issue(&identity)?;
        let chain = CertificateDer::pem_slice_iter(pair.public.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pair.private.as_bytes()).context("the key of the front")?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(control_plane.acme_authority().as_bytes()) {
            roots.add(certificate?)?;
        }
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let directory: hyper::Uri = control_plane.acme().directory().parse()?;
        let pebble = SocketAddr::new(address.into(), directory.port_u16().context("pebble has a port")?);
        let listener = TcpListener::bind((address, 0)).await.context("the front cannot listen")?;
        let port = listener.local_addr()?.port();
        let book = Arc::new(Mutex::new(Book::default()));
        let served = Arc::new(Served {
            clock: bed.clock().clone(),
            book: Arc::clone(&book),
            pebble,
            connector: TlsConnector::from(Arc::new(client)),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), served));
        let directory = format!("https://{address}:{port}{}", directory.path());
        Ok(Front { directory, authority: authority.pair().public, book, _serving: serving })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder of this lock panics")
    }

    /// All orders that the server took, in their order.
    pub fn orders(&self) -> Vec<Order> {
        self.book().orders.clone()
    }

    /// How many orders were refused.
    pub fn refused(&self) -> usize {
        self.book().refused
    }

    /// Has the next orders refused, with this many seconds of patience asked for.
    pub fn refuse_next(&self, orders: usize, patience: u64) {
        self.book().refuse_next = Some((orders, patience));
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, served: Arc<Served>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, served) = (acceptor.clone(), Arc::clone(&served));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| {
                let served = Arc::clone(&served);
                async move { answer(&served, request).await }
            });
            // A client that goes away is no fault of the front.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(served: &Served, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let order = (parts.uri.path() == NEW_ORDER).then(|| asked(&body, served.clock.now()?)).transpose()?;
    if let Some(order) = &order
        && let Some(patience) = refusal(served, order)
    {
        let problem = json!({
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": format!("too many certificates for {:?}, retry after {patience} s", order.names),
            "status": 429,
        });
        let answer = Response::builder().status(StatusCode::TOO_MANY_REQUESTS).header("Retry-After", patience);
        let answer = answer.header("Content-Type", "application/problem+json");
        // A nonce of the server's own is not at hand; clients ask for another one.
        return Ok(answer.body(Full::new(problem.to_string().into()))?);
    }
    let answer = forward(served, Request::from_parts(parts, Full::new(body))).await?;
    if let Some(order) = order.filter(|_| answer.status() == StatusCode::CREATED) {
        served.book.lock().expect("no holder of this lock panics").orders.push(order);
    }
    Ok(answer)
}

fn refusal(served: &Served, order: &Order) -> Option<u64> {
    let mut book = served.book.lock().expect("no holder of this lock panics");
    let patience = match &mut book.refuse_next {
        Some((left, patience)) if *left > 0 => {
            *left -= 1;
            Some(*patience)
        }
        _ => Limits::LETS_ENCRYPT.refuse(&book.orders, order),
    };
    book.refused += usize::from(patience.is_some());
    patience
}

/// What a new order asks for, out of the signed request (RFC 8555, section 7.4).
fn asked(body: &[u8], at: DateTime<Utc>) -> anyhow::Result<Order> {
    let signed: Value = serde_json::from_slice(body).context("no signed request")?;
    let payload = URL_SAFE_NO_PAD.decode(signed["payload"].as_str().context("no payload")?)?;
    let payload: Value = serde_json::from_slice(&payload).context("no payload in JSON")?;
    let names = payload["identifiers"].as_array().context("no identifiers")?;
    let names: BTreeSet<String> = names.iter().filter_map(|name| name["value"].as_str().map(str::to_owned)).collect();
    ensure!(!names.is_empty(), "an order for nothing: {payload}");
    Ok(Order { at, names, replaces: payload["replaces"].as_str().map(str::to_owned) })
}

async fn forward(served: &Served, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Full<Bytes>>> {
    let stream = TcpStream::connect(served.pebble).await.context("the ACME server is not there")?;
    let stream = served.connector.connect(ServerName::from(served.pebble.ip()), stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
}
