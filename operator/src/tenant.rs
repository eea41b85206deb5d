//! One reconcile of one Tenant: observe, plan, apply, report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::Tenant;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use plan::agents::Recall;
use plan::manifest::kept::Kept;
use plan::names::Identity;
use plan::observed::{Observed, Source, StageName};
use plan::step::Step;
use plan::{Fact, Plan};

use crate::apply::{Hands, apply};
use crate::clock;
use crate::context::Context;
use crate::error::{Class, Error, Result, chain};
use crate::observe::{self, identity, observe, read_needed};
use crate::report::report;
use crate::{listen, processes, updates};

/// A whole run takes no longer; every call in it has a shorter bound of its own.
const DEADLINE: Duration = Duration::from_secs(120);
/// How often a plan may ask for further objects before it is taken as it is: for those of Auth, of Proxy, for the
/// configurations of a hop's target where they are others than those that run, and for the Job that checks them.
const READINGS: usize = 4;
/// After something was done: look at once whether it is there. The watch is usually faster.
const AGAIN: Duration = Duration::from_millis(200);
/// The least time between two runs that nothing asked for.
const LEAST: Duration = Duration::from_secs(1);

/// Reconciles one Tenant. One that does not parse is told of and left alone: it may be of a newer schema.
///
/// # Errors
/// The first failure of the run; the controller looks again after the delay that `delay` says.
pub async fn reconcile(tenant: Arc<DeserializeGuard<Tenant>>, context: Arc<Context>) -> Result<Action> {
    let started = Instant::now();
    let outcome = match &tenant.0 {
        Ok(tenant) => match tokio::time::timeout(DEADLINE, run(tenant, &context)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout { attempt: "reconcile the Tenant".into(), seconds: DEADLINE.as_secs() }),
        },
        Err(invalid) => {
            tell_invalid(&tenant.object_ref(&()), invalid, &context).await;
            Err(Error::Unreadable { attempt: "read the Tenant".into(), fault: invalid.error.clone() })
        }
    };
    let label = outcome.as_ref().map_or_else(|error| error.class().label(), |_| "ok");
    context.metrics.reconciled("Tenant", label, started.elapsed());
    if let Err(error) = &outcome
        && !matches!(error.class(), Class::Conflict)
    {
        tracing::warn!(tenant = %tenant.name_any(), class = label, error = %chain(error), "the run failed");
    }
    outcome
}

async fn tell_invalid(object: &ObjectReference, invalid: &InvalidObject, context: &Context) {
    let event = Event {
        type_: EventType::Warning,
        reason: "Unreadable".into(),
        note: Some(format!("this operator cannot read the object and leaves it alone: {}", invalid.error)),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, object).await {
        tracing::warn!(%error, "cannot publish an event");
    }
}

async fn run(tenant: &Tenant, context: &Context) -> Result<Action> {
    let now = clock::now();
    let identity = identity(tenant);
    // A new tenant is put where there is room, which the list of all tenants tells.
    let recorded = tenant.status.as_ref().is_some_and(|status| status.storage.is_some());
    if !recorded && !context.fleet.is_listed() {
        return Ok(Action::requeue(AGAIN));
    }
    let mut observed = observe(tenant, context, now).await;
    let plan = plan(&mut observed, context).await;
    let mut tenant = tenant.clone();
    context.pools.see(&identity, plan.agents.clone());
    let auth = observe::auth_target(&observed);
    if plan.mends {
        context.memory.mends(&identity.uid, now);
    }
    let hands = Hands { identity: &identity, auth: auth.as_ref(), context, now };
    let applied = apply(&mut tenant, &hands, &plan.steps).await;
    let reported = report(&tenant, &identity, plan.status.clone(), context, now).await;
    settle_reading(&plan, &identity, context);
    context.memory.steps_done(&identity.uid, &plan);
    // A settled plan that does nothing has no use for the list of backups either.
    if plan.open.is_none() && plan.steps.is_empty() {
        context.memory.backups_done(&identity.uid);
    }
    let again = match applied {
        Ok(()) => {
            context.memory.reset_attempts(&identity.uid);
            None
        }
        // What agents are told, a certificate that is being made and what scrapers read hold up nothing else of the tenant.
        Err((StageName::Publish | StageName::Certificates | StageName::Metrics, error)) => {
            Some(context.memory.delay(&identity.uid, error.class()))
        }
        Err((_, error)) => {
            context.acme.wakes_in(&identity.uid, plan.beside.and_then(|beside| beside.to_std().ok()));
            return Err(error);
        }
    };
    let written = reported?;
    Ok(next_run(&plan, written, again, &hands))
}

