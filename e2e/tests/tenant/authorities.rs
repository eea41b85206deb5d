//! Certificate authorities that are lost come back from Teleport's own state, and those that are rotated there are followed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use e2e::testbed::{TestBed, wait_until};
use serde_json::json;
use teleport_standin::rotation::Step;

use super::cluster;
use super::covered::says;
use super::manifest::{apply_ready, condition, tenant};

const NAME: &str = "authorities";
const DOMAIN: &str = "authorities.example.com";
/// Twice the longest time between two looks at the state table, beside others.
const FOLLOWS: Duration = Duration::from_secs(60);

/// Lost once, then rotated in three steps.
pub async fn are_kept(bed: &TestBed) -> anyhow::Result<()> {
    apply_ready(bed, &tenant(NAME, NAME, DOMAIN)).await?;
    let first = keys(bed, 1).await?.context("no Secret of authorities")?;
    let pods = cluster::names(bed, NAME, "pods", "").await?;
    lost(bed, &first).await?;
    ensure!(cluster::names(bed, NAME, "pods", "").await? == pods, "pods were replaced for a Secret");
    let due = condition(&bed.tenants(NAME).get(NAME).await?, "UpdateDue")?;
    ensure!(due.0 == "False", "an update is due: {due:?}");

    bed.rotate(NAME, NAME, "host", Step::Begin).await?;
    let begun = generation(bed, 2).await?;
    ensure!(begun["host-ca.crt"] == first["host-ca.crt"], "another authority signs already");
    let trusted = begun.get("host-ca-trusted.crt").context("the one to come is not trusted")?;
    says_that_it_rotates(bed, true).await?;
    bed.rotate(NAME, NAME, "host", Step::Swap).await?;
    let swapped = generation(bed, 3).await?;
    ensure!(swapped["host-ca.crt"] == *trusted, "the new authority does not sign");
    ensure!(swapped.get("host-ca-trusted.crt") == first.get("host-ca.crt"), "the former one is not trusted any more");
    ensure!(swapped["user-ca.key"] == first["user-ca.key"], "the user authority changed too");
    bed.rotate(NAME, NAME, "host", Step::End).await?;
    let ended = generation(bed, 4).await?;
    ensure!(!ended.contains_key("host-ca-trusted.crt") && ended["host-ca.crt"] == *trusted, "{:?}", ended.keys());
    says_that_it_rotates(bed, false).await?;
    answers(bed).await?;
    ensure!(cluster::names(bed, NAME, "pods", "").await? == pods, "pods were replaced outside a window");
    let found = bed.tenants(NAME).get(NAME).await?;
    says("Tenant", &serde_json::to_value(&found.status)?, &json!({"authorityGeneration": 4}))?;
    // The file from which Auth would begin holds the former authority until then.
    let (status, reason, _) = condition(&found, "UpdateDue")?;
    ensure!((status.as_str(), reason.as_str()) == ("True", "TemplateChanged"), "UpdateDue={status}/{reason}");
    let notes = bed.kubectl(["-n", NAME, "get", "events.events.k8s.io", "-o", "json"]).await?;
    ensure!(notes.contains("AuthoritiesChanged") && notes.contains("authorities-ca-3"), "no event tells of it");
    Ok(())
}

/// The guard is taken off, and the Secret deleted.
async fn lost(bed: &TestBed, first: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let secret = format!("{NAME}-ca-1");
    let uid = async || {
        anyhow::Ok(cluster::object(bed, NAME, "secret", &secret).await?.map(|found| found["metadata"]["uid"].clone()))
    };
    let before = uid().await?;
    let patch = json!({"metadata": {"finalizers": null}}).to_string();
    bed.kubectl(["-n", NAME, "patch", "secret", &secret, "--type=merge", "-p", &patch]).await?;
    bed.kubectl(["-n", NAME, "delete", "secret", &secret, "--timeout=30s"]).await?;
    wait_until("the Secret to come back", FOLLOWS, || async {
        let after = uid().await?;
        if after.is_some() && after != before { Ok(Some(())) } else { bail!("it is {after:?}") }
    })
    .await?;
    let again = keys(bed, 1).await?.context("no Secret")?;
    for (name, text) in first.iter().filter(|(name, _)| !name.starts_with("web-ca")) {
        ensure!(again.get(name) == Some(text), "{name} came back as another one");
    }
    bed.await_condition(NAME, NAME, "Ready", "True", FOLLOWS).await?;
    answers(bed).await
}

/// The inventory is read again, by an identity that Auth believes, and users reach the tenant.
async fn answers(bed: &TestBed) -> anyhow::Result<()> {
    let since = Utc::now();
    wait_until("the inventory to be read", FOLLOWS, || async {
        let calls = bed.world().calls(DOMAIN);
        let read = |call: &teleport_standin::Call| call.at > since && call.method.ends_with("/GetInstances");
        Ok(calls.iter().any(|call| read(call) && call.refused.is_empty()).then_some(()))
    })
    .await?;
    bed.await_condition(NAME, NAME, "Ready", "True", FOLLOWS).await?;
    bed.ask(&bed.reach(NAME, NAME).await?, "/webapi/ping").await.map(drop)
}

/// Waits for the Secret of a generation.
async fn generation(bed: &TestBed, number: i64) -> anyhow::Result<BTreeMap<String, String>> {
    wait_until(&format!("the authorities of generation {number}"), FOLLOWS, || keys(bed, number)).await
}

async fn keys(bed: &TestBed, number: i64) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let Some(secret) = cluster::object(bed, NAME, "secret", &format!("{NAME}-ca-{number}")).await? else {
        return Ok(None);
    };
    ensure!(secret["immutable"] == true, "it can be changed");
    let entries = secret["data"].as_object().into_iter().flatten().map(|(name, text)| {
        Ok((name.clone(), String::from_utf8(STANDARD.decode(text.as_str().unwrap_or_default())?)?))
    });
    entries.collect::<anyhow::Result<_>>().map(Some)
}

async fn says_that_it_rotates(bed: &TestBed, rotates: bool) -> anyhow::Result<()> {
    wait_until("CertificatesReady to tell of the rotation", FOLLOWS, || async {
        let (status, _, message) = condition(&bed.tenants(NAME).get(NAME).await?, "CertificatesReady")?;
        let told = message.contains("being rotated");
        if status == "True" && told == rotates { Ok(Some(())) } else { bail!("{status}: {message}") }
    })
    .await
}
