//! `Tenant.status.published`: what the operator told the tenant's Teleport about agent updates. Digests tell an edit by
//! somebody else from a write of the operator, also after the process died in the middle of one.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The most notes of one kind that are kept. Notes, like all of status, must leave room in a Tenant of 10 kB.
pub const MOST_NOTES: usize = 8;
/// The longest `what` of a note, in characters.
pub const LONGEST_WHAT: usize = 128;
/// The longest `how` of a note, in characters.
pub const LONGEST_HOW: usize = 320;

/// What the tenant's Teleport was told about the updates of its agents.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The agents' part of Teleport's `autoupdate_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PublishedResource>,

    /// The agents' part of Teleport's `autoupdate_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PublishedResource>,

    /// Teleport's `cluster_maintenance_config`: the hour for agents with the older updaters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<PublishedResource>,

    /// The version that the tenant's cluster alert says agents hold back; absent while there is no such alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub alert: Option<String>,

    /// What Teleport cannot express, and how it was rounded to the safe side; the first 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub rounded: Vec<PublishedNote>,

    /// What somebody else changed in Teleport. The operator leaves it alone until it is put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub foreign: Vec<PublishedNote>,
}

/// One resource, as the operator knows its own writes by it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedResource {
    /// Digest of what was last seen there and was the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub written: Option<String>,

    /// Digest of what is being written, recorded before the write; absent when it has arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub intended: Option<String>,
}

/// Something a person should know about what was published.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedNote {
    /// What it is about.
    #[schemars(length(max = 128))]
    pub what: String,

    /// How it was treated, and what would help.
    #[schemars(length(max = 320))]
    pub how: String,
}
