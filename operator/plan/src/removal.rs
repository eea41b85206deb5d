//! Removal: works from recorded names, needs no valid spec and no surviving child, and treats "already gone" as done.
//! The tenant's data, keys and role stay; what is given up is the address. Ports rest before they are reused.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use crds::tenant_status::Phase;
use crds::{ConditionType, Reason};
use kube::ResourceExt;

use crate::acme::{AcmeStep, mark};
use crate::cert_manager::leave::{self, Left};
use crate::claims::{Claim, Subject};
use crate::fact::Fact;
use crate::keys::generation;
use crate::names::{FINALIZER, Identity};
use crate::object::{Kind, Ref, foreign};
use crate::observed::{Observed, StageName};
use crate::report::{self, set};
use crate::stage::{Answer, POLL, Verdict};
use crate::step::{Plan, Step};

/// How long a block rests when the pool it came from is not in the policy any more.
const DEFAULT_REST: TimeDelta = TimeDelta::hours(168);

/// Plans the removal.
pub fn plan(observed: &Observed, tenant: &Identity) -> Plan {
    let mut status = observed.tenant.status.clone().unwrap_or_default();
    status.phase = Some(Phase::Removing);
    status.observed_generation = observed.tenant.metadata.generation;
    let mut steps = Vec::new();
    let mut waiting = Vec::new();
    let mut needs = Vec::new();
    if !observed.tenant.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        // Ours is gone: what still holds the object is somebody else's.
        return Plan { status, needs, open: Some(StageName::Identity), ..Plan::default() };
    }
    let deployments = [tenant.proxy_deployment(), tenant.auth_deployment(0), tenant.auth_deployment(1)];
    for name in deployments {
        let reference = Ref::new(Kind::Deployment, name);
        match observed.objects.read(&reference) {
            None => needs.push(reference),
            Some(Fact::Absent) => {}
            Some(Fact::Unknown) => waiting.push(format!("{reference} to be read")),
            Some(Fact::Known(live)) if foreign(live, &tenant.uid).is_some() => {}
            Some(Fact::Known(live)) => {
                waiting.push(format!("{reference} to end"));
                if live["metadata"]["deletionTimestamp"].is_null() {
                    let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                    steps.push(Step::Delete { reference, uid });
                }
            }
        }
    }
    let claims = match &observed.claims {
        Fact::Known(claims) => claims.as_slice(),
        Fact::Absent => &[],
        Fact::Unknown => {
            waiting.push("the claims of the installation to be read".into());
            &[]
        }
    };
    // As long as the domain is claimed, nobody else's proof can stand there.
    if let Some(zone) = status.issuance.as_ref().and_then(|issuance| issuance.zone.clone()) {
        match &observed.acme.records {
            Fact::Known(found) if found.values.contains(&mark(&tenant.id)) => {
                waiting.push("the records of the web certificate's proof to be removed".into());
                let domain = observed.tenant.spec.domain.clone();
                steps.push(Step::Acme(AcmeStep::RemoveRecords { zone, domain }));
            }
            Fact::Known(_) | Fact::Absent => status.issuance = None,
            Fact::Unknown => waiting.push("the records of the web certificate's proof to be read".into()),
        }
    }
    if let Some(objects) = &status.cert_manager {
        match leave::next(observed, tenant, objects) {
            Left::Nothing => status.cert_manager = None,
            Left::Step(step) => {
                waiting.push("what cert-manager made to go".into());
                steps.push(*step);
            }
            Left::Unread(reference) => needs.push(reference),
            Left::Waits(what) => waiting.push(what),
        }
    }
    if waiting.is_empty() && needs.is_empty() {
        steps.extend(held(observed, tenant, claims).into_iter().map(|subject| {
            let rests_until = match &subject {
                Subject::Domain(_) => None,
                Subject::Ports { pool, .. } => Some(observed.now + rest(observed, pool)),
            };
            Step::Release { subject, rests_until }
        }));
        match &observed.secrets.authorities {
            Fact::Absent if generation(observed.tenant.status.as_ref()) == 1 => {}
            Fact::Unknown => waiting.push("the Secret of the authorities to be read".into()),
            // Those before it may be there.
            Fact::Absent | Fact::Known(_) => steps.push(Step::UnguardAuthorities),
        }
    }
    if waiting.is_empty() && needs.is_empty() {
        steps.push(Step::RemoveFinalizer);
    }
    let message =
        if waiting.is_empty() { "the address is given up; data and keys stay".into() } else { waiting.join("; ") };
    for (condition, answer) in [
        (ConditionType::Ready, Answer::False),
        (ConditionType::Reconciling, Answer::True),
        (ConditionType::Available, Answer::False),
    ] {
        set(
            &mut status.conditions,
            observed,
            Verdict { condition, answer, reason: Reason::Removing, message: message.clone() },
        );
    }
    report::clear(&mut status.conditions, ConditionType::Stalled);
    Plan {
        steps: steps.into_iter().map(|step| (StageName::Identity, step)).collect(),
        status,
        wake: (!waiting.is_empty()).then_some(POLL),
        needs,
        open: Some(StageName::Identity),
        ..Plan::default()
    }
}

/// Everything that may be claimed for the tenant: what the watch shows, and what it may not show yet. Releasing looks at
/// the holder once more.
fn held(observed: &Observed, tenant: &Identity, claims: &[Claim]) -> BTreeSet<Subject> {
    let seen = claims.iter().filter(|claim| claim.holder.as_ref() == Some(&tenant.holder()));
    let mut subjects: BTreeSet<Subject> = seen.map(|claim| claim.subject.clone()).collect();
    subjects.insert(Subject::Domain(observed.tenant.spec.domain.clone()));
    if let Some(ports) = observed.tenant.status.as_ref().and_then(|status| status.ports.as_ref())
        && let Ok(base) = u16::try_from(ports.ssh)
    {
        subjects.insert(Subject::Ports { pool: ports.pool.clone(), base });
    }
    subjects
}

fn rest(observed: &Observed, pool: &str) -> TimeDelta {
    observed
        .installation
        .as_ref()
        .ok()
        .and_then(|installation| installation.pool(pool))
        .map_or(DEFAULT_REST, crate::port_pool::PortPool::rest)
}
