//! `auth_service` as a start reads it.

use std::net::SocketAddr;

use super::file::{Authentication, File, Flag};
use super::{listener, split, storage};
use crate::process::Process;
use crate::release::{Edition, Release};
use crate::rule::{Refusal, Rule};

const SUITES: &[&str] = &["legacy", "balanced-v1", "fips-v1", "hsm-v1"];

/// A checked `auth_service`.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) cluster: String,
    pub(crate) listen: SocketAddr,
    pub(crate) public_hosts: Vec<String>,
    pub(crate) license_file: String,
    pub(crate) multiplex: bool,
    pub(crate) login: Login,
    pub(crate) storage: storage::Storage,
}

/// How users log in: what `/webapi/ping` shows and what admin actions need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) kind: String,
    /// In the one-word form of `/webapi/ping`.
    pub(crate) second_factor: String,
    pub(crate) rp_id: String,
    pub(crate) suite: String,
}

impl Login {
    pub(crate) fn webauthn(&self) -> bool {
        !self.rp_id.is_empty()
    }
}

pub(super) fn settle(file: File, release: &Release, process: &Process) -> Result<Auth, Refusal> {
    let service = file.auth_service;
    if let Some(server) = &file.teleport.auth_server {
        split(server, 3025)?;
    }
    if let Some(mode) = &service.session_recording
        && !matches!(mode.as_str(), "" | "node" | "node-sync" | "proxy" | "proxy-sync" | "off")
    {
        return Err(Rule::SessionRecording.by(mode));
    }
    if let Some(strategy) = &service.tunnel_strategy {
        match strategy.kind.as_deref() {
            Some("agent_mesh") if strategy.agent_connection_count.is_none() => {}
            Some("proxy_peering") => enterprise(release, "tunnel_strategy proxy_peering")?,
            other => return Err(Rule::TunnelStrategy.by(format!("{other:?}"))),
        }
    }
    if service.ca_key_params.iter().flatten().next().is_some() {
        enterprise(release, "ca_key_params")?;
    }
    let login = login(&service.authentication, release)?;
    let mut public_hosts = Vec::new();
    for address in service.public_addr.iter().flat_map(|addresses| &addresses.0) {
        public_hosts.push(split(address, 3025)?.0);
    }
    let data_dir = file.teleport.data_dir.as_deref().unwrap_or("/var/lib/teleport");
    let license = service.license_file.as_deref().filter(|file| !file.is_empty()).unwrap_or("license.pem");
    Ok(Auth {
        cluster: service.cluster_name.filter(|name| !name.is_empty()).unwrap_or_else(|| process.hostname.clone()),
        listen: listener(process, service.listen_addr.as_deref().unwrap_or("0.0.0.0:3025"), 3025)?,
        public_hosts,
        license_file: if license.starts_with('/') { license.to_owned() } else { format!("{data_dir}/{license}") },
        multiplex: service.proxy_listener_mode.as_deref() == Some("multiplex"),
        login,
        storage: storage::settle(&file.teleport.storage, process)?,
    })
}

fn enterprise(release: &Release, feature: &str) -> Result<(), Refusal> {
    match release.edition {
        Edition::Enterprise => Ok(()),
        Edition::Community => Err(Rule::EnterpriseFeature.by(feature)),
    }
}

fn login(authentication: &Authentication, release: &Release) -> Result<Login, Refusal> {
    let kind = authentication.kind.as_deref().unwrap_or("local");
    match kind {
        "local" | "github" => {}
        "oidc" | "saml" => enterprise(release, "authentication.type")?,
        other => return Err(Rule::AuthType.by(other)),
    }
    if kind == "local" && authentication.local_auth == Some(Flag(false)) {
        return Err(Rule::AuthType.by("type local with local_auth off"));
    }
    if let Some(suite) = &authentication.signature_algorithm_suite
        && !SUITES.contains(&suite.as_str())
    {
        return Err(Rule::SignatureSuite.by(suite));
    }
    let factors = factors(authentication, release)?;
    let rp_id = authentication.webauthn.as_ref().and_then(|webauthn| webauthn.rp_id.clone()).unwrap_or_default();
    let webauthn = factors.iter().any(|factor| factor == "webauthn");
    if webauthn && rp_id.is_empty() {
        return Err(Rule::WebauthnRpId.by("authentication.webauthn"));
    }
    let second_factor = match factors.as_slice() {
        [one] => one.clone(),
        _ => "on".to_owned(),
    };
    let suite = authentication.signature_algorithm_suite.clone().unwrap_or_else(|| "balanced-v1".to_owned());
    Ok(Login { kind: kind.to_owned(), second_factor, rp_id: if webauthn { rp_id } else { String::new() }, suite })
}

fn factors(authentication: &Authentication, release: &Release) -> Result<Vec<String>, Refusal> {
    let list = authentication.second_factors.as_ref();
    let single = authentication.second_factor.as_deref().filter(|factor| !factor.is_empty());
    match (list, single) {
        (Some(_), Some(_)) => Err(Rule::SecondFactorBoth.by("authentication")),
        (Some(list), None) => match list.iter().find(|factor| !matches!(factor.as_str(), "webauthn" | "otp" | "sso")) {
            Some(unknown) => Err(Rule::SecondFactorUnknown.by(unknown)),
            None => Ok(list.clone()),
        },
        (None, Some("off" | "optional")) if release.major() >= 17 => Err(Rule::SecondFactorOff.by("second_factor")),
        (None, Some(factor @ ("otp" | "webauthn" | "off" | "optional"))) => Ok(vec![factor.to_owned()]),
        (None, Some("on")) => Ok(vec!["webauthn".to_owned(), "otp".to_owned()]),
        (None, Some(unknown)) => Err(Rule::SecondFactorUnknown.by(unknown)),
        (None, None) => Ok(vec!["otp".to_owned()]),
    }
}
