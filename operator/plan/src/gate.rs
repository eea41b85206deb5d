//! The gate: may this hop start now? Its answer is *open*, or every blocker with the data that a person needs to act. It
//! fails closed: what is not known is a blocker.

mod check;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc};
use crds::Reason;
use crds::maintenance::Check;
use crds::update_status::BlockerStatus;

use crate::feed::hold::Hold;
use crate::mutant::mutant;

pub use check::{Answer, Inventory, Question, SKEW, check};

/// Longest message of a blocker in status.
const MESSAGE: usize = 512;

/// One reason why a hop may not start, in the order in which they are told: of those that wait for a person, and of
/// those that wait for time alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// The tenant is paused.
    Paused,
    /// The platform team stopped every hop.
    Frozen {
        /// When it ends.
        until: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// A stage before the update is not settled.
    NotSettled {
        /// Which, and what it waits for.
        what: String,
    },
    /// The release feed holds it back.
    Held(Hold),
    /// The inventory was never read, or the memory of agents cannot be.
    AgentReportMissing {
        /// Why.
        why: String,
    },
    /// The last reading is too old.
    AgentReportStale {
        /// When it was made.
        read_at: DateTime<Utc>,
    },
    /// Auth has not been ready long enough for every agent to have reported.
    AgentReportIncomplete {
        /// When it has.
        until: DateTime<Utc>,
    },
    /// Agents run an older major than the tenant.
    AgentsBehind {
        /// How many.
        count: u64,
        /// The major that they must run.
        needs: u64,
        /// The first of them, by host name or id, with version.
        first: Vec<String>,
    },
    /// Agents report versions that cannot be read.
    AgentVersionUnknown {
        /// How many.
        count: u64,
        /// The first of them.
        first: Vec<String>,
    },
    /// No window applies.
    WindowMissing {
        /// The window that was looked for.
        window: String,
    },
    /// The window cannot be evaluated.
    WindowInvalid {
        /// Which.
        window: String,
        /// Why.
        fault: String,
    },
    /// The window is not for this namespace.
    WindowNotGranted {
        /// Which.
        window: String,
    },
    /// The clocks differ, so that nobody can tell whether a window is open.
    ClockSkewed {
        /// Whether they were compared at all.
        measured: bool,
    },
    /// Every interval of the window is excluded.
    NeverOpen {
        /// Which.
        window: String,
    },
    /// Users could not log in for longer than the month allows.
    BudgetSpent {
        /// Seconds that the month allows.
        budget: i64,
        /// The next month.
        until: DateTime<Utc>,
    },
    /// The window is closed.
    WindowClosed {
        /// Which.
        window: String,
        /// When it opens.
        opens: DateTime<Utc>,
    },
    /// The window would be open, but for an exclusion.
    Excluded {
        /// Why it is excluded.
        reason: String,
        /// When the window opens.
        opens: DateTime<Utc>,
    },
    /// As many as may are being updated.
    ConcurrencyReached {
        /// The window or the fleet, and its limit.
        of: String,
    },
}

impl Blocker {
    /// The check that an override must name to skip it; without one it can never be skipped.
    pub fn check(&self) -> Option<Check> {
        match self {
            Blocker::Paused | Blocker::Frozen { .. } | Blocker::NotSettled { .. } => None,
            Blocker::Held(hold) => match hold {
                Hold::ChannelUnknown { .. }
                | Hold::PreRelease { .. }
                | Hold::VersionUnknown { .. }
                | Hold::MajorMissing { .. }
                | Hold::MajorUnsupported { .. }
                | Hold::Downgrade { .. } => None,
                // An override is an edit of the spec, after which one more try is made in any case. With more it would
                // be made again and again until the override ends.
                Hold::FailedHere { .. } => None,
                Hold::Withdrawn { .. } | Hold::Halted { .. } | Hold::SoakPending { .. } | Hold::WavePending { .. } => {
                    Some(Check::Policy)
                }
            },
            Blocker::AgentReportMissing { .. }
            | Blocker::AgentReportStale { .. }
            | Blocker::AgentReportIncomplete { .. }
            | Blocker::AgentsBehind { .. }
            | Blocker::AgentVersionUnknown { .. } => Some(Check::Agents),
            Blocker::WindowMissing { .. }
            | Blocker::WindowInvalid { .. }
            | Blocker::WindowNotGranted { .. }
            | Blocker::ClockSkewed { .. }
            | Blocker::NeverOpen { .. }
            | Blocker::WindowClosed { .. }
            | Blocker::Excluded { .. } => Some(Check::Window),
            Blocker::BudgetSpent { .. } | Blocker::ConcurrencyReached { .. } => Some(Check::Policy),
        }
    }

