//! From stages to a plan and a status: the steps of the first stage that is not settled, the conditions of all. The
//! transition time of a condition moves only with its status; equal apart from time is equal.

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant_status::{Phase, TenantStatus};
use crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crds::update_status::{HopStage, Update};

use crate::availability;
use crate::mending;
use crate::observed::{Failure, FailureKind, Observed, Source, StageName};
use crate::remark;
use crate::stage::{Answer, RETRY, Scope, Stage, Stall, Verdict, auth, proxy};
use crate::step::Plan;
use crate::version::Version;

/// How long a failure may last before it turns a condition.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);
/// Bound of a condition's message.
const MESSAGE: usize = 1024;

/// Puts the stages together.
pub fn assemble(
    scope: &Scope<'_>,
    leaving: bool,
    stages: Vec<(StageName, Stage)>,
    running: &Version,
    look: bool,
    mut status: TenantStatus,
) -> Plan {
    let observed = scope.observed;
    let before = observed.tenant.status.clone().unwrap_or_default();
    let mut plan = Plan { look, ..Plan::default() };
    let mut stalled = leaving.then(|| Stall {
        reason: Reason::DeletionProtection,
        message: "spec.deletionProtection is true, so the deletion is not carried out and the tenant keeps running: set it to false to let the deletion go on".into(),
    });
    let mut open: Option<Open> = None;
    for (name, stage) in stages {
        let settled = stage.is_settled();
        let (progress, unread) = (stage.progress(), stage.only_unread());
        let mends = stage.only_puts_back(scope);
        for verdict in stage.verdicts {
            let verdict = shielded(observed, name, verdict);
            set(&mut status.conditions, observed, verdict);
        }
        if let Some(term) = stage.term {
            plan.wake = Some(plan.wake.map_or(term, |earliest| earliest.min(term)));
        }
        // What a later stage waits for is none of anybody's business before the earlier ones are done.
        if open.is_some() {
            continue;
        }
        if let Some(wake) = stage.wake {
            plan.wake = Some(plan.wake.map_or(wake, |earliest| earliest.min(wake)));
        }
        plan.needs.extend(stage.needs);
        plan.steps.extend(stage.steps.into_iter().map(|step| (name, step)));
        // What agents are told is no part of what the spec asks of the tenant itself.
        if !settled && !matches!(name, StageName::Publish | StageName::Metrics) {
            open = Some(Open { name, progress, unread, mends });
            if stalled.is_none() {
                stalled = stage.stalled.or_else(|| not_taken(observed, name));
            }
        }
    }
    plan.open = open.as_ref().map(|open| open.name);
    plan.mends =
        stalled.is_none() && open.as_ref().is_some_and(|open| open.mends && mending::is_quiet(scope, open.name));
    let open = open.filter(|_| !plan.mends);
    let holds =
        |condition| status.conditions.iter().any(|found| found.type_ == name_of(condition) && found.status == "True");
    let available = holds(ConditionType::AuthAvailable) && holds(ConditionType::ProxyAvailable);
    let ((auth_ready, auth_wanted), (proxy_ready, proxy_wanted)) = (auth::pods(scope), proxy::pods(scope));
    let whole = auth_ready >= auth_wanted && proxy_ready >= proxy_wanted;
    let halted = status.update.as_ref().is_some_and(|update| update.halted_at.is_some());
    if halted && stalled.is_none() {
        stalled = status.update.as_ref().map(halt);
    }
    // Before and after a hop everything is as the spec asks; within one it is enough that users can work.
    let hops = status.update.is_some() || before.update.is_some();
    let paused = scope.wanted.paused;
    let serves = available && whole;
    let state = State { open: open.as_ref(), stalled: stalled.as_ref(), paused, serves, hops, available };
    let summary = shielded_summary(observed, state.open.map(|open| open.name), summary(running, &status, &state));
    let ready = summary.answer == Answer::True;
    let settled = open.is_none() && ready && (!paused || serves);
    if settled && !hops {
        status.version = Some(running.to_string());
        status.reconciled_by = Some(observed.operator_version.clone());
    }
    let was_ready = status.version.is_some();
    status.phase = Some(match (&stalled, ready && (!paused || settled), was_ready) {
        (None, ..) if hops => Phase::Updating,
        (_, true, _) => Phase::Ready,
        (Some(_), false, false) => Phase::Pending,
        (None, false, false) if paused => Phase::Pending,
        (None, false, false) => Phase::Provisioning,
        (_, false, true) => Phase::Degraded,
    });
    status.availability = availability::account(&before, available, observed.now);
    status.observed_generation = observed.tenant.metadata.generation;
    set(&mut status.conditions, observed, serving(available));
    set(&mut status.conditions, observed, summary.clone());
    if ready || stalled.is_some() {
        clear(&mut status.conditions, ConditionType::Reconciling);
    } else {
        set(
            &mut status.conditions,
            observed,
            Verdict { condition: ConditionType::Reconciling, answer: Answer::True, ..summary },
        );
    }
    stall(&mut status, observed, stalled);
    forget_what_does_not_apply(scope, &mut status);
    plan.status = status;
    plan
}

