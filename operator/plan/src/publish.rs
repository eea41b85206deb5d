//! What the tenant's own Teleport is told about its agents: the version to run, the hour, the order of the groups, and an
//! alert while agents hold a major back. It is decided here in Teleport's words; `crate::step` carries it as an effect.
//! Agents of pools that are not enrolled must never be moved by any of it: what Teleport cannot express exactly is rounded
//! to that side, and told.

pub mod alert;
mod diff;
mod groups;
mod live;
pub mod pools;
mod spec;
mod step;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeSet;

use chrono::Weekday;

pub use diff::{Difference, Foreign, diff};
pub use live::{Found, Live};
pub use spec::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Maintenance, UpdateGroup};
pub use step::PublishStep;
pub use wanted::{Wanted, wanted};

use crate::version::Version;

/// What is asked of Teleport, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What agents should run: the version of the cluster, once its own hop to it was verified.
    pub version: Version,
    /// The hour in which agents may begin; none while no maintenance window can be told.
    pub window: Option<WindowHour>,
    /// All pools, in any order; agents in none of them are not enrolled.
    pub groups: Vec<Group>,
    /// Agents that must be left alone.
    pub bystanders: Bystanders,
    /// Whether agents may move at all.
    pub mode: Mode,
}

/// One whole hour of the week, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowHour {
    /// Day in UTC.
    pub weekday: Weekday,
    /// 0 to 23.
    pub utc_hour: u32,
}

/// A pool of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name of the AgentPool.
    pub name: String,
    /// Lower ones are updated first; equal ones by name.
    pub order: i32,
    /// How the pool is rolled out.
    pub strategy: Strategy,
    /// Whether its agents are updated at all.
    pub enrolled: bool,
    /// The update groups that it matches.
    pub update_groups: Vec<String>,
    /// Whether it takes every agent that no other pool took: its match is empty.
    pub takes_all: bool,
}

/// How groups follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A group begins when the one before it is done.
    HaltOnError,
    /// Each group begins at its hour.
    TimeBased,
}

/// Whether agents may move at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In their window.
    Enabled,
    /// Not now: the tenant is paused, or the fleet is frozen.
    Suspended,
}

/// Agents of the inventory, live or remembered, that belong to no enrolled pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bystanders {
    /// The update groups they report; the empty name stands for agents that report none.
    pub update_groups: BTreeSet<String>,
    /// Whether one of them is driven by an updater that knows no groups (`unit`, `kube`).
    pub old_updaters: bool,
}

/// Something that Teleport cannot express, and what was published instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounded {
    /// What it is about.
    pub what: String,
    /// How it was rounded.
    pub how: String,
}

impl Rounded {
    fn new(what: impl Into<String>, how: impl Into<String>) -> Rounded {
        Rounded { what: what.into(), how: how.into() }
    }
}

/// The first few names, and how many more there are.
fn few<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
