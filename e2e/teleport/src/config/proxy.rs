//! `proxy_service` as a start reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::file::{Channel, File, KeyPairFiles, Strings};
use super::{listener, split};
use crate::duration;
use crate::process::Process;
use crate::rule::{Refusal, Rule};

/// A checked `proxy_service` with what it needs to join.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) auth_host: String,
    pub(crate) auth_port: u16,
    /// The token itself, or the file that holds it.
    pub(crate) token: String,
    pub(crate) web: SocketAddr,
    /// Name and address of the other listeners.
    pub(crate) listeners: Vec<(Listener, SocketAddr)>,
    pub(crate) addresses: Addresses,
    pub(crate) key_pairs: Vec<KeyPairFiles>,
    pub(crate) reload: Option<Duration>,
    pub(crate) channels: BTreeMap<String, Channel>,
}

/// What speaks on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Ssh,
    Tunnel,
    Kube,
    Mysql,
    Postgres,
    Mongo,
    Peer,
}

/// Addresses as written, for `/webapi/ping`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) web_listen: String,
    pub(crate) listen: BTreeMap<&'static str, String>,
    pub(crate) public: BTreeMap<&'static str, String>,
}

pub(super) fn settle(file: File, process: &Process) -> Result<Proxy, Refusal> {
    let service = file.proxy_service;
    let Some(server) = file.teleport.auth_server.as_deref().filter(|server| !server.is_empty()) else {
        return Err(Rule::ServerAddressMissing.by("teleport.auth_server"));
    };
    let (auth_host, auth_port) = split(server, 3025)?;
    let token = token(file.teleport.join_params, file.teleport.auth_token)?;
    if let Some(protocol) = &service.proxy_protocol
        && !matches!(protocol.as_str(), "" | "on" | "off")
    {
        return Err(Rule::ProxyProtocol.by(protocol));
    }

    let mut listeners = Vec::new();
    let mut addresses = Addresses { web_listen: "0.0.0.0:3080".to_owned(), ..Addresses::default() };
    if let Some(web) = service.web_listen_addr.filter(|addr| !addr.is_empty()) {
        addresses.web_listen = web;
    }
    let web = listener(process, &addresses.web_listen, 3080)?;
    let wanted = [
        (Listener::Ssh, "ssh", service.listen_addr, 3023),
        (Listener::Tunnel, "tunnel", service.tunnel_listen_addr, 3024),
        (Listener::Kube, "kube", service.kube_listen_addr, 3026),
        (Listener::Mysql, "mysql", service.mysql_listen_addr, 3036),
        (Listener::Postgres, "postgres", service.postgres_listen_addr, 5432),
        (Listener::Mongo, "mongo", service.mongo_listen_addr, 27017),
        (Listener::Peer, "peer", service.peer_listen_addr, 3021),
    ];
    for (kind, name, address, port) in wanted {
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            let socket = listener(process, &address, port)?;
            // The same address as the web listener means: multiplexed there.
            if socket != web {
                listeners.push((kind, socket));
            }
            addresses.listen.insert(name, address);
        }
    }

    let public: [(&'static str, Option<Strings>, u16); 8] = [
        ("web", service.public_addr, 443),
        ("ssh", service.ssh_public_addr, 3023),
        ("tunnel", service.tunnel_public_addr, 3024),
        ("kube", service.kube_public_addr, 3026),
        ("mysql", service.mysql_public_addr, 3036),
        ("postgres", service.postgres_public_addr, 5432),
        ("mongo", service.mongo_public_addr, 27017),
        ("peer", service.peer_public_addr, 3021),
    ];
    for (name, value, port) in public {
        let mut values = value.unwrap_or_default().0.into_iter();
        let Some(first) = values.next() else { continue };
        for address in values.chain([first.clone()]) {
            split(&address, port)?;
        }
        let needs_listener = matches!(name, "kube" | "mysql" | "mongo" | "peer");
        if needs_listener && !addresses.listen.contains_key(name) {
            return Err(Rule::PublicAddrWithoutListener.by(format!("{name}_public_addr without {name}_listen_addr")));
        }
        let (host, port) = split(&first, port)?;
        addresses.public.insert(name, format!("{host}:{port}"));
    }

    let mut key_pairs = service.https_keypairs;
    if let (Some(key_file), Some(cert_file)) = (service.https_key_file, service.https_cert_file) {
        key_pairs.push(KeyPairFiles { key_file, cert_file });
    }
    let reload = match service.https_keypairs_reload_interval.as_deref() {
        None | Some("" | "0") => None,
        Some(text) => Some(duration::parse(text).ok_or_else(|| Rule::WrongType.by(format!("reload interval {text}")))?),
    };
    Ok(Proxy {
        auth_host,
        auth_port,
        token,
        web,
        listeners,
        addresses,
        key_pairs,
        reload: reload.filter(|interval| !interval.is_zero()),
        channels: service.automatic_upgrades_channels,
    })
}

fn token(params: Option<super::file::JoinParams>, auth_token: Option<String>) -> Result<String, Refusal> {
    let Some(params) = params else { return Ok(auth_token.unwrap_or_default()) };
    match params.method.as_deref() {
        // The other methods exist, but nothing here could check what they present.
        None | Some("" | "token") => Ok(params.token_name.unwrap_or_default()),
        Some(other) => Err(Rule::TokenMethod.by(other)),
    }
}
