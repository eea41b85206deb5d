//! The fleet policy: a bad edit changes nothing and is told everywhere, and a good one is taken up without a restart.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{NAMESPACE, REGION, TestBed, wait_until};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::cloud::ABROAD;
use super::manifest::{READY, apply, condition, tenant, with};
use super::{cluster, probes};

const CONFIG_MAP: &str = "tenant-operator-fleet";
const KEY: &str = "installation.yaml";
const TAKEN: Duration = Duration::from_secs(20);
/// Nothing but a reading that is due brings the next run, and those of agents that do not change become rare.
const RUN_AGAIN: Duration = Duration::from_secs(60);
const METRIC: &str = "tenant_operator_policy_valid";

/// Breaks it and mends it; then a tenant asks for a region that it does not have, until it has.
pub async fn bad_edit(bed: &TestBed) -> anyhow::Result<()> {
    for_a_while(bed, async |good| edits(bed, good).await).await
}

/// Does something with the policy and puts it back, whatever came of it: the scenarios that follow stand on it.
pub async fn for_a_while(bed: &TestBed, edits: impl AsyncFnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let good = text(bed).await?;
    let outcome = edits(&good).await;
    write(bed, &good).await?;
    outcome
}

/// The installation as it is written now.
async fn text(bed: &TestBed) -> anyhow::Result<String> {
    let found = cluster::object(bed, NAMESPACE, "configmap", CONFIG_MAP).await?.context("there is no fleet policy")?;
    Ok(found["data"][KEY].as_str().context("the fleet policy is empty")?.to_owned())
}

/// The same with other accounts.
pub fn with_accounts(text: &str, change: impl Fn(&mut Vec<Value>)) -> anyhow::Result<String> {
    let mut policy: Value = serde_saphyr::from_str(text).context("the policy is YAML")?;
    change(policy["aws"]["accounts"].as_array_mut().context("the policy has accounts")?);
    // JSON is YAML.
    Ok(policy.to_string())
}

async fn edits(bed: &TestBed, good: &str) -> anyhow::Result<()> {
    let before = ready(bed).await?;
    write(bed, &good.replacen("id: eu1", "id: [", 1)).await?;
    says(bed, 0.0).await?;
    looked_at_again(bed, before.len()).await?;
    ensure!(ready(bed).await? == before, "tenants are no longer Ready under a bad policy");
    stale(bed, before.len()).await?;
    let told = faults(bed).await?;
    ensure!(told.len() == 1 && told[0].starts_with("installation.yaml: "), "the events of the ConfigMap: {told:?}");
    write(bed, good).await?;
    says(bed, 1.0).await?;
    stale(bed, 0).await?;

    let abroad = with(tenant("abroad", "abroad", "abroad.example.com"), "region", json!(ABROAD));
    apply(bed, &abroad).await?;
    let stalled = bed.await_condition("abroad", "abroad", "Stalled", "True", TAKEN).await?;
    let (_, reason, message) = condition(&stalled, "Stalled")?;
    ensure!(reason == "InvalidSpec", "Stalled for {reason}: {message}");
    for part in ["spec.region", ABROAD, "us-west-2", "add the region to the policy"] {
        ensure!(message.contains(part), "the remedy does not name {part:?}: {message}");
    }
    let wider = with_accounts(good, |accounts| accounts[0]["regions"] = json!([REGION, ABROAD]))?;
    write(bed, &wider).await?;
    bed.await_condition("abroad", "abroad", "Ready", "True", READY).await?;
    bed.kubectl(["-n", "abroad", "delete", "tenant", "abroad", "--timeout=60s"]).await.map(drop)
}

/// A run of every tenant begins as an edit is seen; a later one of each is waited for, so that all had theirs.
pub async fn looked_at_again(bed: &TestBed, tenants: usize) -> anyhow::Result<()> {
    let before = runs(bed).await?;
    wait_until("tenants to be looked at again", RUN_AGAIN, || async {
        let now = runs(bed).await?;
        Ok((now >= before + tenants as f64).then_some(()))
    })
    .await
}

/// Writes the installation.
pub async fn write(bed: &TestBed, text: &str) -> anyhow::Result<()> {
    let patch = json!({"data": {KEY: text}}).to_string();
    bed.kubectl(["-n", NAMESPACE, "patch", "configmap", CONFIG_MAP, "--type=merge", "-p", &patch]).await.map(drop)
}

async fn says(bed: &TestBed, wanted: f64) -> anyhow::Result<()> {
    wait_until(&format!("{METRIC} {wanted}"), TAKEN, || async {
        let found = probes::leaders_metrics(bed).await?.get(METRIC).copied();
        if found == Some(wanted) { Ok(Some(())) } else { bail!("it is {found:?}") }
    })
    .await
}

/// Waits until so many tenants say that another policy is in force than the one that is written.
async fn stale(bed: &TestBed, wanted: usize) -> anyhow::Result<()> {
    wait_until(&format!("PolicyStale on {wanted} tenants"), TAKEN, || async {
        let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
        let says = |tenant: &&crds::Tenant| {
            condition(tenant, "PolicyStale").is_ok_and(|(status, reason, message)| {
                status == "True" && reason == "FleetPolicyInvalid" && message.contains("installation.yaml: ")
            })
        };
        let found = tenants.iter().filter(says).count();
        if found == wanted || (wanted > 0 && found > wanted) { Ok(Some(())) } else { bail!("{found} do") }
    })
    .await
}

/// What the events of the ConfigMap say of its faults.
async fn faults(bed: &TestBed) -> anyhow::Result<Vec<String>> {
    let selector = format!("reason=FleetPolicyInvalid,regarding.name={CONFIG_MAP}");
    let arguments = ["-n", NAMESPACE, "get", "events.events.k8s.io", "--field-selector", &selector, "-o", "json"];
    let list: Value = serde_json::from_str(&bed.kubectl(arguments).await?).context("events are JSON")?;
    let notes = list["items"].as_array().into_iter().flatten().filter_map(|event| event["note"].as_str());
    Ok(notes.map(str::to_owned).collect())
}

/// How often a tenant was looked at without a fault.
pub async fn runs(bed: &TestBed) -> anyhow::Result<f64> {
    let metrics = probes::leaders_metrics(bed).await?;
    let name = "tenant_operator_reconcile_total{kind=\"Tenant\",outcome=\"ok\"}";
    Ok(metrics.get(name).copied().unwrap_or_default())
}

/// The tenants that are Ready.
pub async fn ready(bed: &TestBed) -> anyhow::Result<Vec<String>> {
    let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
    let ready = tenants.iter().filter(|tenant| condition(tenant, "Ready").is_ok_and(|(status, ..)| status == "True"));
    Ok(ready.map(ResourceExt::name_any).collect())
}
