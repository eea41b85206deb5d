//! A hand that changes an object of a tenant at rest, and how the operator puts it back.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::Utc;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::bench::crowd::Crowd;
use crate::testbed::{TestBed, wait_until};

/// How long it may take.
const HEALS: Duration = Duration::from_secs(10);
/// A label that the operator sets; by another value of it no pod is restarted.
const LABEL: &str = "app.kubernetes.io/component";

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Healed {
    /// What the one write is that puts it back, as the audit log names it.
    pub(super) write: String,
    /// From the edit to the write.
    pub(super) took: Duration,
}

/// Changes a label of a Deployment of the first tenant, as the administrator, and waits until it is as before.
///
/// # Errors
/// When it is not in time.
pub(super) async fn by_hand(bed: &TestBed, crowd: &Crowd) -> anyhow::Result<Healed> {
    let deployments: Api<Deployment> = Api::namespaced(bed.client(), &crowd.namespace);
    let name = format!("{}-proxy", crowd.name(0));
    let before = deployments.get(&name).await.with_context(|| format!("cannot read {name}"))?;
    let label = before.labels().get(LABEL).cloned().with_context(|| format!("{name} has no label {LABEL}"))?;
    let edit = Patch::Merge(json!({"metadata": {"labels": {LABEL: "edited-by-hand"}}}));
    let began = Utc::now();
    deployments.patch(&name, &PatchParams::default(), &edit).await.with_context(|| format!("cannot edit {name}"))?;
    let write = format!("patch deployments {}/{name}", crowd.namespace);
    let at = wait_until("the hand edit to be healed", HEALS, || async {
        let found = deployments.get(&name).await?.labels().get(LABEL).cloned();
        if found.as_ref() != Some(&label) {
            bail!("{name} has {LABEL}={found:?}");
        }
        Ok(bed.writes_since(began)?.into_iter().find(|found| found.what() == write).map(|found| found.at))
    })
    .await?;
    let took = (at - began).to_std().unwrap_or_default();
    bed.say(&format!("a hand edit of {name} was healed after {:.2} s", took.as_secs_f64()));
    Ok(Healed { write, took })
}
