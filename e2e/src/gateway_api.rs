//! The Gateway API in a cluster: its CRDs, from the Go module that `e2e/gateway-api/go.mod` pins. No controller of it runs here; a
//! test that needs one plays it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;

use crate::testbed::{root, wait_until};

const MODULE: &str = "sigs.k8s.io/gateway-api";
/// What the operator and a person who sets a Gateway up need.
const CRDS: [&str; 2] = ["gateways", "tlsroutes"];
/// A small download, once.
const DOWNLOAD: Duration = Duration::from_secs(120);
const ESTABLISHED: Duration = Duration::from_secs(30);

/// What `go mod download` says.
#[derive(Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    directory: PathBuf,
}

/// Installs the CRDs; returns when the API server serves them.
///
/// # Errors
/// When the module cannot be had, or the API server refuses.
pub async fn install(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let folder = download().await?.join("config/crd/standard");
    for kind in CRDS {
        let path = folder.join(format!("gateway.networking.k8s.io_{kind}.yaml"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let definition: CustomResourceDefinition = serde_saphyr::from_str(&text).context("a CRD cannot be read")?;
        api.create(&PostParams::default(), &definition).await.with_context(|| format!("cannot create {kind}"))?;
        let name = definition.name_any();
        wait_until(&format!("{name} to be served"), ESTABLISHED, || async {
            let conditions = api.get(&name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            let served = conditions.iter().any(|found| found.type_ == "Established" && found.status == "True");
            Ok(served.then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn download() -> anyhow::Result<PathBuf> {
    let mut command = tokio::process::Command::new("go");
    command.args(["mod", "download", "-json", MODULE]).current_dir(root().join("e2e/gateway-api")).env("GOWORK", "off");
    let output = tokio::time::timeout(DOWNLOAD, command.kill_on_drop(true).output()).await;
    let output = output.context("the Gateway API is not downloaded in time")?.context("cannot run go")?;
    ensure!(output.status.success(), "cannot download {MODULE}: {}", String::from_utf8_lossy(&output.stderr).trim());
    let found: Downloaded = serde_json::from_slice(&output.stdout).context("cannot read the answer of go")?;
    Ok(found.directory)
}
