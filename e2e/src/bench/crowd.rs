//! Many tenants alike in one namespace, as small as the API allows: one Auth and one Proxy each, without a port block, whose
//! listeners would be most of the sockets of the test bed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crds::{MaintenanceWindow, Tenant};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::follow::{Change, Follower};
use crate::testbed::{REGION, TestBed};

/// Objects written at the same time.
const AT_ONCE: usize = 8;
/// How often to say how far it is.
const TELL: Duration = Duration::from_secs(30);

/// Tenants of one namespace, by number.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The namespace; the names of the tenants begin with it.
    pub namespace: String,
    /// How many.
    pub size: usize,
}

impl Crowd {
    /// How long to wait for all: for the bed, and for each of them.
    pub fn patience(&self, least: Duration, each: Duration) -> Duration {
        least + each * u32::try_from(self.size).unwrap_or(u32::MAX)
    }

    /// Name of a tenant.
    pub fn name(&self, number: usize) -> String {
        format!("{}-{number:04}", self.namespace)
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        (0..self.size).map(|number| self.name(number)).collect()
    }

    /// Domain of a tenant.
    pub fn domain(&self, number: usize) -> String {
        format!("{}.example.com", self.name(number))
    }

    /// Creates the namespace and the tenants, each with the window that `window` names; answers at once.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn create(
        &self,
        bed: &TestBed,
        version: &str,
        window: impl Fn(usize) -> String + Sync,
    ) -> anyhow::Result<()> {
        let space = json!({"metadata": {"name": self.namespace}});
        let space: Namespace = serde_json::from_value(space).context("a Namespace is JSON")?;
        let spaces: Api<Namespace> = Api::all(bed.client());
        spaces.create(&PostParams::default(), &space).await.context("cannot create the namespace")?;
        let tenants = bed.tenants(&self.namespace);
        let all = stream::iter((0..self.size).map(|number| {
            let (tenants, tenant) = (tenants.clone(), self.tenant(number, version, &window(number)));
            async move {
                let tenant: Tenant = serde_json::from_value(tenant).context("a Tenant is JSON")?;
                let created = tenants.create(&PostParams::default(), &tenant).await;
                created.map(drop).with_context(|| format!("cannot create {}", tenant.name_any()))
            }
        }));
        all.buffered(AT_ONCE).try_collect().await
    }

    fn tenant(&self, number: usize, version: &str, window: &str) -> Value {
        json!({
            "apiVersion": "tenancy.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"namespace": self.namespace, "name": self.name(number)},
            "spec": {
                "domain": self.domain(number),
                "edition": "Community",
                "version": version,
                "region": REGION,
                "auth": {"replicas": 1},
                "proxy": {"replicas": 1, "minReadySeconds": 0},
                "maintenance": {"windowRef": {"name": window}},
                "deletionProtection": false,
            },
        })
    }

    /// Pins all of them to another version, one after the other, so that they become due in this order.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn pin(&self, bed: &TestBed, version: &str) -> anyhow::Result<()> {
        let tenants = bed.tenants(&self.namespace);
        let patch = Patch::Merge(json!({"spec": {"version": version}}));
        for name in self.names() {
            let patched = tenants.patch(&name, &PatchParams::default(), &patch).await;
            patched.with_context(|| format!("cannot pin {name}"))?;
        }
        Ok(())
    }

    /// Waits until something holds for all of them at the same time.
    ///
    /// # Errors
    /// With one for which it does not hold in time.
    pub async fn await_all(
        &self,
        bed: &TestBed,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Tenant) -> bool,
    ) -> anyhow::Result<()> {
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut missing: std::collections::BTreeSet<String> = self.names().into_iter().collect();
        let mut tenants = Follower::<Tenant>::new(bed.tenants(&self.namespace), watcher::Config::default());
        while !missing.is_empty() {
            let left = limit.saturating_sub(began.elapsed()).min(TELL);
            let change = tokio::time::timeout(left, tenants.next()).await;
            if let Ok(Change::Applied(tenant)) = change {
                match holds(&tenant) {
                    true => missing.remove(&tenant.name_any()),
                    false => missing.insert(tenant.name_any()),
                };
            }
            if began.elapsed() >= limit {
                let first = missing.first().map(String::as_str).unwrap_or_default();
                bail!("waited {} s for {what}: {} are not, such as {first}", limit.as_secs(), missing.len());
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let done = self.size - missing.len();
                bed.say(&format!("{what}: {done} of {} after {:.0} s", self.size, began.elapsed().as_secs_f32()));
            }
        }
        Ok(())
    }
}

/// Whether a condition of a tenant is True.
pub fn is_true(tenant: &Tenant, condition: &str) -> bool {
    let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|found| found.type_ == condition && found.status == "True")
}

/// Creates a window.
///
/// # Errors
/// When the API server refuses it.
pub async fn create_window(bed: &TestBed, namespace: &str, name: &str, spec: &Value) -> anyhow::Result<()> {
    let window = json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    });
    let window: MaintenanceWindow = serde_json::from_value(window).context("a MaintenanceWindow is JSON")?;
    let windows: Api<MaintenanceWindow> = Api::namespaced(bed.client(), namespace);
    windows.create(&PostParams::default(), &window).await.with_context(|| format!("cannot create window {name}"))?;
    Ok(())
}
