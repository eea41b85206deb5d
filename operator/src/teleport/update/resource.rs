//! Where in Teleport's resources the agents' parts stand, by field number: read from a kept message, and put into one.
//! Numbers: api/proto/teleport/autoupdate/v1/autoupdate.proto and api/proto/teleport/legacy/types/types.proto.

use plan::publish::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Maintenance, UpdateGroup};
use prost::DecodeError;

use crate::teleport::kept::Kept;

type Read<T> = Result<T, DecodeError>;

/// `autoupdate_config` and `autoupdate_version`: 1 kind, 3 version, 4 metadata, 5 spec.
mod whole {
    pub(super) const KIND: u32 = 1;
    pub(super) const VERSION: u32 = 3;
    pub(super) const METADATA: u32 = 4;
    pub(super) const SPEC: u32 = 5;
}

/// `teleport.header.v1.Metadata` and `types.Metadata`.
mod metadata {
    pub(super) const NAME: u32 = 1;
    pub(super) const REVISION: u32 = 8;
}

/// The specs of both; 2 is the part for client tools.
const AGENTS: u32 = 3;

mod config {
    pub(super) const MODE: u32 = 1;
    pub(super) const STRATEGY: u32 = 2;
    pub(super) const WINDOW: u32 = 3;
    pub(super) const SCHEDULES: u32 = 6;
    pub(super) const REGULAR: u32 = 1;
}

mod group {
    pub(super) const NAME: u32 = 1;
    pub(super) const DAYS: u32 = 2;
    pub(super) const START_HOUR: u32 = 3;
    pub(super) const WAIT_HOURS: u32 = 5;
}

mod version {
    pub(super) const START: u32 = 1;
    pub(super) const TARGET: u32 = 2;
    pub(super) const SCHEDULE: u32 = 3;
    pub(super) const MODE: u32 = 4;
}

/// `cluster_maintenance_config`: the header has the fields of the resources above.
mod maintenance {
    pub(super) const HEADER: u32 = 1;
    pub(super) const SPEC: u32 = 2;
    pub(super) const NONCE: u32 = 3;
    pub(super) const AGENT_UPGRADES: u32 = 1;
    pub(super) const START_HOUR: u32 = 1;
    pub(super) const WEEKDAYS: u32 = 2;
}

/// `google.protobuf.Duration`.
const SECONDS: u32 = 1;

/// One resource of Teleport with a part for agents.
pub(super) trait Resource: Sized {
    /// As people name it.
    const KIND: &'static str;

    /// An empty one, under the one name that it has.
    fn fresh() -> Kept;

    /// What a write must name.
    fn revision(kept: &Kept) -> Read<String>;

    /// The part for agents.
    fn read(kept: &Kept) -> Read<Option<Self>>;

    /// Replaces the fields that are ours; everything else stays.
    fn put(&self, kept: &mut Kept) -> Read<()>;
}

impl Resource for AutoUpdateConfigSpec {
    const KIND: &'static str = "autoupdate_config";

    fn fresh() -> Kept {
        named(Self::KIND, "autoupdate-config")
    }

    fn revision(kept: &Kept) -> Read<String> {
        Ok(kept.part(whole::METADATA)?.unwrap_or_default().text(metadata::REVISION))
    }

    fn read(kept: &Kept) -> Read<Option<Self>> {
        let Some(agents) = agents(kept)? else { return Ok(None) };
        let schedules = agents.part(config::SCHEDULES)?.unwrap_or_default();
        let groups = schedules.parts(config::REGULAR)?.iter().map(group_of).collect();
        let window = agents.part(config::WINDOW)?.map(|window| window.number(SECONDS).cast_signed());
        Ok(Some(AutoUpdateConfigSpec {
            mode: agents.text(config::MODE),
            strategy: agents.text(config::STRATEGY),
            window_seconds: window.filter(|seconds| *seconds != 0),
            groups,
        }))
    }

    fn put(&self, kept: &mut Kept) -> Read<()> {
        let AutoUpdateConfigSpec { mode, strategy, window_seconds, groups } = self;
        change_agents(kept, |agents| {
            agents.set_text(config::MODE, mode);
            agents.set_text(config::STRATEGY, strategy);
            let window = window_seconds.map(|seconds| {
                let mut window = Kept::default();
                window.set_number(SECONDS, seconds.cast_unsigned());
                window
            });
            agents.set_part(config::WINDOW, window.as_ref());
            let mut schedules = agents.part(config::SCHEDULES)?.unwrap_or_default();
            // What else a group of this name had, it keeps.
            let before = schedules.parts(config::REGULAR)?;
            let of = |name: &String| before.iter().find(|group| group.text(group::NAME) == *name);
            let regular: Vec<Kept> =
                groups.iter().map(|group| put_group(group, of(&group.name).cloned().unwrap_or_default())).collect();
            schedules.set_parts(config::REGULAR, &regular);
            agents.set_part(config::SCHEDULES, Some(&schedules));
            Ok(())
        })
    }
}

