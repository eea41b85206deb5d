//! Kinds that others bring into a cluster: their CRDs, from the Go modules that a `go.mod` of the test bed pins. No controller of them
//! runs here but cert-manager's (`cert_manager`); a test that needs another one plays it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;

use crate::testbed::{root, wait_until};

/// Kinds of one module.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// The folder of `e2e/` whose `go.mod` says which release.
    pinned: &'static str,
    module: &'static str,
    folder: &'static str,
    files: &'static [&'static str],
}

/// What the operator and a person who sets a Gateway up need of the Gateway API.
pub const GATEWAYS: Kinds = Kinds {
    pinned: "kinds",
    module: "sigs.k8s.io/gateway-api",
    folder: "config/crd/standard",
    files: &["gateway.networking.k8s.io_gateways.yaml", "gateway.networking.k8s.io_tlsroutes.yaml"],
};
/// What the Prometheus operator is told by.
pub const POD_MONITORS: Kinds = Kinds {
    pinned: "kinds",
    module: "github.com/prometheus-operator/prometheus-operator",
    folder: "example/prometheus-operator-crd",
    files: &["monitoring.coreos.com_podmonitors.yaml"],
};

/// Those of cert-manager, all as everybody installs them.
pub const CERTIFICATES: Kinds = Kinds {
    pinned: "cert-manager",
    module: "github.com/cert-manager/cert-manager",
    folder: "deploy/crds",
    files: &[
        "cert-manager.io_certificates.yaml",
        "cert-manager.io_certificaterequests.yaml",
        "cert-manager.io_issuers.yaml",
        "cert-manager.io_clusterissuers.yaml",
        "acme.cert-manager.io_orders.yaml",
        "acme.cert-manager.io_challenges.yaml",
    ],
};

/// A small download, once.
const DOWNLOAD: Duration = Duration::from_secs(120);
const ESTABLISHED: Duration = Duration::from_secs(30);

/// What `go mod download` says.
#[derive(Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    directory: PathBuf,
}

/// Installs the CRDs; returns when the API server serves them. Those that are there stay.
///
/// # Errors
/// When the module cannot be had, or the API server refuses.
pub async fn install(client: &Client, kinds: Kinds) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let folder = download(kinds).await?.join(kinds.folder);
    for file in kinds.files {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let definition: CustomResourceDefinition = serde_saphyr::from_str(&text).context("a CRD cannot be read")?;
        let name = definition.name_any();
        match api.create(&PostParams::default(), &definition).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {name}")),
        }
        wait_until(&format!("{name} to be served"), ESTABLISHED, || async {
            let conditions = api.get(&name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            let served = conditions.iter().any(|found| found.type_ == "Established" && found.status == "True");
            Ok(served.then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn download(Kinds { pinned, module, .. }: Kinds) -> anyhow::Result<PathBuf> {
    let mut command = tokio::process::Command::new("go");
    command
        .args(["mod", "download", "-json", module])
        .current_dir(root().join("e2e").join(pinned))
        .env("GOWORK", "off");
    let output = tokio::time::timeout(DOWNLOAD, command.kill_on_drop(true).output()).await;
    let output = output.with_context(|| format!("{module} is not downloaded in time"))?.context("cannot run go")?;
    ensure!(output.status.success(), "cannot download {module}: {}", String::from_utf8_lossy(&output.stderr).trim());
    let found: Downloaded = serde_json::from_slice(&output.stdout).context("cannot read the answer of go")?;
    Ok(found.directory)
}
