//! PodMonitors, which a cluster knows where the Prometheus operator is. It may come and go while this process runs.

use std::collections::HashMap;
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
/// How often in a row it must not be known to be gone: one API server that has just begun may not know it yet.
const ASKED: u32 = 2;
/// How often to look whether they are listed.
const LISTED: Duration = Duration::from_millis(200);

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
        loop {
            until(true, 1, &context.client).await;
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::all_with(context.watching.clone(), &resource(Kind::PodMonitor));
            let changes = self.follow_kind::<DynamicObject>(api, Kind::PodMonitor);
            let mut changes = std::pin::pin!(changes.take_until(Box::pin(until(false, ASKED, &context.client))));
            let (mut interval, mut listed) = (tokio::time::interval(LISTED), false);
            loop {
                tokio::select! {
                    changed = changes.next() => match changed {
                        Some(tenant) => concerns(Concerned::One(tenant)),
                        None => break,
                    },
                    _ = interval.tick(), if !listed => {}
                }
                // Only then: else a restart would ask for each of them by its name.
                if !listed && self.lock().synced.contains(&Kind::PodMonitor) {
                    listed = true;
                    self.lock().monitors = true;
                    concerns(Concerned::All);
                }
            }
            self.replace(Kind::PodMonitor, HashMap::new());
            let mut state = self.lock();
            state.monitors = false;
            state.synced.retain(|kind| *kind != Kind::PodMonitor);
        }
    }

    /// Whether the cluster knows PodMonitors.
    pub fn knows_monitors(&self) -> bool {
        self.lock().monitors
    }
}

/// Returns when the API server has said so many times in a row that it knows the kind, or does not.
async fn until(wanted: bool, times: u32, client: &Client) {
    let (mut interval, mut said) = (tokio::time::interval(LOOK), 0);
    while said < times {
        interval.tick().await;
        said = if known(client).await == Some(wanted) { said + 1 } else { 0 };
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
