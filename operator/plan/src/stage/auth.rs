//! Fourth stage: Auth. Its Deployments are rolled one after the other, and never while another one is not serving.

use crds::{ConditionType, Reason};

use super::deployment::Rollout;
use super::update::{self, Template};
use super::{Answer, POLL, RETRY, Scope, Stage};
use crate::fact::Fact;
use crate::manifest::Rendered;
use crate::object::{Kind, Ref};
use crate::step::Step;
use crate::version::{KNOWN_MAJORS, Version, parse_reported};

/// Plans the stage. Without a rendering (an earlier stage has not settled) only the verdict is given.
pub fn plan(scope: &Scope<'_>, rendered: Option<&Rendered>, template: &Template) -> Stage {
    let mut stage = Stage::default();
    if let Some(rendered) = rendered {
        converge(scope, rendered, template, &mut stage);
    } else {
        stage.waits("the earlier stages");
    }
    judge(scope, template.version(), &mut stage);
    stage
}

fn converge(scope: &Scope<'_>, rendered: &Rendered, template: &Template, stage: &mut Stage) {
    if !KNOWN_MAJORS.contains(&template.version().major) {
        stage.stalls(Reason::InvalidSpec, update::unknown_version(template.version()), RETRY);
        return;
    }
    if !template.is_recorded() {
        // What starts must stand in status first: the version whose Auth was ever started is what no later one may go below.
        stage.waits("the rendering to be recorded");
        return;
    }
    let auth = &rendered.auth;
    let mut there = stage.ensure(scope, &auth.service_account) & stage.ensure(scope, &auth.service);
    // While a rendering is held back, pods keep theirs; but one that is missing has none to keep.
    let missing = auth.deployments.iter().any(|wanted| scope.observed.objects.known(&wanted.reference).is_none());
    if !template.is_held() || missing {
        there &= stage.ensure(scope, &auth.config) & stage.ensure(scope, &auth.startup);
    }
    if !there {
        return;
    }
    // The one that does not serve first: the other goes down only when this one is back.
    let mut order: Vec<_> = auth.deployments.iter().collect();
    order.sort_by_key(|wanted| {
        let live = scope.observed.objects.known(&wanted.reference);
        live.is_some_and(|live| Rollout::of(live).complete)
    });
    for wanted in order {
        let live = scope.observed.objects.known(&wanted.reference);
        if !stage.ensure(scope, &template.applicable(wanted, live)) {
            return;
        }
        let rollout = live.map(Rollout::of).unwrap_or_default();
        if !rollout.complete {
            stage.waits(format!("{}: {} of {} pods ready", wanted.reference, rollout.ready, rollout.wanted));
            return;
        }
    }
    for ordinal in scope.wanted.auth_replicas..2 {
        retire(scope, Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal)), stage);
    }
    match &scope.observed.teleport.auth {
        Fact::Known(_) if answers(scope, template.version()) => {}
        Fact::Unknown => stage.unread.push("Auth could not be asked".into()),
        Fact::Known(_) | Fact::Absent => stage.polls(format!("Auth to answer as version {}", template.version())),
    }
}

/// Takes a replica away that is not wanted any more.
fn retire(scope: &Scope<'_>, reference: Ref, stage: &mut Stage) {
    let Some(fact) = scope.observed.objects.read(&reference) else {
        stage.needs.push(reference);
        return;
    };
    if let Fact::Known(live) = fact
        && crate::object::foreign(live, &scope.tenant.uid).is_none()
    {
        if live["metadata"]["deletionTimestamp"].is_null() {
            let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            stage.steps.push(Step::Delete { reference, uid });
        } else {
            stage.polls(format!("{reference} to end"));
        }
    }
}

/// Whether Auth itself says that it is this tenant's, at this version.
fn answers(scope: &Scope<'_>, version: &Version) -> bool {
    scope.observed.teleport.auth.known().is_some_and(|ping| {
        ping.cluster_name == scope.wanted.domain && parse_reported(&ping.version).as_ref() == Some(version)
    })
}

fn judge(scope: &Scope<'_>, version: &Version, stage: &mut Stage) {
    let (ready, wanted) = pods(scope);
    let condition = ConditionType::AuthAvailable;
    let counts = format!("{ready} of {wanted} Auth pods ready");
    if ready == 0 {
        stage.verdict(condition, Answer::False, Reason::PodsNotReady, counts);
        return;
    }
    match &scope.observed.teleport.auth {
        Fact::Known(_) if answers(scope, version) => {
            stage.verdict(condition, Answer::True, Reason::Serving, format!("{counts}, version {version}"));
        }
        Fact::Known(ping) => stage.verdict(
            condition,
            Answer::False,
            Reason::VersionMismatch,
            format!(
                "{counts}, but Auth answers as {} of cluster {}, not as {version} of {}",
                ping.version, ping.cluster_name, scope.wanted.domain
            ),
        ),
        Fact::Absent => {
            stage.verdict(condition, Answer::False, Reason::NotServing, format!("{counts}, but none is reachable"));
        }
        Fact::Unknown => {
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

/// Ready and wanted Auth pods.
pub fn pods(scope: &Scope<'_>) -> (i64, i64) {
    let ready = (0..2)
        .map(|ordinal| Ref::new(Kind::Deployment, scope.tenant.auth_deployment(ordinal)))
        .filter_map(|reference| scope.observed.objects.known(&reference).map(|live| Rollout::of(live).ready))
        .sum();
    (ready, i64::from(scope.wanted.auth_replicas))
}
