//! Each resource and the calls that read and write it.

use plan::publish::{AutoUpdateConfigSpec, AutoUpdateVersionSpec, Maintenance};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::resource::Resource;
use crate::teleport::kept::Kept;
use crate::teleport::rpc::service::auth_service_client::AuthServiceClient;
use crate::teleport::rpc::update::auto_update_service_client::AutoUpdateServiceClient;
use crate::teleport::rpc::update::{
    ConfigRequest, GetAutoUpdateConfigRequest, GetAutoUpdateVersionRequest, VersionRequest,
};

/// A resource that is read and written over a connection. Never by upsert, which overwrites whatever is there.
#[async_trait::async_trait]
pub(super) trait Calls: Resource + Sync {
    const GET: &'static str;
    const PUT: &'static str;
    async fn get(channel: &Channel) -> Result<Response<Kept>, Status>;
    /// Fails if it is there.
    async fn create(channel: &Channel, resource: Kept) -> Result<(), Status>;
    /// Fails unless what is there has the resource's revision.
    async fn update(channel: &Channel, resource: Kept) -> Result<(), Status>;
}

#[async_trait::async_trait]
impl Calls for AutoUpdateVersionSpec {
    const GET: &'static str = "GetAutoUpdateVersion";
    const PUT: &'static str = "a write of autoupdate_version";

    async fn get(channel: &Channel) -> Result<Response<Kept>, Status> {
        AutoUpdateServiceClient::new(channel.clone()).get_auto_update_version(GetAutoUpdateVersionRequest {}).await
    }

    async fn create(channel: &Channel, resource: Kept) -> Result<(), Status> {
        let request = VersionRequest { version: Some(resource) };
        AutoUpdateServiceClient::new(channel.clone()).create_auto_update_version(request).await.map(drop)
    }

    async fn update(channel: &Channel, resource: Kept) -> Result<(), Status> {
        let request = VersionRequest { version: Some(resource) };
        AutoUpdateServiceClient::new(channel.clone()).update_auto_update_version(request).await.map(drop)
    }
}

#[async_trait::async_trait]
impl Calls for AutoUpdateConfigSpec {
    const GET: &'static str = "GetAutoUpdateConfig";
    const PUT: &'static str = "a write of autoupdate_config";

    async fn get(channel: &Channel) -> Result<Response<Kept>, Status> {
        AutoUpdateServiceClient::new(channel.clone()).get_auto_update_config(GetAutoUpdateConfigRequest {}).await
    }

    async fn create(channel: &Channel, resource: Kept) -> Result<(), Status> {
        let request = ConfigRequest { config: Some(resource) };
        AutoUpdateServiceClient::new(channel.clone()).create_auto_update_config(request).await.map(drop)
    }

    async fn update(channel: &Channel, resource: Kept) -> Result<(), Status> {
        let request = ConfigRequest { config: Some(resource) };
        AutoUpdateServiceClient::new(channel.clone()).update_auto_update_config(request).await.map(drop)
    }
}

#[async_trait::async_trait]
impl Calls for Maintenance {
    const GET: &'static str = "GetClusterMaintenanceConfig";
    const PUT: &'static str = "a write of cluster_maintenance_config";

    async fn get(channel: &Channel) -> Result<Response<Kept>, Status> {
        AuthServiceClient::new(channel.clone()).get_cluster_maintenance_config(()).await
    }

    /// The same call: under nonce 0 it creates, and does nothing else.
    async fn create(channel: &Channel, resource: Kept) -> Result<(), Status> {
        Self::update(channel, resource).await
    }

    async fn update(channel: &Channel, resource: Kept) -> Result<(), Status> {
        AuthServiceClient::new(channel.clone()).update_cluster_maintenance_config(resource).await.map(drop)
    }
}
