//! Accepting connections: one task each, all of them gone when the owner is dropped, and a bounded goodbye.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rule::{Refusal, Rule};

/// A handshake takes milliseconds here; whoever needs longer is no client.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Refusal> {
    TcpListener::bind(address).await.map_err(|error| Rule::CannotListen.by(format!("{address}: {error}")))
}

/// Serves until `stop`, then waits up to `grace` for the connections, which see `stop` themselves.
pub(crate) async fn serve<F, Handling>(listener: TcpListener, stop: CancellationToken, grace: Duration, handle: F)
where
    F: Fn(TcpStream, SocketAddr) -> Handling,
    Handling: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(handle(stream, peer));
                }
                // Out of descriptors: accepting again at once would spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(grace, all_gone).await;
}
