//! Fourth stage: Auth. Its Deployments are rolled one after the other, and never while another one is not serving.

use chrono::{DateTime, Utc};
use crds::{ConditionType, Reason};

use super::deployment::Rollout;
use super::update;
use super::{Answer, POLL, RETRY, Scope, Stage};
use crate::clock::from_jiff;
use crate::course::{Course, Target};
use crate::fact::Fact;
use crate::manifest::{AuthObjects, Rendered};
use crate::object::{Kind, Object, Ref, foreign};
use crate::step::Step;
use crate::version::{KNOWN_MAJORS, Version, parse_reported};

/// Most replicas that there can be: two processes read one shard of the state table's stream, and no more.
const REPLICAS: i32 = 2;

/// Plans the stage. Without a rendering (an earlier stage has not settled) only the verdict is given.
pub fn plan(scope: &Scope<'_>, rendered: Option<&Rendered>, course: &Course) -> Stage {
    let mut stage = Stage::default();
    if let Some(rendered) = rendered {
        converge(scope, rendered, course, &mut stage);
    } else {
        stage.waits("the earlier stages");
    }
    judge(scope, &course.auth, &mut stage);
    stage
}

fn converge(scope: &Scope<'_>, rendered: &Rendered, course: &Course, stage: &mut Stage) {
    let Rendered { auth, metrics, .. } = rendered;
    let target = &course.auth;
    if !KNOWN_MAJORS.contains(&target.version.major) {
        stage.stalls(Reason::InvalidSpec, update::unknown_version(&target.version), RETRY);
        return;
    }
    if !course.recorded {
        // What starts must stand in status first: the version whose Auth was ever started is what no later one may go below.
        stage.waits("the rendering to be recorded");
        return;
    }
    let mut there = stage.ensure(scope, &auth.service_account)
        & stage.ensure(scope, &auth.service)
        & stage.ensure(scope, &auth.budget)
        & auth.network.iter().fold(true, |there, policy| stage.ensure(scope, policy) & there);
    // While a rendering is held back, pods keep theirs; but one that is missing has none to keep.
    let missing = auth.deployments.iter().any(|wanted| scope.observed.objects.known(&wanted.reference).is_none());
    if !target.held || missing {
        there &= stage.ensure(scope, &auth.config)
            & stage.ensure(scope, &auth.startup)
            & stage.ensure(scope, &metrics.served);
    }
    if !there {
        return;
    }
    // The one that does not serve first: the other goes down only when this one is back.
    let mut order: Vec<&Object> = auth.deployments.iter().collect();
    if course.alone && !serves_alone(scope, auth, target) {
        order.truncate(1);
        // Also those that the spec does not ask for any more.
        for ordinal in 1..REPLICAS {
            yields(scope, ordinal, &target.version, stage);
        }
        if !stage.is_settled() {
            return;
        }
    }
    order.sort_by_key(|wanted| {
        let live = scope.observed.objects.known(&wanted.reference);
        live.is_some_and(|live| Rollout::of(live).complete)
    });
    for wanted in order {
        let live = scope.observed.objects.known(&wanted.reference);
        if !stage.ensure(scope, &target.applicable(wanted, live)) {
            return;
        }
        let rollout = live.map(Rollout::of).unwrap_or_default();
        if !rollout.complete && !target.yields {
            stage.waits_for_pods(scope, &wanted.reference, live);
            return;
        }
    }
    for ordinal in scope.wanted.auth_replicas..REPLICAS {
        retire(scope, Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal)), stage);
    }
    if target.yields {
        return;
    }
    match &scope.observed.teleport.auth {
        Fact::Known(_) if said(scope).as_ref() == Some(&target.version) => {}
        Fact::Unknown => stage.unread.push("Auth could not be asked".into()),
        Fact::Known(_) | Fact::Absent => stage.polls(format!("Auth to answer as version {}", target.version)),
    }
}

/// Whether the first replica runs the target and answers as it, so that others of the same version may join it.
fn serves_alone(scope: &Scope<'_>, auth: &AuthObjects, target: &Target) -> bool {
    let Some(first) = auth.deployments.first() else { return false };
    let complete = scope.observed.objects.known(&first.reference).is_some_and(|live| Rollout::of(live).complete);
    complete
        && version_of(scope, &first.reference).as_ref() == Some(&target.version)
        && said(scope).as_ref() == Some(&target.version)
}

