//! From facts to blockers. Called with what is cached on every reconcile, and once more with what was just read, directly
//! before the first disruptive write.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Reason;
use crds::maintenance::{Check, Exemption, Maintenance};
use crds::update_status::HopKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Blocker, in_order};
use crate::clock::from_jiff;
use crate::fact::Fact;
use crate::feed::hold::Hold;
use crate::line::Place;
use crate::mutant::mutant;
use crate::updates::WindowFact;

/// The operator's clock may differ from the API server's by this much.
pub const SKEW: TimeDelta = TimeDelta::seconds(30);
/// How long `spec.maintenance.applyNow` is good for.
const APPLY_NOW: TimeDelta = TimeDelta::hours(24);

/// What is known of the agents, as far as a major hop asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inventory {
    /// It was never read, or what must be remembered cannot be.
    Missing {
        /// Why.
        why: String,
    },
    /// It was read, but too long ago.
    Stale {
        /// When.
        read_at: DateTime<Utc>,
    },
    /// It was read, but Auth has not been ready for long enough.
    Incomplete {
        /// When it has.
        until: DateTime<Utc>,
    },
    /// It is complete.
    Complete {
        /// Required agents on an older major.
        behind: u64,
        /// The first of them.
        first_behind: Vec<String>,
        /// Required agents whose version cannot be read.
        unknown: u64,
        /// The first of them.
        first_unknown: Vec<String>,
    },
}

/// Everything that the gate looks at.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The one time of this run.
    pub now: DateTime<Utc>,
    /// What kind of hop.
    pub kind: HopKind,
    /// The major that runs, which agents must have reached before the next one.
    pub running_major: u64,
    /// What the release feed holds against it.
    pub holds: &'a [Hold],
    /// The seconds in which users could not log in this month, those that are allowed, and the next month. Absent for a
    /// hop that may pass all the same.
    pub budget: Option<(i64, i64, DateTime<Utc>)>,
    /// Whether the tenant is paused.
    pub paused: bool,
    /// The first stage that is not settled, and what it waits for.
    pub unsettled: Option<&'a str>,
    /// The end of the freeze and its reason.
    pub freeze: Option<(DateTime<Utc>, &'a str)>,
    /// The agents.
    pub inventory: &'a Inventory,
    /// The window.
    pub window: &'a WindowFact,
    /// By how much the clocks differ.
    pub skew: &'a Fact<TimeDelta>,
    /// Whether there is a place among the running hops. Absent for a hop that has its place already.
    pub place: Option<&'a Place>,
    /// What the user says of maintenance.
    pub maintenance: &'a Maintenance,
    /// The `applyNow` that was acted upon.
    pub applied_now: Option<&'a Time>,
    /// Checks that this hop's claim has skipped by an `applyNow`, which is used up since.
    pub claimed: &'a [Check],
}

/// Open, or every blocker in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What is in the way.
    pub blockers: Vec<Blocker>,
    /// The checks without which it would be closed, and which were skipped.
    pub skipped: Vec<Check>,
    /// The `applyNow` that opens it; used up when the hop starts.
    pub applies_now: Option<Time>,
}

impl Answer {
    /// The first thing that a person must do, in one word.
    pub fn person(&self) -> Option<Reason> {
        self.blockers.iter().find(|blocker| blocker.needs_person()).map(Blocker::reason)
    }

    /// Whether the hop may start.
    pub fn is_open(&self) -> bool {
        self.blockers.is_empty()
    }
}

