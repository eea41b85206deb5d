//! The life of the process: serve probes, wait for the lead, fill the caches, run the controllers, and end in order.
//! Losing the lead ends the process at once: work that already runs cannot be called back.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use crds::tenant_status::Phase;
use crds::{AgentPool, ConditionType, MaintenanceWindow, Tenant};
use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Config as ControllerConfig, Controller};
use kube::runtime::events::{EventType, Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use kube::{Api, Client, Config, ResourceExt};
use plan::names::{Identity, MANAGER};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::children::Children;
use crate::claims::Claims;
use crate::clock::{self, Setting};
use crate::context::{Clouds, Context, Periods};
use crate::error::chain;
use crate::fleet::Fleet;
use crate::inventory::{self, Readings};
use crate::leader::{self, KubeLease, Leadership, Timing};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::policy::{Change, Policy};
use crate::pools::Pools;
use crate::report::events;
use crate::serve::{self, Health, Pulse};
use crate::skew::Skew;
use crate::teleport::Network;
use crate::windows::{Changed, Windows, name_of};
use crate::{agent_pool, maintenance_window, observe, tenant, updates};

/// Name of the leader lease.
const LEASE: &str = "tenant-operator";
/// Events of one object that come this close together lead to one run.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// A window counts its tenants this long after one was written: by then the watch shows what was.
const WINDOW_DEBOUNCE: Duration = Duration::from_secs(1);
/// However fast they are written, it is told of it this often. Longer than the debounce, which begins anew each time that it
/// is told: a window of which something is written all the time would never come to count.
const WINDOW_PACE: Duration = Duration::from_secs(2);
/// How often to look whose turn it is when nothing tells.
const LINE_LOOK: Duration = Duration::from_secs(10);
/// Changes of the line that come this close together are one.
const LINE_PAUSE: Duration = Duration::from_millis(100);
/// A runtime that has not come round for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Agent pools reconciled at the same time; a run is a comparison, and a write only when something changed.
const POOLS_AT_ONCE: u16 = 8;
/// How long running work may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the operator until SIGTERM or a fault that only a restart mends.
///
/// # Errors
/// When something it cannot do without fails: the API server's address, the port of the probes, the lead.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let probes = tokio::spawn(serve::serve(listener, Arc::clone(&health), Arc::clone(&metrics), stop.clone()));
    let config = Config::infer().await.context("cannot find out how to reach the API server")?;
    let client = Client::try_from(config.clone()).context("cannot make a client for the API server")?;
    health.set_standby(true);
    let outcome = async {
        let Some(leadership) = lead(&args, config, &stop).await? else { return Ok(()) };
        metrics.set_leader(true);
        health.set_standby(false);
        tracing::info!("leading");
        let leadership = Arc::new(leadership);
        let worked = work(&args, client, Arc::clone(&leadership), &metrics, &health, &stop).await;
        metrics.set_leader(false);
        worked?;
        match Arc::try_unwrap(leadership) {
            Ok(leadership) => leadership.release().await,
            Err(_) => tracing::warn!("work is left over; the lead runs out instead of being released"),
        }
        Ok(())
    }
    .await;
    stop.cancel();
    probes.await.context("the probes ended unexpectedly")?.context("the probes cannot be served")?;
    outcome
}

/// Waits for the lead; without it when stopped first.
async fn lead(args: &RunArgs, config: Config, stop: &CancellationToken) -> anyhow::Result<Option<Leadership>> {
    let timing = Timing::default();
    let client = leader::client(config, &timing).context("cannot make a client for the leader lease")?;
    let record = Arc::new(KubeLease::new(client, &args.namespace, LEASE));
    let me = leader::identity(&args.pod_name);
    tracing::info!(%me, "waiting for the lead");
    Ok(stop.run_until_cancelled(leader::acquire(record, me, timing)).await)
}

