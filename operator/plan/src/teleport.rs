//! What a tenant's Teleport processes say of themselves, in the operator's words.

use chrono::{DateTime, Utc};

/// Answer of Auth to a gRPC Ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthPing {
    /// Teleport cluster name.
    pub cluster_name: String,
    /// Version of the Auth process that answered, without a leading `v`.
    pub version: String,
    /// When the licence that it runs with ends; of the Enterprise edition alone.
    pub license_expires: Option<DateTime<Utc>>,
}

/// One entry of the inventory (`GetInstances`), on its way into a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Server id, a UUID.
    pub id: String,
    /// Host name as the instance reports it.
    pub hostname: String,
    /// Version as reported; a leading `v` is possible, and so is anything else.
    pub version: String,
    /// Services that it runs, such as `Node`, `Kube`, `Auth`, `Proxy`.
    pub services: Vec<String>,
    /// Which updater drives it: `unit`, `kube`, `binary`, or nothing.
    pub updater: String,
    /// The group by which updates are rolled out to it.
    pub update_group: String,
}

/// Answer of Proxy at `/webapi/ping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPing {
    /// Teleport cluster name.
    pub cluster_name: String,
    /// Version of the Proxy process that answered.
    pub version: String,
    /// `ent`, `community` or `oss`.
    pub edition: String,
    /// Whether clients are told to use one port for everything.
    pub tls_routing: bool,
    /// `proxy.ssh.public_addr`.
    pub public_addr: Option<String>,
    /// `proxy.ssh.ssh_public_addr`.
    pub ssh_public_addr: Option<String>,
    /// `proxy.ssh.ssh_tunnel_public_addr`.
    pub tunnel_public_addr: Option<String>,
    /// `proxy.kube.public_addr`.
    pub kube_public_addr: Option<String>,
    /// `proxy.db.mysql_public_addr`.
    pub mysql_public_addr: Option<String>,
    /// `proxy.db.postgres_public_addr`.
    pub postgres_public_addr: Option<String>,
}
