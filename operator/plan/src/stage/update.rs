//! Last stage: what is due, whether it may start, and the hop that runs. It decides and writes status; Auth and Proxy
//! follow what it recorded in their own stages.

mod claim;
mod next;
mod progress;

use chrono::TimeDelta;
use crds::tenant_status::{Applied, TenantStatus};
use crds::update_status::{HopKind, HopRecord, Next, Update};
use crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Answer, Scope, Stage};
use crate::course::{self, Course};
use crate::fact::Fact;
use crate::gate::Inventory;
use crate::manifest::{Inputs, Rendered};
use crate::version::{KNOWN_MAJORS, Version};

pub use next::Due;

/// How many ended hops status keeps.
const HISTORY: usize = 10;

/// What the earlier stages came to.
pub struct Given<'a> {
    /// The version that runs.
    pub running: &'a Version,
    /// What both components should run now.
    pub course: &'a Course,
    /// The agents, as far as the gate asks.
    pub inventory: &'a Inventory,
    /// When the inventory was last read.
    pub agents_read_at: Option<chrono::DateTime<chrono::Utc>>,
    /// The first earlier stage that is not settled, and what it waits for.
    pub unsettled: Option<String>,
    /// Whether Auth is as it should be now.
    pub auth_settled: bool,
    /// Whether Proxy is.
    pub proxy_settled: bool,
    /// Everything that a rendering of another version needs, once an earlier stage allows one.
    pub inputs: Option<Inputs<'a>>,
    /// The rendering of what runs now.
    pub rendered: Option<&'a Rendered>,
}

/// What the stage comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// The hop that runs after this plan.
    pub update: Option<Update>,
    /// The hop that is next.
    pub next: Option<Next>,
    /// The first thing that a person must do before it can start.
    pub blocked: Option<Reason>,
    /// The major update that is due and that agents hold back; unknown while a hop runs, or where nobody knows the agents.
    pub withheld: Fact<Withheld>,
    /// A hop that ends with this plan.
    pub ended: Option<HopRecord>,
    /// The `applyNow` that this plan acts upon.
    pub applies_now: Option<Time>,
    /// The version whose Auth starts after this plan.
    pub starts: Option<Version>,
    /// What the pods were rendered from when a hop ended.
    pub applied: Option<Applied>,
    /// Whether to look at everything that the gate asks for once more, live, and plan again.
    pub look: bool,
}

/// A major update that agents hold back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Where it leads.
    pub to: Version,
    /// How many agents hold it back.
    pub agents: u64,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>, given: &Given<'_>) -> Outcome {
    let mut outcome = match course::update(scope) {
        Some(update) => progress::plan(scope, given, update),
        None => claim::plan(scope, given),
    };
    verdicts(&mut outcome, given.running, next::follows(scope));
    outcome
}

impl Outcome {
    /// Writes the decision into status.
    pub fn record(&self, status: &mut TenantStatus) {
        let Outcome { stage: _, update, next, blocked: _, withheld: _, ended, applies_now, starts, applied, look: _ } =
            self;
        status.update.clone_from(update);
        status.next.clone_from(next);
        if let Some(ended) = ended {
            status.history.insert(0, ended.clone());
            status.history.truncate(HISTORY);
        }
        if applies_now.is_some() {
            status.applied_now.clone_from(applies_now);
        }
        if let Some(version) = starts {
            raise(status, version);
        }
        if let Some(applied) = applied {
            status.version = Some(applied.version.clone());
            status.applied = Some(applied.clone());
        }
    }
}

/// Records the highest version whose Auth was ever started, before it starts.
pub fn raise(status: &mut TenantStatus, version: &Version) {
    let highest = status.auth_high_water.as_deref().and_then(|version| Version::parse(version).ok());
    if highest.is_none_or(|highest| highest < *version) {
        status.auth_high_water = Some(version.to_string());
    }
}

/// Why a version cannot be run at all.
pub fn unknown_version(version: &Version) -> String {
    format!(
        "spec.version: {version} cannot be run by this operator: choose a release of majors {} to {}, or upgrade the operator",
        KNOWN_MAJORS.start(),
        KNOWN_MAJORS.end()
    )
}

/// `UpdateDue`, `UpdateBlocked` and `Updating`.
fn verdicts(outcome: &mut Outcome, running: &Version, follows: bool) {
    let (due, blocked, updating) = (ConditionType::UpdateDue, ConditionType::UpdateBlocked, ConditionType::Updating);
    let Outcome { stage, update, next, blocked: person, .. } = outcome;
    match update {
        None => stage.verdict(updating, Answer::False, Reason::Idle, "no change runs"),
        Some(update) => {
            let reason = if update.halted_at.is_some() { Reason::HopHalted } else { Reason::HopRunning };
            let mut what = format!("{:?} from {} to {}: {:?}", update.kind, update.from, update.to, update.stage);
            if !stage.waiting.is_empty() {
                what.push_str(&format!(", waits for {}", stage.waiting.join("; ")));
            }
            stage.verdict(updating, Answer::True, reason, what);
        }
    }
    let Some(next) = next else {
        let message = match update {
            Some(_) => "the change that is due runs".to_owned(),
            None => format!("version {running} is what should run"),
        };
        stage.verdict(due, Answer::False, Reason::UpToDate, message.clone());
        stage.verdict(blocked, Answer::False, Reason::UpToDate, message);
        return;
    };
    let reason = match (next.kind, next.due_since.is_some()) {
        (_, false) => Reason::Waiting,
        (HopKind::Template, true) => Reason::TemplateChanged,
        (_, true) if follows => Reason::NewRelease,
        (_, true) => Reason::VersionPinned,
    };
    let answer = if next.due_since.is_some() { Answer::True } else { Answer::False };
    stage.verdict(due, answer, reason, format!("{:?} to {}", next.kind, next.to));
    let messages: Vec<&str> = next.blockers.iter().map(|blocker| blocker.message.as_str()).collect();
    match person {
        Some(reason) => stage.verdict(blocked, Answer::True, *reason, messages.join("; ")),
        None => stage.verdict(blocked, Answer::False, Reason::Waiting, messages.join("; ")),
    }
}

/// Looks again at this moment, whatever the earlier stages wait for.
fn look_in(stage: &mut Stage, delay: TimeDelta) {
    stage.term = Some(delay.max(TimeDelta::seconds(1)));
}
