//! One reconcile of one AgentPool: observe, plan, report. It has no effect but its status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::agent_pool::AgentPoolStatus;
use crds::{AgentPool, Tenant};
use kube::api::PostParams;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use plan::agents::AgentsView;
use plan::agents::status;
use plan::names::MANAGER;

use crate::context::Context;
use crate::error::{Class, Error, Result, chain};

/// A whole run takes no longer.
const DEADLINE: Duration = Duration::from_secs(30);
/// The Tenants were not listed yet.
const SOON: Duration = Duration::from_secs(1);

/// Reconciles one AgentPool. One that does not parse is left alone: it may be of a newer schema.
///
/// # Errors
/// The failure of the run; the controller looks again after the delay that `delay` says.
pub async fn reconcile(pool: Arc<DeserializeGuard<AgentPool>>, context: Arc<Context>) -> Result<Action> {
    let started = Instant::now();
    let outcome = match &pool.0 {
        Ok(pool) => match tokio::time::timeout(DEADLINE, run(pool, &context)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout { attempt: "reconcile the AgentPool".into(), seconds: DEADLINE.as_secs() }),
        },
        Err(invalid) => Err(Error::Unreadable { attempt: "read the AgentPool".into(), fault: invalid.error.clone() }),
    };
    let label = outcome.as_ref().map_or_else(|error| error.class().label(), |_| "ok");
    context.metrics.reconciled("AgentPool", label, started.elapsed());
    if let Err(error) = &outcome
        && !matches!(error.class(), Class::Conflict)
    {
        tracing::warn!(pool = %pool.name_any(), class = label, error = %chain(error), "the run failed");
    }
    outcome
}

async fn run(pool: &AgentPool, context: &Context) -> Result<Action> {
    let Some(seen) = observe(pool, context).await? else { return Ok(Action::requeue(SOON)) };
    let tenant = match &seen {
        Seen::Missing => status::Tenant::Missing,
        Seen::There(None) => status::Tenant::Unseen,
        Seen::There(Some(view)) => status::Tenant::Seen(view),
    };
    report(pool, status::status(pool, tenant, crate::clock::now()), context).await?;
    // Whatever changes comes through a watch, or from the run of the Tenant.
    Ok(Action::await_change())
}

enum Seen {
    Missing,
    There(Option<Arc<AgentsView>>),
}

/// Looks at the Tenant; nothing before the Tenants were listed.
async fn observe(pool: &AgentPool, context: &Context) -> Result<Option<Seen>> {
    if !context.fleet.is_listed() {
        return Ok(None);
    }
    let (namespace, name) = (pool.namespace().unwrap_or_default(), &pool.spec.tenant_ref.name);
    let listed = context.fleet.tenants().get(&ObjectRef::new(name).within(&namespace)).is_some();
    if !listed {
        // Applied together with its pool, it may only not be in the list yet.
        let api: Api<Tenant> = Api::namespaced(context.client.clone(), &namespace);
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|source| Error::kube(format!("read Tenant {name}"), source))?;
        if found.is_none() {
            return Ok(Some(Seen::Missing));
        }
    }
    Ok(Some(Seen::There(context.pools.view(&namespace, name))))
}

/// Writes the status if it changed, to exactly the AgentPool that was seen.
async fn report(pool: &AgentPool, status: AgentPoolStatus, context: &Context) -> Result<()> {
    if pool.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let attempt = "write the status of the AgentPool";
    if !context.leadership.is_held() {
        return Err(Error::NotLeading { attempt: attempt.into() });
    }
    let mut updated = pool.clone();
    updated.metadata.managed_fields = None;
    updated.status = Some(status);
    let api: Api<AgentPool> = Api::namespaced(context.client.clone(), &pool.namespace().unwrap_or_default());
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.replace_status(&pool.name_any(), &parameters, &updated).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
        Err(source) => Err(Error::kube(attempt, source)),
    }
}

/// When to look again after a failure.
pub fn delay(pool: &DeserializeGuard<AgentPool>, error: &Error, context: &Context) -> Action {
    match error {
        // Only another object mends it, and that comes through the watch.
        Error::Unreadable { .. } => Action::await_change(),
        _ => Action::requeue(context.memory.delay(&pool.uid().unwrap_or_default(), error.class())),
    }
}