/// A step of the stage that the cluster refuses until a person changes something.
fn not_taken(observed: &Observed, stage: StageName) -> Option<Stall> {
    let failure = observed.failures.get(&(stage, Source::Step))?;
    let message = || failure.message.clone();
    (failure.kind == FailureKind::Refused).then(|| Stall { reason: Reason::RefusedByCluster, message: message() })
}

/// The first stage that is not settled.
struct Open {
    name: StageName,
    progress: String,
    /// Nothing keeps it open but an answer that did not come.
    unread: bool,
    /// Nothing is to be done but to put objects back that are there.
    mends: bool,
}

/// A spec or a policy that cannot be carried out: nothing is done, and what runs keeps running.
pub fn refused(observed: &Observed, stalled: Stall) -> Plan {
    let mut status = observed.tenant.status.clone().unwrap_or_default();
    status.observed_generation = observed.tenant.metadata.generation;
    status.phase = Some(if status.version.is_some() { Phase::Degraded } else { Phase::Pending });
    let Stall { reason, message } = stalled.clone();
    set(
        &mut status.conditions,
        observed,
        Verdict { condition: ConditionType::Ready, answer: Answer::False, reason, message },
    );
    clear(&mut status.conditions, ConditionType::Reconciling);
    stall(&mut status, observed, Some(stalled));
    remark::policy(observed, &mut status);
    Plan { status, wake: Some(RETRY), open: Some(StageName::Identity), ..Plan::default() }
}

fn stall(status: &mut TenantStatus, observed: &Observed, stalled: Option<Stall>) {
    match stalled {
        Some(Stall { reason, message }) => {
            let verdict = Verdict { condition: ConditionType::Stalled, answer: Answer::True, reason, message };
            set(&mut status.conditions, observed, verdict);
        }
        None => clear(&mut status.conditions, ConditionType::Stalled),
    }
}

fn serving(available: bool) -> Verdict {
    Verdict {
        condition: ConditionType::Available,
        answer: if available { Answer::True } else { Answer::False },
        reason: if available { Reason::Serving } else { Reason::NotServing },
        message: if available { "users can log in" } else { "Auth or Proxy does not serve" }.into(),
    }
}

/// A hop that takes longer than it may, and cannot go back.
fn halt(update: &Update) -> Stall {
    let way_back = match &update.recovery_point {
        Some(arn) => format!("; its recovery point is {arn}"),
        None => String::new(),
    };
    let Update { kind, from, to, .. } = update;
    let what = if update.stage < HopStage::RevertProxy {
        format!("the {kind:?} from {from} to {to} has not come through in time and cannot go back")
    } else {
        format!("the {kind:?} from {from} to {to} has not come through in time, nor has the way back")
    };
    let message = format!(
        "{what}: mend what the other conditions name, or let another release of this major take its place by spec.version or the release feed{way_back}"
    );
    Stall { reason: Reason::HopHalted, message }
}

