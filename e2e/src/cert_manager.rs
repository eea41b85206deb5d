//! cert-manager in a cluster: its own controllers, from the Go module that `e2e/cert-manager/go.mod` pins. Its webhook is left out, which
//! only refuses what its controllers would not take, and so are the issuers that ask somebody outside the cluster.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::cache::Cache;
use crate::process::{Process, Program, tail};
use crate::testbed::{TestBed, root};
use crate::tools;

/// Where it runs, and where ClusterIssuers have their Secrets.
pub const NAMESPACE: &str = "cert-manager";
const FOLDER: &str = "cert-manager";
const GRACE: Duration = Duration::from_secs(5);
/// A run that takes longer needs another token.
const TOKEN: Duration = Duration::from_secs(24 * 60 * 60);

/// The program of its controllers, built if it is not in the cache.
///
/// # Errors
/// When it cannot be built.
pub async fn ensure(cache: &Cache) -> anyhow::Result<PathBuf> {
    tools::ensure_own(cache, &root().join("e2e").join(FOLDER), "cert-manager").await
}

/// Runs something while its controllers run.
///
/// # Errors
/// That of what was run, with the end of the controllers' log.
pub async fn with_controllers<T>(bed: &TestBed, run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let process = start(bed).await?;
    let log = process.log().to_owned();
    let outcome = tokio::select! {
        outcome = run => outcome.with_context(|| format!("cert-manager's log ends with\n{}", tail(&log))),
        exit = process.ended() => bail!("{exit}"),
    };
    process.stop(GRACE).await;
    outcome
}

async fn start(bed: &TestBed) -> anyhow::Result<Process> {
    let path = ensure(&Cache::from_env()?).await?;
    let subject = json!({"kind": "ServiceAccount", "name": NAMESPACE, "namespace": NAMESPACE});
    // Its chart gives it less; what it may is none of the operator's business.
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAMESPACE, "namespace": NAMESPACE}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAMESPACE},
            "subjects": [subject], "roleRef": role},
    ]});
    bed.apply(&objects.to_string()).await?;
    let control_plane = bed.control_plane();
    let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, NAMESPACE, TOKEN).await?;
    Process::start(Program {
        name: NAMESPACE.into(),
        path,
        args: vec!["-kubeconfig".into(), kubeconfig.into(), "-cluster-resource-namespace".into(), NAMESPACE.into()],
        env: Vec::new(),
        directory: control_plane.run_dir().path().to_owned(),
        log: control_plane.logs().join("cert-manager.log"),
        orphaned: Signal::SIGKILL,
    })
    .await
}
