//! kube-proxy: listens on the addresses of every Service and hands each connection to one of its endpoints. An endpoint
//! that leaves keeps the connections it has; they end with its process.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::follow::{Change, Follower, Identity};

use super::Ready;
use super::directory::{Directory, Key, Service};

/// First and longest pause before an address that could not be bound is tried again.
const BIND_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A pause after a failed accept: it fails when no file descriptor is left, and trying at once would not help.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Accepted connections on their way to their task.
const ACCEPTED: usize = 256;

/// Proxies all Services until it is dropped, and every listener and connection with it.
pub(super) async fn run(client: Client, directory: Arc<Directory>, ready: Ready) {
    let mut services = Follower::<core::Service>::new(Api::all(client), watcher::Config::default());
    let (accepted, mut connections) = mpsc::channel(ACCEPTED);
    let mut listeners =
        Listeners { directory: directory.clone(), accepted, open: HashMap::new(), tasks: JoinSet::new() };
    let mut forwarded = JoinSet::new();
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            change = services.next() => match change {
                Change::Applied(service) => {
                    let (key, service) = directory.put_service(&service);
                    listeners.settle(&key, &service);
                }
                Change::Gone(Identity { namespace, name, .. }) => {
                    let key = (namespace, name);
                    directory.remove_service(&key);
                    listeners.settle(&key, &Service::default());
                }
                Change::Complete => drop(ready.take()),
            },
            Some(connection) = connections.recv() => {
                forwarded.spawn(forward(connection));
            }
            Some(_) = forwarded.join_next() => {}
            Some(_) = listeners.tasks.join_next() => {}
        }
    }
}

/// An accepted connection and the endpoint that is to serve it.
struct Connection {
    client: TcpStream,
    endpoint: Option<SocketAddr>,
}

struct Listeners {
    directory: Arc<Directory>,
    accepted: mpsc::Sender<Connection>,
    open: HashMap<Key, BTreeMap<(SocketAddr, String), AbortHandle>>,
    tasks: JoinSet<()>,
}

impl Listeners {
    /// Opens and closes what a change of a Service asks for; what stays is not touched.
    fn settle(&mut self, key: &Key, service: &Service) {
        let wanted = sockets(service);
        let mut open = self.open.remove(key).unwrap_or_default();
        open.retain(|socket, listener| {
            let keep = wanted.contains(socket);
            if !keep {
                listener.abort();
            }
            keep
        });
        for (address, port) in wanted {
            let Listeners { directory, accepted, tasks, .. } = self;
            open.entry((address, port.clone())).or_insert_with(|| {
                tasks.spawn(listen(address, key.clone(), port, directory.clone(), accepted.clone()))
            });
        }
        if !open.is_empty() {
            self.open.insert(key.clone(), open);
        }
    }
}

/// Where a Service is listened for, with the name of the port. Nothing but loopback is ever listened on.
fn sockets(service: &Service) -> Vec<(SocketAddr, String)> {
    let addresses =
        service.cluster_ips.iter().chain(&service.load_balancer_ips).filter(|address| address.is_loopback());
    let sockets = addresses.flat_map(|address| {
        service.ports.iter().map(|(name, port)| (SocketAddr::new(IpAddr::V4(*address), *port), name.clone()))
    });
    sockets.collect()
}

async fn listen(
    address: SocketAddr,
    key: Key,
    port: String,
    directory: Arc<Directory>,
    accepted: mpsc::Sender<Connection>,
) {
    let listener = bind(address, &key).await;
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let connection = Connection { client, endpoint: directory.endpoint(&key, &port) };
                // The receiver outlives every listener.
                let _ = accepted.send(connection).await;
            }
            Err(error) => {
                tracing::warn!(%address, service = %key.1, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn bind(address: SocketAddr, key: &Key) -> TcpListener {
    let (mut pause, longest) = BIND_RETRY;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                tracing::warn!(%address, namespace = %key.0, service = %key.1, %error, "cannot listen for a Service");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

async fn forward(Connection { mut client, endpoint }: Connection) {
    // Sent without delay on both sides: the two ends decide about packets, not what lies between.
    let relayed: io::Result<()> = async {
        let endpoint =
            endpoint.filter(|endpoint| endpoint.ip().is_loopback()).ok_or(io::ErrorKind::ConnectionRefused)?;
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await;
        let mut server = connected.map_err(|_| io::ErrorKind::TimedOut)??;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        if let Err(error) = copy_bidirectional(&mut client, &mut server).await {
            let _ = server.set_zero_linger();
            return Err(error);
        }
        Ok(())
    }
    .await;
    if relayed.is_err() {
        // The client sees a reset, as it does when nobody listens or the endpoint broke off, and not an orderly end.
        let _ = client.set_zero_linger();
    }
}

#[cfg(test)]
mod tests;
