//! The managed-update resources as YAML writes them.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::resource::Resource;
use crate::duration;
use crate::rule::{Refusal, Rule};
use crate::wire::teleport::autoupdate::v1 as wire;
use crate::wire::types::Metadata;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigSpec {
    tools: Option<Tools>,
    agents: Option<Agents>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tools {
    mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Agents {
    mode: String,
    strategy: String,
    maintenance_window_duration: Option<String>,
    schedules: Option<Schedules>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Schedules {
    regular: Vec<Group>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Group {
    name: String,
    days: Vec<String>,
    start_hour: i32,
    wait_hours: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VersionSpec {
    tools: Option<VersionTools>,
    agents: Option<VersionAgents>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VersionTools {
    target_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VersionAgents {
    start_version: String,
    target_version: String,
    schedule: String,
    mode: String,
}

fn spec<T: DeserializeOwned + Default>(resource: &Resource) -> Result<T, Refusal> {
    if resource.spec.is_null() {
        return Ok(T::default());
    }
    let read = serde_json::from_value(resource.spec.clone());
    read.map_err(|error| Rule::ResourceInvalid.by(format!("{}: {error}", resource.kind)))
}

fn metadata(resource: &Resource, singleton: &str) -> Option<Metadata> {
    // The name of a singleton may be left out of a file.
    let name = if resource.metadata.name.is_empty() { singleton } else { &resource.metadata.name };
    Some(Metadata { name: name.to_owned(), ..Metadata::default() })
}

/// Reads an `autoupdate_config`.
pub(crate) fn config_of(resource: &Resource) -> Result<wire::AutoUpdateConfig, Refusal> {
    let spec: ConfigSpec = spec(resource)?;
    let agents = match spec.agents {
        None => None,
        Some(agents) => {
            let window = match &agents.maintenance_window_duration {
                None => None,
                Some(text) => {
                    let window =
                        duration::parse(text).ok_or_else(|| Rule::UpdateConfig.by(format!("duration {text:?}")))?;
                    Some(prost_types::Duration {
                        seconds: i64::try_from(window.as_secs()).unwrap_or(i64::MAX),
                        nanos: 0,
                    })
                }
            };
            let group = |group: Group| wire::Group {
                name: group.name,
                days: group.days,
                start_hour: group.start_hour,
                wait_hours: group.wait_hours,
            };
            Some(wire::ConfigSpecAgents {
                mode: agents.mode,
                strategy: agents.strategy,
                maintenance_window_duration: window,
                schedules: agents
                    .schedules
                    .map(|s| wire::Schedules { regular: s.regular.into_iter().map(group).collect() }),
            })
        }
    };
    Ok(wire::AutoUpdateConfig {
        kind: resource.kind.clone(),
        sub_kind: String::new(),
        version: "v1".to_owned(),
        metadata: metadata(resource, "autoupdate-config"),
        spec: Some(wire::ConfigSpec {
            tools: spec.tools.map(|tools| wire::ConfigSpecTools { mode: tools.mode }),
            agents,
        }),
    })
}

/// Reads an `autoupdate_version`.
pub(crate) fn version_of(resource: &Resource) -> Result<wire::AutoUpdateVersion, Refusal> {
    let spec: VersionSpec = spec(resource)?;
    Ok(wire::AutoUpdateVersion {
        kind: resource.kind.clone(),
        sub_kind: String::new(),
        version: "v1".to_owned(),
        metadata: metadata(resource, "autoupdate-version"),
        spec: Some(wire::VersionSpec {
            tools: spec.tools.map(|tools| wire::VersionSpecTools { target_version: tools.target_version }),
            agents: spec.agents.map(|agents| wire::VersionSpecAgents {
                start_version: agents.start_version,
                target_version: agents.target_version,
                schedule: agents.schedule,
                mode: agents.mode,
            }),
        }),
    })
}
