//! `Tenant.spec.auth` and `.proxy`: how many processes there are, and how they are replaced.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pod::{Pod, Resources};

/// The Auth processes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// 1 or 2. Never more: AWS throttles more than two readers of the state table's stream.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 2))]
    pub replicas: i32,

    /// CPU and memory of each pod, in place of what `size` gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Where the pods run, and what others know them by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

fn two() -> i32 {
    2
}

impl Default for Auth {
    fn default() -> Self {
        Auth { replicas: two(), resources: None, pod: None }
    }
}

/// The Proxy processes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Number of Proxy pods, 1 to 32. Default 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: i32,

    /// Seconds that a new Proxy pod must be ready before the next one is replaced, 0 to 3600, so that agents reconnect
    /// in between. Default 15.
    #[serde(default = "default_min_ready_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,

    /// Seconds that a Proxy pod may take to end, 60 to 7200; 30 of them pass before it is told to stop, so that traffic
    /// has moved away. Default 210: SSH clients re-establish every three minutes and so migrate before the end.
    #[serde(default = "default_termination_grace_period_seconds")]
    #[schemars(range(min = 60, max = 7200))]
    pub termination_grace_period_seconds: i64,

    /// CPU and memory of each pod, in place of what `size` gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Where the pods run, and what others know them by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

fn default_min_ready_seconds() -> i32 {
    15
}

fn default_termination_grace_period_seconds() -> i64 {
    210
}

impl Default for Proxy {
    fn default() -> Self {
        Proxy {
            replicas: two(),
            min_ready_seconds: default_min_ready_seconds(),
            termination_grace_period_seconds: default_termination_grace_period_seconds(),
            resources: None,
            pod: None,
        }
    }
}
