//! After the last stage: what the tenant's own Teleport tells its agents and its users. It begins when everything else is
//! settled and no hop runs, and never makes the tenant unready. What is not known is left as it is: a plan asks for
//! what Teleport says now only where that is not known, or is to be changed.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use crds::published::Published;
use crds::{ConditionType, Reason};

use super::agents::{Unsure, complete};
use super::update::Withheld;
use super::{Answer, Scope, Stage};
use crate::agents::view::Laggard;
use crate::agents::{AgentsView, Memory, Pool};
use crate::fact::Fact;
use crate::feed::Freeze;
use crate::observed::{Source, StageName};
use crate::publish::alert::{self, alert, raise, renewed_at};
use crate::publish::{Asked, Bystanders, Difference, Live, Mode, Rounded, WindowHour, diff, pools, wanted};
use crate::step::Step;
use crate::updates::WindowFact;
use crate::version::Version;
use crate::window::publish::{held_until, published};

/// How many agents an alert names.
const NAMED: usize = 5;
const CONDITION: ConditionType = ConditionType::AgentUpdatesPublished;

/// What the stages came to.
pub struct Given<'a> {
    /// The version that every process runs.
    pub running: &'a Version,
    /// Whether every stage is settled, and no hop runs or has just ended.
    pub rests: bool,
    /// Whether a hop runs or has just ended.
    pub hops: bool,
    /// The agents.
    pub view: &'a AgentsView,
    /// The major update that agents hold back.
    pub withheld: &'a Fact<Withheld>,
}

/// What the stage comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// What status is to say of it: before anything is written, what is about to be.
    pub record: Published,
    /// Whether what Teleport says is to be read before more can be said.
    pub listen: bool,
    /// Whether anybody asked for it, or something was published before.
    pub applies: bool,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>, given: &Given<'_>) -> Outcome {
    let status = scope.observed.tenant.status.as_ref();
    let last = status.and_then(|status| status.published.clone()).unwrap_or_default();
    let mut outcome = Outcome { record: last.clone(), applies: true, ..Outcome::default() };
    // Nobody knows what was asked for.
    let Fact::Known(pools) = &scope.observed.pools else { return outcome };
    let enrolled = pools.iter().any(|pool| pool.enrolled);
    outcome.applies = enrolled || last.version.is_some() || last.config.is_some() || last.maintenance.is_some();
    if outcome.applies && !given.hops {
        tell(scope, given, pools, &last, &mut outcome);
    }
    if given.rests {
        warn(scope, given, &last, &mut outcome);
    }
    outcome
}

/// Agents: which version, in which hour, in which order.
fn tell(scope: &Scope<'_>, given: &Given<'_>, pools: &[Pool], last: &Published, outcome: &mut Outcome) {
    let enrolled = pools.iter().any(|pool| pool.enrolled);
    let (hour, hold) = match hour(scope, outcome) {
        Ok(hour) => (Some(hour), None),
        Err(hold) => (None, Some(hold)),
    };
    // Only a schedule rests on who must be left alone: taking it back needs no inventory.
    let bystanders = match bystanders(scope, given.view, pools) {
        Ok(bystanders) => bystanders,
        Err(_) if !enrolled || hold.is_some() => Bystanders::default(),
        Err(unsure) => return unknown(scope, unsure, outcome),
    };
    if !given.rests {
        return;
    }
    let frozen = match &scope.observed.updates.feed {
        Ok(feed) => feed.frozen(scope.observed.now),
        Err(_) if !enrolled || hold.is_some() => None,
        Err(fault) => {
            return unsettled(
                Reason::FleetPolicyInvalid,
                &format!("nobody knows whether the fleet is frozen: {fault}"),
                outcome,
            );
        }
    };
    if let Some(freeze) = frozen {
        outcome.stage.wakes_in(freeze.until - scope.observed.now);
    }
    let asked = Asked {
        version: given.running.clone(),
        window: hour.as_ref().map(|hour| hour.told),
        groups: pools::groups(pools),
        bystanders,
        mode: if frozen.is_some() { Mode::Suspended } else { Mode::Enabled },
    };
    let live = &scope.observed.teleport.told.agents;
    let (wanted, mut rounded) = wanted(&asked, live);
    rounded.extend(hour.iter().filter(|_| enrolled).flat_map(|hour| hour.rounded.clone()));
    let Fact::Known(found) = live else {
        outcome.listen = true;
        return unread(scope, outcome);
    };
    let difference = diff(&wanted, &rounded, live, last);
    let changes = !difference.steps.is_empty() || difference.record != *last;
    outcome.listen |= changes;
    outcome.record = difference.record.clone();
    outcome.stage.steps.extend(difference.steps.iter().cloned().map(|step| Step::Publish(Box::new(step))));
    let told = Told { asked: &asked, enrolled, hold, frozen, found, difference: &difference, changes };
    let (answer, reason, message) = told.verdict();
    outcome.stage.verdict(CONDITION, answer, reason, message);
}

