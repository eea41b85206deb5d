//! Small HTTP servers: a request without its body in, a whole response out, over plain TCP or TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::net;

pub(crate) type Page = Response<Full<Bytes>>;

/// Answers requests; `peer` is where they come from.
pub(crate) trait Pages: Send + Sync + 'static {
    fn page(&self, request: &Request<Incoming>, peer: SocketAddr) -> Page;
}

/// A page with its type.
pub(crate) fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Page {
    page(status, "application/json", value.to_string())
}

/// The form of all errors of the web API.
pub(crate) fn not_found(path: &str) -> Page {
    json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": { "message": format!("path {path} not found") } }))
}

/// Serves a listener until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    pages: Arc<dyn Pages>,
    stop: CancellationToken,
    grace: Duration,
) {
    let closing = stop.clone();
    net::serve(listener, stop, grace, move |stream, peer| {
        let (tls, pages, stop) = (tls.clone(), pages.clone(), closing.clone());
        async move {
            let Some(config) = tls else { return connection(stream, peer, pages, stop).await };
            if let Ok(Ok(stream)) = tokio::time::timeout(net::HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await
            {
                connection(stream, peer, pages, stop).await;
            }
        }
    })
    .await;
}

/// Serves one connection, HTTP/1.1 or HTTP/2, until it or `stop` ends it.
pub(crate) async fn connection<S>(stream: S, peer: SocketAddr, pages: Arc<dyn Pages>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.page(&request, peer)) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => return,
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    // A client that goes away mid-answer is its own affair.
    let _ = served.await;
}