/// Plans; a plan that needs one more fact is drawn again with it.
async fn plan(observed: &mut Observed, context: &Context) -> Plan {
    let mut kept = Kept::default();
    let mut plan = plan::tenant_again(observed, &mut kept);
    for _ in 0..READINGS {
        if plan.needs.is_empty() {
            break;
        }
        read_needed(observed, &plan.needs, context).await;
        plan = plan::tenant_again(observed, &mut kept);
    }
    if plan.pods {
        let identity = identity(&observed.tenant);
        // Without an answer the plan says what it can.
        match processes::troubles(&identity, context).await {
            Ok(troubles) => {
                observed.troubles = Fact::Known(troubles);
                plan = plan::tenant_again(observed, &mut kept);
            }
            Err(error) => tracing::warn!(tenant = %identity.path(), error = %chain(&error), "pods cannot be looked at"),
        }
    }
    // A hop that is about to touch what runs: everything that the gate looks at is read once more, and nothing starts
    // while that cannot be done.
    if plan.look {
        let identity = identity(&observed.tenant);
        match updates::look(&observed.tenant, &identity, context, &observed.updates).await {
            Ok(live) => {
                context.memory.succeeded(&identity.uid, (StageName::Update, Source::Read));
                observed.updates = live;
                plan = plan::tenant_again(observed, &mut kept);
            }
            Err(error) => {
                let row = (StageName::Update, Source::Read);
                observe::failed(context, &identity, row, error.class(), chain(&error), observed.now);
            }
        }
    }
    if plan.listen {
        let identity = identity(&observed.tenant);
        plan = listen::plan_again(observed, &mut kept, plan, &identity, context).await;
    }
    // A part of the cloud is read again while something is done or awaited there; else its reading is good for its period.
    if plan.open == Some(StageName::Cloud) && plan.withheld.is_empty() {
        context.memory.forget_cloud(&observed.tenant.uid().unwrap_or_default(), &plan.cloud_open);
    }
    plan
}

/// What a reading says of vanished agents is written down: the next one may take its place.
fn settle_reading(plan: &Plan, identity: &Identity, context: &Context) {
    let open = plan.steps.iter().chain(&plan.withheld).any(|(_, step)| matches!(step, Step::RememberAgents { .. }));
    if let Some(view) = plan.agents.as_ref().filter(|view| !open && view.recall == Recall::Loaded)
        && let Some(read_at) = view.reading
    {
        context.readings.settle(&identity.uid, read_at);
    }
}

/// When to look again: soon after doing something, else at the plan's word or when a reading is due. What is done or asked
/// in vain becomes rarer; a reading that was made is not in vain, though it shows the same.
fn next_run(plan: &Plan, written: bool, again: Option<Duration>, hands: &Hands<'_>) -> Action {
    let Hands { identity, context, now, auth: _ } = *hands;
    let cloud = context.memory.cloud_due(&identity.uid);
    let inventory = context.readings.due(&identity.uid);
    let same = if written {
        format!("written at {now}")
    } else if plan.steps.is_empty() {
        format!("{:?}: readings due {cloud:?}, {inventory:?}", plan.open)
    } else {
        let steps = plan.steps.iter().map(|(_, step)| step.to_string()).collect::<Vec<_>>().join(", ");
        format!("{:?}: {steps}", plan.open)
    };
    let factor = context.memory.patience(&identity.uid, same);
    if !plan.steps.is_empty() && again.is_none() {
        return Action::requeue(AGAIN * factor);
    }
    let [cloud, inventory] = [cloud.map(|due| due - clock::wall()), inventory.map(|due| due - now)]
        .map(|due| due.map(|due| due.to_std().unwrap_or_default()));
    let told = context.memory.told_due(&identity.uid, clock::wall()).map(|due| due - clock::wall());
    let told = told.map(|due| due.to_std().unwrap_or_default());
    let wake = plan.wake.and_then(|wake| wake.to_std().ok());
    match [cloud, inventory, told, wake, again].into_iter().flatten().min() {
        // A reading that stays overdue could not be made: not at full speed either.
        Some(delay) => Action::requeue(delay.max(LEAST * factor)),
        None => Action::await_change(),
    }
}

/// When to look again after a failure.
pub fn delay(tenant: &DeserializeGuard<Tenant>, error: &Error, context: &Context) -> Action {
    match error {
        // Only another object mends it, and that comes through the watch.
        Error::Unreadable { .. } => Action::await_change(),
        _ => {
            let uid = tenant.uid().unwrap_or_default();
            let delay = context.memory.delay(&uid, error.class());
            Action::requeue(context.acme.wake(&uid).map_or(delay, |wake| wake.min(delay)))
        }
    }
}