/// What the verdict is made from.
struct Told<'a> {
    asked: &'a Asked,
    enrolled: bool,
    hold: Option<(Reason, String)>,
    frozen: Option<&'a Freeze>,
    found: &'a Live,
    difference: &'a Difference,
    changes: bool,
}

impl Told<'_> {
    fn verdict(self) -> (Answer, Reason, String) {
        let Told { asked, enrolled, hold, frozen, found, difference, changes } = self;
        if !difference.foreign.is_empty() {
            let foreign: Vec<String> =
                difference.foreign.iter().map(|foreign| format!("{}: {}", foreign.what, foreign.how)).collect();
            return (Answer::False, Reason::ForeignEdit, foreign.join("; "));
        }
        if changes {
            return (Answer::Unknown, Reason::InProgress, "what agents are told is being written".into());
        }
        if !enrolled {
            return (Answer::True, Reason::NotEnrolled, "no AgentPool is enrolled: no agent is updated".into());
        }
        if found.cloud || !difference.settled {
            let message = "this Teleport does not take what agents are to be told: see status.published.rounded";
            return (Answer::False, Reason::NotOffered, message.into());
        }
        if let Some((reason, why)) = hold {
            return (Answer::False, reason, format!("agents are told to wait: {why}"));
        }
        if let Some(freeze) = frozen {
            let message = format!("agents are told to wait: the fleet is frozen until {}", instant(freeze.until));
            return (Answer::False, Reason::Frozen, message);
        }
        let when = asked.window.map(|hour| format!(", on {} from {}:00 UTC", hour.weekday, hour.utc_hour));
        let message = format!(
            "agents of enrolled pools are told to run {}{}; what Teleport cannot express is in status.published.rounded",
            asked.version,
            when.unwrap_or_default()
        );
        (Answer::True, Reason::Published, message)
    }
}

/// An hour that agents can be told, and how it differs from the window.
struct Hour {
    told: WindowHour,
    rounded: Vec<Rounded>,
}

/// The hour to tell agents, or why there is none; and when that is to be worked out anew.
fn hour(scope: &Scope<'_>, outcome: &mut Outcome) -> Result<Hour, (Reason, String)> {
    let (now, window) = (scope.observed.now, &scope.observed.updates.window);
    let (name, schedule) = match window {
        WindowFact::Missing { window } => {
            return Err((Reason::WindowMissing, format!("there is no MaintenanceWindow {window}")));
        }
        WindowFact::NotGranted { window } => {
            return Err((Reason::WindowNotGranted, format!("MaintenanceWindow {window} is not for this namespace")));
        }
        WindowFact::Invalid { window, fault } => {
            return Err((Reason::WindowInvalid, format!("MaintenanceWindow {window} cannot be evaluated: {fault}")));
        }
        WindowFact::Known { window, schedule, .. } => (window, schedule),
    };
    let Some(hour) = published(schedule, now) else {
        return Err((
            Reason::Excluded,
            match held_until(schedule, now) {
                Some(until) => {
                    outcome.stage.wakes_in(until - now);
                    format!(
                        "Teleport repeats an hour every week, and MaintenanceWindow {name} has none within a week; from {} on it has",
                        instant(until)
                    )
                }
                None => format!("MaintenanceWindow {name} does not open in the next year"),
            },
        ));
    };
    outcome.stage.wakes_in((hour.valid_until - now).max(TimeDelta::seconds(1)));
    let note = |how: String| Rounded { what: format!("MaintenanceWindow {name}"), how };
    let mut rounded = Vec::new();
    if !hour.exact {
        rounded.push(note(format!("agents begin with the first whole hour of it, {}:00 UTC", hour.utc_hour)));
    }
    if !hour.inside {
        rounded.push(note("agents may still be updated when it has ended: it holds no whole hour of UTC".into()));
    }
    Ok(Hour { told: WindowHour { weekday: hour.weekday, utc_hour: hour.utc_hour }, rounded })
}

