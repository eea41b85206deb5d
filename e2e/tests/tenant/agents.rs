//! The inventory shows in status and columns.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{TestBed, wait_until};
use serde_json::{Value, json};

use super::manifest::{apply_ready, tenant};

const DOMAIN: &str = "agents.example.com";

/// The tenant whose agents are counted.
pub fn observed() -> Value {
    tenant("agents", "agents", DOMAIN)
}

/// One on the tenant's major, one on an older one, and one that says what nobody understands.
pub async fn are_counted(bed: &TestBed) -> anyhow::Result<()> {
    let found = apply_ready(bed, &observed()).await?;
    let counts = found.status.and_then(|status| status.agents).context("a Ready tenant has no counts")?;
    ensure!(counts.total == 0, "there are {} agents before there are any", counts.total);
    let node: &[&str] = &["Node"];
    bed.agents(DOMAIN, &[("host-1", "18.1.0", node), ("host-2", "17.5.2", node), ("host-3", "weird", node)]);
    let wanted = json!({
        "total": 3, "behind": 2, "remembered": 0, "oldest": "17.5.2",
        "majors": [{"major": 18, "count": 1}, {"major": 17, "count": 1}],
    });
    // Twice the longest time between two readings while nothing changes.
    wait_until("the agents to be counted", Duration::from_secs(40), || async {
        let status = bed.tenants("agents").get("agents").await?.status.context("no status")?;
        let counts = serde_json::to_value(status.agents)?;
        if counts == wanted { Ok(Some(())) } else { bail!("they are {counts}") }
    })
    .await?;
    let printed = bed.kubectl(["-n", "agents", "get", "tenants"]).await?;
    ensure!(
        columns(&printed, &["NAME", "READY", "VERSION", "AGENTS", "BEHIND"])? == ["agents", "True", "18.1.0", "3", "2"],
        "{printed}"
    );
    bed.agents(DOMAIN, &[]);
    Ok(())
}

/// Cells of the first row under these headings. Columns are told by where their heading begins, since cells can be empty.
pub fn columns(printed: &str, headings: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut lines = printed.lines();
    let (head, row) = (lines.next().context("no heading")?, lines.next().context("no row")?);
    headings
        .iter()
        .map(|heading| {
            let start = head.find(heading).with_context(|| format!("no column {heading}"))?;
            let cell: String = row.chars().skip(start).take_while(|character| *character != ' ').collect();
            Ok(cell)
        })
        .collect()
}
