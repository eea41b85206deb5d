//! `Tenant.spec.maintenance`: when a tenant may be updated, and the ways round it, each of which names what it skips.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the tenant may be updated.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// The MaintenanceWindow in which updates may start. Default: the one called `default` in the tenant's namespace.
    /// Without a window the tenant never updates by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ref: Option<WindowRef>,

    /// Start the update that is due now, without waiting for the window: for 24 hours from this instant, and for one
    /// update only. Every other check stays. Write a new instant to ask again. Example: `2026-11-22T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_now: Option<Time>,

    /// Skip some checks until an instant. Needs the right to `override` tenants.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
}

/// A MaintenanceWindow.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct WindowRef {
    /// Name of the MaintenanceWindow.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')")
        .message("spec.maintenance.windowRef.name must be the name of a MaintenanceWindow: lower-case letters, digits and '-'"))]
    pub name: String,

    /// Its namespace, if that is not the tenant's: the window must then grant it by `spec.allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')")
        .message("spec.maintenance.windowRef.namespace must be the name of a namespace: lower-case letters, digits and '-'"))]
    pub namespace: Option<String>,
}

/// Checks that are skipped, why, and how long.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
pub struct Exemption {
    /// `Window`: windows, exclusions, the clock. `Agents`: the inventory and what it says; agents that are too old lose
    /// their connection. `Policy`: soak times, waves, halted releases, error budget, concurrency. What is not named here
    /// is checked, and what no check names can never be skipped.
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other == one))")
        .message("spec.maintenance.override.checks must name each check once"))]
    pub checks: Vec<Check>,

    /// Why, for the event and the history. Example: `CVE-2026-1234`.
    #[schemars(length(min = 4, max = 256))]
    pub reason: String,

    /// When it ends. Example: `2026-11-23T00:00:00Z`.
    pub until: Time,
}

/// A group of checks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Windows, exclusions, the clock.
    Window,
    /// The inventory of agents.
    Agents,
    /// What the fleet policy holds back.
    Policy,
}
