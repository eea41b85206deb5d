//! Telling a tenant's Teleport something, as a value. Each step names the revision that the decision was made on, so that
//! a write on top of somebody else's is a conflict and never happens.

use std::fmt;

use chrono::{DateTime, Utc};

use super::alert::Alert;
use super::spec::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Maintenance};

/// One effect on a tenant's Teleport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishStep {
    /// Write the agents' part of `autoupdate_version`.
    Version {
        /// The revision that was seen; none when there was nothing.
        seen: Option<String>,
        /// What to write.
        spec: AutoUpdateVersionSpec,
    },
    /// Write the agents' part of `autoupdate_config`.
    Config {
        /// The revision that was seen; none when there was nothing.
        seen: Option<String>,
        /// What to write.
        spec: AutoUpdateConfigSpec,
    },
    /// Write the agents' part of `cluster_maintenance_config`.
    Maintenance {
        /// The nonce that was seen; none when there was nothing.
        seen: Option<String>,
        /// What to write.
        spec: Maintenance,
    },
    /// Raise a cluster alert, or give the same one another text or end.
    Alert {
        /// What it says.
        alert: Alert,
        /// When it was raised.
        created: DateTime<Utc>,
        /// When it goes away by itself.
        expires: DateTime<Utc>,
    },
}

impl PublishStep {
    /// One word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            PublishStep::Version { .. } => "PublishVersion",
            PublishStep::Config { .. } => "PublishConfig",
            PublishStep::Maintenance { .. } => "PublishMaintenance",
            PublishStep::Alert { .. } => "RaiseAlert",
        }
    }
}

impl fmt::Display for PublishStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label();
        match self {
            PublishStep::Version { spec, .. } => write!(formatter, "{label} {} {}", spec.target_version, spec.mode),
            PublishStep::Config { spec, .. } => {
                write!(formatter, "{label} {} {}, groups: {}", spec.mode, spec.strategy, spec.groups.len())
            }
            PublishStep::Maintenance { spec, .. } => {
                write!(formatter, "{label} {} {}:00 UTC", spec.weekdays.join(","), spec.utc_start_hour)
            }
            PublishStep::Alert { alert, .. } => write!(formatter, "{label} {}", alert.name),
        }
    }
}
