//! The operator: observe, plan, apply, report. The planner is the crate `plan`; this crate reads the world for it and
//! carries its steps out.

pub mod apply;
pub mod args;
pub mod children;
pub mod claims;
pub mod cloud;
pub mod context;
pub mod error;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod pki;
pub mod policy;
pub mod report;
pub mod run;
pub mod secrets;
pub mod serve;
pub mod teleport;
pub mod tenant;
