//! The Proxy's web API: discovery, upgrade channels, export of the authorities.

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::Utc;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Core;
use crate::release::Edition;
use crate::web::{self, Page, Pages};
use crate::world::Call;

const CHANNEL: &str = "/v1/webapi/automaticupgrades/channel/";
const DIAL_TIMEOUT_NANOSECONDS: u64 = 30_000_000_000;

/// The pages of one Proxy.
pub(super) struct WebPages(pub(super) Arc<Core>);

impl Pages for WebPages {
    fn page(&self, request: &Request<Incoming>, peer: SocketAddr) -> Page {
        let core = &self.0;
        let path = request.uri().path();
        core.log.info("served", json!({ "method": path, "peer": peer.to_string() }));
        core.process.world.record(
            &core.cluster,
            Call {
                at: Utc::now(),
                process: core.process.hostname.clone(),
                version: core.release.version.to_string(),
                method: path.to_owned(),
                identity: None,
                peer,
                refused: String::new(),
            },
        );
        match path {
            "/webapi/ping" => web::json(StatusCode::OK, &ping(core)),
            "/webapi/find" => web::json(StatusCode::OK, &find(core)),
            "/webapi/auth/export" => export(core, request.uri().query().unwrap_or_default()),
            _ => match path.strip_prefix(CHANNEL).and_then(|rest| rest.rsplit_once('/')) {
                Some((channel, what)) => upgrade(core, channel, what),
                None => web::not_found(path),
            },
        }
    }
}

fn common(core: &Core) -> Value {
    let settings = core.settings();
    json!({
        "server_version": core.release.version.to_string(),
        "min_client_version": core.release.oldest_client().to_string(),
        "cluster_name": core.cluster,
        "automatic_upgrades": false,
        "edition": if core.release.edition == Edition::Enterprise { "ent" } else { "community" },
        "fips": core.release.fips,
        "proxy": proxy(core, settings.multiplex),
        "auto_update": {
            "tools_version": settings.tools_version,
            "tools_auto_update": settings.tools_auto_update,
            "agent_version": settings.agent_version,
            "agent_auto_update": settings.agent_auto_update,
            "agent_update_jitter_seconds": 60,
        },
    })
}

fn ping(core: &Core) -> Value {
    let settings = core.settings();
    let mut answer = common(core);
    answer["auth"] = json!({
        "type": settings.auth_type,
        "second_factor": settings.second_factor,
        "preferred_local_mfa": if settings.rp_id.is_empty() { "otp" } else { "webauthn" },
        "allow_passwordless": !settings.rp_id.is_empty(),
        "allow_headless": !settings.rp_id.is_empty(),
        "local": { "name": "" },
        "private_key_policy": "none",
        "piv_slot": "",
        "device_trust": {},
        "has_motd": false,
        "load_all_cas": false,
        "default_session_ttl": "12h0m0s",
        "signature_algorithm_suite": settings.signature_algorithm_suite,
    });
    if !settings.rp_id.is_empty() {
        answer["auth"]["webauthn"] = json!({ "rp_id": settings.rp_id });
    }
    answer["automatic_upgrades"] =
        core.process.env("TELEPORT_AUTOMATIC_UPGRADES").is_some_and(|on| matches!(on, "true" | "yes" | "1")).into();
    answer
}

fn find(core: &Core) -> Value {
    let mut answer = common(core);
    answer["auth"] = json!({ "signature_algorithm_suite": core.settings().signature_algorithm_suite });
    answer
}

/// Where clients find what. Under multiplexing every listen address names the web listener, whatever else is open.
fn proxy(core: &Core, multiplex: bool) -> Value {
    let addresses = &core.config.addresses;
    let listen = |name: &str| match addresses.listen.get(name) {
        Some(own) if !multiplex => own.clone(),
        _ => addresses.web_listen.clone(),
    };
    let public = |name: &str| addresses.public.get(name).cloned();
    let mut ssh = json!({
        "listen_addr": listen("ssh"),
        "tunnel_listen_addr": listen("tunnel"),
        "web_listen_addr": addresses.web_listen,
        "dial_timeout": DIAL_TIMEOUT_NANOSECONDS,
    });
    insert(&mut ssh, "public_addr", public("web"));
    insert(&mut ssh, "ssh_public_addr", public("ssh"));
    insert(&mut ssh, "ssh_tunnel_public_addr", public("tunnel"));
    let mut kube =
        json!({ "enabled": multiplex || addresses.listen.contains_key("kube"), "listen_addr": listen("kube") });
    insert(&mut kube, "public_addr", public("kube"));
    let mut db = json!({ "postgres_listen_addr": listen("postgres"), "mysql_listen_addr": listen("mysql") });
    insert(&mut db, "postgres_public_addr", public("postgres"));
    insert(&mut db, "mysql_public_addr", public("mysql"));
    if addresses.listen.contains_key("mongo") {
        insert(&mut db, "mongo_listen_addr", Some(listen("mongo")));
    }
    insert(&mut db, "mongo_public_addr", public("mongo"));
    json!({ "tls_routing_enabled": multiplex, "kube": kube, "ssh": ssh, "db": db })
}

fn insert(object: &mut Value, key: &str, value: Option<String>) {
    if let Some(value) = value {
        object[key] = value.into();
    }
}

fn export(core: &Core, query: &str) -> Page {
    let settings = core.settings();
    let kind = query.split('&').find_map(|pair| pair.strip_prefix("type=")).unwrap_or_default();
    let pem = match kind {
        "tls-host" | "tls" => settings.host_authorities.clone(),
        "tls-user" => settings.user_authorities.clone(),
        other => {
            let message = format!("{other:?} authority type is not supported");
            return web::json(StatusCode::BAD_REQUEST, &json!({ "error": { "message": message } }));
        }
    };
    web::page(StatusCode::OK, "application/octet-stream", pem)
}

fn upgrade(core: &Core, channel: &str, what: &str) -> Page {
    let configured = core.config.channels.get(channel).cloned();
    // Without configuration one channel serves the Proxy's own version.
    let known = configured.is_some() || channel == "default";
    let settings = configured.unwrap_or_default();
    if !known || !matches!(what, "version" | "critical") {
        return web::not_found(channel);
    }
    if settings.forward_url.is_some() {
        // Nothing outside this machine is ever asked.
        return web::json(
            StatusCode::BAD_GATEWAY,
            &json!({ "error": { "message": "forward_url is not followed here" } }),
        );
    }
    let own = core.release.version.to_string();
    let text = match (what, settings.static_version) {
        ("critical", _) => if settings.critical.unwrap_or_default() { "yes" } else { "no" }.to_owned(),
        (_, Some(version)) if version == "none" => version,
        (_, version) => format!("v{}", version.unwrap_or(own).trim_start_matches('v')),
    };
    web::page(StatusCode::OK, "text/plain; charset=utf-8", text)
}
