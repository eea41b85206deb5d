//! Sixth stage: the inventory of agents, and the memory of those that vanished from it.

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant_status::AgentCounts;
use crds::{ConditionType, Reason};

use super::{Answer, RETRY, Scope, Stage};
use crate::agents::memory::{Rules, remember};
use crate::agents::view::signed;
use crate::agents::{AgentsView, Inventory, Memory, Observation, Pool, Recall};
use crate::clock::from_jiff;
use crate::fact::Fact;
use crate::gate;
use crate::mutant::mutant;
use crate::observed::{Source, StageName};
use crate::step::Step;
use crate::version::Version;

/// Every agent has sent a heartbeat to an Auth that has been ready for this long (Teleport: instances send one every 18
/// minutes at the latest, and are listed for 20).
const HEARTBEATS: TimeDelta = TimeDelta::minutes(20);

/// What the later stages build on.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// Counts of the last complete reading; none when there is nothing new to say.
    pub counts: Option<AgentCounts>,
    /// What the gate and the pools see. It rests on what is stored: nobody is forgotten before that was written down.
    pub view: AgentsView,
    /// The memory is to be written. Not among the stage's steps: it must not wait for earlier stages to settle, since
    /// agents vanish meanwhile.
    pub remember: Option<Step>,
}

/// Plans the stage; `version` is what the tenant's pods run.
pub fn plan(scope: &Scope<'_>, version: &Version) -> Outcome {
    let mut stage = Stage::default();
    let inventory = scope.observed.teleport.inventory.as_deref();
    let observation = observe(scope, inventory, &mut stage);
    let (recall, stored, resource_version) = recall(scope, &mut stage);
    let pools: &[Pool] = match &scope.observed.pools {
        Fact::Known(pools) => pools,
        // Without pools everybody is required.
        Fact::Absent | Fact::Unknown => &[],
    };
    let view = AgentsView::new(inventory, observation, (recall, &stored), pools, version.major);
    let usable = inventory.filter(|_| view.recall == Recall::Loaded);
    let remember = usable.and_then(|reading| {
        let rules = Rules {
            major: version.major,
            remember_for: scope.wanted.remember_for,
            forget: scope.wanted.forget.as_ref(),
        };
        let memory = remember(&stored, reading, &rules, scope.observed.now);
        let differs = match scope.observed.memory {
            Fact::Known(_) => memory != stored,
            Fact::Absent | Fact::Unknown => memory != Memory::default(),
        };
        differs.then(|| Step::RememberAgents { memory: Box::new(memory), seen: resource_version })
    });
    // Counts are what tells a memory that was lost from one that was never needed, so they are written after it.
    let kept = remember.is_none() || scope.observed.memory != Fact::Absent;
    let counts = usable.filter(|_| kept && scope.observed.pools != Fact::Unknown).map(|_| AgentCounts {
        total: signed(view.total),
        behind: signed(view.behind),
        remembered: signed(view.remembered),
        oldest: view.oldest().map(ToString::to_string),
        majors: view.majors(),
    });
    Outcome { stage, counts, view, remember }
}

/// Why nobody can tell who all the agents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsure {
    /// They were not read, or what must be remembered cannot be.
    Missing(String),
    /// They were read too long ago.
    Stale(DateTime<Utc>),
    /// Until then one may not have sent Auth a heartbeat.
    Incomplete(DateTime<Utc>),
}

/// Whether every agent that is there has been seen. Of those that left, too many may be remembered only in sum.
///
/// # Errors
/// Why not.
pub fn complete(scope: &Scope<'_>, view: &AgentsView) -> Result<(), Unsure> {
    let until = heard(scope, view)?;
    if scope.observed.now < until { Err(Unsure::Incomplete(until)) } else { Ok(()) }
}

/// By when every agent has sent a heartbeat.
fn heard(scope: &Scope<'_>, view: &AgentsView) -> Result<DateTime<Utc>, Unsure> {
    let missing = |why: &str| Err(Unsure::Missing(why.to_owned()));
    match (&view.recall, view.observation, view.reading) {
        (Recall::NotLoaded, ..) => return missing("the memory of agents that left could not be read"),
        (Recall::Broken(fault), ..) => return missing(fault),
        (Recall::Loaded, Observation::Missing, _) | (Recall::Loaded, _, None) => {
            return missing("the inventory was not read yet");
        }
        (Recall::Loaded, Observation::Stale, Some(read_at)) => return Err(Unsure::Stale(read_at)),
        (Recall::Loaded, Observation::Fresh, Some(_)) => {}
    }
    let available = ConditionType::AuthAvailable.to_string();
    let conditions = scope.observed.tenant.status.iter().flat_map(|status| &status.conditions);
    let available = conditions.into_iter().find(|found| found.type_ == available && found.status == "True");
    match available {
        Some(found) => Ok(from_jiff(found.last_transition_time.0) + HEARTBEATS),
        None => missing("Auth is not available"),
    }
}

