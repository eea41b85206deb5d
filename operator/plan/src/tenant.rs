//! The plan of a tenant: the order of the stages, and nothing else.

use std::sync::Arc;

use chrono::TimeDelta;
use crds::published::Published;
use crds::{ConditionType, Reason};
use kube::ResourceExt;

use crate::cloud::CloudNames;
use crate::course::{self, Versions};
use crate::manifest::kept::Kept;
use crate::manifest::{self, Inputs, Rendered};
use crate::names::{self, Identity};
use crate::observed::{Observed, Source, StageName};
use crate::stage::{
    POLL, RETRY, Scope, Stage, Stall, agents, auth, cloud, identity, keys, metrics, proxy, publish, update,
};
use crate::step::{Plan, Step};
use crate::version::Version;
use crate::wanted::Wanted;
use crate::{account, consent, issuer, remark, removal, report, retention};

/// How often a paused tenant is looked at, at most, when nothing tells of a change.
const PAUSED: TimeDelta = TimeDelta::minutes(1);

/// Plans one tenant.
pub fn tenant(observed: &Observed) -> Plan {
    tenant_again(observed, &mut Kept::default())
}

/// Plans a tenant of which renderings are kept from an earlier plan; it comes to the same.
pub fn tenant_again(observed: &Observed, kept: &mut Kept) -> Plan {
    let object = &observed.tenant;
    let tenant = Identity {
        slug: object.name_any(),
        namespace: object.namespace().unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        id: names::tenant_id(&object.uid().unwrap_or_default()),
    };
    let leaving = object.metadata.deletion_timestamp.is_some();
    if leaving && !object.spec.deletion_protection {
        return removal::plan(observed, &tenant);
    }
    if let Some(stall) = misled(observed, &tenant) {
        return report::refused(observed, stall);
    }
    let wanted = match Wanted::parse(object) {
        Ok(wanted) => wanted,
        Err(refusals) => {
            let message = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return report::refused(observed, Stall { reason: Reason::InvalidSpec, message });
        }
    };
    let installation = match &observed.installation {
        Ok(installation) => installation,
        Err(fault) => {
            let message = format!("the fleet policy cannot be used: {fault}");
            return report::refused(observed, Stall { reason: Reason::FleetPolicyInvalid, message });
        }
    };
    let account = match account::of(observed, installation, &wanted.region) {
        Ok(account) => account,
        Err(stall) => return report::refused(observed, stall),
    };
    if let Err(stall) = consent::given(&wanted, account) {
        return report::refused(observed, stall);
    }
    let cloud = CloudNames::new(installation, account, &tenant, &wanted.region);
    let scope = Scope { observed, wanted: &wanted, installation, account, tenant, cloud };
    stages(&scope, leaving, kept)
}

/// A status that does not speak of this object: copied, restored, or written by somebody who wants another tenant's data.
/// And one that a newer operator wrote, whose meaning this one may not know.
fn misled(observed: &Observed, tenant: &Identity) -> Option<Stall> {
    let status = observed.tenant.status.as_ref()?;
    if let Some(recorded) = status.tenant_id.as_ref().filter(|recorded| **recorded != tenant.id) {
        let message = format!(
            "status.tenantID is {recorded}, and this object's is {}: the status was copied or restored from another object. Remove the status, or delete the Tenant and apply it again",
            tenant.id
        );
        return Some(Stall { reason: Reason::IdentityMismatch, message });
    }
    let settled_by = status.reconciled_by.as_deref().and_then(|version| Version::parse(version).ok())?;
    let own = Version::parse(&observed.operator_version).ok()?;
    (settled_by > own).then(|| Stall {
        reason: Reason::OperatorTooOld,
        message: format!("operator {settled_by} has settled this tenant, and this is {own}: run {settled_by} or newer"),
    })
}

