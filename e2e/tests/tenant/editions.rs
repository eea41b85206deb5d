//! Tenants off the common way: the longest domain that Teleport bears, and the Enterprise edition.

use std::time::Duration;

use anyhow::ensure;
use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::manifest::{self, READY, apply, apply_ready, tenant, with};

/// The tenant with the longest domain that fits.
pub fn long() -> Value {
    tenant("long", "long", &longest())
}

fn longest() -> String {
    format!("{}.example.com", "a".repeat(48))
}

/// The host authority's certificate has the cluster name in a field of 64 characters; the inventory is asked over the
/// name that every cluster has besides.
pub async fn longest_domain(bed: &TestBed) -> anyhow::Result<()> {
    let domain = longest();
    ensure!(domain.len() == 60);
    let found = apply_ready(bed, &long()).await?;
    let (status, reason, _) = manifest::condition(&found, "AgentsObserved")?;
    ensure!((status.as_str(), reason.as_str()) == ("True", "Observed"), "AgentsObserved is {status}/{reason}");
    let ping = bed.ask(&bed.reach("long", "long").await?, "/webapi/ping").await?;
    ensure!(ping["cluster_name"] == json!(domain), "the cluster is called {}", ping["cluster_name"]);
    Ok(())
}

/// With its licence from the start.
pub async fn licensed(bed: &TestBed) -> anyhow::Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "licensed"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "licensed", "name": "licence"},
             "stringData": {"license.pem": license()?}},
        ],
    });
    bed.apply(&secret.to_string()).await?;
    let found = apply_ready(bed, &enterprise("licensed", "licence")).await?;
    let (status, ..) = manifest::condition(&found, "LicenseValid")?;
    ensure!(status == "True", "LicenseValid is {status}");
    edition(bed, "licensed").await
}

/// Without: it stalls and says what to do, and doing that is all it takes.
pub async fn unlicensed(bed: &TestBed) -> anyhow::Result<()> {
    apply(bed, &enterprise("unlicensed", "forgotten")).await?;
    let found = bed.await_condition("unlicensed", "unlicensed", "Stalled", "True", Duration::from_secs(60)).await?;
    let (_, reason, message) = manifest::condition(&found, "Stalled")?;
    ensure!(reason == "LicenseSecretMissing", "Stalled for {reason}: {message}");
    let command = "kubectl -n unlicensed create secret generic forgotten --from-file=license.pem";
    for part in ["spec.licenseSecretRef", "namespace unlicensed", command] {
        ensure!(message.contains(part), "the remedy does not name {part:?}: {message}");
    }
    let (ready, reason, _) = manifest::condition(&found, "Ready")?;
    ensure!((ready.as_str(), reason.as_str()) == ("False", "LicenseSecretMissing"), "Ready is {ready}/{reason}");

    // The command of the message, word by word, in a directory with the file.
    let file = bed.control_plane().run_dir().subdirectory("licence")?.join("license.pem");
    std::fs::write(&file, license()?)?;
    let words = command.split(' ').skip(1).map(|word| match word.strip_prefix("--from-file=") {
        Some(name) => format!("--from-file={name}={}", file.display()),
        None => word.to_owned(),
    });
    bed.kubectl(words).await?;
    let found = bed.await_condition("unlicensed", "unlicensed", "Ready", "True", READY).await?;
    ensure!(manifest::condition(&found, "Stalled").is_err(), "the tenant is Ready and still Stalled");
    edition(bed, "unlicensed").await
}

fn enterprise(name: &str, secret: &str) -> Value {
    let tenant = with(tenant(name, name, &format!("{name}.example.com")), "edition", json!("Enterprise"));
    with(tenant, "licenseSecretRef", json!({ "name": secret }))
}

async fn edition(bed: &TestBed, name: &str) -> anyhow::Result<()> {
    let ping = bed.ask(&bed.reach(name, name).await?, "/webapi/ping").await?;
    ensure!(ping["edition"] == "ent", "/webapi/ping says edition={}", ping["edition"]);
    Ok(())
}

/// The made-up licence of the example.
fn license() -> anyhow::Result<String> {
    let example = std::fs::read_to_string(e2e::testbed::root().join("examples/enterprise.yaml"))?;
    let lines = example.lines().map(str::trim);
    let pem: Vec<&str> = lines
        .skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE"))
        .take_while(|line| !line.starts_with("---") || line.starts_with("-----"))
        .collect();
    ensure!(pem.last().is_some_and(|line| line.starts_with("-----END PRIVATE KEY")), "the example has no licence");
    Ok(pem.join("\n") + "\n")
}
