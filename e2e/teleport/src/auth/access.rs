//! What each call needs, and whether a client has it. One table; methods that are not in it do not exist here.

use semver::Version;

use super::Core;
use super::identity::Client;
use super::init::storage;
use super::resource::{self, Resource, RoleSpec};
use crate::release;
use crate::rule::{Refusal, Rule};

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing, not even a certificate.
    Nothing,
    /// Any certificate.
    Anyone,
    /// Verbs on a kind of resource.
    Verbs(&'static str, &'static [&'static str]),
    /// Verbs, and a second factor unless the client is a system role.
    AdminVerbs(&'static str, &'static [&'static str]),
    /// The system role of Proxies.
    Proxy,
}

const MAINTENANCE: &str = "cluster_maintenance_config";

fn need(method: &str) -> Option<Need> {
    let (service, call) = method.trim_start_matches('/').split_once('/')?;
    Some(match (service, call) {
        ("proto.AuthService", "Ping" | "GetDomainName" | "GetClusterCACert") => Need::Nothing,
        ("standin.v1.Control", "Join") => Need::Nothing,
        ("standin.v1.Control", "Heartbeat") => Need::Proxy,
        ("proto.AuthService", "GetInstances" | "GetInventoryStatus") => Need::Verbs("instance", &["list", "read"]),
        ("proto.AuthService", "GetClusterMaintenanceConfig") => Need::Verbs(MAINTENANCE, &["read"]),
        ("proto.AuthService", "UpdateClusterMaintenanceConfig") => Need::Verbs(MAINTENANCE, &["create", "update"]),
        ("proto.AuthService", "DeleteClusterMaintenanceConfig") => Need::Verbs(MAINTENANCE, &["delete"]),
        ("proto.AuthService", "UpsertClusterAlert") => Need::Verbs("cluster_alert", &["create", "update"]),
        ("proto.AuthService", "GetClusterAlerts") => Need::Anyone,
        ("teleport.autoupdate.v1.AutoUpdateService", call) => {
            let kind = match call {
                _ if call.ends_with("AutoUpdateConfig") => "autoupdate_config",
                _ if call.ends_with("AutoUpdateVersion") => "autoupdate_version",
                _ if call.ends_with("AutoUpdateAgentRollout") => "autoupdate_agent_rollout",
                _ => return None,
            };
            match call.split("AutoUpdate").next()? {
                "Get" => Need::Verbs(kind, &["read"]),
                "Create" => Need::AdminVerbs(kind, &["create"]),
                "Update" => Need::AdminVerbs(kind, &["update"]),
                "Upsert" => Need::AdminVerbs(kind, &["create", "update"]),
                "Delete" => Need::AdminVerbs(kind, &["delete"]),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Lets a call through, or says which rule it breaks. Calls that do not exist pass: the router answers those.
pub(super) async fn check(core: &Core, client: &Client, method: &str) -> Result<(), Refusal> {
    let roles = match client {
        Client::User { name, roles } => user_roles(core, name, roles).await?,
        Client::Nobody | Client::System { .. } => Vec::new(),
    };
    let Some(need) = need(method) else { return Ok(()) };
    match (need, client) {
        (Need::Nothing, _) => Ok(()),
        (_, Client::Nobody) => Err(Rule::ClientAnonymous.by(method)),
        (Need::Anyone, _) => Ok(()),
        (Need::Proxy, Client::System { role }) if role == "Proxy" => Ok(()),
        (Need::Proxy, _) => Err(Rule::ClientNotAllowed.by(method)),
        (Need::Verbs(kind, verbs) | Need::AdminVerbs(kind, verbs), Client::System { role }) => match role.as_str() {
            "Admin" | "Auth" => Ok(()),
            "Proxy" if kind.starts_with("autoupdate_") && verbs == ["read"] => Ok(()),
            _ => Err(Rule::ClientNotAllowed.by(format!("{role}: {method}"))),
        },
        (Need::Verbs(kind, verbs), Client::User { name, .. }) => allowed(&roles, kind, verbs, name),
        (Need::AdminVerbs(kind, verbs), Client::User { name, .. }) => {
            allowed(&roles, kind, verbs, name)?;
            // Nothing here can do the ceremony, so whoever would be asked for it is refused.
            if core.login.webauthn() { Err(Rule::ClientAdminAction.by(name)) } else { Ok(()) }
        }
    }
}

async fn user_roles(core: &Core, name: &str, roles: &[String]) -> Result<Vec<RoleSpec>, Refusal> {
    if core.state.get(&format!("web/users/{name}")).await.map_err(storage)?.is_none() {
        return Err(Rule::ClientUserUnknown.by(format!("user {name}")));
    }
    let mut specs = Vec::new();
    for role in roles {
        let stored: Option<Resource> = core.state.get_json(&format!("roles/{role}")).await.map_err(storage)?;
        let stored = stored.ok_or_else(|| Rule::ClientUserUnknown.by(format!("role {role}")))?;
        specs.push(resource::role(&stored).map_err(|error| Rule::ClientUserUnknown.by(error))?);
    }
    Ok(specs)
}

fn allowed(roles: &[RoleSpec], kind: &str, verbs: &[&str], user: &str) -> Result<(), Refusal> {
    let may = |verb: &&str| {
        roles.iter().any(|role| role.allow.cover(kind, verb)) && !roles.iter().any(|role| role.deny.cover(kind, verb))
    };
    match verbs.iter().find(|verb| !may(verb)) {
        Some(verb) => Err(Rule::ClientNotAllowed.by(format!("{user}: {kind}:{verb}"))),
        None => Ok(()),
    }
}

/// A client that says its version must not be older than what this Auth serves.
pub(super) fn check_version(said: Option<&str>, oldest: &Version) -> Result<(), Refusal> {
    match said.and_then(release::parse) {
        // Pre-releases of the oldest major are served: 17.0.0-rc.1 is below 17.0.0, but a 17.
        Some(version) if (version.major, version.minor, version.patch) < (oldest.major, oldest.minor, oldest.patch) => {
            Err(Rule::ClientVersion.by(format!("{version} < {oldest}")))
        }
        _ => Ok(()),
    }
}
