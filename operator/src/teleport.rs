//! A tenant's Teleport behind one trait: who answers, in which version, what is in the inventory, and what its agents are
//! told. An answer is whole or an error: half an inventory would let an update start that must wait.

mod auth;
mod error;
mod kept;
#[cfg(test)]
pub mod memory;
mod rpc;
#[cfg(test)]
mod tests;
mod tls;
mod update;
mod web;

use std::net::SocketAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use plan::agents::Inventory;
use plan::keys::Authority;
use plan::publish::alert::Raised;
use plan::publish::{Live, PublishStep};
use plan::teleport::{AuthPing, WebPing};

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

/// What became of telling Teleport something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is written.
    Done,
    /// This Teleport has no such resource, or keeps it itself; `Live` will say so too.
    NotOffered,
}

/// Asks tenants' Teleport processes, and tells them about their agents.
#[async_trait]
pub trait Teleport: Send + Sync {
    /// Which version Auth is.
    async fn ping(&self, target: &AuthTarget) -> Result<AuthPing, TeleportError>;

    /// Everything that sent Auth a heartbeat within about 20 minutes; `now` is when the reading begins.
    async fn inventory(&self, target: &AuthTarget, now: DateTime<Utc>) -> Result<Inventory, TeleportError>;

    /// What the web address of the tenant says of itself.
    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError>;

    /// What agents are told, as it stands in Teleport.
    async fn published(&self, target: &AuthTarget) -> Result<Live, TeleportError>;

    /// The operator's own cluster alert, if it stands.
    async fn alerts(&self, target: &AuthTarget) -> Result<Vec<Raised>, TeleportError>;

    /// Tells Teleport something. What somebody else wrote since it was read is a conflict, never overwritten.
    async fn publish(&self, target: &AuthTarget, step: &PublishStep) -> Result<Told, TeleportError>;
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

    async fn inventory(&self, target: &AuthTarget, now: DateTime<Utc>) -> Result<Inventory, TeleportError> {
        auth::inventory(&self.identities, target, now).await
    }

    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError> {
        web::ping(target).await
    }

    async fn published(&self, target: &AuthTarget) -> Result<Live, TeleportError> {
        update::published(&self.identities, target).await
    }

    async fn alerts(&self, target: &AuthTarget) -> Result<Vec<Raised>, TeleportError> {
        update::alerts(&self.identities, target).await
    }

    async fn publish(&self, target: &AuthTarget, step: &PublishStep) -> Result<Told, TeleportError> {
        update::publish(&self.identities, target, step).await
    }
}
