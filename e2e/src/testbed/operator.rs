//! The operator's processes: which one leads, and how one ends without notice.

use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{NAMESPACE, TestBed};

/// Name of the leader lease.
const LEASE: &str = "tenant-operator";

impl TestBed {
    /// The process that leads, by the name of its pod and a word of its own; empty while none does.
    ///
    /// # Errors
    /// When the lease cannot be read.
    pub async fn leader(&self) -> anyhow::Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.client(), NAMESPACE);
        let lease = leases.get(LEASE).await.context("cannot read the leader lease")?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
    }

    /// Kills the process of one of the operator's pods, without notice.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill_operator(&self, pod: &str) -> anyhow::Result<()> {
        kill(process(pod)?, Signal::SIGKILL).context("cannot kill the operator")?;
        self.kills.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How often that was done.
    pub fn kills(&self) -> usize {
        self.kills.load(Ordering::Relaxed)
    }

    /// Takes a pod of the operator away at once; its successor need not wait as a container that crashes again and again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove_operator_pod(&self, pod: &str) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        match pods.delete(pod, &DeleteParams::default().grace_period(0)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
            Err(error) => Err(error).context("cannot delete the pod"),
        }
    }

    /// Has the lead of a process that is dead count as run out, so that a test does not wait for that.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn expire_lead(&self) -> anyhow::Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client(), NAMESPACE);
        let nobody = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
        leases.patch(LEASE, &PatchParams::default(), &nobody).await.context("cannot take the lead away")?;
        Ok(())
    }
}

/// The pod of a process that leads or led.
pub fn pod_of(leader: &str) -> &str {
    leader.split('_').next().unwrap_or_default()
}

/// The process of an operator's pod: one whose environment names the pod, whose name no other pod has.
fn process(pod: &str) -> anyhow::Result<Pid> {
    let named = format!("POD_NAME={pod}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == named.as_bytes()) {
            found.push(Pid::from_raw(id));
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        several => bail!("the processes of pod {pod} are {several:?}"),
    }
}
