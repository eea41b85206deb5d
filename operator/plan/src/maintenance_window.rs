//! The status of a MaintenanceWindow, who may use it, and how much fits into it. Nothing in it ticks: between two
//! boundaries the same facts give the same status.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use crds::maintenance_window::{AllowedNamespaces, IntervalStatus, MaintenanceWindow, MaintenanceWindowStatus};
use crds::{ConditionType, Reason};

use crate::report;
use crate::stage::{Answer, Verdict};
use crate::wanted::Refusal;
use crate::window::{HORIZON, Interval, Schedule};

/// How many of the next intervals are shown.
const SHOWN: usize = 3;
/// Without a boundary within the horizon: how often to look whether one has come into sight.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(24);

/// The tenants that refer to a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub tenants: i64,
    /// Those for which an update is due.
    pub due: i64,
    /// Those that are being updated.
    pub updating: i64,
    /// Those whose update was due and found no start in the last window.
    pub missed: i64,
}

/// What a MaintenanceWindow shows, and after what time to look again. The conditions of the status that it has keep
/// their transition times.
pub fn status(
    window: &MaintenanceWindow,
    schedule: &Result<Schedule, Vec<Refusal>>,
    now: DateTime<Utc>,
    counts: Counts,
    capacity: Option<i64>,
) -> (MaintenanceWindowStatus, Option<TimeDelta>) {
    let Counts { tenants, due, updating, missed } = counts;
    let current = schedule.as_ref().ok().and_then(|schedule| schedule.open_at(now));
    let next = schedule.as_ref().map_or_else(|_| Vec::new(), |schedule| schedule.upcoming(now, SHOWN));
    let mut conditions = window.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    for verdict in [readiness(schedule, current.is_some() || !next.is_empty()), size(schedule.is_ok(), due, capacity)] {
        report::record(&mut conditions, window.metadata.generation, now, verdict);
    }
    let status = MaintenanceWindowStatus {
        observed_generation: window.metadata.generation,
        open: Some(current.is_some()),
        current: current.as_ref().map(shown),
        next: next.iter().map(shown).collect(),
        tenants: Some(tenants),
        due: Some(due),
        capacity,
        updating: Some(updating),
        missed: Some(missed),
        conditions,
    };
    let wake = schedule.as_ref().ok().map(|schedule| match schedule.next_boundary(now) {
        Some(boundary) => boundary - now,
        None => LOOK_AGAIN,
    });
    (status, wake)
}

/// Whether tenants of a namespace may refer to a window: always those of its own, others as `allowedNamespaces` says.
/// `labels` are those of the tenant's namespace; without them (None: not known) only what needs none is granted.
pub fn allows(window: &MaintenanceWindow, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    let own = window.metadata.namespace.as_deref() == Some(namespace);
    own || window.spec.allowed_namespaces.as_ref().is_some_and(|AllowedNamespaces { match_labels }| {
        match_labels.iter().all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
    })
}

/// How many updates can start in the interval that runs or comes next, when one takes `hop` and `at_once` run at the same
/// time. One that starts inside may end outside. None: no interval comes, or nothing was measured.
pub fn capacity(schedule: &Schedule, now: DateTime<Utc>, hop: Option<TimeDelta>, at_once: i32) -> Option<i64> {
    let hop = hop.filter(|hop| *hop > TimeDelta::zero())?;
    let interval = schedule.open_at(now).or_else(|| schedule.upcoming(now, 1).pop())?;
    let length = (interval.end - interval.start).min(HORIZON);
    // Rounded up: a hop may start at the last instant.
    let rounds = (length.num_seconds() + hop.num_seconds().max(1) - 1) / hop.num_seconds().max(1);
    Some(rounds * i64::from(at_once.max(0)))
}

fn shown(interval: &Interval) -> IntervalStatus {
    let text = |instant: DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::Secs, true);
    IntervalStatus { start: interval.known_start().map(text), end: interval.known_end().map(text) }
}

fn readiness(schedule: &Result<Schedule, Vec<Refusal>>, opens: bool) -> Verdict {
    let verdict = |answer, reason, message| Verdict { condition: ConditionType::Ready, answer, reason, message };
    match schedule {
        Err(refusals) => {
            let refusals: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
            verdict(Answer::False, Reason::WindowInvalid, refusals.join("; "))
        }
        Ok(_) if !opens => verdict(
            Answer::False,
            Reason::NeverOpens,
            format!(
                "spec.exclusions leave no interval open within {} days, so no update starts by itself: shorten or remove one",
                HORIZON.num_days()
            ),
        ),
        Ok(schedule) => {
            verdict(Answer::True, Reason::AsSpecified, format!("windows are read in the zone {}", schedule.zone()))
        }
    }
}

fn size(valid: bool, due: i64, capacity: Option<i64>) -> Verdict {
    let verdict = |answer, reason, message| Verdict { condition: ConditionType::Undersized, answer, reason, message };
    match capacity {
        _ if !valid => verdict(
            Answer::Unknown,
            Reason::WindowInvalid,
            "the window cannot be evaluated: the condition Ready says why".into(),
        ),
        Some(capacity) if due > capacity => verdict(
            Answer::True,
            Reason::CapacityExceeded,
            format!(
                "due are {due}, and about {capacity} fit into one window: lengthen or add spec.windows, or raise spec.maxConcurrentUpdates"
            ),
        ),
        Some(capacity) => verdict(
            Answer::False,
            Reason::CapacitySuffices,
            format!("due are {due}, and about {capacity} fit into one window"),
        ),
        None if due == 0 => verdict(Answer::False, Reason::CapacitySuffices, "no update is due".into()),
        None => verdict(
            Answer::Unknown,
            Reason::CapacityUnknown,
            format!("due are {due}; what fits into one window is known once an update was measured"),
        ),
    }
}