/// What the summary is made from.
struct State<'a> {
    open: Option<&'a Open>,
    stalled: Option<&'a Stall>,
    /// Nothing is written but the status.
    paused: bool,
    /// All pods are ready, and answer.
    serves: bool,
    /// A hop runs, or has just ended.
    hops: bool,
    /// Users can log in.
    available: bool,
}

fn summary(running: &Version, status: &TenantStatus, state: &State<'_>) -> Verdict {
    let verdict = |answer, reason, message| Verdict { condition: ConditionType::Ready, answer, reason, message };
    match (state.stalled, state.open, &status.next) {
        (Some(stall), ..) => verdict(Answer::False, stall.reason, stall.message.clone()),
        (None, open, _) if state.paused => {
            let pending = match open {
                Some(Open { name, progress, .. }) => format!("pending: {name:?}: {progress}"),
                None => "nothing is pending".to_owned(),
            };
            let message = format!("spec.paused is true, so that nothing is written but this status; {pending}");
            verdict(Answer::True, Reason::Paused, message)
        }
        (None, ..) if state.hops && state.available => {
            verdict(Answer::True, Reason::HopRunning, "users can work while a change runs".into())
        }
        (None, Some(Open { name, progress, unread: true, .. }), _) => {
            verdict(Answer::Unknown, Reason::Retrying, format!("{name:?}: {progress}"))
        }
        (None, Some(Open { name, progress, unread: false, .. }), _) => {
            verdict(Answer::False, Reason::InProgress, format!("{name:?}: {progress}"))
        }
        (None, None, _) if !state.serves => {
            verdict(Answer::False, Reason::PodsNotReady, "not all pods are ready".into())
        }
        (None, None, Some(next)) => {
            let message = format!("everything is as the spec asks at version {running}; {} is next and waits", next.to);
            verdict(Answer::True, Reason::AsSpecified, message)
        }
        (None, None, None) => verdict(Answer::True, Reason::AsSpecified, "everything is as the spec asks".into()),
    }
}

/// How a failure is told.
pub fn reason_of(failure: &Failure) -> Reason {
    match failure.kind {
        FailureKind::Passing => Reason::Retrying,
        FailureKind::Denied => Reason::AccessDenied,
        FailureKind::Refused => Reason::RefusedByCluster,
        FailureKind::Defect => Reason::Internal,
    }
}

/// A fact speaks for itself; only where the answer did not come does the condition stand as it was, for five minutes and
/// with the failure in its message. A failure that cannot pass shows at once.
fn shielded(observed: &Observed, stage: StageName, verdict: Verdict) -> Verdict {
    let failures = || observed.failures.iter();
    let own = failures()
        .filter(|((name, _), _)| *name == stage)
        .map(|(_, failure)| failure)
        .min_by_key(|failure| failure.since);
    match verdict.answer {
        Answer::True => verdict,
        // What it does may be what fails.
        Answer::False => match own {
            Some(failure) if failure.kind == FailureKind::Passing => explained(verdict, failure),
            Some(failure) => Verdict { reason: reason_of(failure), ..explained(verdict, failure) },
            None => verdict,
        },
        // Whatever could not be read may be what it rests on.
        Answer::Unknown => {
            let failure = own.or_else(|| failures().map(|(_, failure)| failure).min_by_key(|failure| failure.since));
            held(observed, verdict, failure)
        }
    }
}

