//! `MaintenanceWindow`: when updates of the tenants that refer to it may start. Rules carry the remedy, as in `tenant`;
//! how the times are evaluated is the business of the planner's `window`.
#![allow(clippy::duplicated_attributes, reason = "columns of one type, which the lint takes for repetitions")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// When updates of the tenants that refer to it may start.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenancy.dev",
    version = "v1alpha1",
    kind = "MaintenanceWindow",
    plural = "maintenancewindows",
    shortname = "mw",
    category = "tenancy",
    namespaced,
    status = "MaintenanceWindowStatus",
    derive = "PartialEq",
    doc = "When updates of the tenants that refer to it may start.",
    printcolumn(name = "Open", type_ = "boolean", json_path = ".status.open", description = "updates may start now"),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.next[0].start",
        description = "when it opens the next time, in UTC"
    ),
    printcolumn(
        name = "Tenants",
        type_ = "integer",
        json_path = ".status.tenants",
        description = "tenants that refer to it"
    ),
    printcolumn(
        name = "Due",
        type_ = "integer",
        json_path = ".status.due",
        description = "tenants for which an update is due"
    ),
    printcolumn(
        name = "Updating",
        type_ = "integer",
        json_path = ".status.updating",
        description = "tenants that are being updated now"
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = ".spec.timeZone",
        description = "in which the windows are read"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Capacity",
        type_ = "integer",
        json_path = ".status.capacity",
        priority = 1,
        description = "updates that can start in one window"
    ),
    printcolumn(
        name = "Missed",
        type_ = "integer",
        json_path = ".status.missed",
        priority = 1,
        description = "due updates that found no start in the last window"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowSpec {
    /// IANA time zone in which days and starts are read, such as `America/New_York` or `UTC`. Daylight saving time is
    /// followed: a start in the hour that spring skips moves to the end of the gap, and of the hour that autumn repeats
    /// the first one counts.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9_+/-]*$') && self != 'Local' && timestamp('2020-01-01T00:00:00Z').getFullYear(self) >= 2019")
        .message("spec.timeZone must be the name of a zone in the IANA time zone database, such as America/New_York or UTC: no offset, no abbreviation, upper and lower case as in the database"))]
    pub time_zone: String,

    /// When updates may start, week by week; 1 to 21. Windows that overlap or touch are one.
    #[schemars(length(min = 1, max = 21))]
    pub windows: Vec<WeeklyWindow>,

    /// Intervals in which no update starts, whatever `windows` says; at most 32. An update that runs is finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub exclusions: Vec<Exclusion>,

    /// How many tenants of this window may be updated at the same time, 1 to 1000. Default 10.
    #[serde(default = "default_max_concurrent_updates")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_updates: i32,

    /// Tenants of which namespaces may refer to this window. Absent: only those of its own namespace. `{}`: those of
    /// every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

fn default_max_concurrent_updates() -> i32 {
    10
}

/// A window that comes back every week.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct WeeklyWindow {
    /// The days on which it starts: `Sun`, `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat`, each at most once. A window that
    /// runs past midnight ends on the day after.
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(validation = Rule::new("self.all(day, self.exists_one(other, other == day))")
        .message("spec.windows[].days must name each day at most once: remove the repetition"))]
    pub days: Vec<Day>,

    /// When it starts, by the clock of `timeZone`: hours and minutes of the 24-hour clock, in quotes. Example: `"02:00"`.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')")
        .message("spec.windows[].start must be a time of the 24-hour clock between 00:00 and 23:59, in quotes and with leading zeros, such as \"02:00\""))]
    pub start: String,

    /// How long it is open, in elapsed time whatever the clock does meanwhile: hours, minutes and seconds, 30m to 24h.
    /// Example: `3h`.
    #[schemars(length(min = 2, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('30m') && duration(self) <= duration('24h')")
        .message("spec.windows[].duration must be a duration between 30m and 24h out of hours, minutes and seconds, such as 3h or 1h30m"))]
    pub duration: String,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Day {
    /// Sunday.
    Sun,
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
}

/// An interval in which no update starts.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.end > self.start")
    .message("spec.exclusions[].end must lie after start: swap them, or name a later end").field_path(".end"))]
pub struct Exclusion {
    /// The first instant of it, RFC 3339. Example: `2026-12-20T00:00:00Z`.
    pub start: Time,
    /// The first instant after it, RFC 3339. Example: `2027-01-04T00:00:00Z`.
    pub end: Time,
    /// Why, for everyone who waits; at most 256 characters. Example: `holiday freeze`.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// The namespaces whose tenants may refer to a window.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Labels that such a namespace must carry, all of them; at most 16. Empty: every namespace.
    /// Example: `{team: payments}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$'))")
        .message("every key of spec.allowedNamespaces.matchLabels must be the key of a label, such as team or example.com/team"))]
    pub match_labels: BTreeMap<String, String>,
}

/// Bounds of Kubernetes: a label that it refuses would match nothing, silently.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$')",
                "message": "spec.allowedNamespaces.matchLabels must hold label values: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            }],
        },
    })
}

/// What the operator made of the window, and how the tenants that refer to it fare.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether updates may start now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,

    /// The interval that runs; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<IntervalStatus>,

    /// The next intervals, at most three, exclusions applied. Empty: none within 400 days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub next: Vec<IntervalStatus>,

    /// Tenants that refer to this window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i64>,

    /// Tenants among them for which an update is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,

    /// How many updates can start in one window, by the time that updates took so far and `maxConcurrentUpdates`.
    /// Absent until one was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,

    /// Tenants that are being updated now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updating: Option<i64>,

    /// Tenants whose update was due and found no start in the last window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<i64>,

    /// `Ready`: the windows can be evaluated and open some day. `Undersized`: more is due than fits into one window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An interval in which updates may start. A bound that is absent is more than 400 days away.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalStatus {
    /// The first instant of it, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub start: Option<String>,
    /// The first instant after it, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub end: Option<String>,
}
