//! How a stand-in Proxy joins and stays joined. The calls are not Teleport's; the rules are.

use std::sync::{Arc, PoisonError};

use tonic::{Request, Response, Status};

use super::Core;
use super::init::storage;
use super::resource::{Resource, TokenSpec};
use super::{instances, update};
use crate::pki;
use crate::release;
use crate::rule::{Refusal, Rule};
use crate::wire::standin::v1::control_server::{Control, ControlServer};
use crate::wire::standin::v1::{HeartbeatRequest, HeartbeatResponse, JoinRequest, JoinResponse};

pub(super) fn server(core: Arc<Core>) -> ControlServer<Service> {
    ControlServer::new(Service(core))
}

pub(super) struct Service(Arc<Core>);

#[tonic::async_trait]
impl Control for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let core = &self.0;
        let joined = join(core, request.get_ref()).await;
        if let Err(refusal) = &joined {
            core.log.error("Refused to let an instance join", refusal);
        }
        Ok(Response::new(joined?))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let core = &self.0;
        let said = request.get_ref();
        check_version(core, &said.version)?;
        instances::proxy_lives(core, &said.host_id, &said.hostname, &said.version).await?;
        core.proxy_address.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&said.public_addr);
        let trust = core.trust();
        let updates = update::offered(core).await?;
        Ok(Response::new(HeartbeatResponse {
            version: core.release.version.to_string(),
            host_authorities: trust.host_pem.clone(),
            user_authorities: trust.user_pem.clone(),
            multiplex: core.multiplex,
            auth_type: core.login.kind.clone(),
            second_factor: core.login.second_factor.clone(),
            rp_id: core.login.rp_id.clone(),
            signature_algorithm_suite: core.login.suite.clone(),
            tools_version: updates.tools_version.clone(),
            tools_auto_update: updates.tools_auto_update,
            agent_version: updates.agent_version.clone(),
            agent_auto_update: updates.agent_auto_update,
        }))
    }
}

async fn join(core: &Core, request: &JoinRequest) -> Result<JoinResponse, Refusal> {
    check_version(core, &request.version)?;
    check_token(core, &request.token, &request.role).await?;
    if !pki::is_uuid(&request.host_id) {
        return Err(Rule::ResourceInvalid.by("host id"));
    }
    let invalid = |error: rcgen::Error| Rule::ResourceInvalid.by(error);
    let public = rcgen::SubjectPublicKeyInfo::from_der(&request.public_key).map_err(invalid)?;
    let trust = core.trust();
    let names = pki::host_names(&[]);
    let certificate =
        pki::host_certificate(&trust.host_signer, &core.cluster, &request.host_id, &request.role, &names, &public)
            .map_err(invalid)?;
    Ok(JoinResponse {
        certificate,
        host_authorities: trust.host_pem.clone(),
        cluster_name: core.cluster.clone(),
        version: core.release.version.to_string(),
    })
}

/// Auth serves its own major and the one before.
fn check_version(core: &Core, version: &str) -> Result<(), Refusal> {
    match release::parse(version) {
        Some(version) if version.major >= core.release.oldest_client().major => Ok(()),
        _ => Err(Rule::ProxyTooOld.by(format!("{version} at Auth {}", core.release.version))),
    }
}

async fn check_token(core: &Core, token: &str, role: &str) -> Result<(), Refusal> {
    // The token is a secret: no refusal names it.
    if token.is_empty() || token.contains('/') {
        return Err(Rule::JoinToken.by("empty or malformed"));
    }
    // An expired one does not exist.
    let stored: Option<Resource> = core.state.get_json(&format!("tokens/{token}")).await.map_err(storage)?;
    let stored = stored.ok_or_else(|| Rule::JoinToken.by("not in the backend"))?;
    let spec: TokenSpec = serde_json::from_value(stored.spec).map_err(|error| Rule::JoinToken.by(error))?;
    if !matches!(spec.join_method.as_str(), "" | "token") {
        return Err(Rule::JoinToken.by(format!("join method {}", spec.join_method)));
    }
    if !spec.roles.iter().any(|allowed| allowed.eq_ignore_ascii_case(role)) {
        return Err(Rule::JoinTokenRole.by(role));
    }
    Ok(())
}
