//! What every run shares.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::events::Recorder;
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::children::Children;
use crate::claims::Claims;
use crate::cloud::{Aws, Cloud};
use crate::leader::Leadership;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::teleport::Teleport;

/// Clients, caches and settings.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Namespace of the operator, where the claims are.
    pub namespace: String,
    /// The fleet policy.
    pub policy: Policy,
    /// Claims, from a watch.
    pub claims: Claims,
    /// The tenants' objects, from watches.
    pub children: Children,
    /// AWS accounts.
    pub clouds: Clouds,
    /// The tenants' processes.
    pub teleport: Arc<dyn Teleport>,
    /// Readings and failures.
    pub memory: Memory,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub recorder: Recorder,
    /// Periods.
    pub periods: Periods,
    /// The lead; without it nothing is written.
    pub leadership: Arc<Leadership>,
}

/// How often to read what sends no event.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// Cloud resources, give or take half of it.
    pub cloud: Duration,
    /// The inventory of agents.
    pub inventory: Duration,
}

impl Context {
    /// The Leases of the claims.
    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// AWS accounts, opened when they are first used.
#[derive(Default)]
pub struct Clouds {
    accounts: Mutex<HashMap<String, Arc<dyn Cloud>>>,
}

impl Clouds {
    /// The account with this id.
    pub async fn account(&self, id: &str) -> Arc<dyn Cloud> {
        let mut accounts = self.accounts.lock().await;
        if let Some(known) = accounts.get(id) {
            return Arc::clone(known);
        }
        let opened: Arc<dyn Cloud> = Arc::new(Aws::new(id).await);
        accounts.insert(id.to_owned(), Arc::clone(&opened));
        opened
    }
}
