//! Edits of a spec: what runs changes at once when the user changed the pods, and not at all when a version waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crds::Tenant;
use e2e::testbed::{TestBed, wait_until};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::agents::columns;
use super::cluster::{self, component};
use super::covered::seen;
use super::history::History;
use super::manifest::{apply_ready, condition, edit, id, tenant, with};

const FOLLOWS: Duration = Duration::from_secs(60);

/// A version is not run without a maintenance window; a pod that is to look otherwise is replaced at once and in order.
pub async fn versions_wait_and_pods_follow(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant("edits", "edits", "edits.example.com"), "auth", json!({"replicas": 2}));
    let tenant_id = id(&apply_ready(bed, &wanted).await?)?;
    let crowd = Crowd::watch(bed, "edits", &component(&tenant_id, "auth")).await?;
    let pods = async |part: &str| names(bed, "edits", &component(&tenant_id, part)).await;
    let (auth, proxy) = (pods("auth").await?, pods("proxy").await?);

    edit(bed, "edits", "edits", json!({"version": "18.2.0"})).await?;
    let held = settled(bed, "edits", "edits").await?;
    let states =
        ["UpdateDue", "UpdateBlocked"].map(|name| condition(&held, name).map(|(status, reason, _)| (status, reason)));
    let [due, blocked] = states;
    ensure!(due? == ("True".into(), "VersionPinned".into()), "{:?}", condition(&held, "UpdateDue")?);
    ensure!(blocked? == ("True".into(), "WindowMissing".into()), "{:?}", condition(&held, "UpdateBlocked")?);
    let printed = bed.kubectl(["-n", "edits", "get", "tenants"]).await?;
    ensure!(columns(&printed, &["VERSION", "NEXT", "BLOCKED"])? == ["18.1.0", "18.2.0", "WindowMissing"], "{printed}");
    ensure!((pods("auth").await?, pods("proxy").await?) == (auth.clone(), proxy.clone()), "pods were replaced");

    edit(bed, "edits", "edits", json!({"version": "18.1.0"})).await?;
    let back = settled(bed, "edits", "edits").await?;
    for name in ["UpdateDue", "UpdateBlocked"] {
        ensure!(condition(&back, name)?.0 == "False", "{name} is {:?}", condition(&back, name)?);
    }
    let printed = bed.kubectl(["-n", "edits", "get", "tenants"]).await?;
    ensure!(columns(&printed, &["NEXT", "BLOCKED"])? == ["", ""], "{printed}");

    edit(bed, "edits", "edits", json!({"proxy": {"terminationGracePeriodSeconds": 240}})).await?;
    settled(bed, "edits", "edits").await?;
    ensure!(pods("auth").await? == auth, "Auth was restarted for Proxy's grace");
    let proxy_with_grace = replaced(bed, "edits", &component(&tenant_id, "proxy"), &proxy).await?;

    let history = History::begin(bed, "edits", "edits").await?;
    let started = chrono::Utc::now();
    edit(bed, "edits", "edits", json!({"size": "Medium"})).await?;
    settled(bed, "edits", "edits").await?;
    replaced(bed, "edits", &component(&tenant_id, "auth"), &auth).await?;
    replaced(bed, "edits", &component(&tenant_id, "proxy"), &proxy_with_grace).await?;
    let made = async |part: &str| created(bed, "edits", &component(&tenant_id, part)).await;
    let (auth_made, proxy_made) = (made("auth").await?, made("proxy").await?);
    ensure!(auth_made.iter().all(|at| *at >= started.timestamp()), "an Auth pod is older than the edit");
    ensure!(
        auth_made.iter().max() <= proxy_made.iter().min(),
        "Auth was made at {auth_made:?}, Proxy at {proxy_made:?}"
    );
    ensure!(!history.has("Available=False"), "users could not log in while pods were replaced");
    let largest = crowd.largest();
    ensure!(largest.len() == 2, "at one moment there were the Auth pods {largest:?}");
    Ok(())
}

