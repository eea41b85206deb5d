//! On which ports the processes of a tenant listen: Teleport's own defaults.

/// Auth.
pub const AUTH: u16 = 3025;
/// Proxy: web, TLS routing and PostgreSQL.
pub const WEB: u16 = 3080;
/// Proxy: SSH.
pub const SSH: u16 = 3023;
/// Proxy: reverse tunnels.
pub const TUNNEL: u16 = 3024;
/// Proxy: Kubernetes.
pub const KUBE: u16 = 3026;
/// Proxy: MySQL.
pub const MYSQL: u16 = 3036;
/// Auth and Proxy: metrics.
pub const METRICS: u16 = 3081;
