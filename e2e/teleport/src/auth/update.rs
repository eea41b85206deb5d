//! Managed updates: `autoupdate_config`, `autoupdate_version` and the rollout that follows from both.

mod file;
mod rules;

use std::sync::{Arc, PoisonError};

use prost::Message;
use rand::Rng;
use tonic::{Request, Response, Status};

pub(super) use file::{config_of, version_of};
pub(super) use rules::{check_config, check_version};

use super::Core;
use super::init::storage;
use crate::rule::{Refusal, Rule};
use crate::state::{New, full_path};
use crate::wire::teleport::autoupdate::v1 as wire;
use crate::wire::types::Metadata;
use wire::auto_update_service_server::{AutoUpdateService, AutoUpdateServiceServer};

const CONFIG_KEY: &str = "autoupdate_config";
const VERSION_KEY: &str = "autoupdate_version";

pub(super) fn server(core: Arc<Core>) -> AutoUpdateServiceServer<Service> {
    AutoUpdateServiceServer::new(Service(core))
}

pub(super) struct Service(Arc<Core>);

/// One of the two resources that are written.
trait Singleton: Message + Default + Clone {
    const KEY: &'static str;
    fn metadata(&mut self) -> &mut Metadata;
    fn check(&self) -> Result<(), Refusal>;
}

impl Singleton for wire::AutoUpdateConfig {
    const KEY: &'static str = CONFIG_KEY;

    fn metadata(&mut self) -> &mut Metadata {
        self.metadata.get_or_insert_default()
    }

    fn check(&self) -> Result<(), Refusal> {
        check_config(self)
    }
}

impl Singleton for wire::AutoUpdateVersion {
    const KEY: &'static str = VERSION_KEY;

    fn metadata(&mut self) -> &mut Metadata {
        self.metadata.get_or_insert_default()
    }

    fn check(&self) -> Result<(), Refusal> {
        check_version(self)
    }
}

fn stored<T: Singleton>(resource: &T) -> New {
    let mut resource = resource.clone();
    // The revision that clients compare lives in the resource, apart from the item's own.
    resource.metadata().revision = hex::encode(rand::rng().random::<[u8; 16]>());
    New { key: T::KEY.to_owned(), value: resource.encode_to_vec(), expires: None }
}

/// Stored form, for resources from files.
pub(super) fn stored_config(config: &wire::AutoUpdateConfig) -> New {
    stored(config)
}

/// Stored form, for resources from files.
pub(super) fn stored_version(version: &wire::AutoUpdateVersion) -> New {
    stored(version)
}

async fn read<T: Singleton>(core: &Core) -> Result<Option<(T, String)>, Refusal> {
    let Some(item) = core.state.get(T::KEY).await.map_err(storage)? else { return Ok(None) };
    let resource = T::decode(item.value.as_slice()).map_err(|error| Rule::ResourceInvalid.by(error))?;
    Ok(Some((resource, item.revision)))
}

async fn get<T: Singleton>(core: &Core) -> Result<Response<T>, Status> {
    let (resource, _) = read::<T>(core).await?.ok_or_else(|| Rule::Absent.by(T::KEY))?;
    Ok(Response::new(resource))
}

/// How a write treats what is there.
#[derive(Clone, Copy)]
enum Write {
    Create,
    Update,
    Upsert,
}

async fn write<T: Singleton>(core: &Core, resource: Option<T>, how: Write) -> Result<Response<T>, Status> {
    let mut resource = resource.ok_or_else(|| Rule::ResourceInvalid.by("the request carries no resource"))?;
    resource.check()?;
    let new = stored(&resource);
    let answer = T::decode(new.value.as_slice()).map_err(|error| Status::internal(error.to_string()))?;
    match how {
        Write::Upsert => {
            core.state.put(new).await?;
        }
        Write::Create => {
            core.state.create(new).await?.ok_or_else(|| Rule::Exists.by(T::KEY))?;
        }
        Write::Update => {
            let (mut last, item_revision) = read::<T>(core).await?.ok_or_else(|| Rule::Absent.by(T::KEY))?;
            if last.metadata().revision != resource.metadata().revision {
                return Err(Rule::Revision.by(T::KEY).into());
            }
            core.state.replace(new, &item_revision).await?.ok_or_else(|| Rule::Revision.by(T::KEY))?;
        }
    }
    changed(core, &full_path(T::KEY));
    Ok(Response::new(answer))
}

