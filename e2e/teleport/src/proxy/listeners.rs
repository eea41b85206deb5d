//! The Proxy's ports: HTTPS with TLS routing to Auth, and the separate listeners, which only say who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Core, auth_link, pages};
use crate::config::proxy::Listener;
use crate::net;
use crate::web;

const BANNER: &[u8] = b"SSH-2.0-Teleport\r\n";
/// ALPN prefix of connections for Auth.
const FOR_AUTH: &[u8] = b"teleport-auth@";
/// Largest TLS record: a ClientHello that does not fit is nobody's.
const HELLO_LIMIT: usize = 16 * 1024;

/// The web port.
pub(super) async fn web(core: Arc<Core>, listener: TcpListener, stop: CancellationToken, grace: Duration) {
    let closing = stop.clone();
    net::serve(listener, stop, grace, move |stream, peer| {
        let (core, stop) = (core.clone(), closing.clone());
        async move {
            match tokio::time::timeout(net::HANDSHAKE, wants_auth(&stream)).await {
                Ok(Some(true)) => forward(&core, stream, stop).await,
                Ok(Some(false)) => https(core, stream, peer, stop).await,
                Ok(None) | Err(_) => {}
            }
        }
    })
    .await;
}

/// Looks at the ClientHello without taking it; `None` if there is none.
async fn wants_auth(stream: &TcpStream) -> Option<bool> {
    let mut buffer = vec![0; 1024];
    loop {
        stream.readable().await.ok()?;
        let seen = stream.peek(&mut buffer).await.ok().filter(|seen| *seen > 0)?;
        let mut acceptor = rustls::server::Acceptor::default();
        let mut bytes = &buffer[..seen];
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes).ok()?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Some(hello.alpn().is_some_and(|mut names| names.any(|name| name.starts_with(FOR_AUTH))));
            }
            Ok(None) if seen == buffer.len() && seen < HELLO_LIMIT => buffer.resize(seen * 2, 0),
            Ok(None) if seen < buffer.len() => tokio::time::sleep(Duration::from_millis(5)).await,
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Passes the connection to Auth as it is: TLS ends there.
async fn forward(core: &Core, mut client: TcpStream, stop: CancellationToken) {
    match auth_link::dial(&core.process, &core.config.auth_host, core.config.auth_port).await {
        Ok(mut auth) => {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut client, &mut auth) => {}
            }
        }
        Err(error) => core.log.error("Failed to forward to Auth", &error),
    }
}

async fn https(core: Arc<Core>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let accepted = tokio::time::timeout(net::HANDSHAKE, TlsAcceptor::from(core.tls()).accept(stream)).await;
    if let Ok(Ok(stream)) = accepted {
        web::connection(stream, peer, Arc::new(pages::WebPages(core)), stop).await;
    }
}

/// A separate listener: SSH ports greet, the others accept and wait.
pub(super) async fn plain(
    _core: Arc<Core>,
    kind: Listener,
    listener: TcpListener,
    stop: CancellationToken,
    grace: Duration,
) {
    let greets = matches!(kind, Listener::Ssh | Listener::Tunnel);
    let closing = stop.clone();
    net::serve(listener, stop, grace, move |mut stream, _| {
        let stop = closing.clone();
        async move {
            if greets && stream.write_all(BANNER).await.is_err() {
                return;
            }
            let mut ignored = [0; 512];
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    read = stream.read(&mut ignored) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                }
            }
        }
    })
    .await;
}
