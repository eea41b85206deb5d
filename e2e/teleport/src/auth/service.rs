//! `proto.AuthService`: each call in a few lines, its substance in the modules beside.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use tonic::{Request, Response, Status};

use super::identity::Client;
use super::serve::Peer;
use super::{Core, alerts, instances, maintenance};
use crate::release::Edition;
use crate::rule::Rule;
use crate::wire::proto::auth_service_server::{AuthService, AuthServiceServer};
use crate::wire::proto::{
    Features, GetClusterAlertsResponse, GetClusterCaCertResponse, GetDomainNameResponse, InventoryStatusRequest,
    InventoryStatusSummary, PingRequest, PingResponse, UpsertClusterAlertRequest,
};
use crate::wire::types::{ClusterMaintenanceConfigV1, GetClusterAlertsRequest, InstanceFilter, InstanceV1};

pub(super) fn server(core: Arc<Core>) -> AuthServiceServer<Service> {
    AuthServiceServer::new(Service(core))
}

pub(super) struct Service(Arc<Core>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AuthService for Service {
    async fn ping(&self, request: Request<PingRequest>) -> Answer<PingResponse> {
        let core = &self.0;
        let enterprise = core.release.edition == Edition::Enterprise;
        Ok(Response::new(PingResponse {
            cluster_name: core.cluster.clone(),
            server_version: core.release.version.to_string(),
            server_features: Some(Features {
                access_controls: enterprise,
                advanced_access_workflows: enterprise,
                ..Features::default()
            }),
            proxy_public_addr: core.proxy_address.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            is_boring: core.release.fips,
            remote_addr: request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
            load_all_cas: false,
            signature_algorithm_suite: match core.login.suite.as_str() {
                "legacy" => 1,
                "balanced-v1" => 2,
                "fips-v1" => 3,
                "hsm-v1" => 4,
                _ => 0,
            },
            license_expiry: core.license_expiry.map(instances::timestamp),
        }))
    }

    type GetInstancesStream = Pin<Box<dyn Stream<Item = Result<InstanceV1, Status>> + Send>>;

    async fn get_instances(&self, request: Request<InstanceFilter>) -> Answer<Self::GetInstancesStream> {
        let filter = request.into_inner();
        self.0.process.world.inventory_answers(&self.0.cluster).await;
        let all = instances::all(&self.0).await?;
        let wanted = all.into_iter().filter(move |instance| instances::matches(instance, &filter)).map(Ok);
        Ok(Response::new(Box::pin(stream::iter(wanted))))
    }

    async fn get_inventory_status(&self, request: Request<InventoryStatusRequest>) -> Answer<InventoryStatusSummary> {
        let connected = request.get_ref().connected;
        let admin = matches!(request.extensions().get::<Client>(), Some(Client::System { role }) if role == "Admin");
        if connected && !admin {
            return Err(Rule::ClientNotAllowed.by("connected needs the role Admin").into());
        }
        Ok(Response::new(if connected { instances::connected(&self.0) } else { instances::summary(&self.0).await? }))
    }

    async fn get_cluster_maintenance_config(&self, _request: Request<()>) -> Answer<ClusterMaintenanceConfigV1> {
        Ok(Response::new(maintenance::get(&self.0).await?))
    }

    async fn update_cluster_maintenance_config(&self, request: Request<ClusterMaintenanceConfigV1>) -> Answer<()> {
        Ok(Response::new(maintenance::update(&self.0, request.into_inner()).await?))
    }

    async fn delete_cluster_maintenance_config(&self, _request: Request<()>) -> Answer<()> {
        Ok(Response::new(maintenance::delete(&self.0).await?))
    }

    async fn upsert_cluster_alert(&self, request: Request<UpsertClusterAlertRequest>) -> Answer<()> {
        Ok(Response::new(alerts::upsert(&self.0, request.into_inner().alert.unwrap_or_default()).await?))
    }

    async fn get_cluster_alerts(&self, request: Request<GetClusterAlertsRequest>) -> Answer<GetClusterAlertsResponse> {
        Ok(Response::new(GetClusterAlertsResponse { alerts: alerts::list(&self.0, request.get_ref()).await? }))
    }

    async fn get_cluster_ca_cert(&self, _request: Request<()>) -> Answer<GetClusterCaCertResponse> {
        Ok(Response::new(GetClusterCaCertResponse { tls_ca: self.0.trust().host_pem.clone().into_bytes() }))
    }

    async fn get_domain_name(&self, _request: Request<()>) -> Answer<GetDomainNameResponse> {
        Ok(Response::new(GetDomainNameResponse { domain_name: self.0.cluster.clone() }))
    }
}