async fn work(
    args: &RunArgs,
    client: Client,
    leadership: Arc<Leadership>,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (trigger, triggered) = mpsc::unbounded_channel::<ObjectRef<DeserializeGuard<Tenant>>>();
    let (trigger_pool, triggered_pools) = mpsc::unbounded_channel::<ObjectRef<DeserializeGuard<AgentPool>>>();
    let (trigger_window, triggered_windows) = mpsc::unbounded_channel();
    let (readings, requests) = Readings::new(args.inventory_interval);
    let controller = Controller::new(Api::<DeserializeGuard<Tenant>>::all(client.clone()), watcher::Config::default())
        .with_config(ControllerConfig::default().concurrency(args.concurrency).debounce(DEBOUNCE));
    let tenants = controller.store();
    let context = Arc::new(Context {
        namespace: args.namespace.clone(),
        policy: Policy::default(),
        fleet_config_map: args.fleet_config_map.clone(),
        windows: Windows::default(),
        fleet: Fleet::default(),
        trigger_window,
        claims: Claims::default(),
        children: Children::default(),
        tenants: tenants.clone(),
        pools: Pools::new(trigger_pool),
        clouds: Clouds::default(),
        teleport: Arc::new(Network::default()),
        skew: Skew::default(),
        readings: Arc::new(readings),
        memory: Memory::default(),
        metrics: Arc::clone(metrics),
        recorder: Recorder::new(
            client.clone(),
            Reporter { controller: MANAGER.into(), instance: Some(args.pod_name.clone()) },
        ),
        periods: Periods { cloud: args.cloud_resync },
        leadership: Arc::clone(&leadership),
        client: client.clone(),
    });
    metrics.set_clock_offset(clock::setting().offset);
    context.fleet.follow(tenants.clone());
    let everyone = {
        let (tenants, trigger) = (tenants.clone(), trigger.clone());
        move || {
            for tenant in tenants.state() {
                // The receiver lives as long as the controller.
                let _ = trigger.send(named(&tenant));
            }
        }
    };
    let mut caches = tokio::task::JoinSet::new();
    let policy = context.policy.follow(
        client.clone(),
        &args.namespace,
        args.fleet_config_map.clone(),
        Arc::clone(metrics),
        Arc::clone(health),
    );
    caches.spawn(follow_policy(policy, Arc::clone(&context), everyone.clone()));
    // What was decided by another time is decided again.
    let skew = context.skew.follow(client.clone(), Arc::clone(metrics));
    caches.spawn(follow(skew, {
        let everyone = everyone.clone();
        move |()| everyone()
    }));
    let told = Arc::clone(metrics);
    caches.spawn(follow(clock::settings(), move |Setting { offset, skew }| {
        tracing::warn!(offset = offset.num_seconds(), skew = skew.num_seconds(), "the test clock was set");
        told.set_clock_offset(offset);
        everyone();
    }));
    let trigger_child = trigger.clone();
    caches.spawn(follow(context.children.follow(&client), move |tenant| drop(trigger_child.send(guarded(tenant)))));
    caches.spawn(follow_claims(Arc::clone(&context), trigger.clone()));
    caches.spawn(follow_pools(Arc::clone(&context), trigger.clone()));
    caches.spawn(read_inventories(Arc::clone(&context), requests, trigger.clone()));
    caches.spawn(follow_windows(Arc::clone(&context), trigger.clone()));
    caches.spawn(serve_line(Arc::clone(&context), trigger.clone()));
    caches.spawn(keep_count(tenants, Arc::clone(&context), health.watch("runtime", STUCK)));
    let filled = tokio::select! {
        () = synced(&context) => Ok(true),
        () = stop.cancelled() => Ok(false),
        reason = leadership.lost() => Err(anyhow::anyhow!("the lead was lost: {reason}")),
    };
    if !matches!(filled, Ok(true)) {
        // Nothing may hold on to the lead when it is given back.
        caches.shutdown().await;
        return filled.map(drop);
    }
    health.set_synced(true);
    let pools = run_pools(Arc::clone(&context), triggered_pools, stop);
    let windows = run_windows(Arc::clone(&context), triggered_windows, stop);
    let queue = Arc::clone(metrics);
    let controller = controller
        .reconcile_on(tokio_stream(triggered))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(tenant::reconcile, |tenant, error, context| tenant::delay(&tenant, error, &context), Arc::clone(&context))
        .for_each(move |outcome| {
            // A run tells of its own failures; what is left are those of the queue.
            if let Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) = outcome {
                queue.queue_failed();
                tracing::warn!(error = %chain(&error), "the queue of tenants");
            }
            futures::future::ready(())
        });
    let ended = async {
        tokio::select! {
            _ = futures::future::join3(controller, pools, windows) => Ok(()),
            died = caches.join_next() => bail!("a watch ended unexpectedly: {died:?}"),
            reason = leadership.lost() => bail!("the lead was lost: {reason}"),
        }
    };
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let outcome = tokio::select! {
        outcome = ended => outcome,
        () = drained => bail!("running work did not end within {} s", DRAIN.as_secs()),
    };
    caches.shutdown().await;
    outcome
}

