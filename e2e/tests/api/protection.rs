//! Deletion protection by admission: who is denied, what the denial says, and what it must not stop.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::bed::Bed;
use super::report::Report;
use super::tables;

const NAMESPACE: &str = "protected";
const NAMESPACE_PATH: &str = "/api/v1/namespaces/protected";
const PATH: &str = "/apis/tenancy.dev/v1alpha1/namespaces/protected/tenants";

pub async fn check(bed: &Bed, report: &mut Report) {
    if report.add("a protected tenant", protected_tenant(bed).await).is_none() {
        return;
    }
    report.add("a protected tenant is not deleted", denied(bed).await);
    report.add("a collection with a protected tenant is not deleted", collection_denied(bed).await);
    report.add("an unprotected tenant is deleted", allowed(bed).await);
    report.add("a removal that began is not stopped", finalizer(bed).await);
    report.add("a namespace waits for its protected tenant", namespace(bed).await);
}

async fn create(bed: &Bed, name: &str, change: Value) -> anyhow::Result<()> {
    let mut tenant = tables::smallest(NAMESPACE, name);
    tables::merge(&mut tenant, &change);
    bed.post(PATH, &tenant).await?.success().map(drop)
}

async fn protected_tenant(bed: &Bed) -> anyhow::Result<()> {
    bed.create_namespace(NAMESPACE, json!({})).await?;
    create(bed, "acme", json!({})).await?;
    // A policy takes effect a moment after it is created; until then the dry run is let through.
    let path = format!("{PATH}/acme?dryRun=All");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while bed.delete(&path).await?.code < 400 {
        ensure!(tokio::time::Instant::now() < deadline, "the policy does not take effect");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The administrator is denied too, and told the command that lifts the protection; which then works as it stands.
async fn denied(bed: &Bed) -> anyhow::Result<()> {
    let answer = bed.delete(&format!("{PATH}/acme")).await?;
    ensure!(answer.code == 403, "the server answers {}: {}", answer.code, answer.body);
    let message = answer.body["message"].as_str().unwrap_or_default();
    let command = "kubectl -n protected patch tenant acme --type=merge -p '{\"spec\":{\"deletionProtection\":false}}'";
    for text in ["spec.deletionProtection is true", command] {
        ensure!(message.contains(text), "the denial does not say {text:?}: {message}");
    }
    let tenant = bed.get(&format!("{PATH}/acme")).await?.success()?;
    ensure!(tenant["metadata"].get("deletionTimestamp").is_none(), "it is being deleted all the same");
    Ok(())
}

async fn collection_denied(bed: &Bed) -> anyhow::Result<()> {
    let answer = bed.delete(PATH).await?;
    ensure!(answer.code == 403, "the server answers {}: {}", answer.code, answer.body["message"]);
    ensure!(bed.get(&format!("{PATH}/acme")).await?.code == 200, "the tenant is gone");
    Ok(())
}

async fn allowed(bed: &Bed) -> anyhow::Result<()> {
    bed.kubectl(&[
        "-n",
        "protected",
        "patch",
        "tenant",
        "acme",
        "--type=merge",
        "-p",
        r#"{"spec":{"deletionProtection":false}}"#,
    ])?;
    bed.delete(&format!("{PATH}/acme")).await?.success()?;
    bed.wait_for(&format!("{PATH}/acme"), "gone", Value::is_null).await.map(drop)
}

/// Removing the finalizer is an update: it passes, also when somebody protects the tenant while it is being removed.
async fn finalizer(bed: &Bed) -> anyhow::Result<()> {
    let finalized = json!({"metadata": {"finalizers": ["tenancy.dev/tenant"]}, "spec": {"deletionProtection": false}});
    create(bed, "leaving", finalized).await?;
    let path = format!("{PATH}/leaving");
    let answer = bed.delete(&path).await?.success()?;
    ensure!(answer["metadata"]["deletionTimestamp"].is_string(), "the deletion did not begin: {answer}");
    bed.merge(&path, json!({"spec": {"deletionProtection": true}})).await?;
    bed.merge(&path, json!({"metadata": {"finalizers": null}})).await?;
    bed.wait_for(&path, "gone", Value::is_null).await.map(drop)
}

async fn namespace(bed: &Bed) -> anyhow::Result<()> {
    create(bed, "acme", json!({})).await?;
    bed.delete(NAMESPACE_PATH).await?.success()?;
    let waiting = bed
        .wait_for(NAMESPACE_PATH, "waiting with a reason", |namespace| {
            content_failure(namespace).is_some_and(|(status, _)| status == "True")
        })
        .await?;
    let (_, message) = content_failure(&waiting).context("no condition")?;
    ensure!(message.contains("spec.deletionProtection is true"), "the namespace does not say why: {message}");
    bed.merge(&format!("{PATH}/acme"), json!({"spec": {"deletionProtection": false}})).await?;
    bed.wait_for(NAMESPACE_PATH, "gone", Value::is_null).await.map(drop)
}

fn content_failure(namespace: &Value) -> Option<(&str, &str)> {
    let conditions = namespace["status"]["conditions"].as_array()?;
    let failure = conditions.iter().find(|condition| condition["type"] == "NamespaceDeletionContentFailure")?;
    Some((failure["status"].as_str()?, failure["message"].as_str()?))
}
