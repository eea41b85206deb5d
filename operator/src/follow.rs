//! What has a tenant looked at again: changes of whatever its plan rests on, its turn, and a reading that is there. Nothing
//! here decides; a tenant that is named in vain costs a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::tenant_status::Phase;
use crds::{ConditionType, Tenant};
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use plan::names::Identity;
use tokio::sync::mpsc;

use crate::children::monitors::Concerned;
use crate::context::Context;
use crate::policy::Change;
use crate::report::events;
use crate::serve::Pulse;
use crate::windows::{Changed, name_of};
use crate::{inventory, observe, updates};

/// How often to look whose turn it is when nothing tells.
const LINE_LOOK: Duration = Duration::from_secs(10);
/// Changes of the line that come this close together are one.
const LINE_PAUSE: Duration = Duration::from_millis(100);

/// Runs a stream to its end.
pub async fn follow<T>(stream: impl Stream<Item = T> + Send, mut each: impl FnMut(T) + Send) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        each(item);
    }
}

/// Follows the fleet policy; a change concerns all tenants, and what is wrong with it whoever looks at the ConfigMap.
pub async fn follow_policy(changes: impl Stream<Item = Change> + Send, context: Arc<Context>, everyone: impl Fn()) {
    let mut changes = std::pin::pin!(changes);
    while let Some(Change { object, fault }) = changes.next().await {
        everyone();
        let Some(fault) = fault else { continue };
        let event = events::event(EventType::Warning, "FleetPolicyInvalid", &fault);
        if let Err(error) = context.recorder.publish(&event, &object).await {
            tracing::warn!(%error, "cannot publish an event");
        }
    }
}

/// Where tenants wait to be looked at.
pub type Queue = mpsc::UnboundedSender<ObjectRef<DeserializeGuard<Tenant>>>;

/// Follows the claims; a change concerns its holders, the former and the new.
pub async fn follow_claims(context: Arc<Context>, trigger: Queue) {
    follow(context.claims.follow(context.watched_leases()), |tenant| drop(trigger.send(guarded(tenant)))).await;
}

/// Follows PodMonitors, where the cluster knows them; that it does concerns all tenants.
pub async fn follow_monitors(context: Arc<Context>, trigger: Queue, everyone: impl Fn() + Send + Sync) {
    let concerns = |concerned| match concerned {
        Concerned::One(tenant) => drop(trigger.send(guarded(tenant))),
        Concerned::All => everyone(),
    };
    context.children.follow_monitors(&context, concerns).await;
}

/// Follows the agent pools; a change concerns the Tenants that they name.
pub async fn follow_pools(context: Arc<Context>, trigger: Queue) {
    follow(context.pools.follow(&context.watching), |tenant| drop(trigger.send(guarded(tenant)))).await;
}

/// Follows the maintenance windows; a change concerns their tenants, and so does one of a namespace's labels.
pub async fn follow_windows(context: Arc<Context>, trigger: Queue) {
    let tell = |changed| {
        for tenant in context.fleet.tenants().state() {
            let Ok(found) = &tenant.0 else { continue };
            let concerned = match &changed {
                Changed::Window(window) => name_of(found) == *window,
                Changed::Namespace(namespace) => found.namespace().as_ref() == Some(namespace),
            };
            if concerned {
                let _ = trigger.send(named(&tenant));
            }
        }
    };
    follow(context.windows.follow(&context.watching), tell).await;
}

/// Wakes those whose turn it is, when a place became free or somebody left the line.
pub async fn serve_line(context: Arc<Context>, trigger: Queue) {
    loop {
        // Now and then also unasked: a change that was not seen here only delays.
        let _ = tokio::time::timeout(LINE_LOOK, context.fleet.wait()).await;
        let limit = updates::fleet_limit(&context.policy.feed());
        for tenant in context.fleet.next(&context.windows, limit) {
            let _ = trigger.send(guarded(tenant));
        }
        // Changes that come close together are one.
        tokio::time::sleep(LINE_PAUSE).await;
    }
}

/// Reads inventories that runs ask for; a Tenant whose inventory was read is run again.
pub async fn read_inventories(
    context: Arc<Context>,
    requests: mpsc::UnboundedReceiver<inventory::Request>,
    trigger: Queue,
) {
    let tell = |tenant: &Identity, outcome| {
        observe::note_reading(&context, tenant, outcome);
        drop(trigger.send(ObjectRef::new(&tenant.slug).within(&tenant.namespace)));
    };
    inventory::work(&context.readings, requests, Arc::clone(&context.teleport), tell).await;
}

/// Keeps the number of tenants by phase, and the memory free of those that are gone.
pub async fn keep_count(context: Arc<Context>, pulse: Pulse) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        pulse.beat();
        let known = context.fleet.tenants().state();
        let mut phases = BTreeMap::new();
        for tenant in known.iter().filter_map(|tenant| tenant.0.as_ref().ok()) {
            let phase = tenant.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending);
            *phases.entry(phase.word()).or_insert(0) += 1;
        }
        context.metrics.set_tenants(&phases);
        context.metrics.set_unlisted(&unlisted(&known));
        context.metrics.set_acme_waiting(known.iter().filter(|tenant| waits_for_acme(tenant)).count());
        let uids = known.iter().filter_map(|tenant| tenant.uid()).collect();
        context.memory.retain(&uids);
        context.readings.retain(&uids);
        context.pools.retain(&uids);
        context.fleet.retain(&uids);
        context.accounts.retain(&uids);
        context.acme.retain(&uids);
    }
}

/// Whether a tenant stands in the line for the limits of the ACME server.
fn waits_for_acme(tenant: &DeserializeGuard<Tenant>) -> bool {
    let status = tenant.0.as_ref().ok().and_then(|tenant| tenant.status.as_ref());
    status.and_then(|status| status.issuance.as_ref()).is_some_and(|issuance| issuance.position.is_some())
}

/// How many tenants run a release that the feed does not list, by the reason.
fn unlisted(tenants: &[Arc<DeserializeGuard<Tenant>>]) -> BTreeMap<String, usize> {
    let type_ = ConditionType::ReleaseUnlisted.to_string();
    let statuses = tenants.iter().filter_map(|tenant| tenant.0.as_ref().ok()?.status.as_ref());
    let conditions = statuses.flat_map(|status| &status.conditions).filter(|condition| condition.type_ == type_);
    let mut reasons = BTreeMap::new();
    for condition in conditions {
        *reasons.entry(condition.reason.clone()).or_default() += 1;
    }
    reasons
}

/// The name under which the controller knows a Tenant.
pub fn named(tenant: &DeserializeGuard<Tenant>) -> ObjectRef<DeserializeGuard<Tenant>> {
    ObjectRef::from_obj(tenant)
}

/// The same object, as the controller calls it.
pub fn guarded(tenant: ObjectRef<Tenant>) -> ObjectRef<DeserializeGuard<Tenant>> {
    let name = ObjectRef::new(&tenant.name);
    match &tenant.namespace {
        Some(namespace) => name.within(namespace),
        None => name,
    }
}
