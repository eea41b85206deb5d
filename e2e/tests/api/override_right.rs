//! An override of the checks before an update takes a right of its own.

use anyhow::ensure;
use serde_json::{Value, json};

use super::bed::Bed;
use super::report::Report;
use super::tables;

const NAMESPACE: &str = "overridden";
const PATH: &str = "/apis/tenancy.dev/v1alpha1/namespaces/overridden/tenants";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/overridden/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/overridden/rolebindings";

pub async fn check(bed: &Bed, report: &mut Report) {
    if report.add("a tenant and its editor", prepare(bed).await).is_none() {
        return;
    }
    report.add("an editor may not override", may(bed, OVERRIDE, false));
    report.add("an editor may do the rest", may(bed, APPLY_NOW, true));
    report.add("with the verb an editor may override", granted(bed).await);
}

const OVERRIDE: &str =
    r#"{"spec":{"maintenance":{"override":{"checks":["Window"],"reason":"test","until":"2036-01-01T00:00:00Z"}}}}"#;
const APPLY_NOW: &str = r#"{"spec":{"maintenance":{"applyNow":"2026-01-01T00:00:00Z"}}}"#;

async fn prepare(bed: &Bed) -> anyhow::Result<()> {
    bed.create_namespace(NAMESPACE, json!({})).await?;
    bed.post(PATH, &tables::smallest(NAMESPACE, "acme")).await?.success()?;
    grant(bed, "editor", json!(["get", "update", "patch"])).await
}

async fn grant(bed: &Bed, name: &str, verbs: Value) -> anyhow::Result<()> {
    let role = json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": ["tenancy.dev"], "resources": ["tenants"], "verbs": verbs}],
    });
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    bed.post(ROLES, &role).await?.success()?;
    bed.post(BINDINGS, &binding).await?.success().map(drop)
}

fn patch(bed: &Bed, text: &str) -> anyhow::Result<String> {
    bed.kubectl(&["-n", NAMESPACE, "patch", "tenant", "acme", "--as=jane", "--type=merge", "-p", text])
}

fn may(bed: &Bed, text: &str, allowed: bool) -> anyhow::Result<()> {
    match patch(bed, text) {
        Ok(_) => ensure!(allowed, "it was let through"),
        Err(refused) => {
            let message = format!("{refused:#}");
            ensure!(!allowed && message.contains("needs the verb override on tenants.tenancy.dev"), "{message}");
        }
    }
    Ok(())
}

async fn granted(bed: &Bed) -> anyhow::Result<()> {
    grant(bed, "overrider", json!(["override"])).await?;
    // A right takes effect a moment after it is given.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(refused) = patch(bed, OVERRIDE) {
        ensure!(tokio::time::Instant::now() < deadline, "{refused:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}
