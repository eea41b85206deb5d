//! The API of the operator, group `tenancy.dev`: types, schema rules and the words that conditions use.
//! Nothing here talks to a server; `crdgen` prints the YAML, and a test keeps it equal to what is committed.

pub mod agent_pool;
pub mod certificates;
pub mod condition;
pub mod maintenance;
pub mod maintenance_window;
pub mod manifest;
pub mod network;
pub mod pod;
pub mod processes;
pub mod published;
pub mod storage;
pub mod tenant;
pub mod tenant_status;
pub mod update_status;

pub use agent_pool::{AgentPool, AgentPoolSpec, AgentPoolStatus};
pub use condition::{ConditionType, Reason};
pub use maintenance_window::{MaintenanceWindow, MaintenanceWindowSpec, MaintenanceWindowStatus};
pub use tenant::{Tenant, TenantSpec};
pub use tenant_status::TenantStatus;

/// The API group of every kind.
pub const GROUP: &str = "tenancy.dev";
