//! A Proxy process: joins Auth, opens its listeners, and stays ready as long as Auth answers.

mod auth_link;
mod listeners;
mod pages;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use semver::Version;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::config::proxy::Proxy as Config;
use crate::diag::{Health, Readiness};
use crate::key_pair;
use crate::log::Log;
use crate::net;
use crate::pki;
use crate::process::Process;
use crate::release::Release;
use crate::rule::{Refusal, Rule};
use crate::wire::standin::v1::HeartbeatResponse;
use auth_link::{Link, LinkError};

/// Before it serves, a real Proxy needs about this.
const START: Duration = Duration::from_secs(8);
/// What it gives its connections when it is told to stop.
const STOP: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(5);
/// Real time, for the same reason as the next.
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// All Proxies together beat no more often than this many times a second: hundreds of them share this machine, however
/// fast their clock goes.
const BEATS_A_SECOND: f64 = 50.0;
/// From here on a Proxy without Auth is not ready.
const NOT_READY_SINCE: Version = Version::new(17, 3, 0);

/// A verifier that takes any certificate of the right name: what a test uses to look at one.
#[cfg(test)]
pub(crate) fn first_contact() -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    Arc::new(auth_link::FirstContact)
}

/// What all parts of a running Proxy share.
pub(crate) struct Core {
    process: Process,
    log: Log,
    release: Release,
    config: Config,
    cluster: String,
    /// What Auth last said.
    settings: RwLock<Arc<HeartbeatResponse>>,
    /// Replaced when the key pairs are reloaded.
    tls: RwLock<Arc<ServerConfig>>,
}

impl Core {
    fn settings(&self) -> Arc<HeartbeatResponse> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tls(&self) -> Arc<ServerConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs until `stop`; an error is a refused start.
pub(crate) async fn run(
    process: &Process,
    release: &Release,
    config: Config,
    skip_version_check: bool,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), Refusal> {
    let log = Log::new(process.log.clone());
    let tls = web_tls(process, &config)?;
    let token = token(process, &config.token)?;

    let public_addr = config.addresses.public.get("web").cloned().unwrap_or_default();
    let link = Link::new(process, release, &config, public_addr);
    let Some(()) = join(&link, process, &log, &token, skip_version_check, stop).await? else { return Ok(()) };
    let Some(settings) = first_heartbeat(&link, process, &log, stop).await else { return Ok(()) };

    let core = Arc::new(Core {
        process: process.clone(),
        log: log.clone(),
        release: release.clone(),
        cluster: link.cluster(),
        settings: RwLock::new(Arc::new(settings)),
        tls: RwLock::new(tls),
        config,
    });
    let web = net::listen(core.config.web).await?;
    let mut opened = Vec::new();
    for (kind, address) in &core.config.listeners {
        opened.push((*kind, net::listen(*address).await?));
    }
    let mut serving = JoinSet::new();
    let grace = process.scaled(STOP);
    serving.spawn(listeners::web(core.clone(), web, stop.clone(), grace));
    for (kind, listener) in opened {
        serving.spawn(listeners::plain(core.clone(), kind, listener, stop.clone(), grace));
    }
    let all_served = async { while serving.join_next().await.is_some() {} };
    tokio::select! {
        () = all_served => {}
        () = stay(&core, &link, health, &token) => {}
        () = reload(&core) => {}
    }
    Ok(())
}

fn token(process: &Process, name: &str) -> Result<String, Refusal> {
    // An absolute path is a file that holds the token.
    if !name.starts_with('/') {
        return Ok(name.to_owned());
    }
    let bytes = process.read(name).map_err(|error| Rule::JoinTokenFile.by(format!("{name}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Rule::JoinTokenFile.by(format!("{name}: not text")))?;
    Ok(text.trim().to_owned())
}

/// Joins, trying for as long as it takes; `None` if it was stopped. Only a too old Auth ends the process.
async fn join(
    link: &Link,
    process: &Process,
    log: &Log,
    token: &str,
    skip_version_check: bool,
    stop: &CancellationToken,
) -> Result<Option<()>, Refusal> {
    loop {
        let joined = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            joined = link.join(token, skip_version_check) => joined,
        };
        match joined {
            Ok(()) => return Ok(Some(())),
            Err(LinkError::Refused(refusal)) => return Err(refusal),
            Err(LinkError::Failed(error)) => log.error("Proxy failed to establish connection to cluster", &error),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(process.scaled(RETRY)) => {}
        }
    }
}

async fn first_heartbeat(
    link: &Link,
    process: &Process,
    log: &Log,
    stop: &CancellationToken,
) -> Option<HeartbeatResponse> {
    loop {
        let beat = tokio::select! {
            () = stop.cancelled() => return None,
            beat = link.heartbeat() => beat,
        };
        match beat {
            Ok(settings) => return Some(settings),
            Err(error) => log.error("Failed to reach Auth", &error),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(process.scaled(RETRY)) => {}
        }
    }
}

/// Heartbeats and readiness; runs until it is dropped.
async fn stay(core: &Core, link: &Link, health: &Health, token: &str) {
    let process = &core.process;
    tokio::time::sleep(process.scaled(START)).await;
    health.set(Readiness::Ok);
    core.log.info(
        "Proxy service is ready",
        json!({ "cluster": core.cluster, "version": core.release.version.to_string() }),
    );
    loop {
        let pause = match health.get() {
            Readiness::Ok => rest(process),
            _ => process.scaled(RETRY),
        };
        tokio::time::sleep(pause).await;
        match link.heartbeat().await {
            Ok(settings) => {
                *core.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
                // Two good ones in a row bring it back.
                health.set(match health.get() {
                    Readiness::Degraded => Readiness::Recovering,
                    _ => Readiness::Ok,
                });
            }
            Err(error) => {
                core.log.error("Failed to reach Auth", &error);
                // An authority was rotated. A real Proxy asks for another certificate while both are trusted still.
                if error.is_of_trust()
                    && let Err(error) = link.join(token, true).await
                {
                    core.log.error("Failed to register again", &error);
                }
                if core.release.version >= NOT_READY_SINCE {
                    health.set(Readiness::Degraded);
                }
            }
        }
    }
}

/// Between two heartbeats while all is well.
fn rest(process: &Process) -> Duration {
    // There are about as many Proxies as Auths.
    let crowd = process.world.serving_auths() as f64;
    process.scaled(HEARTBEAT).max(LEAST_PAUSE).max(Duration::from_secs_f64(crowd / BEATS_A_SECOND))
}

/// Reads renewed key pairs; runs until it is dropped. A pair that is refused leaves the old one in place.
async fn reload(core: &Core) {
    let Some(interval) = core.config.reload else { return std::future::pending().await };
    loop {
        tokio::time::sleep(core.process.scaled(interval)).await;
        match web_tls(&core.process, &core.config) {
            Ok(tls) => *core.tls.write().unwrap_or_else(PoisonError::into_inner) = tls,
            Err(refusal) => core.log.error("Failed to reload key pairs", &refusal),
        }
    }
}

fn web_tls(process: &Process, config: &Config) -> Result<Arc<ServerConfig>, Refusal> {
    let keys = if config.key_pairs.is_empty() {
        let public = config.addresses.public.get("web").map_or("localhost", |address| address);
        let (host, _) = config::split(public, 443)?;
        key_pair::of_pair(&pki::self_signed(&host).map_err(|error| Rule::KeyPairFile.by(error))?)?
    } else {
        key_pair::load(process, &config.key_pairs)?
    };
    let mut tls = ServerConfig::builder_with_provider(pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Rule::KeyPairFile.by(error))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(keys));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}
