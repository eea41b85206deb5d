//! A hop runs: its own steps, and what comes next. Until `Auth` the gate is asked again and again, and a hop for which it
//! has closed is given up; from there it goes on whatever window, agents or policy say.

use chrono::{DateTime, Utc};
use crds::maintenance::Check;
use crds::update_status::{HopKind, HopRecord, HopResult, HopStage, Update};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::next::{self, Due};
use super::{Given, Outcome, claim, look_in};
use crate::availability;
use crate::clock::{from_jiff, to_jiff};
use crate::cloud::backup::{self, BackupState, Source};
use crate::course;
use crate::fact::Fact;
use crate::feed::target::Reach;
use crate::gate::{self, Answer, Blocker};
use crate::hop::{self, Facts, Move};
use crate::manifest::{self, Inputs, preflight};
use crate::mutant::mutant;
use crate::names::Component;
use crate::observed::Process;
use crate::stage::{POLL, Scope, Stage, auth};
use crate::step::Step;
use crate::version::{Version, parse_reported};

/// Plans it.
pub fn plan(scope: &Scope<'_>, given: &Given<'_>, update: &Update) -> Outcome {
    let now = scope.observed.now;
    let mut outcome = Outcome { update: Some(update.clone()), ..Outcome::default() };
    // It stands still where it is. One that has touched nothing yet is given up, as for every other blocker: it would only
    // keep the place of another tenant.
    if scope.wanted.paused && update.stage >= HopStage::Auth {
        outcome.stage.waits("spec.paused to be false");
        return outcome;
    }
    if let Some(successor) = supersede(scope, given, update) {
        outcome.ended = Some(ended(scope, update, HopResult::Halted, "another release took its place".into()));
        outcome.starts = Version::parse(&successor.to).ok();
        outcome.update = Some(successor);
        return outcome;
    }
    let due = still_due(scope, given, update);
    let answer = due.as_ref().map(|due| ask(scope, given, update, due));
    let preflight = preflight_of(scope, given, update, &mut outcome.stage);
    let recovery = recovery_of(scope, update);
    let facts = Facts {
        now,
        update,
        open: answer.as_ref().is_some_and(Answer::is_open),
        unread: answer.as_ref().is_some_and(|answer| unread(given, answer)),
        live: scope.observed.updates.live,
        agents_read_since: given.agents_read_at.is_some_and(|at| at >= from_jiff(update.stage_since.0)),
        preflight: &preflight,
        recovery: &recovery,
        auth_settled: given.auth_settled,
        proxy_settled: given.proxy_settled,
        silent_since: auth::silent_since(scope),
        unverified: unverified(scope, given),
    };
    let (next, vain_from) = (hop::next(&facts), hop::vain_from(&facts));
    let mut told = update.clone();
    // Until then the gate is asked. What opens it for a hop that goes on is used up and named by that hop, also where it
    // was given only after the claim.
    if let Some(answer) = answer.as_ref().filter(|_| update.stage < HopStage::Auth)
        && matches!(next, Move::Enter(_) | Move::Recovered(_))
    {
        outcome.applies_now.clone_from(&answer.applies_now);
        told.skipped.extend(answer.skipped.iter().filter(|check| !update.skipped.contains(check)));
        told.skipped.sort_unstable();
    }
    match next {
        Move::Wait(what) => {
            outcome.stage.waits(what);
            if update.stage == HopStage::RecoveryPoint {
                if let BackupState::Create(step) = recovery {
                    outcome.stage.steps.push(Step::Cloud(*step));
                }
                outcome.stage.wakes_in(POLL * 5);
            }
            // What a process answers sends no event.
            if matches!(update.stage, HopStage::Verify | HopStage::RevertAuth) {
                outcome.stage.wakes_in(POLL);
            }
        }
        Move::Look => {
            outcome.look = true;
            outcome.stage.polls("everything to be looked at once more");
        }
        Move::Enter(stage) => {
            enter(scope, &told, stage, &mut outcome);
            if stage == HopStage::Proxy && mutant!(PublishBeforeVerify) {
                outcome.applied = settled_as(scope, given, update, HopResult::Succeeded);
            }
        }
        Move::Recovered(arn) => {
            let entered = Update { recovery_point: Some(arn), ..told };
            enter(scope, &entered, HopStage::Confirm, &mut outcome);
        }
        Move::Abandon => {
            outcome.update = None;
            outcome.blocked = answer.as_ref().and_then(Answer::person);
            outcome.next = due.as_ref().zip(answer.as_ref()).map(|(due, answer)| next::status(scope, due, answer));
        }
        Move::Halt => {
            let halted_at = Some(Time(to_jiff(now)));
            outcome.update = Some(Update { halted_at, ..update.clone() });
            outcome.stage.waits("a person");
        }
        Move::End(result, message) => {
            outcome.update = None;
            outcome.applied = settled_as(scope, given, update, result);
            outcome.ended = Some(ended(scope, update, result, message));
        }
    }
    let deadline = update.deadline.as_ref().map(|deadline| from_jiff(deadline.0));
    let last = match update.stage {
        HopStage::Preflight => Some(from_jiff(update.stage_since.0) + hop::PREFLIGHT),
        HopStage::RecoveryPoint => Some(from_jiff(update.stage_since.0) + hop::RECOVERY_POINT),
        _ => deadline,
    };
    if let Some(term) = last.into_iter().chain(vain_from).filter(|term| *term > now).min() {
        look_in(&mut outcome.stage, term - now);
    }
    outcome
}