/// Runs a stream to its end.
async fn follow<T>(stream: impl Stream<Item = T> + Send, mut each: impl FnMut(T) + Send) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        each(item);
    }
}

/// Follows the fleet policy; a change concerns all tenants, and what is wrong with it whoever looks at the ConfigMap.
async fn follow_policy(changes: impl Stream<Item = Change> + Send, context: Arc<Context>, everyone: impl Fn()) {
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

type Queue = mpsc::UnboundedSender<ObjectRef<DeserializeGuard<Tenant>>>;

/// Follows the claims; a change concerns its holders, the former and the new.
async fn follow_claims(context: Arc<Context>, trigger: Queue) {
    follow(context.claims.follow(context.leases()), |tenant| drop(trigger.send(guarded(tenant)))).await;
}

/// Follows the agent pools; a change concerns the Tenants that they name.
async fn follow_pools(context: Arc<Context>, trigger: Queue) {
    follow(context.pools.follow(&context.client), |tenant| drop(trigger.send(guarded(tenant)))).await;
}

/// Follows the maintenance windows; a change concerns their tenants, and so does one of a namespace's labels.
async fn follow_windows(context: Arc<Context>, trigger: Queue) {
    let tell = |changed| {
        for tenant in context.tenants.state() {
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
    follow(context.windows.follow(&context.client), tell).await;
}

/// Wakes those whose turn it is, when a place became free or somebody left the line.
async fn serve_line(context: Arc<Context>, trigger: Queue) {
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

/// Reconciles the maintenance windows until it is stopped.
async fn run_windows(
    context: Arc<Context>,
    triggered: mpsc::UnboundedReceiver<ObjectRef<DeserializeGuard<MaintenanceWindow>>>,
    stop: &CancellationToken,
) {
    let api = Api::<DeserializeGuard<MaintenanceWindow>>::all(context.client.clone());
    let metrics = Arc::clone(&context.metrics);
    Controller::new(api, watcher::Config::default())
        .with_config(ControllerConfig::default().concurrency(POOLS_AT_ONCE).debounce(WINDOW_DEBOUNCE))
        .reconcile_on(paced(triggered, WINDOW_PACE))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            maintenance_window::reconcile,
            |window, error, context| maintenance_window::delay(&window, error, &context),
            context,
        )
        .for_each(|outcome| {
            if let Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) = outcome {
                metrics.queue_failed();
                tracing::warn!(error = %chain(&error), "the queue of maintenance windows");
            }
            futures::future::ready(())
        })
        .await;
}

/// Reads inventories that runs ask for; a Tenant whose inventory was read is run again.
async fn read_inventories(
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

/// Reconciles the agent pools until it is stopped.
async fn run_pools(
    context: Arc<Context>,
    triggered: mpsc::UnboundedReceiver<ObjectRef<DeserializeGuard<AgentPool>>>,
    stop: &CancellationToken,
) {
    let api = Api::<DeserializeGuard<AgentPool>>::all(context.client.clone());
    let metrics = Arc::clone(&context.metrics);
    Controller::new(api, watcher::Config::default())
        .with_config(ControllerConfig::default().concurrency(POOLS_AT_ONCE).debounce(DEBOUNCE))
        .reconcile_on(tokio_stream(triggered))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(agent_pool::reconcile, |pool, error, context| agent_pool::delay(&pool, error, &context), context)
        .for_each(|outcome| {
            if let Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) = outcome {
                metrics.queue_failed();
                tracing::warn!(error = %chain(&error), "the queue of agent pools");
            }
            futures::future::ready(())
        })
        .await;
}

/// Keeps the number of tenants by phase, and the memory free of those that are gone.
async fn keep_count(tenants: reflector::Store<DeserializeGuard<Tenant>>, context: Arc<Context>, pulse: Pulse) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        pulse.beat();
        let known = tenants.state();
        let mut phases = BTreeMap::new();
        for tenant in known.iter().filter_map(|tenant| tenant.0.as_ref().ok()) {
            let phase = tenant.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending);
            *phases.entry(phase.word()).or_insert(0) += 1;
        }
        context.metrics.set_tenants(&phases);
        context.metrics.set_unlisted(&unlisted(&known));
        let uids = known.iter().filter_map(|tenant| tenant.uid()).collect();
        context.memory.retain(&uids);
        context.readings.retain(&uids);
        context.pools.retain(&uids);
        context.fleet.retain(&uids);
    }
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