fn stages(scope: &Scope<'_>, leaving: bool, kept: &mut Kept) -> Plan {
    let (running, versions) = match (course::running(scope), course::versions(scope)) {
        (Ok(running), Ok(versions)) => (running, versions),
        (Err(stall), _) | (_, Err(stall)) => return report::refused(scope.observed, stall),
    };
    let identity = identity::plan(scope);
    let cloud::Outcome { stage: cloud, open: cloud_open } = cloud::plan(scope);
    let web = scope.observed.secrets.web.known().and_then(|web| web.as_ref().ok());
    let issuing = issuer::plan(scope, web, identity.stage.is_settled());
    let keys = keys::plan(scope, issuing.progress.as_ref());
    // Only what is complete is rendered: with a block that is not ours yet the configuration would be another one.
    let complete = identity.stage.is_settled() && keys.license.is_some() == scope.wanted.license_secret.is_some();
    let inputs = keys.authorities.as_ref().filter(|_| complete).map(|found| Inputs {
        tenant: &scope.tenant,
        wanted: scope.wanted,
        installation: scope.installation,
        feed: scope.observed.updates.feed.as_deref().ok(),
        cloud: &scope.cloud,
        ports: identity.ports.as_ref(),
        version: &versions.auth,
        authorities: &found.authorities,
        metrics: &found.metrics,
        license: keys.license.as_deref(),
        operator_namespace: &scope.observed.operator_namespace,
    });
    let in_use = inputs.as_ref().zip(scope.observed.metrics_in_use.as_ref());
    let in_use = in_use.map(|(inputs, metrics)| manifest::metrics::objects(&Inputs { metrics, ..inputs.clone() }));
    let rendered = inputs.as_ref().map(|inputs| render(inputs, &versions, kept));
    let course = course::plan(scope, versions.clone(), rendered.as_deref());
    let auth = auth::plan(scope, rendered.as_deref(), &course);
    let mut proxy = proxy::plan(scope, rendered.as_deref(), &course.proxy, identity.ports.as_ref());
    let mut metrics = metrics::plan(scope, rendered.as_deref().map(|rendered| &rendered.metrics), in_use.as_ref());
    // A plan may ask a few times only: read with what Proxy asks for.
    proxy.needs.append(&mut metrics.needs);
    let agents = agents::plan(scope, &running);
    let inventory = agents::known(scope, &agents.view);
    let before = [
        (StageName::Identity, &identity.stage),
        (StageName::Cloud, &cloud),
        (StageName::Keys, &keys.stage),
        (StageName::Auth, &auth),
        (StageName::Proxy, &proxy),
    ];
    let unsettled = before.into_iter().find(|(_, stage)| !stage.is_settled());
    let update = update::plan(
        scope,
        &update::Given {
            running: &running,
            course: &course,
            inventory: &inventory,
            agents_read_at: agents.view.reading,
            unsettled: unsettled.map(|(name, stage)| format!("{name:?}: {}", stage.progress())),
            auth_settled: auth.is_settled(),
            proxy_settled: proxy.is_settled(),
            inputs,
            rendered: rendered.as_deref(),
        },
    );

    let mut status = scope.observed.tenant.status.clone().unwrap_or_default();
    status.tenant_id = Some(scope.tenant.id.clone());
    status.storage.get_or_insert_with(|| scope.cloud.recorded());
    status.issuance = issuing.issuance;
    status.cert_manager = issuing.cert_manager;
    status.window = scope.observed.updates.window.named().map(str::to_owned);
    if identity.ports.is_some() {
        status.ports = identity.ports;
    }
    if !keys.certificates.is_empty() {
        status.certificates = keys.certificates;
    }
    if agents.counts.is_some() {
        status.agents = agents.counts;
    }
    let steps_are_due = !scope.wanted.paused && identity.stage.is_settled() && cloud.is_settled();
    if let Some(generation) = keys.generation.filter(|_| steps_are_due) {
        status.authority_generation = Some(generation);
    }
    status.endpoints = Some(proxy::endpoints(scope));
    let paused = scope.wanted.paused;
    let earlier: Vec<(StageName, Stage)> =
        vec![(StageName::Identity, identity.stage), (StageName::Cloud, cloud), (StageName::Keys, keys.stage)];
    let pods = (auth.pods || proxy.pods) && earlier.iter().all(|(_, stage)| stage.is_settled());
    // What is not applied is not recorded either.
    if let Some(record) =
        course.record.clone().filter(|_| !paused && earlier.iter().all(|(_, stage)| stage.is_settled()))
    {
        update::raise(&mut status, &course.auth.version);
        status.applied = Some(record);
    }
    update.record(&mut status);
    remark::release(scope.observed, &running, &mut status);
    remark::policy(scope.observed, &mut status);
    remark::annotations(scope, &mut status);
    remark::metrics(scope, &metrics, &mut status);
    let hops = course::update(scope).is_some() || status.update.is_some();
    let stages = [&auth, &proxy, &agents.stage, &update.stage];
    let settled = earlier.iter().map(|(_, stage)| stage).chain(stages).all(Stage::is_settled);
    let before = scope.observed.tenant.status.as_ref().and_then(|status| status.version.as_ref());
    let told = publish::plan(
        scope,
        &publish::Given {
            running: &running,
            rests: settled && !hops && before == Some(&running.to_string()),
            hops,
            view: &agents.view,
            withheld: &update.withheld,
        },
    );
    status.published = Some(told.record).filter(|record| *record != Published::default());
    let look = update.look && !paused;
    let mut shown = agents.stage;
    shown.steps.extend(agents.remember.iter().filter(|_| paused).cloned());
    let stages = earlier.into_iter().chain([
        (StageName::Auth, auth),
        (StageName::Proxy, proxy),
        (StageName::Agents, shown),
        (StageName::Update, update.stage),
        (StageName::Publish, told.stage),
        (StageName::Certificates, keys.replaced),
        (StageName::Metrics, metrics),
    ]);
    let mut plan = report::assemble(scope, leaving, stages.collect(), &running, look, status);
    plan.agents = Some(agents.view);
    plan.listen = told.listen;
    plan.pods = pods;
    plan.cloud_open = cloud_open;
    if !told.applies {
        report::clear(&mut plan.status.conditions, ConditionType::AgentUpdatesPublished);
    }
    if let Some(wake) = issuing.wake {
        plan.wake = Some(plan.wake.map_or(wake, |earliest| earliest.min(wake)));
    }
    // What is made beside the stages goes on when one of them fails; in vain it is not tried at full speed.
    let failed = scope.observed.failures.contains_key(&(StageName::Certificates, Source::Step));
    let next = issuing.steps.first().map(|_| if failed { RETRY } else { POLL });
    let made = plan.status.issuance.is_some() || plan.status.cert_manager.is_some();
    plan.beside = issuing.wake.or(next).filter(|_| made);
    plan.needs.extend(issuing.needs);
    plan.steps.splice(0..0, issuing.steps.into_iter().map(|step| (StageName::Certificates, step)));
    if paused {
        plan.withheld = std::mem::take(&mut plan.steps);
        plan.withheld.extend(agents.remember.map(|step| (StageName::Agents, step)));
        // Nothing comes of looking often.
        plan.wake = plan.wake.map(|wake| wake.max(PAUSED));
        return plan;
    }
    plan.steps.splice(0..0, agents.remember.map(|step| (StageName::Agents, step)));
    // Nothing is left to do, and nothing is about to begin.
    if plan.open.is_none() && plan.steps.is_empty() && plan.status.update.is_none() && !leaving {
        let ended = retention::steps(scope, &plan.status).into_iter();
        plan.steps.extend(ended.map(|step| (StageName::Update, Step::Cloud(step))));
    }
    plan
}

/// Renders Auth and Proxy, each from its version.
fn render(inputs: &Inputs<'_>, versions: &Versions, kept: &mut Kept) -> Arc<Rendered> {
    let auth = kept.render(inputs);
    if versions.proxy == versions.auth {
        return auth;
    }
    let proxy = kept.render(&Inputs { version: &versions.proxy, ..inputs.clone() });
    Arc::new(Rendered { auth: auth.auth.clone(), proxy: proxy.proxy.clone(), metrics: proxy.metrics.clone() })
}
