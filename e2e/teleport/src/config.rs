//! Reads `teleport.yaml`: what `teleport configure --test` sees is checked by `parse`, what only a start sees by the
//! modules `auth`, `proxy` and `storage` below. Nothing here opens a file but the configuration itself.

pub(crate) mod auth;
pub(crate) mod file;
pub(crate) mod proxy;
mod schema;
pub(crate) mod storage;

use std::net::SocketAddr;

use serde_json::Value;

use crate::process::Process;
use crate::release::Release;
use crate::rule::{Refusal, Rule};
use file::{File, KeyPairFiles};

const SSH_CIPHERS: &[&str] = &[
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "arcfour256",
    "arcfour128",
    "arcfour",
    "aes128-cbc",
    "3des-cbc",
];
const SSH_KEX: &[&str] = &[
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group-exchange-sha1",
    "mlkem768x25519-sha256",
];
const SSH_MACS: &[&str] = &[
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
    "hmac-sha1-96",
];

/// All that `teleport configure --test FILE` looks at.
pub(crate) fn parse(text: &str, major: u64) -> Result<File, Refusal> {
    let tree: Value = serde_saphyr::from_str(text).map_err(|error| syntax(&error))?;
    schema::check(&tree, major)?;
    let file: File = serde_saphyr::from_str(text).map_err(|error| syntax(&error))?;
    algorithms(&file.teleport.ciphers, SSH_CIPHERS)?;
    algorithms(&file.teleport.kex_algos, SSH_KEX)?;
    algorithms(&file.teleport.mac_algos, SSH_MACS)?;
    if let Some(mode) = &file.auth_service.proxy_listener_mode
        && !matches!(mode.as_str(), "" | "separate" | "multiplex")
    {
        return Err(Rule::ListenerMode.by(mode));
    }
    Ok(file)
}

fn syntax(error: &serde_saphyr::Error) -> Refusal {
    let text = error.to_string();
    let rule = if text.to_ascii_lowercase().contains("duplicate") { Rule::DuplicateKey } else { Rule::WrongType };
    // The parser shows the lines around the mistake; a log line holds one.
    rule.by(text.lines().next().unwrap_or_default())
}

fn algorithms(wanted: &Option<Vec<String>>, known: &[&str]) -> Result<(), Refusal> {
    match wanted.iter().flatten().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Rule::SshAlgorithm.by(unknown)),
        None => Ok(()),
    }
}

/// Which of the two processes a configuration makes.
#[derive(Debug)]
pub(crate) enum Role {
    Auth(Box<auth::Auth>),
    Proxy(Box<proxy::Proxy>),
}

/// What both have.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) role: Role,
    pub(crate) nodename: Option<String>,
    pub(crate) diag: Option<SocketAddr>,
    pub(crate) metrics: Option<Metrics>,
}

/// `metrics_service`, when it is on.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) listen: SocketAddr,
    pub(crate) key_pairs: Vec<KeyPairFiles>,
    pub(crate) authorities: Vec<String>,
}

/// What a start makes of the file: the rules that `parse` does not see.
pub(crate) fn settle(
    file: File,
    release: &Release,
    process: &Process,
    diag_flag: Option<&str>,
) -> Result<Settings, Refusal> {
    let version = file.version.as_deref().unwrap_or("v1");
    // v1 opens every listener by default, which nothing here wants; the real process still reads it.
    if !matches!(version, "v2" | "v3") {
        return Err(Rule::ConfigVersion.by(version));
    }
    if version == "v3" && file.teleport.auth_servers.is_some() {
        return Err(Rule::AuthServersInV3.by("teleport.auth_servers"));
    }
    if file.teleport.auth_server.is_some() && file.teleport.proxy_server.is_some() {
        return Err(Rule::TwoServerAddresses.by("teleport"));
    }
    let diag = match diag_flag.or(file.teleport.diag_addr.as_deref()).filter(|addr| !addr.is_empty()) {
        Some(addr) => Some(listener(process, addr, 3000)?),
        None => None,
    };
    let metrics = metrics(&file.metrics_service, process)?;
    let nodename = file.teleport.nodename.clone();
    let role = role(file, release, process)?;
    Ok(Settings { role, nodename, diag, metrics })
}

fn role(file: File, release: &Release, process: &Process) -> Result<Role, Refusal> {
    // These two and ssh_service are on unless they are switched off.
    let auth = file.auth_service.enabled.is_none_or(|flag| flag.0);
    let proxy = file.proxy_service.enabled.is_none_or(|flag| flag.0);
    let others = [
        ("ssh_service", file.ssh_service.enabled.is_none_or(|flag| flag.0)),
        ("kubernetes_service", on(&file.kubernetes_service)),
        ("app_service", on(&file.app_service)),
        ("db_service", on(&file.db_service)),
        ("windows_desktop_service", on(&file.windows_desktop_service)),
        ("discovery_service", on(&file.discovery_service)),
        ("okta_service", on(&file.okta_service)),
        ("jamf_service", on(&file.jamf_service)),
    ];
    if let Some((name, _)) = others.iter().find(|(_, on)| *on) {
        return Err(Rule::UnsupportedService.by(name));
    }
    match (auth, proxy) {
        (true, true) => Err(Rule::UnsupportedService.by("auth_service and proxy_service in one process")),
        (false, false) => Err(Rule::NothingEnabled.by("auth_service and proxy_service are off")),
        (true, false) => Ok(Role::Auth(Box::new(auth::settle(file, release, process)?))),
        (false, true) => Ok(Role::Proxy(Box::new(proxy::settle(file, process)?))),
    }
}

fn on(service: &file::Service) -> bool {
    service.enabled.is_some_and(|flag| flag.0)
}

fn metrics(service: &file::MetricsService, process: &Process) -> Result<Option<Metrics>, Refusal> {
    if !service.enabled.is_some_and(|flag| flag.0) {
        return Ok(None);
    }
    let listen = listener(process, service.listen_addr.as_deref().unwrap_or("0.0.0.0:3081"), 3081)?;
    Ok(Some(Metrics { listen, key_pairs: service.keypairs.clone(), authorities: service.ca_certs.clone() }))
}

/// An address to listen on: `host:port` or `host`.
pub(crate) fn listener(process: &Process, address: &str, default_port: u16) -> Result<SocketAddr, Refusal> {
    let (host, port) = split(address, default_port)?;
    process.listener(&host, port).ok_or_else(|| Rule::CannotListen.by(address))
}

/// Host and port of `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(crate) fn split(address: &str, default_port: u16) -> Result<(String, u16), Refusal> {
    let bad = || Rule::BadAddress.by(format!("{address:?}"));
    let address_only = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("https://")).unwrap_or(address);
    let (host, port) = match address_only.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (address_only, default_port),
    };
    let valid = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let unclosed = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if (host.is_empty() && !address_only.starts_with(':')) || !valid(host) || unclosed {
        return Err(bad());
    }
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}
