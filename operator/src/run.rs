//! The life of the process: serve probes, wait for the lead, fill the caches, run the controllers, and end in order.
//! Losing the lead ends the process at once: work that already runs cannot be called back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use crds::{AgentPool, Tenant};
use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config as ControllerConfig, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Config};
use plan::fleet::Installation;
use plan::names::MANAGER;
use plan::object::Kind;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::acme::Acme;
use crate::args::RunArgs;
use crate::children::Children;
use crate::claims::Claims;
use crate::clock::{self, Setting};
use crate::context::{CALL, Clouds, Context, Periods};
use crate::fleet::Fleet;
use crate::follow::{
    follow, follow_claims, follow_monitors, follow_policy, follow_pools, follow_windows, guarded, keep_count, named,
    read_inventories, serve_line,
};
use crate::inventory::Readings;
use crate::leader::{self, KubeLease, Leadership, Timing};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::pools::Pools;
use crate::serve::{self, Health};
use crate::skew::Skew;
use crate::teleport::Network;
use crate::windows::Windows;
use crate::{agent_pool, controller, maintenance_window, tenant};

/// Name of the leader lease.
const LEASE: &str = "tenant-operator";
/// Events of one object that come this close together lead to one run.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// A window counts its tenants this long after one was written: by then the watch shows what was.
const WINDOW_DEBOUNCE: Duration = Duration::from_secs(1);
/// However fast they are written, it is told of it this often. Longer than the debounce, which begins anew each time that it
/// is told: a window of which something is written all the time would never come to count.
const WINDOW_PACE: Duration = Duration::from_secs(2);
/// A runtime that has not come round for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// How long running work may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the operator until SIGTERM or a fault that only a restart mends.
///
/// # Errors
/// When something it cannot do without fails: the API server's address, the port of the probes, the lead.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let probes = tokio::spawn(serve::serve(listener, Arc::clone(&health), Arc::clone(&metrics), stop.clone()));
    let config = Config::infer().await.context("cannot find out how to reach the API server")?;
    let client = |config: Config| Client::try_from(config).context("cannot make a client for the API server");
    let watching = client(config.clone())?;
    let mut bounded = config.clone();
    bounded.read_timeout = Some(CALL);
    bounded.write_timeout = Some(CALL);
    bounded.reset_reader_on_write = true;
    let calls = client(bounded)?;
    health.set_standby(true);
    let outcome = async {
        let Some(leadership) = lead(&args, config, &stop).await? else { return Ok(()) };
        metrics.set_leader(true);
        health.set_standby(false);
        tracing::info!("leading");
        let leadership = Arc::new(leadership);
        let worked = work(&args, [calls, watching], Arc::clone(&leadership), &metrics, &health, &stop).await;
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
    [client, watching]: [Client; 2],
    leadership: Arc<Leadership>,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (trigger, triggered) = mpsc::unbounded_channel::<ObjectRef<DeserializeGuard<Tenant>>>();
    let (trigger_pool, triggered_pools) = mpsc::unbounded_channel::<ObjectRef<DeserializeGuard<AgentPool>>>();
    let (trigger_window, triggered_windows) = mpsc::unbounded_channel();
    let (readings, requests) = Readings::new(args.inventory_interval);
    let tenants = Controller::new(Api::<DeserializeGuard<Tenant>>::all(watching.clone()), watcher::Config::default())
        .with_config(ControllerConfig::default().concurrency(args.concurrency).debounce(DEBOUNCE));
    let context = Arc::new(Context {
        namespace: args.namespace.clone(),
        policy: Policy::default(),
        fleet_config_map: args.fleet_config_map.clone(),
        windows: Windows::default(),
        fleet: Fleet::new(tenants.store()),
        accounts: Accounts::new(tenants.store()),
        trigger_window,
        claims: Claims::default(),
        children: Children::default(),
        pools: Pools::new(trigger_pool),
        clouds: Clouds::default(),
        acme: Acme::default(),
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
        watching: watching.clone(),
    });
    metrics.set_clock_offset(clock::setting().offset);
    let everyone = {
        let (context, trigger) = (Arc::clone(&context), trigger.clone());
        move || {
            for tenant in context.fleet.tenants().state() {
                // The receiver lives as long as the controller.
                let _ = trigger.send(named(&tenant));
            }
        }
    };
    let mut caches = tokio::task::JoinSet::new();
    let policy = context.policy.follow(
        watching.clone(),
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
    caches.spawn(follow_monitors(Arc::clone(&context), trigger.clone(), everyone.clone()));
    let told = Arc::clone(metrics);
    caches.spawn(follow(clock::settings(), move |Setting { offset, skew }| {
        tracing::warn!(offset = offset.num_seconds(), skew = skew.num_seconds(), "the test clock was set");
        told.set_clock_offset(offset);
        everyone();
    }));
    let trigger_child = trigger.clone();
    caches.spawn(follow(context.children.follow(&watching), move |tenant| drop(trigger_child.send(guarded(tenant)))));
    let trigger_route = trigger.clone();
    let routes = context.children.follow_optional(&watching, Kind::TLSRoute, {
        let policy = context.policy.clone();
        let named = |policy: &Installation| policy.port_pools.iter().any(|pool| pool.gateway_ref.is_some());
        Box::new(move || policy.current().is_ok_and(|policy| named(&policy)))
    });
    caches.spawn(follow(routes, move |tenant| drop(trigger_route.send(guarded(tenant)))));
    let trigger_certificate = trigger.clone();
    let certificates = context.children.follow_optional(&watching, Kind::Certificate, {
        let children = context.children.clone();
        Box::new(move || children.asked_for(Kind::Certificate))
    });
    caches.spawn(follow(certificates, move |tenant| drop(trigger_certificate.send(guarded(tenant)))));
    caches.spawn(follow_claims(Arc::clone(&context), trigger.clone()));
    caches.spawn(follow_pools(Arc::clone(&context), trigger.clone()));
    caches.spawn(read_inventories(Arc::clone(&context), requests, trigger.clone()));
    caches.spawn(follow_windows(Arc::clone(&context), trigger.clone()));
    caches.spawn(serve_line(Arc::clone(&context), trigger.clone()));
    caches.spawn(keep_count(Arc::clone(&context), health.watch("runtime", STUCK)));
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
    let pools = controller::run(
        controller::Kind { name: "agent pools", debounce: DEBOUNCE, pace: Duration::ZERO, triggered: triggered_pools },
        agent_pool::reconcile,
        agent_pool::delay,
        Arc::clone(&context),
        stop,
    );
    let windows = controller::run(
        controller::Kind {
            name: "maintenance windows",
            debounce: WINDOW_DEBOUNCE,
            pace: WINDOW_PACE,
            triggered: triggered_windows,
        },
        maintenance_window::reconcile,
        maintenance_window::delay,
        Arc::clone(&context),
        stop,
    );
    let told = Arc::clone(&context);
    let tenants = tenants
        .reconcile_on(controller::queue(triggered))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(tenant::reconcile, |tenant, error, context| tenant::delay(&tenant, error, &context), Arc::clone(&context))
        .for_each(move |outcome| {
            if let Err(error) = outcome {
                controller::tell("tenants", &error, &told);
            }
            futures::future::ready(())
        });
    let ended = async {
        tokio::select! {
            _ = futures::future::join3(tenants, pools, windows) => Ok(()),
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

/// Waits until everything that a plan rests on was listed once.
async fn synced(context: &Context) {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    while !(context.is_synced()) {
        interval.tick().await;
    }
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
