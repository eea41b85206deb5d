//! The planner: what a tenant should look like and what to do next, as a pure function of what was observed.
//! No clock, no randomness, no client, no `async`; time and facts come in as fields. It never fails: it blocks, with data.

pub mod account;
pub mod agents;
pub mod availability;
pub mod claims;
pub mod clock;
pub mod cloud;
pub mod cluster_network;
pub mod consent;
pub mod course;
pub mod domains;
pub mod duration;
pub mod fact;
pub mod feed;
pub mod fleet;
pub mod gate;
pub mod hop;
pub mod keys;
pub mod line;
pub mod maintenance_window;
pub mod manifest;
pub mod mutant;
pub mod names;
pub mod object;
pub mod observed;
mod pattern;
pub mod pod_defaults;
pub mod publish;
mod remark;
pub mod removal;
pub mod report;
pub mod resources;
mod retention;
pub mod schema;
pub mod stage;
pub mod step;
pub mod teleport;
pub mod tenant;
pub mod trouble;
pub mod updates;
pub mod version;
pub mod wanted;
pub mod window;

pub use fact::Fact;
pub use step::Plan;
pub use tenant::{tenant, tenant_again};