/// Whether a closed gate lacks nothing but answers for which this process has not asked before.
fn unread(given: &Given<'_>, answer: &Answer) -> bool {
    answer.blockers.iter().all(|blocker| match blocker {
        Blocker::AgentReportMissing { .. } => given.agents_read_at.is_none(),
        Blocker::ClockSkewed { measured } => !measured,
        _ => false,
    })
}

/// Enters a stage; the first disruptive one with a deadline and with what Auth is started as, and each step back with a
/// deadline of its own.
fn enter(scope: &Scope<'_>, update: &Update, stage: HopStage, outcome: &mut Outcome) {
    let now = scope.observed.now;
    let mut entered = Update { stage, stage_since: Time(to_jiff(now)), ..update.clone() };
    if stage == HopStage::Auth || stage >= HopStage::RevertProxy {
        entered.deadline = Some(Time(to_jiff(deadline(scope, now))));
    }
    if stage == HopStage::Auth {
        outcome.starts = Version::parse(&update.to).ok().filter(|_| !mutant!(HighWaterLate));
    }
    outcome.update = Some(entered);
    outcome.stage.waits(format!("{stage:?} to begin"));
}

/// The first process that does not answer as what it should be, or that it is not known of all of them.
fn unverified(scope: &Scope<'_>, given: &Given<'_>) -> Option<String> {
    let found = match &scope.observed.teleport.each {
        Fact::Known(found) => found,
        Fact::Absent | Fact::Unknown => return Some("every process to be asked for its version".into()),
    };
    let parts = [
        (Component::Auth, &given.course.auth.version, scope.wanted.auth_replicas),
        (Component::Proxy, &given.course.proxy.version, scope.wanted.proxy_replicas),
    ];
    parts.into_iter().find_map(|(component, version, wanted)| {
        let label = component.label();
        let mut processes = found.iter().filter(|process| process.component == component);
        let other = processes.clone().find_map(|Process { pod, version: said, .. }| match said {
            Fact::Known(said) if parse_reported(said).as_ref() == Some(version) => None,
            Fact::Known(said) => Some(format!("the {label} of pod {pod} to run {version}: it answers as {said}")),
            Fact::Absent | Fact::Unknown => Some(format!("the {label} of pod {pod} to answer as {version}")),
        });
        let missing = processes.by_ref().count() < usize::try_from(wanted).unwrap_or_default();
        other.or_else(|| missing.then(|| format!("{wanted} processes of {label} to answer as {version}")))
    })
}

fn deadline(scope: &Scope<'_>, now: DateTime<Utc>) -> DateTime<Utc> {
    let inputs = &scope.wanted.pod_inputs;
    hop::deadline(now, scope.wanted.proxy_replicas, inputs.proxy_grace_seconds, inputs.proxy_min_ready_seconds)
}

/// The change that was claimed, if it is still what is wanted.
fn still_due(scope: &Scope<'_>, given: &Given<'_>, update: &Update) -> Option<Due> {
    let reaches = [Reach::Any, Reach::SameMajor];
    let mut wanted = reaches.into_iter().filter_map(|reach| next::version(scope, given.running, reach));
    let found = wanted.find(|due| due.kind == update.kind && due.to.to_string() == update.to);
    found.or_else(|| next::template(given).filter(|_| update.kind == HopKind::Template))
}

