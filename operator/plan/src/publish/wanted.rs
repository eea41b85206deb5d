//! What should stand in a tenant's Teleport.

use super::groups::schedule;
use super::live::{Found, Live};
use super::spec::{
    AutoUpdateConfigSpec, AutoUpdateVersionSpec, DISABLED, ENABLED, HALT_ON_ERROR, Maintenance, REGULAR, SUSPENDED,
    TIME_BASED, UpdateGroup, day,
};
use super::{Asked, Mode, Rounded, Strategy, WindowHour};
use crate::fact::Fact;
use crate::version::Version;

/// Windows of `time-based` groups: as long as those of `halt-on-error`, and as the hour of the older updaters.
const WINDOW_SECONDS: i64 = 3600;

/// What should stand in a tenant's Teleport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// In `autoupdate_version`.
    pub version: AutoUpdateVersionSpec,
    /// In `autoupdate_config`.
    pub config: AutoUpdateConfigSpec,
    /// In `cluster_maintenance_config`; none leaves it as it is.
    pub maintenance: Option<Maintenance>,
}

impl Wanted {
    /// Whether no pool is enrolled: the operator then has no say, and only takes back what it once published.
    pub fn is_idle(&self) -> bool {
        self.config.mode == DISABLED
    }
}

/// Decides what should stand there, and says what could not be expressed.
///
/// Without an enrolled pool the mode is `disabled`: nobody asked for updates, and a newly installed agent gets the version
/// of the cluster. With one, but without a window or a group that may be moved, it is `suspended`: nothing moves either,
/// and each group goes on where it stopped. Both resources carry the mode, so that an edit of one alone frees nobody.
pub fn wanted(asked: &Asked, live: &Fact<Live>) -> (Wanted, Vec<Rounded>) {
    let mut notes = Vec::new();
    let enrolled = asked.groups.iter().any(|pool| pool.enrolled);
    let (mut mode, mut strategy, mut groups, mut maintenance) = (DISABLED, Strategy::HaltOnError, Vec::new(), None);
    if let (true, Some(window)) = (enrolled, asked.window) {
        let schedule = schedule(asked);
        notes.extend(schedule.notes);
        strategy = schedule.strategy;
        groups = schedule.groups.into_iter().map(|(name, wait)| group(name, wait, window)).collect();
        mode = if asked.mode == Mode::Suspended || groups.is_empty() { SUSPENDED } else { ENABLED };
        maintenance = old_updaters(asked, window, &mut notes);
    } else if enrolled {
        mode = SUSPENDED;
        notes.push(Rounded::new(
            "agents.schedules",
            "no hour of a maintenance window can be told now: updates of agents are suspended, and the hour of the older \
             updaters stays as it was published last",
        ));
    }
    let config = AutoUpdateConfigSpec {
        mode: mode.to_owned(),
        strategy: match strategy {
            Strategy::HaltOnError => HALT_ON_ERROR.to_owned(),
            Strategy::TimeBased => TIME_BASED.to_owned(),
        },
        window_seconds: (strategy == Strategy::TimeBased).then_some(WINDOW_SECONDS),
        groups,
    };
    let version = AutoUpdateVersionSpec {
        start_version: start(&asked.version, live).to_string(),
        target_version: asked.version.to_string(),
        schedule: REGULAR.to_owned(),
        mode: mode.to_owned(),
    };
    (Wanted { version, config, maintenance }, notes)
}

fn group(name: String, wait_hours: i32, window: WindowHour) -> UpdateGroup {
    // Hours of a day always fit.
    let start_hour = i32::try_from(window.utc_hour).unwrap_or_default();
    UpdateGroup { name, days: vec![day(window.weekday)], start_hour, wait_hours }
}

/// The older updaters know one hour and no groups: whoever has one is moved in it, enrolled or not.
fn old_updaters(asked: &Asked, window: WindowHour, notes: &mut Vec<Rounded>) -> Option<Maintenance> {
    const WHAT: &str = "cluster_maintenance_config";
    if asked.bystanders.old_updaters {
        notes.push(Rounded::new(
            WHAT,
            "not published: updaters of the kinds unit and kube know no groups, and agents that are not enrolled have \
             them; enrol these, or give them the updater teleport-update",
        ));
        return None;
    }
    let weekday = day(window.weekday);
    notes.push(Rounded::new(
        WHAT,
        format!(
            "agents with updaters of the kinds unit and kube begin on {weekday} from {}:00 to {}:00 UTC: their window \
             lasts one hour, and has no zone, order or strategy",
            window.utc_hour,
            (window.utc_hour + 1) % 24
        ),
    ));
    Some(Maintenance { utc_start_hour: window.utc_hour, weekdays: vec![weekday] })
}

/// What agents run before their turn: what they were told before, if the cluster still serves it. An unchanged target
/// keeps its start.
fn start(target: &Version, live: &Fact<Live>) -> Version {
    let before = match live {
        Fact::Known(Live { version: Found::There { agents: Some(told), .. }, .. }) => {
            let same = told.target_version == target.to_string();
            Version::parse(if same { &told.start_version } else { &told.target_version }).ok()
        }
        Fact::Known(_) | Fact::Absent | Fact::Unknown => None,
    };
    let served = |version: &Version| version.major <= target.major && version.major + 1 >= target.major;
    before.filter(served).unwrap_or_else(|| target.clone())
}
