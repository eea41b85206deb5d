//! The command line: `start`, `configure --test`, `wait`, `version`. Unknown commands and flags are refused.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::cloud::Connect;
use crate::config::{self, Role};
use crate::diag::{self, Diagnostics, Health, MetricsPage};
use crate::duration;
use crate::log::Log;
use crate::net;
use crate::process::Process;
use crate::proxy;
use crate::release::Release;
use crate::rule::{Refusal, Rule};
use crate::web;

/// How often `wait no-resolve` looks.
const RESOLVE_PERIOD: Duration = Duration::from_secs(5);
const DIAG_GRACE: Duration = Duration::from_secs(1);
/// The exit status of every refused start.
const REFUSED: i32 = 1;

/// Runs a command line to its end.
pub(crate) async fn run(process: Process, terminate: CancellationToken, connect: &dyn Connect) -> i32 {
    let log = Log::new(process.log.clone());
    match dispatch(&process, &terminate, connect, &log).await {
        Ok(()) => 0,
        Err(refusal) => {
            log.error("Teleport failed", &refusal);
            log.print(&format!("ERROR: {refusal}"));
            REFUSED
        }
    }
}

async fn dispatch(
    process: &Process,
    terminate: &CancellationToken,
    connect: &dyn Connect,
    log: &Log,
) -> Result<(), Refusal> {
    let release = Release::of_image(&process.image)?;
    let words: Vec<&str> = process.argv.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["start", flags @ ..] => start(process, &release, &Flags::parse(flags)?, terminate, connect).await,
        ["configure", "--test", file] => configure_test(process, &release, file, log),
        ["configure", flag] if flag.starts_with("--test=") => {
            configure_test(process, &release, &flag["--test=".len()..], log)
        }
        ["wait", "duration", text] => {
            let wait = duration::parse(text).ok_or_else(|| Rule::UnknownCommand.by(format!("duration {text:?}")))?;
            // SIGTERM ends it at once, as the default action of the signal does.
            tokio::select! {
                () = tokio::time::sleep(process.scaled(wait)) => {}
                () = terminate.cancelled() => {}
            }
            Ok(())
        }
        ["wait", "no-resolve", host] => {
            while !process.resolver.resolve(host).is_empty() && !terminate.is_cancelled() {
                log.info("Host still resolves", json!({ "host": host }));
                tokio::select! {
                    () = tokio::time::sleep(process.scaled(RESOLVE_PERIOD)) => {}
                    () = terminate.cancelled() => {}
                }
            }
            Ok(())
        }
        ["version", ..] => {
            log.print(&release.banner());
            Ok(())
        }
        other => Err(Rule::UnknownCommand.by(other.join(" "))),
    }
}

fn read(process: &Process, file: &str) -> Result<String, Refusal> {
    let bytes = process.read(file).map_err(|error| Rule::ConfigMissing.by(format!("{file}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| Rule::WrongType.by(format!("{file}: {error}")))
}

fn configure_test(process: &Process, release: &Release, file: &str, log: &Log) -> Result<(), Refusal> {
    config::parse(&read(process, file)?, release.major())?;
    log.print(&format!("OK: {file}"));
    Ok(())
}

/// Flags of `teleport start`.
#[derive(Debug, Default)]
struct Flags {
    config: Option<String>,
    diag_addr: Option<String>,
    auth: auth::Flags,
    fips: bool,
    skip_version_check: bool,
}

impl Flags {
    fn parse(words: &[&str]) -> Result<Flags, Refusal> {
        let mut flags = Flags::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (*word, None),
            };
            match name {
                "--fips" => flags.fips = true,
                "--skip-version-check" => flags.skip_version_check = true,
                "--insecure" | "--debug" | "-d" => {}
                "-c" | "--config" | "--diag-addr" | "--bootstrap" | "--apply-on-startup" => {
                    let value = attached.or_else(|| words.next().map(|value| (*value).to_owned()));
                    let value = value.ok_or_else(|| Rule::UnknownCommand.by(format!("{name} needs a value")))?;
                    match name {
                        "--diag-addr" => flags.diag_addr = Some(value),
                        "--bootstrap" => flags.auth.bootstrap = Some(value),
                        "--apply-on-startup" => flags.auth.apply_on_startup = Some(value),
                        _ => flags.config = Some(value),
                    }
                }
                unknown => return Err(Rule::UnknownCommand.by(unknown)),
            }
        }
        Ok(flags)
    }
}

async fn start(
    process: &Process,
    release: &Release,
    flags: &Flags,
    terminate: &CancellationToken,
    connect: &dyn Connect,
) -> Result<(), Refusal> {
    if flags.fips && !release.fips {
        return Err(Rule::FipsBuild.by(&process.image));
    }
    let text = read(process, flags.config.as_deref().unwrap_or("/etc/teleport.yaml"))?;
    let file = config::parse(&text, release.major())?;
    let settings = config::settle(file, release, process, flags.diag_addr.as_deref())?;
    let (pod, version) = (process.hostname.clone(), release.version.to_string());
    // The node name replaces the host's own everywhere.
    let process =
        &Process { hostname: settings.nodename.clone().unwrap_or_else(|| process.hostname.clone()), ..process.clone() };
    let log = Log::new(process.log.clone());
    log.info("Starting Teleport", json!({ "version": release.version.to_string(), "hostname": process.hostname }));

    let health = Health::new();
    let diagnostics = diagnostics(process, release, &settings, &health).await?;
    let role = async {
        let pod = process.world.start_goes_on(&pod, &version);
        if terminate.run_until_cancelled(pod).await.is_none() {
            return Ok(());
        }
        match settings.role {
            Role::Auth(config) => auth::run(process, release, &config, &flags.auth, connect, &health, terminate).await,
            Role::Proxy(config) => {
                proxy::run(process, release, *config, flags.skip_version_check, &health, terminate).await
            }
        }
    };
    // Whoever is told to stop says goodbye itself; the diagnostics answer until then.
    let ended = tokio::select! {
        ended = role => ended,
        () = diagnostics => Ok(()),
    };
    log.info("Teleport is shut down", json!({}));
    ended
}

/// Opens the diagnostic and metrics listeners; the returned future serves them and never ends.
async fn diagnostics(
    process: &Process,
    release: &Release,
    settings: &config::Settings,
    health: &Health,
) -> Result<impl Future<Output = ()> + use<>, Refusal> {
    let mut serving: Vec<futures::future::BoxFuture<'static, ()>> = Vec::new();
    // They answer until the very end: a stopping process is alive.
    let never = CancellationToken::new();
    if let Some(address) = settings.diag {
        let pages =
            Diagnostics { health: health.clone(), release: release.clone(), metrics: settings.metrics.is_none() };
        let listener = net::listen(address).await?;
        serving.push(Box::pin(web::serve(listener, None, Arc::new(pages), never.clone(), DIAG_GRACE)));
    }
    if let Some(metrics) = &settings.metrics {
        let tls = diag::metrics_tls(process, metrics)?;
        let listener = net::listen(metrics.listen).await?;
        let pages = MetricsPage { health: health.clone(), release: release.clone() };
        serving.push(Box::pin(web::serve(listener, tls, Arc::new(pages), never, DIAG_GRACE)));
    }
    Ok(async move {
        futures::future::join_all(serving).await;
        std::future::pending::<()>().await;
    })
}
