//! Which domains a namespace may use is the fleet policy's to say; what a tenant has, it keeps.

use std::time::Duration;

use anyhow::ensure;
use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::manifest::{READY, apply, condition, tenant};
use super::{cluster, fleet};

const TOLD: Duration = Duration::from_secs(20);

/// One tenant waits for its namespace's label, one has a domain of nobody, and a narrower policy takes nothing away.
pub async fn domains(bed: &TestBed) -> anyhow::Result<()> {
    fleet::for_a_while(bed, async |good| under_rules(bed, good).await).await
}

async fn under_rules(bed: &TestBed, good: &str) -> anyhow::Result<()> {
    let rules = |rules: Value| -> anyhow::Result<String> {
        let mut policy: Value = serde_saphyr::from_str(good)?;
        policy["domains"] = rules;
        Ok(policy.to_string())
    };
    let corp = json!({"suffix": "corp.example.com", "namespaceSelector": {"matchLabels": {"team": "corp"}}});
    fleet::write(bed, &rules(json!([{"suffix": "example.com"}, corp]))?).await?;
    // Those who were there first are not asked.
    let before = fleet::ready(bed).await?;
    apply(bed, &tenant("allowed", "corp", "a.corp.example.com")).await?;
    apply(bed, &tenant("allowed", "elsewhere", "acme.example.org")).await?;
    is_told(bed, "corp", &["spec.domain", "corp.example.com", "team=corp", "label the namespace"]).await?;
    is_told(bed, "elsewhere", &["spec.domain", "acme.example.org", "example.com, corp.example.com"]).await?;
    for name in ["corp", "elsewhere"] {
        ensure!(
            cluster::object(bed, "allowed", "deployment", &format!("{name}-proxy")).await?.is_none(),
            "{name} runs"
        );
    }
    bed.kubectl(["label", "namespace", "allowed", "team=corp"]).await?;
    bed.await_condition("allowed", "corp", "Ready", "True", READY).await?;

    fleet::write(bed, &rules(json!([{"suffix": "example.net"}]))?).await?;
    bed.kubectl(["label", "namespace", "allowed", "team-"]).await?;
    fleet::looked_at_again(bed, before.len() + 1).await?;
    let after = fleet::ready(bed).await?;
    ensure!(before.iter().all(|name| after.contains(name)), "no longer Ready: of {before:?} only {after:?}");
    ensure!(after.iter().any(|name| name == "corp"), "it lost the domain that it has: {after:?}");
    bed.kubectl(["-n", "allowed", "delete", "tenant", "corp", "elsewhere", "--timeout=60s"]).await.map(drop)
}

async fn is_told(bed: &TestBed, name: &str, parts: &[&str]) -> anyhow::Result<()> {
    let found = bed.await_condition("allowed", name, "Stalled", "True", TOLD).await?;
    let (_, reason, message) = condition(&found, "Stalled")?;
    ensure!(reason == "DomainNotAllowed", "{name} is Stalled for {reason}: {message}");
    for part in parts {
        ensure!(message.contains(part), "{name} is not told {part:?}: {message}");
    }
    Ok(())
}
