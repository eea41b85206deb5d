//! What the items of a cluster's tables say to agents and users, for tests to look at and to change as a person inside the
//! cluster would. No process of the cluster comes through here.

use prost::{DecodeError, Message};
use rand::Rng as _;
use serde_json::{Value, json};

use crate::state::full_path;
use crate::wire::teleport::autoupdate::v1::{AutoUpdateConfig, AutoUpdateVersion};
use crate::wire::types::{ClusterAlert, ClusterMaintenanceConfigV1};

/// One item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// `autoupdate_config`.
    Config,
    /// `autoupdate_version`.
    Version,
    /// `cluster_maintenance_config`.
    Maintenance,
    /// The cluster alert of this name.
    Alert(&'a str),
}

impl Told<'_> {
    /// Where the item stands in the state table.
    pub fn path(self) -> String {
        match self {
            Told::Config => full_path("autoupdate_config"),
            Told::Version => full_path("autoupdate_version"),
            Told::Maintenance => full_path("cluster_maintenance_config"),
            Told::Alert(name) => full_path(&format!("cluster-alerts/{name}")),
        }
    }

    /// The part that concerns agents or users, under the names that it has in Teleport's YAML.
    ///
    /// # Errors
    /// When the item holds something else.
    pub fn read(self, value: &[u8]) -> Result<Value, DecodeError> {
        Ok(match self {
            Told::Config => {
                let agents = AutoUpdateConfig::decode(value)?.spec.unwrap_or_default().agents.unwrap_or_default();
                let groups = agents.schedules.unwrap_or_default().regular.into_iter().map(|group| {
                    json!({
                        "name": group.name, "days": group.days, "start_hour": group.start_hour,
                        "wait_hours": group.wait_hours,
                    })
                });
                json!({"mode": agents.mode, "strategy": agents.strategy, "groups": groups.collect::<Vec<_>>()})
            }
            Told::Version => {
                let agents = AutoUpdateVersion::decode(value)?.spec.unwrap_or_default().agents.unwrap_or_default();
                json!({
                    "start_version": agents.start_version, "target_version": agents.target_version,
                    "schedule": agents.schedule, "mode": agents.mode,
                })
            }
            Told::Maintenance => {
                let spec = ClusterMaintenanceConfigV1::decode(value)?.spec.unwrap_or_default();
                let window = spec.agent_upgrades.unwrap_or_default();
                json!({"utc_start_hour": window.utc_start_hour, "weekdays": window.weekdays})
            }
            Told::Alert(_) => {
                let spec = ClusterAlert::decode(value)?.spec.unwrap_or_default();
                json!({"severity": spec.severity, "message": spec.message})
            }
        })
    }
}

/// The item of an `autoupdate_config` after somebody has set the mode of agents by hand.
///
/// # Errors
/// When the item holds something else.
pub fn with_mode(value: &[u8], mode: &str) -> Result<Vec<u8>, DecodeError> {
    let mut config = AutoUpdateConfig::decode(value)?;
    config.metadata.get_or_insert_default().revision = hex::encode(rand::rng().random::<[u8; 16]>());
    mode.clone_into(&mut config.spec.get_or_insert_default().agents.get_or_insert_default().mode);
    Ok(config.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::types::Metadata;

    #[test]
    fn an_edit_changes_the_mode_and_the_revision_and_nothing_else() {
        let metadata = Metadata { name: "autoupdate-config".into(), revision: "r".into(), ..Metadata::default() };
        let config =
            AutoUpdateConfig { kind: "autoupdate_config".into(), metadata: Some(metadata), ..Default::default() };
        let edited = with_mode(&config.encode_to_vec(), "disabled").unwrap();
        assert_eq!(Told::Config.read(&edited).unwrap()["mode"], "disabled");
        let edited = AutoUpdateConfig::decode(&*edited).unwrap();
        assert_eq!(edited.kind, config.kind);
        assert_ne!(edited.metadata.unwrap().revision, "r");
    }
}
