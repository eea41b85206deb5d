//! From stages to a plan and a status: the steps of the first stage that is not settled, the conditions of all. The
//! transition time of a condition moves only with its status; equal apart from time is equal.

use chrono::TimeDelta;
use crds::tenant_status::{Phase, TenantStatus};
use crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::observed::{Failure, FailureKind, Observed, StageName};
use crate::stage::update::Template;
use crate::stage::{Answer, RETRY, Scope, Stage, Stall, Verdict, auth, proxy};
use crate::step::Plan;

/// How long a failure may last before it turns a condition.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);
/// Bound of a condition's message.
const MESSAGE: usize = 1024;

/// Puts the stages together.
pub fn assemble(
    scope: &Scope<'_>,
    leaving: bool,
    stages: Vec<(StageName, Stage)>,
    template: &Template,
    mut status: TenantStatus,
) -> Plan {
    let observed = scope.observed;
    let mut plan =
        Plan { steps: Vec::new(), status: TenantStatus::default(), wake: None, needs: Vec::new(), open: None };
    let mut stalled = leaving.then(|| Stall {
        reason: Reason::DeletionProtection,
        message: "spec.deletionProtection is true, so the deletion is not carried out and the tenant keeps running: set it to false to let the deletion go on".into(),
    });
    let mut open: Option<Open> = None;
    for (name, stage) in stages {
        let settled = stage.is_settled();
        let (progress, unread) = (stage.progress(), stage.only_unread());
        for verdict in stage.verdicts {
            let verdict = shielded(observed, name, verdict);
            set(&mut status.conditions, observed, verdict);
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
        if !settled {
            open = Some(Open { name, progress, unread });
            if stalled.is_none() {
                stalled = stage.stalled;
            }
        }
    }
    for verdict in template.verdicts() {
        set(&mut status.conditions, observed, verdict);
    }
    plan.open = open.as_ref().map(|open| open.name);
    let holds =
        |condition| status.conditions.iter().any(|found| found.type_ == name_of(condition) && found.status == "True");
    let available = holds(ConditionType::AuthAvailable) && holds(ConditionType::ProxyAvailable);
    let ((auth_ready, auth_wanted), (proxy_ready, proxy_wanted)) = (auth::pods(scope), proxy::pods(scope));
    let whole = auth_ready >= auth_wanted && proxy_ready >= proxy_wanted;
    let summary = shielded_summary(observed, summary(template, open.as_ref(), stalled.as_ref(), available && whole));
    let ready = summary.answer == Answer::True;
    if open.is_none() && ready {
        status.version = Some(template.version().to_string());
        status.reconciled_by = Some(observed.operator_version.clone());
    }
    let was_ready = status.version.is_some();
    status.phase = Some(match (&stalled, ready, was_ready) {
        (_, true, _) => Phase::Ready,
        (Some(_), false, false) => Phase::Pending,
        (None, false, false) => Phase::Provisioning,
        (_, false, true) => Phase::Degraded,
    });
    status.observed_generation = observed.tenant.metadata.generation;
    set(&mut status.conditions, observed, availability(available));
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

/// The first stage that is not settled.
struct Open {
    name: StageName,
    progress: String,
    /// Nothing keeps it open but an answer that did not come.
    unread: bool,
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
    Plan { steps: Vec::new(), status, wake: Some(RETRY), needs: Vec::new(), open: Some(StageName::Identity) }
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

fn availability(available: bool) -> Verdict {
    Verdict {
        condition: ConditionType::Available,
        answer: if available { Answer::True } else { Answer::False },
        reason: if available { Reason::Serving } else { Reason::NotServing },
        message: if available { "users can log in" } else { "Auth or Proxy does not serve" }.into(),
    }
}

fn summary(template: &Template, open: Option<&Open>, stalled: Option<&Stall>, serves: bool) -> Verdict {
    let verdict = |answer, reason, message| Verdict { condition: ConditionType::Ready, answer, reason, message };
    match (stalled, open, template.next()) {
        (Some(stall), ..) => verdict(Answer::False, stall.reason, stall.message.clone()),
        (None, Some(Open { name, progress, unread: true }), _) => {
            verdict(Answer::Unknown, Reason::Retrying, format!("{name:?}: {progress}"))
        }
        (None, Some(Open { name, progress, unread: false }), _) => {
            verdict(Answer::False, Reason::InProgress, format!("{name:?}: {progress}"))
        }
        (None, None, _) if !serves => verdict(Answer::False, Reason::PodsNotReady, "not all pods are ready".into()),
        (None, None, Some(next)) => {
            let message = format!(
                "everything is as the spec asks at version {}; {} is due and waits",
                template.version(),
                next.to
            );
            verdict(Answer::True, Reason::AsSpecified, message)
        }
        (None, None, None) => verdict(Answer::True, Reason::AsSpecified, "everything is as the spec asks".into()),
    }
}

fn reason_of(failure: &Failure) -> Reason {
    match failure.kind {
        FailureKind::Passing => Reason::Retrying,
        FailureKind::Denied => Reason::AccessDenied,
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
fn shielded_summary(observed: &Observed, verdict: Verdict) -> Verdict {
    let failure = observed.failures.values().min_by_key(|failure| failure.since);
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

fn lasts(observed: &Observed, failure: &Failure) -> bool {
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

/// Sets a condition; its transition time moves only with its status.
pub fn set(conditions: &mut Vec<Condition>, observed: &Observed, verdict: Verdict) {
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
        Some(_) | None => Time(crate::clock::to_jiff(observed.now)),
    };
    let condition = Condition {
        type_,
        status: status.into(),
        reason: reason.to_string(),
        message: message.chars().take(MESSAGE).collect(),
        observed_generation: observed.tenant.metadata.generation,
        last_transition_time,
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