/// Asks the gate.
pub fn check(question: &Question<'_>) -> Answer {
    let mut found: Vec<Blocker> = question.holds.iter().cloned().map(Blocker::Held).collect();
    if question.paused {
        found.push(Blocker::Paused);
    }
    if let Some((until, reason)) = question.freeze.filter(|(until, _)| question.now < *until) {
        found.push(Blocker::Frozen { until, reason: reason.to_owned() });
    }
    if let Some(what) = question.unsettled {
        found.push(Blocker::NotSettled { what: what.to_owned() });
    }
    if question.kind == HopKind::Major {
        found.extend(agents(question));
    }
    found.extend(window(question));
    if let Some((_, budget, until)) = question.budget.filter(|(spent, budget, _)| spent > budget) {
        found.push(Blocker::BudgetSpent { budget, until });
    }
    found.extend(question.place.and_then(Place::blocker));
    let exempt = exempt(question);
    let applies_now = apply_now(question);
    let skips = |check: Check| exempt.contains(&check) || (check == Check::Window && applies_now.is_some());
    let (skipped, blockers): (Vec<Blocker>, Vec<Blocker>) =
        found.into_iter().partition(|blocker| blocker.check().is_some_and(skips));
    let names: BTreeSet<Check> = skipped.iter().filter_map(Blocker::check).collect();
    // Only an instant that was needed is used up.
    let needed = names.contains(&Check::Window) && !exempt.contains(&Check::Window);
    Answer {
        blockers: in_order(blockers),
        skipped: names.into_iter().collect(),
        applies_now: applies_now.filter(|_| needed).cloned(),
    }
}

/// Only a major hop asks for the agents: within a major every agent keeps its connection.
fn agents(question: &Question<'_>) -> Vec<Blocker> {
    match question.inventory {
        Inventory::Missing { why } => vec![Blocker::AgentReportMissing { why: why.clone() }],
        Inventory::Stale { read_at } => vec![Blocker::AgentReportStale { read_at: *read_at }],
        Inventory::Incomplete { until } => vec![Blocker::AgentReportIncomplete { until: *until }],
        Inventory::Complete { behind, first_behind, unknown, first_unknown } => {
            let mut blockers = Vec::new();
            if *behind > 0 {
                let needs = question.running_major;
                blockers.push(Blocker::AgentsBehind { count: *behind, needs, first: first_behind.clone() });
            }
            if *unknown > 0 {
                blockers.push(Blocker::AgentVersionUnknown { count: *unknown, first: first_unknown.clone() });
            }
            blockers
        }
    }
}

fn window(question: &Question<'_>) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    match question.skew {
        Fact::Known(skew) if skew.abs() <= SKEW => {}
        Fact::Known(_) => blockers.push(Blocker::ClockSkewed { measured: true }),
        Fact::Absent | Fact::Unknown => blockers.push(Blocker::ClockSkewed { measured: false }),
    }
    match question.window {
        WindowFact::Missing { window } => blockers.push(Blocker::WindowMissing { window: window.clone() }),
        WindowFact::NotGranted { window } => blockers.push(Blocker::WindowNotGranted { window: window.clone() }),
        WindowFact::Invalid { window, fault } => {
            blockers.push(Blocker::WindowInvalid { window: window.clone(), fault: fault.clone() });
        }
        WindowFact::Known { window, schedule, .. } => {
            let late =
                mutant!(WindowEndInsteadOfStart) && schedule.open_at(question.now - TimeDelta::hours(1)).is_some();
            if schedule.open_at(question.now).is_some() || late {
                return blockers;
            }
            let excluded = schedule.exclusion_at(question.now);
            blockers.push(match (schedule.next_start_after(question.now), excluded) {
                (None, _) => Blocker::NeverOpen { window: window.clone() },
                (Some(opens), Some(exclusion)) => Blocker::Excluded { reason: exclusion.reason.clone(), opens },
                (Some(opens), None) => Blocker::WindowClosed { window: window.clone(), opens },
            });
        }
    }
    blockers
}

fn exempt(question: &Question<'_>) -> BTreeSet<Check> {
    let granted = match &question.maintenance.exemption {
        Some(Exemption { checks, until, reason: _ }) if question.now < from_jiff(until.0) => checks.as_slice(),
        Some(_) | None => &[],
    };
    granted.iter().chain(question.claimed).copied().collect()
}

/// The instant that the user gave, while it is good and was not acted upon.
fn apply_now<'a>(question: &Question<'a>) -> Option<&'a Time> {
    let asked = question.maintenance.apply_now.as_ref()?;
    let from = from_jiff(asked.0);
    let good = from <= question.now && question.now < from + APPLY_NOW;
    (good && question.applied_now != Some(asked)).then_some(asked)
}
