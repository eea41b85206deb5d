//! A domain, with everything above and below it, belongs to one tenant of the whole installation.

use std::time::Duration;

use anyhow::{bail, ensure};
use chrono::Utc;
use crds::Tenant;
use e2e::testbed::{TestBed, wait_until};

use super::manifest::{READY, apply, apply_ready, condition, id, tenant};
use super::{cloud, cluster};

const STALLS: Duration = Duration::from_secs(30);
const LISTENING: Duration = Duration::from_secs(4);

/// Second comers are told who was first; when that one goes, a second comer gets the domain.
pub async fn have_one_holder(bed: &TestBed) -> anyhow::Result<()> {
    let holder = apply_ready(bed, &tenant("first", "holder", "team.shared.example.com")).await?;
    let holder = format!("first/holder/{}", id(&holder)?);
    let others =
        [("same", "team.shared.example.com"), ("below", "a.team.shared.example.com"), ("above", "shared.example.com")];
    for (name, domain) in others {
        apply(bed, &tenant("second", name, domain)).await?;
    }
    for (name, _) in others {
        let told = is_told(bed, name, &holder).await?;
        asks_seldom(bed, &id(&told)?).await?;
    }
    // The three of them overlap too; one is left to be the next.
    for name in ["below", "above"] {
        bed.kubectl(["-n", "second", "delete", "tenant", name, "--timeout=60s"]).await?;
    }
    bed.kubectl(["-n", "first", "delete", "tenant", "holder", "--timeout=60s"]).await?;
    let next = bed.await_condition("second", "same", "Ready", "True", READY).await?;
    ensure!(condition(&next, "Stalled").is_err(), "the next holder is Ready and still Stalled");
    let claim = cluster::claim(bed, "domain", &id(&next)?).await?;
    let lease = cluster::object(bed, e2e::testbed::NAMESPACE, "lease", &claim).await?.unwrap_or_default();
    ensure!(lease["spec"]["holderIdentity"] == format!("second/same/{}", id(&next)?), "the claim is {lease:#}");
    // As the documentation tells people to look.
    let page = std::fs::read_to_string(e2e::testbed::root().join("operator/docs/network.md"))?;
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("kubectl ")).collect();
    ensure!(commands.len() == 2, "the page tells {commands:?}");
    let mut printed = String::new();
    for command in commands {
        printed += &bed.kubectl(command.split(' ')).await?;
    }
    let base = next.status.as_ref().and_then(|status| status.ports.as_ref()).map(|ports| ports.ssh).unwrap_or_default();
    for (what, holder) in [
        ("team.shared.example.com".to_owned(), format!("second/same/{}", id(&next)?)),
        (format!("ports-default-{base}"), format!("second/same/{}", id(&next)?)),
    ] {
        let line = printed.lines().find(|line| line.starts_with(&format!("{what} ")));
        ensure!(line.is_some_and(|line| line.contains(&holder)), "{what} is not shown as held by {holder}:\n{printed}");
    }
    let reach = bed.reach("second", "same").await?;
    bed.ask(&reach, "/webapi/ping").await.map(drop)
}

async fn is_told(bed: &TestBed, name: &str, holder: &str) -> anyhow::Result<Tenant> {
    let found = bed.await_condition("second", name, "Stalled", "True", STALLS).await?;
    let (_, reason, message) = condition(&found, "Stalled")?;
    ensure!(reason == "DomainTaken", "{name} is Stalled for {reason}: {message}");
    for part in ["spec.domain", "team.shared.example.com", holder] {
        ensure!(message.contains(part), "{name} is not told {part:?}: {message}");
    }
    let (ready, reason, _) = condition(&found, "Ready")?;
    ensure!((ready.as_str(), reason.as_str()) == ("False", "DomainTaken"), "{name} is Ready={ready}/{reason}");
    Ok(found)
}

/// Who waits for a person does not ask the cloud every second.
async fn asks_seldom(bed: &TestBed, tenant_id: &str) -> anyhow::Result<()> {
    wait_until(&format!("{tenant_id} to ask seldom"), STALLS, || async {
        let calls = cloud::calls(bed, Utc::now() - LISTENING)?;
        let count = calls.iter().filter(|call| cloud::concerns(call, tenant_id)).count();
        // Two tables, bucket and role, once.
        if count <= 4 { Ok(Some(())) } else { bail!("it asked {count} times within {} s", LISTENING.as_secs()) }
    })
    .await
}
