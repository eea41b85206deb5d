//! What `Tenant.status` says of updates: the one that runs, the one that is next, and those that were.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::maintenance::Check;

/// What a change does to the version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HopKind {
    /// Same version, other pod template.
    Template,
    /// Same major and minor.
    Patch,
    /// Same major.
    Minor,
    /// Another major.
    Major,
}

/// How far a change is. Until `Auth` nothing that runs was touched, and the change can be given up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HopStage {
    /// The target image checks the configuration.
    Preflight,
    /// The state table is backed up; majors only.
    RecoveryPoint,
    /// The recovery point is there; everything is looked at once more.
    Confirm,
    /// Auth is replaced.
    Auth,
    /// Proxy is replaced.
    Proxy,
    /// Every process is asked what it is.
    Verify,
    /// It took too long: Proxy goes back.
    RevertProxy,
    /// Then Auth goes back.
    RevertAuth,
}

/// A change that runs.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// What kind of change.
    pub kind: HopKind,
    /// The version it began with.
    #[schemars(length(max = 64))]
    pub from: String,
    /// The version it leads to.
    #[schemars(length(max = 64))]
    pub to: String,
    /// How far it is.
    pub stage: HopStage,
    /// When it was claimed.
    pub started_at: Time,
    /// When this stage began.
    pub stage_since: Time,
    /// The window whose place it takes, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 127))]
    pub window: Option<String>,
    /// The checks that were skipped to start it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub skipped: Vec<Check>,
    /// ARN of the backup of the state table that was taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub recovery_point: Option<String>,
    /// `status.availability.downSeconds` as it began.
    pub down_seconds_before: i64,
    /// Until when every process must run the new version; set with the first disruptive write. Past it a patch or minor
    /// goes back, for which it has as long again, and anything else is halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Since when it has been longer than a change of its kind may take, and cannot go back, or not in time either: a person
    /// must help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_at: Option<Time>,
}

/// A change that is to come.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// What kind of change.
    pub kind: HopKind,
    /// The version it leads to.
    #[schemars(length(max = 64))]
    pub to: String,
    /// The version that is wanted in the end, where this is only a step towards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub goal: Option<String>,
    /// How many changes lead there, this one included.
    pub hops: i32,
    /// Since when it has been due: the longest due goes first. Absent while the fleet policy does not allow it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_since: Option<Time>,
    /// It does not start before this. Absent while no instant can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Whether a person must do something before it can start.
    pub actionable: bool,
    /// Every reason why it does not start, first what a person must do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    pub blockers: Vec<BlockerStatus>,
    /// Windows that passed without a start although it was due.
    pub missed: i32,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed: Option<MissedWindow>,
}

/// One reason why a change does not start.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct BlockerStatus {
    /// One word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What to do, or what it waits for.
    #[schemars(length(max = 512))]
    pub message: String,
}

/// A window that passed without a start.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
pub struct MissedWindow {
    /// When it opened.
    pub start: Time,
    /// What was in the way, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
}

/// How a change ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopResult {
    /// Every process runs the new version.
    Succeeded,
    /// It took too long, and everything runs the old version again.
    RolledBack,
    /// It took too long, could not go back, and another release of the same major took its place.
    Halted,
    /// The target image refused the configuration; nothing was touched.
    PreflightFailed,
}

/// A change that ended.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HopRecord {
    /// What kind of change.
    pub kind: HopKind,
    /// The version it began with.
    #[schemars(length(max = 64))]
    pub from: String,
    /// The version it led to.
    #[schemars(length(max = 64))]
    pub to: String,
    /// When it was claimed.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Time,
    /// How it ended.
    pub result: HopResult,
    /// The generation of the spec then: a release that failed is tried again after another edit.
    pub generation: i64,
    /// Seconds in which users could not log in.
    pub pause_seconds: i64,
    /// The checks that were skipped to start it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub skipped: Vec<Check>,
    /// ARN of the backup of the state table that was taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub recovery_point: Option<String>,
    /// What a person should know of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
}

/// How long users could not log in.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// The month in UTC, such as `2026-11`.
    #[schemars(length(max = 7))]
    pub month: String,
    /// Seconds of it in which `Available` was not True after the tenant was ready for the first time; an interruption is
    /// added when it ends.
    pub down_seconds: i64,
}