fn ask(scope: &Scope<'_>, given: &Given<'_>, update: &Update, due: &Due) -> Answer {
    let updates = &scope.observed.updates;
    let status = scope.observed.tenant.status.as_ref();
    // A place that was claimed is kept; only a live look can show that too many have claimed at once.
    let place = Some(&updates.place).filter(|_| updates.live && !mutant!(SlotCountedLate));
    let by_apply_now = update.skipped.contains(&Check::Window)
        && status.is_some_and(|status| status.applied_now.is_some())
        && status.map(|status| &status.applied_now) == Some(&scope.wanted.maintenance.apply_now);
    let claimed: &[Check] = if by_apply_now { &[Check::Window] } else { &[] };
    let question = claim::question(scope, given, due.kind, &due.holds, due.critical, place);
    gate::check(&gate::Question { claimed, ..question })
}

/// The configuration of the target and the Job that checks it; what it came to.
fn preflight_of(scope: &Scope<'_>, given: &Given<'_>, update: &Update, stage: &mut Stage) -> preflight::Outcome {
    let target = Version::parse(&update.to).ok().filter(|_| update.stage == HopStage::Preflight);
    let (Some(version), Some(inputs)) = (target, &given.inputs) else { return preflight::Outcome::Running };
    let inputs = Inputs { version: &version, ..inputs.clone() };
    let (auth, proxy) = (manifest::auth::config(&inputs), manifest::proxy::config(&inputs));
    if !(stage.ensure(scope, &auth) & stage.ensure(scope, &proxy)) {
        return preflight::Outcome::Running;
    }
    // Every claim has a check of its own.
    let attempt = u32::try_from(update.started_at.0.as_second()).unwrap_or_default();
    let job = preflight::job(&inputs, &auth.reference.name, &proxy.reference.name, attempt);
    if !stage.ensure(scope, &job) {
        return preflight::Outcome::Running;
    }
    scope.observed.objects.known(&job.reference).map_or(preflight::Outcome::Running, preflight::outcome)
}

fn recovery_of(scope: &Scope<'_>, update: &Update) -> BackupState {
    let (Ok(from), Ok(to)) = (Version::parse(&update.from), Version::parse(&update.to)) else {
        return BackupState::Unknown;
    };
    let source = Source::new(scope.installation, &scope.tenant, &scope.cloud);
    let name = source.name(&from, &to, from_jiff(update.started_at.0));
    backup::step(&name, &source, &scope.observed.updates.backups)
}

/// A halted hop whose release has a successor of the same major: that one takes its place, since nothing else can lead
/// out. The window was asked when the hop began. Where Proxy may run the failed release already and an older one follows,
/// the way down begins at the failed one: Proxy goes first, so that it is never newer than Auth.
fn supersede(scope: &Scope<'_>, given: &Given<'_>, update: &Update) -> Option<Update> {
    update.halted_at.as_ref()?;
    let failed = Version::parse(&update.to).ok()?;
    let due = next::version(scope, given.running, Reach::Any)?;
    let feed = scope.observed.updates.feed.as_ref().ok()?;
    let now = scope.observed.now;
    let frozen = feed.frozen(now).is_some();
    let better = due.to.major == failed.major && due.to != failed && due.holds.is_empty() && !frozen;
    let down = due.to < failed && update.stage > HopStage::Auth;
    better.then(|| Update {
        from: if down { update.to.clone() } else { update.from.clone() },
        to: due.to.to_string(),
        stage: HopStage::Auth,
        stage_since: Time(to_jiff(now)),
        started_at: Time(to_jiff(now)),
        deadline: Some(Time(to_jiff(deadline(scope, now)))),
        halted_at: None,
        ..update.clone()
    })
}

/// What the pods were rendered from when it ended; nothing new where nothing was touched.
fn settled_as(
    scope: &Scope<'_>,
    given: &Given<'_>,
    update: &Update,
    result: HopResult,
) -> Option<crds::tenant_status::Applied> {
    let version = match result {
        HopResult::Succeeded => &update.to,
        HopResult::RolledBack => &update.from,
        HopResult::PreflightFailed | HopResult::Halted => return None,
    };
    Some(course::record(scope, &Version::parse(version).ok()?, given.rendered?))
}

fn ended(scope: &Scope<'_>, update: &Update, result: HopResult, message: String) -> HopRecord {
    let status = scope.observed.tenant.status.as_ref();
    let spent = status.map_or(0, |status| availability::spent(status, scope.observed.now));
    HopRecord {
        kind: update.kind,
        from: update.from.clone(),
        to: update.to.clone(),
        started_at: update.started_at.clone(),
        finished_at: Time(to_jiff(scope.observed.now)),
        result,
        generation: scope.observed.tenant.metadata.generation.unwrap_or_default(),
        pause_seconds: (spent - update.down_seconds_before).max(0),
        skipped: update.skipped.clone(),
        recovery_point: update.recovery_point.clone(),
        message: message.chars().take(256).collect(),
    }
}
