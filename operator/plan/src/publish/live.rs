//! What was found in a tenant's Teleport.

use super::spec::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Maintenance};

/// All that a tenant's Teleport is told, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whether the licence has the Cloud feature, with which Teleport keeps these resources itself.
    pub cloud: bool,
    /// `autoupdate_version`.
    pub version: Found<AutoUpdateVersionSpec>,
    /// `autoupdate_config`.
    pub config: Found<AutoUpdateConfigSpec>,
    /// `cluster_maintenance_config`.
    pub maintenance: Found<Maintenance>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// This Teleport has no such resource.
    NotOffered,
    /// It has none yet.
    Absent,
    /// It is there.
    There {
        /// What a write must name: the revision, or the nonce in decimal.
        revision: String,
        /// The part for agents; other parts may be there without it.
        agents: Option<T>,
    },
}

impl<T> Found<T> {
    /// The part for agents.
    pub fn agents(&self) -> Option<&T> {
        match self {
            Found::NotOffered | Found::Absent => None,
            Found::There { agents, .. } => agents.as_ref(),
        }
    }

    /// What a write must name; none when it creates.
    pub fn revision(&self) -> Option<&str> {
        match self {
            Found::NotOffered | Found::Absent => None,
            Found::There { revision, .. } => Some(revision),
        }
    }
}