async fn delete<T: Singleton>(core: &Core) -> Result<Response<()>, Status> {
    let removed = core.state.remove(T::KEY).await?;
    changed(core, &full_path(T::KEY));
    if removed { Ok(Response::new(())) } else { Err(Rule::Absent.by(T::KEY).into()) }
}

#[tonic::async_trait]
impl AutoUpdateService for Service {
    async fn get_auto_update_config(
        &self,
        _: Request<wire::GetAutoUpdateConfigRequest>,
    ) -> Result<Response<wire::AutoUpdateConfig>, Status> {
        get(&self.0).await
    }

    async fn create_auto_update_config(
        &self,
        request: Request<wire::ConfigRequest>,
    ) -> Result<Response<wire::AutoUpdateConfig>, Status> {
        write(&self.0, request.into_inner().config, Write::Create).await
    }

    async fn update_auto_update_config(
        &self,
        request: Request<wire::ConfigRequest>,
    ) -> Result<Response<wire::AutoUpdateConfig>, Status> {
        write(&self.0, request.into_inner().config, Write::Update).await
    }

    async fn upsert_auto_update_config(
        &self,
        request: Request<wire::ConfigRequest>,
    ) -> Result<Response<wire::AutoUpdateConfig>, Status> {
        write(&self.0, request.into_inner().config, Write::Upsert).await
    }

    async fn delete_auto_update_config(
        &self,
        _: Request<wire::DeleteAutoUpdateConfigRequest>,
    ) -> Result<Response<()>, Status> {
        delete::<wire::AutoUpdateConfig>(&self.0).await
    }

    async fn get_auto_update_version(
        &self,
        _: Request<wire::GetAutoUpdateVersionRequest>,
    ) -> Result<Response<wire::AutoUpdateVersion>, Status> {
        get(&self.0).await
    }

    async fn create_auto_update_version(
        &self,
        request: Request<wire::VersionRequest>,
    ) -> Result<Response<wire::AutoUpdateVersion>, Status> {
        write(&self.0, request.into_inner().version, Write::Create).await
    }

    async fn update_auto_update_version(
        &self,
        request: Request<wire::VersionRequest>,
    ) -> Result<Response<wire::AutoUpdateVersion>, Status> {
        write(&self.0, request.into_inner().version, Write::Update).await
    }

    async fn upsert_auto_update_version(
        &self,
        request: Request<wire::VersionRequest>,
    ) -> Result<Response<wire::AutoUpdateVersion>, Status> {
        write(&self.0, request.into_inner().version, Write::Upsert).await
    }

    async fn delete_auto_update_version(
        &self,
        _: Request<wire::DeleteAutoUpdateVersionRequest>,
    ) -> Result<Response<()>, Status> {
        delete::<wire::AutoUpdateVersion>(&self.0).await
    }

    async fn get_auto_update_agent_rollout(
        &self,
        _: Request<wire::GetAutoUpdateAgentRolloutRequest>,
    ) -> Result<Response<wire::AutoUpdateAgentRollout>, Status> {
        let config = read::<wire::AutoUpdateConfig>(&self.0).await?.map(|(config, _)| config).unwrap_or_default();
        let (version, _) = read::<wire::AutoUpdateVersion>(&self.0)
            .await?
            .ok_or_else(|| Rule::Absent.by("autoupdate_agent_rollout"))?;
        Ok(Response::new(rules::rollout(config, version)))
    }
}

/// What a Proxy tells updaters.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub(super) tools_version: String,
    pub(super) tools_auto_update: bool,
    pub(super) agent_version: String,
    pub(super) agent_auto_update: bool,
}

/// Kept until one of the resources changes: every Proxy asks with each heartbeat.
pub(super) async fn offered(core: &Core) -> Result<Arc<Offered>, Refusal> {
    if let Some(known) = core.offered.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        return Ok(known);
    }
    let config = read::<wire::AutoUpdateConfig>(core).await?.map(|(config, _)| config).unwrap_or_default();
    let version = read::<wire::AutoUpdateVersion>(core).await?.map(|(version, _)| version);
    let offered = Arc::new(rules::offered(&config, version.as_ref(), &core.release.version.to_string()));
    *core.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(offered.clone());
    Ok(offered)
}

/// Forgets what is offered if one of these items decides it.
pub(super) fn changed(core: &Core, path: &str) {
    if [CONFIG_KEY, VERSION_KEY].iter().any(|key| full_path(key) == path) {
        *core.offered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
