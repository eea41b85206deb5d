//! PodMonitors, which a cluster knows where the Prometheus operator is. It may come and go while this process runs.

use std::time::Duration;

use crds::Tenant;
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use plan::object::Kind;

use super::{Children, resource};
use crate::context::Context;

/// How often to look whether the cluster knows the kind: nothing tells.
const LOOK: Duration = Duration::from_secs(10);

/// What a change concerns.
pub enum Concerned {
    /// The tenant whose monitor changed.
    One(ObjectRef<Tenant>),
    /// All: the cluster knows the kind since a moment ago.
    All,
}

impl Children {
    /// Follows PodMonitors while the cluster knows them; without end.
    pub async fn follow_monitors(&self, context: &Context, concerns: impl Fn(Concerned) + Send) {
        let until = async |known: bool| {
            let mut interval = tokio::time::interval(LOOK);
            loop {
                interval.tick().await;
                if self::known(&context.client).await == Some(known) {
                    return;
                }
            }
        };
        loop {
            until(true).await;
            self.lock().monitors = true;
            concerns(Concerned::All);
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::all_with(context.watching.clone(), &resource(Kind::PodMonitor));
            let changes = self.follow_kind::<DynamicObject>(api, Kind::PodMonitor);
            let mut changes = std::pin::pin!(changes.take_until(Box::pin(until(false))));
            while let Some(tenant) = changes.next().await {
                concerns(Concerned::One(tenant));
            }
            self.lock().monitors = false;
            self.replace(Kind::PodMonitor, std::collections::HashMap::new());
        }
    }

    /// Whether the cluster knows PodMonitors.
    pub fn knows_monitors(&self) -> bool {
        self.lock().monitors
    }
}

/// Whether the API server serves the kind; none when it does not say.
async fn known(client: &Client) -> Option<bool> {
    let resource = resource(Kind::PodMonitor);
    match client.list_api_group_resources(&resource.api_version).await {
        Ok(served) => Some(served.resources.iter().any(|found| found.name == resource.plural)),
        Err(kube::Error::Api(status)) if status.code == 404 => Some(false),
        Err(_) => None,
    }
}
