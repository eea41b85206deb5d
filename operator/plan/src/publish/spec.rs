//! The parts of Teleport's resources that the operator has a say in, in Teleport's own words. What is wanted and what was
//! found are the same types, so that comparing them is comparing values; everything else in the resources belongs to
//! whoever wrote it.

use chrono::Weekday;

use crate::names;

/// Nothing is updated; a newly installed agent gets the target version.
pub(super) const DISABLED: &str = "disabled";
/// Nothing is updated for now; each group keeps how far it got.
pub(super) const SUSPENDED: &str = "suspended";
/// Groups are updated in their hours.
pub(super) const ENABLED: &str = "enabled";
/// A group begins when the one before it is done.
pub(super) const HALT_ON_ERROR: &str = "halt-on-error";
/// Each group begins at its hour.
pub(super) const TIME_BASED: &str = "time-based";
/// Groups wait for their hours; the other schedule, `immediate`, ignores them.
pub(super) const REGULAR: &str = "regular";

/// Agents' part of `autoupdate_version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoUpdateVersionSpec {
    /// What agents run until their group's turn, without a leading `v`.
    pub start_version: String,
    /// What they run afterwards.
    pub target_version: String,
    /// `regular` or `immediate`.
    pub schedule: String,
    /// `enabled`, `suspended` or `disabled`.
    pub mode: String,
}

/// Agents' part of `autoupdate_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoUpdateConfigSpec {
    /// `enabled`, `suspended` or `disabled`; the stricter one of this and the version's wins.
    pub mode: String,
    /// `halt-on-error` or `time-based`.
    pub strategy: String,
    /// Length of the groups' windows, for `time-based` alone; with `halt-on-error` they last an hour.
    pub window_seconds: Option<i64>,
    /// In order; agents of a group that is not in the list count to the last one.
    pub groups: Vec<UpdateGroup>,
}

/// One group of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateGroup {
    /// The name that an agent's updater was told.
    pub name: String,
    /// `Mon` to `Sun`, or `*`.
    pub days: Vec<String>,
    /// 0 to 23, UTC.
    pub start_hour: i32,
    /// How long after the group before it, for `halt-on-error` alone.
    pub wait_hours: i32,
}

/// Agents' part of `cluster_maintenance_config`: a window of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// 0 to 23, UTC.
    pub utc_start_hour: u32,
    /// `Mon` to `Sun`.
    pub weekdays: Vec<String>,
}

/// A day as Teleport writes it.
pub(super) fn day(weekday: Weekday) -> String {
    weekday.to_string()
}

/// A part that is compared field by field.
pub(super) trait Said {
    /// The resource it stands in.
    const RESOURCE: &'static str;

    /// Every field with its name in the resource.
    fn fields(&self) -> Vec<(String, String)>;

    /// What tells it from every other value.
    fn digest(&self) -> String {
        let text: String = self.fields().iter().map(|(name, value)| format!("{name}={value:?}\n")).collect();
        names::digest(text.as_bytes())[..16].to_owned()
    }
}

impl Said for AutoUpdateVersionSpec {
    const RESOURCE: &'static str = "autoupdate_version";

    fn fields(&self) -> Vec<(String, String)> {
        let AutoUpdateVersionSpec { start_version, target_version, schedule, mode } = self;
        named([
            ("agents.mode", mode.clone()),
            ("agents.schedule", schedule.clone()),
            ("agents.start_version", start_version.clone()),
            ("agents.target_version", target_version.clone()),
        ])
    }
}

impl Said for AutoUpdateConfigSpec {
    const RESOURCE: &'static str = "autoupdate_config";

    fn fields(&self) -> Vec<(String, String)> {
        let AutoUpdateConfigSpec { mode, strategy, window_seconds, groups } = self;
        let mut fields = named([
            ("agents.mode", mode.clone()),
            ("agents.strategy", strategy.clone()),
            ("agents.maintenance_window_duration", window_seconds.map_or(String::new(), |s| format!("{s}s"))),
        ]);
        fields.extend(groups.iter().enumerate().map(|(index, group)| {
            let UpdateGroup { name, days, start_hour, wait_hours } = group;
            let value = format!("{name} on {} at {start_hour}:00 after {wait_hours} h", days.join(","));
            (format!("agents.schedules.regular[{index}]"), value)
        }));
        fields
    }
}

impl Said for Maintenance {
    const RESOURCE: &'static str = "cluster_maintenance_config";

    fn fields(&self) -> Vec<(String, String)> {
        let Maintenance { utc_start_hour, weekdays } = self;
        named([
            ("agent_upgrades.utc_start_hour", utc_start_hour.to_string()),
            ("agent_upgrades.weekdays", weekdays.join(",")),
        ])
    }
}

fn named<const N: usize>(fields: [(&str, String); N]) -> Vec<(String, String)> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