fn named(tenant: &DeserializeGuard<Tenant>) -> ObjectRef<DeserializeGuard<Tenant>> {
    ObjectRef::from_obj(tenant)
}

/// The same object, as the controller calls it.
fn guarded(tenant: ObjectRef<Tenant>) -> ObjectRef<DeserializeGuard<Tenant>> {
    let name = ObjectRef::new(&tenant.name);
    match &tenant.namespace {
        Some(namespace) => name.within(namespace),
        None => name,
    }
}

/// Waits until everything that a plan rests on was listed once.
async fn synced(context: &Context) {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    while !(context.is_synced()) {
        interval.tick().await;
    }
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

/// What comes out of a queue, each once in a period however often it was put in. The first comes out at once.
fn paced<T>(receiver: mpsc::UnboundedReceiver<T>, period: Duration) -> impl Stream<Item = T> + Send
where
    T: std::hash::Hash + Eq + Send + 'static,
{
    let batches = futures::stream::unfold((receiver, None), move |(mut receiver, last)| async move {
        let first = receiver.recv().await?;
        if let Some(last) = last {
            tokio::time::sleep_until(last + period).await;
        }
        let mut batch = HashSet::from([first]);
        while let Ok(next) = receiver.try_recv() {
            batch.insert(next);
        }
        Some((futures::stream::iter(batch), (receiver, Some(tokio::time::Instant::now()))))
    });
    batches.flatten()
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
            _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        }
        token.cancel();
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_in_all_the_time_comes_out_once_a_period() {
        const PERIOD: Duration = Duration::from_millis(200);
        let (queue, queued) = mpsc::unbounded_channel();
        let mut paced = std::pin::pin!(paced(queued, PERIOD));
        let feed = async {
            for _ in 0..50 {
                queue.send("window").expect("it is taken out");
                tokio::time::sleep(PERIOD / 20).await;
            }
            drop(queue);
        };
        let mut at = Vec::new();
        let take = async {
            while paced.next().await.is_some() {
                at.push(tokio::time::Instant::now());
            }
        };
        futures::join!(feed, take);
        assert!(at.len() >= 3, "it came out {} times", at.len());
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= PERIOD), "{at:?}");
    }
}