/// What the gate is told of the agents: everything that is not known keeps it closed.
pub fn known(scope: &Scope<'_>, view: &AgentsView) -> gate::Inventory {
    let missing = |why: &str| gate::Inventory::Missing { why: why.to_owned() };
    let reported = match heard(scope, view) {
        Ok(reported) => reported,
        Err(Unsure::Missing(why)) => return gate::Inventory::Missing { why },
        Err(Unsure::Stale(read_at)) => return gate::Inventory::Stale { read_at },
        Err(Unsure::Incomplete(until)) => return gate::Inventory::Incomplete { until },
    };
    let recalled = view.overflow.map(|overflow| overflow.ends(scope.wanted.remember_for));
    match recalled {
        None => {}
        Some(None) if view.required_behind > 0 => {}
        Some(None) => return missing("more agents are behind than are remembered one by one"),
        Some(Some(ends)) => return gate::Inventory::Incomplete { until: ends.max(reported) },
    }
    if scope.observed.now < reported {
        return gate::Inventory::Incomplete { until: reported };
    }
    let named = |readable: bool| {
        view.first_few.iter().filter(|agent| agent.age.is_some() == readable).map(ToString::to_string).collect()
    };
    gate::Inventory::Complete {
        behind: view.required_behind - view.required_unknown,
        first_behind: named(true),
        unknown: view.required_unknown,
        first_unknown: named(false),
    }
}

/// Judges the reading.
fn observe(scope: &Scope<'_>, inventory: Option<&Inventory>, stage: &mut Stage) -> Observation {
    let condition = ConditionType::AgentsObserved;
    let ttl = scope.wanted.report_ttl;
    let Some(inventory) = inventory else {
        first_reading(scope, stage);
        return Observation::Missing;
    };
    let age = scope.observed.now - inventory.read_at;
    if age > ttl {
        let message = format!("the inventory was last read more than {} minutes ago", ttl.num_minutes());
        stage.verdict(condition, Answer::False, Reason::ReportStale, message);
        stage.waits("the inventory to be read again");
        stage.wakes_in(RETRY);
        return Observation::Stale;
    }
    stage.verdict(condition, Answer::True, Reason::Observed, "the inventory was read in time");
    stage.wakes_in(ttl - age);
    Observation::Fresh
}

/// Nothing was read since this process started. What an earlier one said stands until it is known better, so that a restart
/// changes nothing.
fn first_reading(scope: &Scope<'_>, stage: &mut Stage) {
    let condition = ConditionType::AgentsObserved;
    stage.wakes_in(RETRY);
    let before = scope.observed.tenant.status.iter().flat_map(|status| &status.conditions);
    let before = before.into_iter().find(|found| found.type_ == condition.to_string());
    let stood = before.is_some_and(|found| found.status == "True");
    let failed = scope.observed.failures.contains_key(&(StageName::Agents, Source::Process));
    let asked = scope.observed.teleport.auth.known().is_some();
    if stood && failed {
        stage.unread(condition, "the inventory could not be read");
    } else if !stood || !asked {
        stage.verdict(condition, Answer::False, Reason::ReportMissing, "the inventory was not read yet");
        stage.waits("the inventory to be read");
    }
}

/// What is remembered, and of which resource version.
fn recall(scope: &Scope<'_>, stage: &mut Stage) -> (Recall, Memory, Option<String>) {
    let condition = ConditionType::AgentsObserved;
    match &scope.observed.memory {
        Fact::Absent => (Recall::Loaded, never_made(scope), None),
        Fact::Unknown => {
            stage.unread(condition, "the memory of agents that left could not be read");
            (Recall::NotLoaded, Memory::default(), None)
        }
        Fact::Known(stored) => match &stored.memory {
            Ok(_) if mutant!(MemoryLostOnRestart) => {
                (Recall::Loaded, Memory::default(), Some(stored.resource_version.clone()))
            }
            Ok(memory) => (Recall::Loaded, memory.clone(), Some(stored.resource_version.clone())),
            Err(fault) => {
                let message = repair(&scope.tenant.agents(), fault);
                stage.verdict(condition, Answer::False, Reason::MemoryUnreadable, message.clone());
                stage.wakes_in(RETRY);
                (Recall::Broken(message), Memory::default(), None)
            }
        },
    }
}

/// No ConfigMap: there was nobody to remember, unless status says that there was, or that it could not be read.
fn never_made(scope: &Scope<'_>) -> Memory {
    let Some(status) = &scope.observed.tenant.status else { return Memory::default() };
    let behind = status.agents.as_ref().is_some_and(|counts| counts.behind > 0);
    let broken = status.conditions.iter().any(|found| found.reason == Reason::MemoryUnreadable.to_string());
    if behind || broken { Memory::lost(scope.observed.now) } else { Memory::default() }
}

fn repair(name: &str, fault: &str) -> String {
    format!(
        "ConfigMap {name}, which remembers agents that left, {fault}: mend it, or delete it; whoever it named is then unknown, and updates wait for spec.agents.rememberFor"
    )
}
