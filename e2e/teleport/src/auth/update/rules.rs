//! What makes the managed-update resources valid, and what follows from them.

use std::collections::BTreeSet;

use super::Offered;
use crate::rule::{Refusal, Rule};
use crate::wire::teleport::autoupdate::v1 as wire;
use crate::wire::types::Metadata;

const HALT_ON_ERROR: &str = "halt-on-error";
const TIME_BASED: &str = "time-based";
const SHORTEST_WINDOW_SECONDS: i64 = 600;
const UNSTARTED: i32 = 1;

/// Checks an `autoupdate_config`.
pub(crate) fn check_config(config: &wire::AutoUpdateConfig) -> Result<(), Refusal> {
    let bad = |what: String| Err(Rule::UpdateConfig.by(what));
    if let Some(name) = wrong_name(config.metadata.as_ref(), "autoupdate-config") {
        return bad(format!("name {name:?}"));
    }
    let spec = config.spec.clone().unwrap_or_default();
    if let Some(tools) = &spec.tools
        && !matches!(tools.mode.as_str(), "enabled" | "disabled")
    {
        return bad(format!("tools.mode {:?}", tools.mode));
    }
    let Some(agents) = &spec.agents else { return Ok(()) };
    if !mode(&agents.mode) {
        return bad(format!("agents.mode {:?}", agents.mode));
    }
    let limit = match agents.strategy.as_str() {
        HALT_ON_ERROR => 10,
        TIME_BASED => 20,
        other => return bad(format!("agents.strategy {other:?}")),
    };
    match (&agents.maintenance_window_duration, agents.strategy.as_str()) {
        (Some(window), HALT_ON_ERROR) if window.seconds != 0 => {
            return bad("maintenance_window_duration with halt-on-error".into());
        }
        (Some(window), TIME_BASED) if window.seconds < SHORTEST_WINDOW_SECONDS => {
            return bad("maintenance_window_duration below 10 minutes".into());
        }
        (None, TIME_BASED) => return bad("time-based without maintenance_window_duration".into()),
        _ => {}
    }
    let groups = agents.schedules.as_ref().map_or(&[][..], |schedules| &schedules.regular);
    if groups.len() > limit {
        return bad(format!("{} groups, at most {limit}", groups.len()));
    }
    let mut names = BTreeSet::new();
    for group in groups {
        if group.name.is_empty() || !names.insert(&group.name) {
            return bad(format!("group name {:?} is empty or twice there", group.name));
        }
        if !(0..24).contains(&group.start_hour) {
            return bad(format!("start_hour {}", group.start_hour));
        }
        if group.days.is_empty() || !group.days.iter().all(|name| day(name)) {
            return bad(format!("days {:?}", group.days));
        }
        if group.wait_hours < 0 || (group.wait_hours != 0 && agents.strategy != HALT_ON_ERROR) {
            return bad(format!("wait_hours {}", group.wait_hours));
        }
    }
    Ok(())
}

/// Checks an `autoupdate_version`.
pub(crate) fn check_version(version: &wire::AutoUpdateVersion) -> Result<(), Refusal> {
    let bad = |what: String| Err(Rule::VersionTarget.by(what));
    if let Some(name) = wrong_name(version.metadata.as_ref(), "autoupdate-version") {
        return bad(format!("name {name:?}"));
    }
    let spec = version.spec.clone().unwrap_or_default();
    // Semver has no leading `v`.
    let semver = |text: &str| semver::Version::parse(text).is_ok();
    if let Some(tools) = &spec.tools
        && !semver(&tools.target_version)
    {
        return bad(format!("tools.target_version {:?}", tools.target_version));
    }
    let Some(agents) = &spec.agents else { return Ok(()) };
    for (what, text) in [("start_version", &agents.start_version), ("target_version", &agents.target_version)] {
        if !semver(text) {
            return bad(format!("agents.{what} {text:?}"));
        }
    }
    if !matches!(agents.schedule.as_str(), "regular" | "immediate") {
        return bad(format!("agents.schedule {:?}", agents.schedule));
    }
    if !mode(&agents.mode) {
        return bad(format!("agents.mode {:?}", agents.mode));
    }
    Ok(())
}

fn wrong_name(metadata: Option<&Metadata>, wanted: &str) -> Option<String> {
    let name = metadata.map(|metadata| metadata.name.clone()).unwrap_or_default();
    (name != wanted).then_some(name)
}

fn mode(mode: &str) -> bool {
    matches!(mode, "enabled" | "disabled" | "suspended")
}

fn day(day: &str) -> bool {
    matches!(day, "*" | "Mon" | "Tue" | "Wed" | "Thu" | "Fri" | "Sat" | "Sun")
}

/// The more restrictive of two modes.
fn stricter(one: &str, other: &str) -> String {
    ["disabled", "suspended"].into_iter().find(|mode| *mode == one || *mode == other).unwrap_or("enabled").to_owned()
}

/// The rollout as it stands before any agent has moved.
pub(super) fn rollout(
    config: wire::AutoUpdateConfig,
    version: wire::AutoUpdateVersion,
) -> wire::AutoUpdateAgentRollout {
    let wanted = config.spec.unwrap_or_default().agents.unwrap_or_default();
    let offered = version.spec.unwrap_or_default().agents.unwrap_or_default();
    let groups = wanted.schedules.unwrap_or_default().regular.into_iter().map(|group| wire::RolloutGroup {
        name: group.name,
        state: UNSTARTED,
        config_days: group.days,
        config_start_hour: group.start_hour,
        config_wait_hours: i64::from(group.wait_hours),
        ..wire::RolloutGroup::default()
    });
    wire::AutoUpdateAgentRollout {
        kind: "autoupdate_agent_rollout".to_owned(),
        sub_kind: String::new(),
        version: "v1".to_owned(),
        metadata: Some(Metadata { name: "autoupdate-agent-rollout".to_owned(), ..Metadata::default() }),
        status: Some(wire::RolloutStatus { groups: groups.collect(), state: UNSTARTED, start_time: None }),
        spec: Some(wire::RolloutSpec {
            autoupdate_mode: stricter(&wanted.mode, &offered.mode),
            start_version: offered.start_version,
            target_version: offered.target_version,
            schedule: offered.schedule,
            strategy: if wanted.strategy.is_empty() { HALT_ON_ERROR.to_owned() } else { wanted.strategy },
            maintenance_window_duration: wanted.maintenance_window_duration,
        }),
    }
}

/// What `/webapi/find` offers: the start version until a group's window opens, the target at once when immediate.
pub(super) fn offered(
    config: &wire::AutoUpdateConfig,
    version: Option<&wire::AutoUpdateVersion>,
    own: &str,
) -> Offered {
    let mut offered = Offered { tools_version: own.to_owned(), agent_version: own.to_owned(), ..Offered::default() };
    let wanted = config.spec.clone().unwrap_or_default();
    offered.tools_auto_update = wanted.tools.is_some_and(|tools| tools.mode == "enabled");
    let Some(spec) = version.and_then(|version| version.spec.as_ref()) else { return offered };
    if let Some(tools) = &spec.tools {
        offered.tools_version.clone_from(&tools.target_version);
    }
    if let Some(agents) = &spec.agents {
        let mode = stricter(&wanted.agents.map(|agents| agents.mode).unwrap_or_default(), &agents.mode);
        let immediate = agents.schedule == "immediate";
        offered.agent_version.clone_from(if immediate || mode == "disabled" {
            &agents.target_version
        } else {
            &agents.start_version
        });
        offered.agent_auto_update = immediate && mode == "enabled";
    }
    offered
}