/// Who must be left alone, if every agent is known.
fn bystanders(scope: &Scope<'_>, view: &AgentsView, pools: &[Pool]) -> Result<Bystanders, Unsure> {
    complete(scope, view)?;
    let none = Memory::default();
    let memory = match &scope.observed.memory {
        Fact::Known(stored) => stored.memory.as_ref().unwrap_or(&none),
        Fact::Absent | Fact::Unknown => &none,
    };
    match scope.observed.teleport.inventory.as_deref() {
        Some(inventory) => Ok(pools::bystanders(inventory, memory, pools)),
        None => Err(Unsure::Missing("the inventory was not read yet".into())),
    }
}

/// What is told stands while the agents are not known.
fn unknown(scope: &Scope<'_>, unsure: Unsure, outcome: &mut Outcome) {
    match unsure {
        // A restart changes nothing: what an earlier process said of it stands until it is known better.
        Unsure::Missing(_) if stood(scope) && !failed(scope, StageName::Agents) => {}
        Unsure::Missing(why) => unsettled(Reason::AgentReportMissing, &why, outcome),
        Unsure::Stale(read_at) => {
            let why = format!("the inventory was last read at {}", instant(read_at));
            unsettled(Reason::AgentReportStale, &why, outcome);
        }
        Unsure::Incomplete(until) => {
            outcome.stage.wakes_in((until - scope.observed.now).max(TimeDelta::seconds(1)));
            let why = format!("every agent has reported to Auth by {}", instant(until));
            unsettled(Reason::AgentReportIncomplete, &why, outcome);
        }
    }
}

fn unsettled(reason: Reason, why: &str, outcome: &mut Outcome) {
    outcome.stage.verdict(CONDITION, Answer::Unknown, reason, format!("what agents are told stays as it is: {why}"));
}

/// What Teleport says was not read; only a failure is worth a word.
fn unread(scope: &Scope<'_>, outcome: &mut Outcome) {
    if !stood(scope) || failed(scope, StageName::Publish) {
        let message = "what agents are told could not be read yet";
        outcome.stage.verdict(CONDITION, Answer::Unknown, Reason::Retrying, message);
    }
}

/// Whether the condition was ever judged.
fn stood(scope: &Scope<'_>) -> bool {
    let conditions = scope.observed.tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|found| found.type_ == CONDITION.to_string())
}

fn failed(scope: &Scope<'_>, stage: StageName) -> bool {
    scope.observed.failures.contains_key(&(stage, Source::Process))
}

/// Users: that agents hold a major update back.
fn warn(scope: &Scope<'_>, given: &Given<'_>, last: &Published, outcome: &mut Outcome) {
    let withheld = match given.withheld {
        // The alert ends by itself where nobody can tell any more.
        Fact::Unknown => return,
        Fact::Absent => None,
        Fact::Known(withheld) => Some(withheld),
    };
    if withheld.is_none() && last.alert.is_none() {
        return;
    }
    let wanted = withheld.and_then(|withheld| {
        let behind = u32::try_from(withheld.agents).unwrap_or(u32::MAX);
        alert(Some(&alert::Withheld { to: withheld.to.clone(), behind, first: first(given.view) }))
    });
    let told = &scope.observed.teleport.told.alerts;
    if let Some(withheld) = withheld {
        outcome.record.alert = Some(withheld.to.to_string());
    }
    if *told == Fact::Unknown {
        outcome.listen = true;
        return;
    }
    match raise(wanted.as_ref(), told, scope.observed.wall) {
        // Recorded first, so that an alert is known to be there when its time has come.
        Some(_) if outcome.record.alert != last.alert => {}
        Some(step) => outcome.stage.steps.push(Step::Publish(Box::new(step))),
        None if withheld.is_none() => outcome.record.alert = None,
        None => {}
    }
    outcome.listen |=
        outcome.record.alert != last.alert || outcome.stage.steps.iter().any(|step| matches!(step, Step::Publish(_)));
    if let Some(renewed_at) = renewed_at(told).filter(|_| withheld.is_some()) {
        outcome.stage.wakes_in((renewed_at - scope.observed.wall).max(TimeDelta::seconds(1)));
    }
}

/// The first of those that hold it back, in the order in which they are named everywhere.
fn first(view: &AgentsView) -> Vec<String> {
    let required = view.pools.iter().filter(|share| share.required);
    let mut laggards: Vec<&Laggard> = required.flat_map(|share| &share.laggards).collect();
    laggards.sort();
    laggards.into_iter().take(NAMED).map(ToString::to_string).collect()
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
