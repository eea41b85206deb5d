//! What the operator said of tenants, from a watch: also what stood there for a moment only.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use crds::Tenant;
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::task::JoinSet;

use super::TestBed;

/// A Tenant as it was written.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it was seen.
    pub at: DateTime<Utc>,
    /// Namespace of the Tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole status.
    pub status: Value,
}

/// All that are seen from its beginning on; it ends when it is dropped.
pub struct Statuses {
    told: Arc<Mutex<Vec<Told>>>,
    _following: JoinSet<()>,
}

impl TestBed {
    /// Begins to look.
    pub fn follow_statuses(&self) -> Statuses {
        let api: Api<Tenant> = Api::all(self.client());
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let mut following = JoinSet::new();
        let kept = Arc::clone(&told);
        following.spawn(async move {
            let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let mut changes = std::pin::pin!(changes);
            while let Some(change) = changes.next().await {
                let Ok(tenant) = change else { continue };
                let (namespace, name) = (tenant.namespace().unwrap_or_default(), tenant.name_any());
                let status = serde_json::to_value(&tenant.status).unwrap_or_default();
                let told = Told { at: Utc::now(), namespace, name, status };
                kept.lock().expect("no holder of this lock panics").push(told);
            }
        });
        Statuses { told, _following: following }
    }
}

impl Statuses {
    /// All of them, in their order.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no holder of this lock panics").clone()
    }
}