/// One Auth for two, two for one, three Proxies for two.
pub async fn replicas_follow(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant("replicas", "replicas", "replicas.example.com"), "auth", json!({"replicas": 2}));
    let wanted = with(wanted, "proxy", json!({"replicas": 2, "minReadySeconds": 0}));
    let tenant_id = id(&apply_ready(bed, &wanted).await?)?;
    for (spec, part, count) in [
        (json!({"auth": {"replicas": 1}}), "auth", 1),
        (json!({"auth": {"replicas": 2}}), "auth", 2),
        (json!({"proxy": {"replicas": 3}}), "proxy", 3),
    ] {
        edit(bed, "replicas", "replicas", spec.clone()).await?;
        let found = settled(bed, "replicas", "replicas").await?;
        wait_until(&format!("{count} pods of {part} after {spec}"), FOLLOWS, || async {
            let pods = names(bed, "replicas", &component(&tenant_id, part)).await?;
            if pods.len() == count { Ok(Some(())) } else { bail!("they are {pods:?}") }
        })
        .await?;
        let available = if part == "auth" { "AuthAvailable" } else { "ProxyAvailable" };
        let (status, _, message) = condition(&found, available)?;
        ensure!(
            status == "True" && message.starts_with(&format!("{count} of {count} ")),
            "{available}={status}: {message}"
        );
        seen("Tenant", &format!("spec.{part}.replicas"), count);
    }
    Ok(())
}

/// Waits until a tenant is Ready as its present spec asks.
pub async fn settled(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<Tenant> {
    wait_until(&format!("{name} to be Ready as edited"), FOLLOWS, || async {
        let tenant = bed.tenants(namespace).get(name).await?;
        let (status, reason, message) = condition(&tenant, "Ready")?;
        let seen = tenant.status.as_ref().and_then(|status| status.observed_generation);
        if status == "True" && seen == tenant.metadata.generation {
            return Ok(Some(tenant));
        }
        bail!("Ready={status}/{reason} of generation {seen:?}: {message}")
    })
    .await
}

async fn names(bed: &TestBed, namespace: &str, labels: &str) -> anyhow::Result<BTreeSet<String>> {
    Ok(cluster::names(bed, namespace, "pods", labels).await?.into_iter().collect())
}

/// Waits until none of these pods is left, however long it takes to end; answers those that are there instead.
async fn replaced(
    bed: &TestBed,
    namespace: &str,
    labels: &str,
    before: &BTreeSet<String>,
) -> anyhow::Result<BTreeSet<String>> {
    wait_until(&format!("{before:?} to be replaced"), FOLLOWS, || async {
        let pods = names(bed, namespace, labels).await?;
        if pods.is_disjoint(before) { Ok(Some(pods)) } else { bail!("the pods are {pods:?}") }
    })
    .await
}

/// When the pods were made, in seconds.
async fn created(bed: &TestBed, namespace: &str, labels: &str) -> anyhow::Result<Vec<i64>> {
    let api: Api<Pod> = Api::namespaced(bed.client(), namespace);
    let pods = api.list(&kube::api::ListParams::default().labels(labels)).await?;
    pods.iter().map(|pod| Ok(pod.creation_timestamp().context("a pod without age")?.0.as_second())).collect()
}

/// The largest number of pods that could run at once, those that were ending included: one that has ended is an object
/// that waits to be deleted, and no process.
struct Crowd {
    largest: watch::Receiver<Vec<String>>,
    task: JoinHandle<()>,
}

impl Crowd {
    async fn watch(bed: &TestBed, namespace: &str, labels: &str) -> anyhow::Result<Crowd> {
        let api: Api<Pod> = Api::namespaced(bed.client(), namespace);
        let mut events = Box::pin(watcher(api, watcher::Config::default().labels(labels)));
        let (sender, mut largest) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let mut there = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) if !ended(&pod) => {
                        there.insert(pod.uid(), pod.name_any());
                    }
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) | watcher::Event::Delete(pod)) => {
                        there.remove(&pod.uid());
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => continue,
                }
                sender.send_if_modified(|largest: &mut Vec<String>| {
                    let larger = there.len() > largest.len();
                    if larger {
                        *largest = there.values().cloned().collect();
                    }
                    larger
                });
            }
        });
        let listed = tokio::time::timeout(FOLLOWS, largest.wait_for(|largest| !largest.is_empty())).await;
        listed.context("no pod was listed")?.context("the watch ended")?;
        Ok(Crowd { largest, task })
    }

    fn largest(&self) -> Vec<String> {
        self.largest.borrow().clone()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
