//! What every run shares.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crds::MaintenanceWindow;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use plan::fleet::Account;
use tokio::sync::{Mutex, mpsc};

use crate::accounts::Accounts;
use crate::acme::Acme;
use crate::children::Children;
use crate::claims::Claims;
use crate::cloud::{Aws, Cloud};
use crate::fleet::Fleet;
use crate::inventory::Readings;
use crate::leader::Leadership;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::pools::Pools;
use crate::skew::Skew;
use crate::teleport::Teleport;
use crate::windows::Windows;

/// How long the API server may send nothing while an answer is awaited. Of a connection that broke unnoticed nothing comes at all, and
/// a run that waited for it would tell nothing of its tenant. Admission webhooks of others may take 30 s.
pub const CALL: Duration = Duration::from_secs(45);

/// Clients, caches and settings.
pub struct Context {
    /// The API server; one that sends nothing for `CALL` has failed.
    pub client: Client,
    /// The API server for watches, which may be silent for long.
    pub watching: Client,
    /// Namespace of the operator, where the claims are.
    pub namespace: String,
    /// The fleet policy.
    pub policy: Policy,
    /// Name of its ConfigMap.
    pub fleet_config_map: String,
    /// The maintenance windows, from a watch.
    pub windows: Windows,
    /// All tenants together: how releases fared, and whose turn it is.
    pub fleet: Fleet,
    /// How full the AWS accounts are.
    pub accounts: Accounts,
    /// Has a maintenance window looked at again.
    pub trigger_window: mpsc::UnboundedSender<ObjectRef<DeserializeGuard<MaintenanceWindow>>>,
    /// Claims, from a watch.
    pub claims: Claims,
    /// The tenants' objects, from watches.
    pub children: Children,
    /// Their agent pools, from a watch.
    pub pools: Pools,
    /// AWS accounts.
    pub clouds: Clouds,
    /// Web certificates that are being issued.
    pub acme: Acme,
    /// The tenants' processes.
    pub teleport: Arc<dyn Teleport>,
    /// How far our clock is off the API server's.
    pub skew: Skew,
    /// What the processes say of their agents, read beside the runs.
    pub readings: Arc<Readings>,
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
}

impl Context {
    /// Whether everything that a plan rests on was listed once.
    pub fn is_synced(&self) -> bool {
        self.policy.is_loaded()
            && self.claims.is_synced()
            && self.children.is_synced()
            && self.pools.is_synced()
            && self.windows.is_synced()
    }

    /// The Leases of the claims.
    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same to watch them.
    pub fn watched_leases(&self) -> Api<Lease> {
        Api::namespaced(self.watching.clone(), &self.namespace)
    }
}

/// AWS accounts, opened when they are first used.
#[derive(Default)]
pub struct Clouds {
    /// By id and by the role that the operator takes there: another role is another way in.
    accounts: Mutex<HashMap<Entrance, Arc<dyn Cloud>>>,
}

/// Account id, and the role that is taken in it.
type Entrance = (String, Option<String>);

impl Clouds {
    /// An account of the fleet policy.
    pub async fn account(&self, account: &Account) -> Arc<dyn Cloud> {
        let entrance = (account.id.clone(), account.assume_role_arn.clone());
        let mut accounts = self.accounts.lock().await;
        if let Some(known) = accounts.get(&entrance) {
            return Arc::clone(known);
        }
        let opened: Arc<dyn Cloud> = Arc::new(Aws::new(&account.id, account.assume_role_arn.as_deref()).await);
        accounts.insert(entrance, Arc::clone(&opened));
        opened
    }
}