    /// Whether a person must do something; all others pass with time.
    pub fn needs_person(&self) -> bool {
        match self {
            Blocker::Held(hold) => hold.until().is_none(),
            Blocker::Paused
            | Blocker::AgentReportMissing { .. }
            | Blocker::AgentReportStale { .. }
            | Blocker::AgentsBehind { .. }
            | Blocker::AgentVersionUnknown { .. }
            | Blocker::WindowMissing { .. }
            | Blocker::WindowInvalid { .. }
            | Blocker::WindowNotGranted { .. }
            | Blocker::ClockSkewed { .. }
            | Blocker::NeverOpen { .. } => true,
            Blocker::Frozen { .. }
            | Blocker::NotSettled { .. }
            | Blocker::AgentReportIncomplete { .. }
            | Blocker::BudgetSpent { .. }
            | Blocker::WindowClosed { .. }
            | Blocker::Excluded { .. }
            | Blocker::ConcurrencyReached { .. } => false,
        }
    }

    /// When it passes by itself, where that can be told.
    pub fn passes_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Blocker::Held(hold) => hold.until(),
            Blocker::Frozen { until, .. }
            | Blocker::AgentReportIncomplete { until }
            | Blocker::BudgetSpent { until, .. } => Some(*until),
            Blocker::WindowClosed { opens, .. } | Blocker::Excluded { opens, .. } => Some(*opens),
            _ => None,
        }
    }

    /// In one word.
    pub fn reason(&self) -> Reason {
        match self {
            Blocker::Paused => Reason::Paused,
            Blocker::Frozen { .. } => Reason::Frozen,
            Blocker::NotSettled { .. } => Reason::NotSettled,
            Blocker::Held(hold) => match hold {
                Hold::ChannelUnknown { .. }
                | Hold::PreRelease { .. }
                | Hold::VersionUnknown { .. }
                | Hold::MajorMissing { .. }
                | Hold::MajorUnsupported { .. } => Reason::VersionUnknown,
                Hold::Downgrade { .. } => Reason::Downgrade,
                Hold::Withdrawn { .. } | Hold::Halted { .. } => Reason::ReleaseHalted,
                Hold::FailedHere { .. } => Reason::FailedBefore,
                Hold::SoakPending { .. } => Reason::SoakPending,
                Hold::WavePending { .. } => Reason::WavePending,
            },
            Blocker::AgentReportMissing { .. } => Reason::AgentReportMissing,
            Blocker::AgentReportStale { .. } => Reason::AgentReportStale,
            Blocker::AgentReportIncomplete { .. } => Reason::AgentReportIncomplete,
            Blocker::AgentsBehind { .. } => Reason::AgentsBehind,
            Blocker::AgentVersionUnknown { .. } => Reason::AgentVersionUnknown,
            Blocker::WindowMissing { .. } => Reason::WindowMissing,
            Blocker::WindowInvalid { .. } => Reason::WindowInvalid,
            Blocker::WindowNotGranted { .. } => Reason::WindowNotGranted,
            Blocker::ClockSkewed { .. } => Reason::ClockSkewed,
            Blocker::NeverOpen { .. } | Blocker::Excluded { .. } => Reason::Excluded,
            Blocker::BudgetSpent { .. } => Reason::BudgetSpent,
            Blocker::WindowClosed { .. } => Reason::WindowClosed,
            Blocker::ConcurrencyReached { .. } => Reason::ConcurrencyReached,
        }
    }

    /// As it stands in status.
    pub fn status(&self) -> BlockerStatus {
        BlockerStatus { reason: self.reason().to_string(), message: self.to_string().chars().take(MESSAGE).collect() }
    }
}

