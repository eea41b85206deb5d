//! No hop runs: what is due, and whether it may start. Starting is a claim, which is the write of the status that the gate
//! saw: whoever changed the Tenant in between wins.

use crds::update_status::{HopKind, HopStage, Update};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::next::{self, Due};
use super::{Given, Outcome, Withheld, look_in};
use crate::availability;
use crate::clock::to_jiff;
use crate::course;
use crate::fact::Fact;
use crate::feed::hold::Hold;
use crate::feed::target::Reach;
use crate::gate::{self, Answer, Blocker, Question};
use crate::line::Place;
use crate::stage::Scope;

/// Plans it.
pub fn plan(scope: &Scope<'_>, given: &Given<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    // Before the tenant was ever ready there is nothing to protect: what is wanted is what starts.
    if course::never_ready(scope) {
        return outcome;
    }
    let Some(Choice { due, answer, withheld }) = choose(scope, given) else {
        outcome.withheld = Fact::Absent;
        return outcome;
    };
    outcome.withheld = withheld;
    if let Some(delay) = next::wake(scope, &answer) {
        look_in(&mut outcome.stage, delay);
    }
    if answer.is_open() {
        outcome.update = Some(claim(scope, given, &due, &answer));
        outcome.applies_now = answer.applies_now;
        outcome.stage.waits(format!("the {:?} to {} to be claimed", due.kind, due.to));
    } else {
        outcome.blocked = answer.person();
        outcome.next = Some(next::status(scope, &due, &answer));
    }
    outcome
}

struct Choice {
    due: Due,
    answer: Answer,
    withheld: Fact<Withheld>,
}

/// What is due. A major that waits for a person holds back no release of the major that runs.
fn choose(scope: &Scope<'_>, given: &Given<'_>) -> Option<Choice> {
    let asked = |due: Due| {
        let answer = ask(scope, given, &due);
        (due, answer)
    };
    let first = next::version(scope, given.running, Reach::Any).map(asked);
    let withheld = first.as_ref().map_or(Fact::Absent, |(due, answer)| withheld(due, answer));
    let chosen = match first {
        Some((due, answer))
            if due.kind == HopKind::Major
                && next::follows(scope)
                && answer.blockers.iter().any(Blocker::needs_person) =>
        {
            let within = next::version(scope, given.running, Reach::SameMajor).map(asked);
            // Only one that nothing but time holds: the major is what a person should hear of.
            let within = within.filter(|(_, answer)| !answer.blockers.iter().any(Blocker::needs_person));
            Some(within.unwrap_or((due, answer)))
        }
        Some(found) => Some(found),
        None => next::template(given).map(|mut due| {
            if let Some(at) = next::template_failed(scope) {
                due.holds.push(Hold::FailedHere { version: due.to.clone(), at });
            }
            asked(due)
        }),
    };
    chosen.map(|(due, answer)| Choice { due, answer, withheld })
}

/// Whether agents hold a due major back. One that is not due yet waits for the feed, and one whose agents are not known
/// for who knows whom.
fn withheld(due: &Due, answer: &Answer) -> Fact<Withheld> {
    let allowed = due.holds.iter().all(|hold| matches!(hold, Hold::FailedHere { .. }));
    if due.kind != HopKind::Major || !allowed {
        return Fact::Absent;
    }
    let mut agents = 0;
    for blocker in &answer.blockers {
        match blocker {
            Blocker::AgentsBehind { count, .. } | Blocker::AgentVersionUnknown { count, .. } => agents += count,
            Blocker::AgentReportMissing { .. }
            | Blocker::AgentReportStale { .. }
            | Blocker::AgentReportIncomplete { .. } => return Fact::Unknown,
            _ => {}
        }
    }
    if agents > 0 { Fact::Known(Withheld { to: due.to.clone(), agents }) } else { Fact::Absent }
}

fn ask(scope: &Scope<'_>, given: &Given<'_>, due: &Due) -> Answer {
    gate::check(&question(scope, given, due.kind, &due.holds, due.critical, Some(&scope.observed.updates.place)))
}

/// Everything that the gate looks at.
pub fn question<'a>(
    scope: &'a Scope<'_>,
    given: &'a Given<'_>,
    kind: HopKind,
    holds: &'a [Hold],
    critical: bool,
    place: Option<&'a Place>,
) -> Question<'a> {
    let observed = scope.observed;
    let updates = &observed.updates;
    let status = observed.tenant.status.as_ref();
    let feed = updates.feed.as_ref().ok();
    let spent = status.map_or(0, |status| availability::spent(status, observed.now));
    Question {
        now: observed.now,
        kind,
        running_major: given.running.major,
        holds,
        budget: feed
            .filter(|_| !critical)
            .map(|feed| (spent, feed.monthly_downtime_budget.num_seconds(), availability::next_month(observed.now))),
        paused: scope.wanted.paused,
        unsettled: given.unsettled.as_deref(),
        freeze: feed.and_then(|feed| feed.frozen(observed.now)).map(|freeze| (freeze.until, freeze.reason.as_str())),
        inventory: given.inventory,
        window: &updates.window,
        skew: &observed.clock_skew,
        place,
        maintenance: &scope.wanted.maintenance,
        applied_now: status.and_then(|status| status.applied_now.as_ref()),
        claimed: &[],
    }
}

fn claim(scope: &Scope<'_>, given: &Given<'_>, due: &Due, answer: &Answer) -> Update {
    let now = Time(to_jiff(scope.observed.now));
    let status = scope.observed.tenant.status.as_ref();
    Update {
        kind: due.kind,
        from: given.running.to_string(),
        to: due.to.to_string(),
        stage: HopStage::Preflight,
        started_at: now.clone(),
        stage_since: now,
        window: scope.observed.updates.window.schedule().map(|_| scope.observed.updates.window.name().to_owned()),
        skipped: answer.skipped.clone(),
        recovery_point: None,
        down_seconds_before: status.map_or(0, |status| availability::spent(status, scope.observed.now)),
        deadline: None,
        halted_at: None,
    }
}
