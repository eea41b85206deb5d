//! The cluster's network as far as this machine can have one: load-balancer addresses, kube-proxy and cluster DNS, all
//! on loopback. It moves bytes between Services and pods; it neither starts pods nor knows what they speak.

use std::sync::Arc;

use futures::future::join_all;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::open_files;
use crate::slot::Slot;

mod directory;
mod load_balancer;
pub(crate) mod loopback;
mod resolver;
mod service_proxy;

pub use resolver::Resolver;

use directory::Directory;
use loopback::Loopback;

/// The running network. Dropped without `stop`, it ends a moment later.
#[derive(Debug)]
pub struct Network {
    resolver: Resolver,
    tasks: Vec<JoinHandle<()>>,
}

/// Dropped by a part of the network once it knows all that exists in the cluster.
type Ready = mpsc::Sender<()>;

impl Network {
    /// Starts everything; returns once the cluster's Services and endpoints are known.
    pub async fn start(client: Client, slot: &Slot) -> Network {
        open_files::raise();
        let loopback = Loopback::of(slot);
        let directory = Arc::new(Directory::new(loopback));
        let (ready, mut all_ready) = mpsc::channel(1);
        let tasks = vec![
            tokio::spawn(directory::follow_endpoints(client.clone(), directory.clone(), ready.clone())),
            tokio::spawn(service_proxy::run(client.clone(), directory.clone(), ready)),
            tokio::spawn(load_balancer::run(client, loopback)),
        ];
        // Nothing is ever sent: this returns when the last sender is dropped.
        let _ = all_ready.recv().await;
        Network { resolver: Resolver::new(directory), tasks }
    }

    /// Cluster DNS.
    pub fn resolver(&self) -> Resolver {
        self.resolver.clone()
    }

    /// Closes every listener and connection; returns when all are closed.
    pub async fn stop(mut self) {
        let tasks = std::mem::take(&mut self.tasks);
        tasks.iter().for_each(JoinHandle::abort);
        join_all(tasks).await;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
