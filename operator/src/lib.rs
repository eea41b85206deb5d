//! The operator: observe, plan, apply, report. The planner is the crate `plan`; this crate reads the world for it and
//! carries its steps out.

pub mod accounts;
pub mod acme;
pub mod agent_pool;
pub mod apply;

pub mod args;
pub mod authorities;
pub mod children;
pub mod claims;
pub mod clock;
pub mod cloud;
pub mod context;
pub mod controller;
pub mod error;
pub mod fleet;
pub mod follow;
pub mod inventory;
pub mod isolation;
pub mod leader;
pub mod listen;
pub mod maintenance_window;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod pki;
pub mod policy;
pub mod pools;
pub mod processes;
pub mod refusal;
pub mod rendering;
pub mod report;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod skew;
pub mod teleport;
pub mod tenant;
pub mod updates;
pub mod vanished;
pub mod windows;
