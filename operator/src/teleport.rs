//! A tenant's Teleport behind one trait: who answers, in which version, and what is in the inventory. It reads only.
//! An answer is whole or an error: half an inventory would let an update start that must wait.

mod auth;
mod error;
#[cfg(test)]
pub mod memory;
mod rpc;
#[cfg(test)]
mod tests;
mod tls;
mod web;

use std::net::SocketAddr;

use async_trait::async_trait;
use plan::keys::Authority;
use plan::teleport::{AuthPing, Instance, WebPing};

pub use error::{Refusal, TeleportError};

/// Where a tenant's Auth listens, and whom to trust there.
#[derive(Clone, Debug)]
pub struct AuthTarget {
    /// Cluster address of the Auth Service and its port, 3025.
    pub address: SocketAddr,
    /// Teleport cluster name.
    pub domain: String,
    /// The tenant's host authority: signs what Auth shows, and what is shown to Auth.
    pub host: Authority,
}

/// Where a tenant's Proxy listens, and whom to trust there.
#[derive(Clone, Debug)]
pub struct WebTarget {
    /// Cluster address of the Proxy Service and its port, 443.
    pub address: SocketAddr,
    /// The name to ask for.
    pub domain: String,
    /// Certificates that the web certificate may descend from, PEM.
    pub ca_pem: String,
}

/// Asks tenants' Teleport processes.
#[async_trait]
pub trait Teleport: Send + Sync {
    /// Which version Auth is.
    async fn ping(&self, target: &AuthTarget) -> Result<AuthPing, TeleportError>;

    /// Everything that sent Auth a heartbeat within about 20 minutes, Auth and Proxy included.
    async fn inventory(&self, target: &AuthTarget) -> Result<Vec<Instance>, TeleportError>;

    /// What the web address of the tenant says of itself.
    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError>;
}

/// Teleport over the network. Every call opens a connection of its own and closes it: between two calls a tenant
/// holds no socket.
#[derive(Debug, Default)]
pub struct Network {
    identities: tls::Identities,
}

#[async_trait]
impl Teleport for Network {
    async fn ping(&self, target: &AuthTarget) -> Result<AuthPing, TeleportError> {
        auth::ping(&self.identities, target).await
    }

    async fn inventory(&self, target: &AuthTarget) -> Result<Vec<Instance>, TeleportError> {
        auth::inventory(&self.identities, target).await
    }

    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError> {
        web::ping(target).await
    }
}
