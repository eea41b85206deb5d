//! Tenants off the common way: the longest domain that Teleport bears, and the Enterprise edition.

use std::time::Duration;

use anyhow::{bail, ensure};
use chrono::{DateTime, Datelike as _, SecondsFormat, TimeDelta, Utc};
use e2e::testbed::{TestBed, namespace, wait_until};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::cluster::{self, component};
use super::manifest::{self, READY, apply, apply_ready, edit, tenant, with};

const FOLLOWS: Duration = Duration::from_secs(60);

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

/// With its licence from the start, which nears its end; another one waits for a window; then one that is over.
pub async fn licensed(bed: &TestBed) -> anyhow::Result<()> {
    let [soon, later, over] = [10, 400, -2].map(|days| Utc::now() + TimeDelta::days(days));
    hand_in(bed, soon).await?;
    let found = apply_ready(bed, &enterprise("licensed", "licence")).await?;
    edition(bed, "licensed").await?;
    let tenant_id = manifest::id(&found)?;
    judged(bed, "True", "LicenseExpiring", soon).await?;
    let found = bed.tenants("licensed").get("licensed").await?;
    let listed = found.status.iter().flat_map(|status| &status.certificates).any(|found| found.name == "license");
    ensure!(listed, "status.certificates does not list the licence");

    let auth = component(&tenant_id, "auth");
    let before = cluster::names(bed, "licensed", "pods", &auth).await?;
    hand_in(bed, later).await?;
    wait_until("a template to be due", FOLLOWS, || async {
        let found = bed.tenants("licensed").get("licensed").await?;
        let (status, reason, message) = manifest::condition(&found, "UpdateDue")?;
        if (status.as_str(), reason.as_str()) == ("True", "TemplateChanged") {
            Ok(Some(()))
        } else {
            bail!("{message}")
        }
    })
    .await?;
    ensure!(cluster::names(bed, "licensed", "pods", &auth).await? == before, "Auth was restarted outside a window");
    judged(bed, "True", "LicenseExpiring", soon).await?;
    apply_now(bed).await?;
    judged(bed, "True", "AsSpecified", later).await?;

    hand_in(bed, over).await?;
    apply_now(bed).await?;
    judged(bed, "False", "LicenseExpired", over).await
}

/// Puts a licence into the Secret that ends on this day.
async fn hand_in(bed: &TestBed, end: DateTime<Utc>) -> anyhow::Result<()> {
    let list = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            namespace("licensed"),
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "licensed", "name": "licence"},
             "stringData": {"license.pem": license_until(end)?}},
        ],
    });
    bed.apply(&list.to_string()).await.map(drop)
}

/// Lets the next update start without a window.
async fn apply_now(bed: &TestBed) -> anyhow::Result<()> {
    let now = bed.clock().now()?.to_rfc3339_opts(SecondsFormat::Secs, true);
    edit(bed, "licensed", "licensed", json!({"maintenance": {"applyNow": now}})).await
}

/// Waits until the condition says so, with the day on which the licence ends.
async fn judged(bed: &TestBed, status: &str, reason: &str, end: DateTime<Utc>) -> anyhow::Result<()> {
    let day = end.format("%Y-%m-%d").to_string();
    wait_until(&format!("LicenseValid to be {status}/{reason} with {day}"), FOLLOWS, || async {
        let found = bed.tenants("licensed").get("licensed").await?;
        let said = manifest::condition(&found, "LicenseValid")?;
        if said.0 == status && said.1 == reason && said.2.contains(&day) { Ok(Some(())) } else { bail!("{said:?}") }
    })
    .await
}

/// A made-up licence that ends as this day begins.
fn license_until(end: DateTime<Utc>) -> anyhow::Result<String> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let part = |number: u32| u8::try_from(number).unwrap_or(1);
    parameters.not_after = rcgen::date_time_ymd(end.year(), part(end.month()), part(end.day()));
    Ok(parameters.self_signed(&key)?.pem() + &key.serialize_pem())
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
pub fn license() -> anyhow::Result<String> {
    let example = std::fs::read_to_string(e2e::testbed::root().join("examples/enterprise.yaml"))?;
    let lines = example.lines().map(str::trim);
    let pem: Vec<&str> = lines
        .skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE"))
        .take_while(|line| !line.starts_with("---") || line.starts_with("-----"))
        .collect();
    ensure!(pem.last().is_some_and(|line| line.starts_with("-----END PRIVATE KEY")), "the example has no licence");
    Ok(pem.join("\n") + "\n")
}
