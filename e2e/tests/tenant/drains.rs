//! Nodes are drained: evictions take one pod of a component at a time, and never wait for ever.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{TestBed, wait_until};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::EvictParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::cluster::{self, component};
use super::edits;
use super::manifest::{apply_ready, edit, id, tenant, with};

const FOLLOWS: Duration = Duration::from_secs(60);

/// Of two pods one may go, of one it may go too.
pub async fn take_one_pod(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant("drained", "drained", "drained.example.com"), "auth", json!({"replicas": 2}));
    let wanted = with(wanted, "proxy", json!({"replicas": 2, "minReadySeconds": 0}));
    let tenant_id = id(&apply_ready(bed, &wanted).await?)?;
    let drain = Drain::new(bed).await?;
    for (budget, part) in [("drained-auth", "auth"), ("drained-proxy", "proxy")] {
        allowed(bed, budget, 2).await?;
        let pods = cluster::names(bed, "drained", "pods", &component(&tenant_id, part)).await?;
        let [first, second] = pods.as_slice() else { bail!("the pods of {part} are {pods:?}") };
        ensure!(drain.evicts(first).await?, "the first of two pods of {part} may not go");
        ensure!(!drain.evicts(second).await?, "both pods of {part} may go at once");
        // It comes back, and then the other one may go.
        allowed(bed, budget, 2).await?;
        ensure!(drain.evicts(second).await?, "the second pod of {part} may not go once the first is back");
    }
    allowed(bed, "drained-auth", 2).await?;
    edit(bed, "drained", "drained", json!({"auth": {"replicas": 1}})).await?;
    allowed(bed, "drained-auth", 1).await?;
    let pods = cluster::names(bed, "drained", "pods", &component(&tenant_id, "auth")).await?;
    let [only] = pods.as_slice() else { bail!("the pods of auth are {pods:?}") };
    ensure!(drain.evicts(only).await?, "a single pod holds a drain up for ever");
    allowed(bed, "drained-auth", 1).await?;
    edits::settled(bed, "drained", "drained").await.map(drop)
}

/// Waits until a budget counts so many healthy pods and lets one of them go.
async fn allowed(bed: &TestBed, budget: &str, healthy: i32) -> anyhow::Result<()> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(bed.client(), "drained");
    wait_until(&format!("{budget} to let one of {healthy} pods go"), FOLLOWS, || async {
        let status = api.get(budget).await?.status.context("it was not looked at yet")?;
        let found = (status.expected_pods, status.current_healthy, status.disruptions_allowed);
        if found == (Some(healthy), Some(healthy), Some(1)) {
            Ok(Some(()))
        } else {
            bail!("expected, healthy, allowed: {found:?}")
        }
    })
    .await
}

/// Evicts pods as a drain does, but asks once: the usual client repeats what the API server puts off.
struct Drain(Api<Pod>);

impl Drain {
    async fn new(bed: &TestBed) -> anyhow::Result<Drain> {
        let kubeconfig = Kubeconfig::read_from(bed.control_plane().kubeconfig())?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Drain(Api::namespaced(Client::try_from(config)?, "drained")))
    }

    /// False when the budget does not let it go.
    async fn evicts(&self, pod: &str) -> anyhow::Result<bool> {
        match self.0.evict(pod, &EvictParams::default()).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(refusal)) if refusal.code == 429 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot evict {pod}")),
        }
    }
}