/// The same for the summary.
fn shielded_summary(observed: &Observed, open: Option<StageName>, verdict: Verdict) -> Verdict {
    // What failed in a stage after the one that is open is not what that one waits for, and of one before it nothing is left
    // to do: an earlier spec asked for it.
    let concerns = |stage: StageName, source: Source| match open {
        Some(open) => stage == open || stage < open && source != Source::Step,
        None => true,
    };
    let failures = observed.failures.iter().filter(|((stage, source), _)| concerns(*stage, *source));
    let failure = failures.map(|(_, failure)| failure).min_by_key(|failure| failure.since);
    match (verdict.answer, failure) {
        (Answer::True, _) | (Answer::False, None) => verdict,
        (Answer::False, Some(failure)) if verdict.reason == Reason::InProgress => {
            let reason = if lasts(observed, failure) { reason_of(failure) } else { verdict.reason };
            Verdict { reason, ..explained(verdict, failure) }
        }
        (Answer::False, Some(_)) => verdict,
        (Answer::Unknown, failure) => held(observed, verdict, failure),
    }
}

fn held(observed: &Observed, verdict: Verdict, failure: Option<&Failure>) -> Verdict {
    let verdict = match failure {
        Some(failure) => explained(verdict, failure),
        None => verdict,
    };
    if let Some(failure) = failure.filter(|failure| lasts(observed, failure)) {
        return Verdict { answer: Answer::False, reason: reason_of(failure), ..verdict };
    }
    let conditions = observed.tenant.status.iter().flat_map(|status| &status.conditions);
    let before = conditions.into_iter().find(|condition| condition.type_ == name_of(verdict.condition));
    let answer = match before.map(|condition| condition.status.as_str()) {
        Some("True") => Answer::True,
        Some("False") => Answer::False,
        Some(_) | None => Answer::Unknown,
    };
    Verdict { answer, ..verdict }
}

/// Whether a failure shows: one that may pass only when it has lasted.
pub fn lasts(observed: &Observed, failure: &Failure) -> bool {
    failure.kind != FailureKind::Passing || observed.now - failure.since >= PATIENCE
}

fn explained(verdict: Verdict, failure: &Failure) -> Verdict {
    let message = format!("{}; the last attempt failed: {}", verdict.message, failure.message);
    Verdict { message, ..verdict }
}

/// Conditions that a spec does not ask for any more.
fn forget_what_does_not_apply(scope: &Scope<'_>, status: &mut TenantStatus) {
    if scope.wanted.port_pool.is_none() {
        clear(&mut status.conditions, ConditionType::PortsAllocated);
    }
    if scope.wanted.license_secret.is_none() {
        clear(&mut status.conditions, ConditionType::LicenseValid);
    }
}

fn name_of(condition: ConditionType) -> String {
    condition.to_string()
}

/// Takes a condition away.
pub fn clear(conditions: &mut Vec<Condition>, condition: ConditionType) {
    conditions.retain(|found| found.type_ != name_of(condition));
}

/// Sets a condition of a tenant; its transition time moves only with its status.
pub fn set(conditions: &mut Vec<Condition>, observed: &Observed, verdict: Verdict) {
    record(conditions, observed.tenant.metadata.generation, observed.now, verdict);
}

/// Sets a condition of any object; its transition time moves only with its status.
pub fn record(conditions: &mut Vec<Condition>, generation: Option<i64>, now: DateTime<Utc>, verdict: Verdict) {
    let Verdict { condition, answer, reason, message } = verdict;
    let type_ = name_of(condition);
    let status = match answer {
        Answer::True => "True",
        Answer::False => "False",
        Answer::Unknown => "Unknown",
    };
    let before = conditions.iter().position(|found| found.type_ == type_);
    let last_transition_time = match before.map(|index| &conditions[index]) {
        Some(found) if found.status == status => found.last_transition_time.clone(),
        Some(_) | None => Time(crate::clock::to_jiff(now)),
    };
    let condition = Condition {
        type_,
        status: status.into(),
        reason: reason.to_string(),
        message: message.chars().take(MESSAGE).collect(),
        observed_generation: generation,
        last_transition_time,
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
