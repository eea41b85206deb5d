//! The API of the operator, group `tenancy.dev`: types, schema rules and the words that conditions use.
//! Nothing here talks to a server; `crdgen` prints the YAML, and a test keeps it equal to what is committed.

pub mod condition;
pub mod manifest;
pub mod network;
pub mod tenant;
pub mod tenant_status;

pub use condition::{ConditionType, Reason};
pub use tenant::{Tenant, TenantSpec};
pub use tenant_status::TenantStatus;

/// The API group of every kind.
pub const GROUP: &str = "tenancy.dev";