impl Resource for AutoUpdateVersionSpec {
    const KIND: &'static str = "autoupdate_version";

    fn fresh() -> Kept {
        named(Self::KIND, "autoupdate-version")
    }

    fn revision(kept: &Kept) -> Read<String> {
        AutoUpdateConfigSpec::revision(kept)
    }

    fn read(kept: &Kept) -> Read<Option<Self>> {
        Ok(agents(kept)?.map(|agents| AutoUpdateVersionSpec {
            start_version: agents.text(version::START),
            target_version: agents.text(version::TARGET),
            schedule: agents.text(version::SCHEDULE),
            mode: agents.text(version::MODE),
        }))
    }

    fn put(&self, kept: &mut Kept) -> Read<()> {
        let AutoUpdateVersionSpec { start_version, target_version, schedule, mode } = self;
        change_agents(kept, |agents| {
            agents.set_text(version::START, start_version);
            agents.set_text(version::TARGET, target_version);
            agents.set_text(version::SCHEDULE, schedule);
            agents.set_text(version::MODE, mode);
            Ok(())
        })
    }
}

impl Resource for Maintenance {
    const KIND: &'static str = "cluster_maintenance_config";

    fn fresh() -> Kept {
        let mut kept = Kept::default();
        kept.set_part(maintenance::HEADER, Some(&named(Self::KIND, "cluster-maintenance-config")));
        kept
    }

    /// The nonce. The largest one would write regardless of what is there; it never stands in an answer.
    fn revision(kept: &Kept) -> Read<String> {
        Ok(kept.number(maintenance::NONCE).to_string())
    }

    fn read(kept: &Kept) -> Read<Option<Self>> {
        let window = kept.part(maintenance::SPEC)?.unwrap_or_default().part(maintenance::AGENT_UPGRADES)?;
        Ok(window.map(|window| Maintenance {
            utc_start_hour: u32::try_from(window.number(maintenance::START_HOUR)).unwrap_or(u32::MAX),
            weekdays: window.texts(maintenance::WEEKDAYS).iter().map(|day| short(day)).collect(),
        }))
    }

    fn put(&self, kept: &mut Kept) -> Read<()> {
        let Maintenance { utc_start_hour, weekdays } = self;
        let mut spec = kept.part(maintenance::SPEC)?.unwrap_or_default();
        let mut window = spec.part(maintenance::AGENT_UPGRADES)?.unwrap_or_default();
        window.set_number(maintenance::START_HOUR, u64::from(*utc_start_hour));
        window.set_texts(maintenance::WEEKDAYS, weekdays);
        spec.set_part(maintenance::AGENT_UPGRADES, Some(&window));
        kept.set_part(maintenance::SPEC, Some(&spec));
        Ok(())
    }
}

fn named(kind: &str, name: &str) -> Kept {
    let (mut kept, mut metadata) = (Kept::default(), Kept::default());
    metadata.set_text(metadata::NAME, name);
    kept.set_text(whole::KIND, kind);
    kept.set_text(whole::VERSION, "v1");
    kept.set_part(whole::METADATA, Some(&metadata));
    kept
}

fn agents(kept: &Kept) -> Read<Option<Kept>> {
    kept.part(whole::SPEC)?.unwrap_or_default().part(AGENTS)
}

fn change_agents(kept: &mut Kept, change: impl FnOnce(&mut Kept) -> Read<()>) -> Read<()> {
    let mut spec = kept.part(whole::SPEC)?.unwrap_or_default();
    let mut agents = spec.part(AGENTS)?.unwrap_or_default();
    change(&mut agents)?;
    spec.set_part(AGENTS, Some(&agents));
    kept.set_part(whole::SPEC, Some(&spec));
    Ok(())
}

fn group_of(kept: &Kept) -> UpdateGroup {
    // Hours that do not fit are none that the operator ever writes.
    let hours = |field| i32::try_from(kept.number(field).cast_signed()).unwrap_or(i32::MAX);
    UpdateGroup {
        name: kept.text(group::NAME),
        days: kept.texts(group::DAYS),
        start_hour: hours(group::START_HOUR),
        wait_hours: hours(group::WAIT_HOURS),
    }
}

fn put_group(wanted: &UpdateGroup, mut kept: Kept) -> Kept {
    let UpdateGroup { name, days, start_hour, wait_hours } = wanted;
    kept.set_text(group::NAME, name);
    kept.set_texts(group::DAYS, days);
    kept.set_number(group::START_HOUR, i64::from(*start_hour).cast_unsigned());
    kept.set_number(group::WAIT_HOURS, i64::from(*wait_hours).cast_unsigned());
    kept
}

/// Teleport takes `Mon` and `Monday` for the same day.
fn short(day: &str) -> String {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let same = |name: &&&str| day.eq_ignore_ascii_case(name) || day.eq_ignore_ascii_case(&name[..3]);
    DAYS.iter().find(same).map_or_else(|| day.to_owned(), |name| name[..3].to_owned())
}
