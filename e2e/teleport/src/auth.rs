//! An Auth process: from its configuration through the start-up sequence to serving, and its end.
//! The order of the start is here; what each step does is in the modules below.

mod access;
mod alerts;
pub(crate) mod authority;
mod identity;
mod init;
mod instances;
mod join;
mod license;
mod maintenance;
pub(crate) mod resource;
mod serve;
mod service;
mod status;
mod stream;
mod tables;
mod trust;
mod update;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rcgen::KeyPair;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cloud::{Connect, Event};
use crate::config;
use crate::diag::{Health, Readiness};
use crate::log::Log;
use crate::net;
use crate::pki;
use crate::process::Process;
use crate::release::Release;
use crate::rule::{Refusal, Rule};
use crate::state::State;
use authority::Authority;
use trust::Trust;

/// Before it serves, a real Auth needs about this.
const START: Duration = Duration::from_secs(8);
/// What it gives its connections when it is told to stop.
const STOP: Duration = Duration::from_secs(3);

/// What all parts of a running Auth share.
pub(crate) struct Core {
    process: Process,
    log: Log,
    release: Release,
    cluster: String,
    host_id: String,
    state: State,
    login: config::auth::Login,
    multiplex: bool,
    license_expiry: Option<DateTime<Utc>>,
    names: Vec<String>,
    server_key: KeyPair,
    trust: RwLock<Arc<Trust>>,
    /// When an instance's heartbeat was last written, by host id.
    heartbeats: Mutex<HashMap<String, DateTime<Utc>>>,
    /// What Proxies tell updaters, until it changes.
    offered: Mutex<Option<Arc<update::Offered>>>,
    /// What the last Proxy said its address is.
    proxy_address: Mutex<String>,
}

impl Core {
    fn trust(&self) -> Arc<Trust> {
        // A snapshot is replaced whole, so a poisoned lock still holds a good one.
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the authorities anew: another Auth or an administrator changed one.
    async fn reload_trust(&self) -> Result<(), Refusal> {
        let trust =
            Trust::new(&authorities(&self.state).await?, &self.cluster, &self.host_id, &self.names, &self.server_key)?;
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
        Ok(())
    }
}

async fn authorities(state: &State) -> Result<Vec<Authority>, Refusal> {
    let stored = state.list(authority::PREFIX).await.map_err(init::storage)?;
    stored.iter().map(|item| item.json().map_err(init::storage)).collect()
}

/// Flags of `teleport start` that an Auth reads.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flags {
    pub(crate) bootstrap: Option<String>,
    pub(crate) apply_on_startup: Option<String>,
}

/// Runs until `stop`; an error is a refused start.
pub(crate) async fn run(
    process: &Process,
    release: &Release,
    config: &config::auth::Auth,
    flags: &Flags,
    connect: &dyn Connect,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), Refusal> {
    // A start that is told to stop has nobody to say goodbye to.
    let prepared = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        prepared = prepare(process, release, config, flags, connect) => prepared?,
    };
    let Prepared { core, listener, stream_arn } = prepared;
    let _serving = process.world.join_auths(&core.cluster, &core.host_id);
    let (readable, read) = watch::channel(false);
    let audit = async {
        audit(&core, &config.storage).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serve::serve(core.clone(), listener, stop.clone(), process.scaled(STOP)) => {}
        () = stream::follow(core.clone(), stream_arn, readable) => {}
        () = become_ready(&core, health, read) => {}
        () = audit => {}
        () = instances::heartbeats(&core) => {}
    }
    Ok(())
}

/// An Auth that has done all that comes before serving.
struct Prepared {
    core: Arc<Core>,
    listener: TcpListener,
    stream_arn: String,
}

async fn prepare(
    process: &Process,
    release: &Release,
    config: &config::auth::Auth,
    flags: &Flags,
    connect: &dyn Connect,
) -> Result<Prepared, Refusal> {
    let log = Log::new(process.log.clone());
    let bootstrap = resources(process, flags.bootstrap.as_deref(), Rule::BootstrapFile)?;
    let apply = resources(process, flags.apply_on_startup.as_deref(), Rule::ApplyFile)?;
    let license_expiry = license::check(process, release, &config.license_file)?;
    let cloud = connect.connect(process, &config.storage)?;
    let stream_arn = tables::prepare(&*cloud, &config.storage, &log).await?;

    let state = State::new(cloud, &config.storage.table);
    let start = init::Start { process, log: &log, release, config, bootstrap, apply };
    let cluster = start.run(&state).await?;

    let host_id = pki::uuid();
    let mut names = vec![process.hostname.clone(), format!("{host_id}.{cluster}"), process.address.to_string()];
    names.extend(config.public_hosts.iter().cloned());
    let server_key = KeyPair::generate().map_err(|error| Rule::AuthorityKeyUnusable.by(error))?;
    let trust = Trust::new(&authorities(&state).await?, &cluster, &host_id, &names, &server_key)?;
    let core = Arc::new(Core {
        process: process.clone(),
        log,
        release: release.clone(),
        cluster,
        host_id,
        state,
        login: config.login.clone(),
        multiplex: config.multiplex,
        license_expiry,
        names,
        server_key,
        trust: RwLock::new(Arc::new(trust)),
        heartbeats: Mutex::new(HashMap::new()),
        offered: Mutex::new(None),
        proxy_address: Mutex::new(String::new()),
    });
    let listener = net::listen(config.listen).await?;
    Ok(Prepared { core, listener, stream_arn })
}

/// Turns ready once; runs until it is dropped.
async fn become_ready(core: &Core, health: &Health, mut read: watch::Receiver<bool>) {
    tokio::time::sleep(core.process.scaled(START)).await;
    // Watchers, and with them the cache, begin with the first read of the stream.
    if read.wait_for(|readable| *readable).await.is_ok() {
        health.set(Readiness::Ok);
        let version = core.release.version.to_string();
        core.log.info("Auth service is ready", json!({ "cluster": core.cluster, "version": version }));
    }
    std::future::pending::<()>().await;
}

fn resources(process: &Process, file: Option<&str>, rule: Rule) -> Result<Vec<resource::Resource>, Refusal> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let bytes = process.read(file).map_err(|error| rule.by(format!("{file}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| Rule::ResourceSyntax.by(format!("{file}: {error}")))?;
    resource::parse(&text)
}

/// One audit event of the start, a search over the index, and a look for half-finished uploads: their failures are
/// logged, never fatal.
async fn audit(core: &Core, storage: &config::storage::Storage) {
    let now = Utc::now();
    if let Some(events) = &storage.events {
        let retention = i64::try_from(storage.retention_days).unwrap_or(365) * 86_400;
        let event = Event {
            session: pki::uuid(),
            kind: "instance.join".to_owned(),
            date: now.format("%Y-%m-%d").to_string(),
            at: now.timestamp(),
            expires: now.timestamp() + retention,
            cluster: core.cluster.clone(),
        };
        if let Err(error) = core.state.cloud().emit(&events.table, &event).await {
            core.log.error("Failed to emit audit event", &error);
        }
        if let Err(error) = core.state.cloud().search(&events.table, &event.date).await {
            core.log.error("Failed to query audit events", &error);
        }
    }
    if let Some(sessions) = &storage.sessions
        && let Err(error) = core.state.cloud().uploads(&sessions.bucket, &sessions.path).await
    {
        core.log.error("Failed to list uploads", &error);
    }
}