/// Puts blockers into the order in which they are told: first what a person must do, then what only needs time.
pub fn in_order(mut blockers: Vec<Blocker>) -> Vec<Blocker> {
    if mutant!(BlockerOrder) {
        return blockers;
    }
    blockers.sort_by(|one, other| (!one.needs_person(), one).cmp(&(!other.needs_person(), other)));
    blockers
}

impl fmt::Display for Blocker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::Paused => write!(formatter, "the tenant is paused: set spec.paused to false"),
            Blocker::Frozen { until, reason } => {
                write!(formatter, "the fleet is frozen until {} ({reason})", instant(*until))
            }
            Blocker::NotSettled { what } => write!(formatter, "the tenant is not settled: {what}"),
            Blocker::Held(hold) => hold.fmt(formatter),
            Blocker::AgentReportMissing { why } => write!(formatter, "nothing is known of the agents: {why}"),
            Blocker::AgentReportStale { read_at } => write!(
                formatter,
                "the inventory of agents was last read at {}: see the condition AgentsObserved",
                instant(*read_at)
            ),
            Blocker::AgentReportIncomplete { until } => write!(
                formatter,
                "Auth has not been ready for long enough; every agent has reported by {}",
                instant(*until)
            ),
            Blocker::AgentsBehind { count, needs, first } => write!(
                formatter,
                "{count} of the required agents do not run major {needs}: {}. Update them, or name those that are gone for good in spec.agents.forget",
                listed(first, *count)
            ),
            Blocker::AgentVersionUnknown { count, first } => write!(
                formatter,
                "{count} of the required agents report a version that cannot be read: {}. Update them, or name those that are gone for good in spec.agents.forget",
                listed(first, *count)
            ),
            Blocker::WindowMissing { window } => write!(
                formatter,
                "there is no MaintenanceWindow {window}: create it, or name another one in spec.maintenance.windowRef"
            ),
            Blocker::WindowInvalid { window, fault } => {
                write!(formatter, "MaintenanceWindow {window} cannot be evaluated: {fault}")
            }
            Blocker::WindowNotGranted { window } => write!(
                formatter,
                "MaintenanceWindow {window} is not for this namespace: extend its spec.allowedNamespaces, or name another one in spec.maintenance.windowRef"
            ),
            Blocker::ClockSkewed { measured: true } => write!(
                formatter,
                "the clocks of the operator and of the API server differ by more than 30 s: set both by a time service"
            ),
            Blocker::ClockSkewed { measured: false } => {
                write!(formatter, "the clock of the operator was not compared with the API server's yet")
            }
            Blocker::NeverOpen { window } => write!(
                formatter,
                "MaintenanceWindow {window} does not open in the next year: its exclusions cover every interval. Shorten them"
            ),
            Blocker::BudgetSpent { budget, until } => write!(
                formatter,
                "users could not log in for more than the {budget} s that a month allows: it goes on at {}",
                instant(*until)
            ),
            Blocker::WindowClosed { window, opens } => {
                write!(formatter, "MaintenanceWindow {window} opens at {}", instant(*opens))
            }
            Blocker::Excluded { reason, opens } => {
                write!(formatter, "excluded ({reason}); the window opens at {}", instant(*opens))
            }
            Blocker::ConcurrencyReached { of } => {
                write!(formatter, "{of} are being updated: it stands in line, the longest due first")
            }
        }
    }
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The first few, and how many more there are.
fn listed(first: &[String], count: u64) -> String {
    let named = u64::try_from(first.len()).unwrap_or(u64::MAX);
    let more = count.saturating_sub(named);
    if first.is_empty() {
        return "see `kubectl get agentpools`".to_owned();
    }
    let names = first.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}