/// A further replica of another version goes before the first one becomes this one. What could not be read may be one.
fn yields(scope: &Scope<'_>, ordinal: i32, version: &Version, stage: &mut Stage) {
    let reference = Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal));
    match scope.observed.objects.read(&reference) {
        Some(Fact::Absent) => {}
        Some(Fact::Known(_)) if version_of(scope, &reference).as_ref() == Some(version) => {}
        Some(Fact::Known(live)) => match foreign(live, &scope.tenant.uid) {
            // Nobody knows what it runs.
            Some(how) => stage.stalls(Reason::NameTaken, format!("{reference} {how}: delete or rename it"), RETRY),
            None => retire(scope, reference, stage),
        },
        None => retire(scope, reference, stage),
        Some(Fact::Unknown) => {
            stage.unread.push(format!("{reference} could not be read"));
            stage.wakes_in(POLL);
        }
    }
}

/// The version that the pods of a Deployment are made from.
fn version_of(scope: &Scope<'_>, reference: &Ref) -> Option<Version> {
    let live = scope.observed.objects.known(reference)?;
    let label = &live["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"];
    Version::parse(label.as_str()?).ok()
}

/// Takes a replica away that is not wanted any more.
fn retire(scope: &Scope<'_>, reference: Ref, stage: &mut Stage) {
    let Some(fact) = scope.observed.objects.read(&reference) else {
        stage.needs.push(reference);
        return;
    };
    if let Fact::Known(live) = fact
        && foreign(live, &scope.tenant.uid).is_none()
    {
        if live["metadata"]["deletionTimestamp"].is_null() {
            let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            stage.steps.push(Step::Delete { reference, uid });
        } else {
            stage.polls(format!("{reference} to end"));
        }
    }
}

/// The version as which Auth itself answers, if it says that it is this tenant's.
fn said(scope: &Scope<'_>) -> Option<Version> {
    let ping = scope.observed.teleport.auth.known()?;
    (ping.cluster_name == scope.wanted.domain).then(|| parse_reported(&ping.version)).flatten()
}

fn judge(scope: &Scope<'_>, target: &Target, stage: &mut Stage) {
    let (ready, wanted) = pods(scope);
    let condition = ConditionType::AuthAvailable;
    let mut counts = format!("{ready} of {wanted} Auth pods ready");
    if ready == 0 {
        let reference = Ref::new(Kind::Deployment, scope.tenant.auth_deployment(0));
        if let Some(why) = stage.trouble(scope, &reference, scope.observed.objects.known(&reference)) {
            counts.push_str(&format!(": {why}"));
        }
        stage.verdict(condition, Answer::False, Reason::PodsNotReady, counts);
        return;
    }
    match (&scope.observed.teleport.auth, said(scope)) {
        (Fact::Known(_), Some(version)) if target.accepts(Some(&version)) => {
            stage.verdict(condition, Answer::True, Reason::Serving, format!("{counts}, version {version}"));
        }
        (Fact::Known(ping), _) => stage.verdict(
            condition,
            Answer::False,
            Reason::VersionMismatch,
            format!(
                "{counts}, but Auth answers as {} of cluster {}, not as {} of {}",
                ping.version, ping.cluster_name, target.version, scope.wanted.domain
            ),
        ),
        (Fact::Absent, _) => {
            stage.verdict(condition, Answer::False, Reason::NotServing, format!("{counts}, but none is reachable"));
        }
        (Fact::Unknown, _) => {
            stage.verdict(
                condition,
                Answer::Unknown,
                Reason::NotServing,
                format!("{counts}, but Auth does not answer"),
            );
            stage.wakes_in(POLL);
        }
    }
}

/// Since when no Auth has served; none while one does, and while nobody can tell.
pub fn silent_since(scope: &Scope<'_>) -> Option<DateTime<Utc>> {
    let mut all = (0..REPLICAS).map(|ordinal| Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal)));
    let silent = all.all(|reference| match scope.observed.objects.read(&reference) {
        Some(Fact::Absent) => true,
        Some(Fact::Known(live)) => Rollout::of(live).ready == 0,
        Some(Fact::Unknown) | None => false,
    });
    let conditions = scope.observed.tenant.status.iter().flat_map(|status| &status.conditions);
    let name = ConditionType::AuthAvailable.to_string();
    let told = conditions.into_iter().find(|found| found.type_ == name && found.status == "False");
    told.filter(|_| silent).map(|found| from_jiff(found.last_transition_time.0))
}

/// Ready and wanted Auth pods.
pub fn pods(scope: &Scope<'_>) -> (i64, i64) {
    let ready = (0..REPLICAS)
        .map(|ordinal| Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal)))
        .filter_map(|reference| scope.observed.objects.known(&reference).map(|live| Rollout::of(live).ready))
        .sum();
    (ready, i64::from(scope.wanted.auth_replicas))
}
