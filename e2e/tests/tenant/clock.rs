//! The clock that the tests set moves what the operator decides, and nothing that others judge.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use e2e::testbed::{TestBed, wait_until};

use super::manifest::{apply_ready, condition, tenant};
use super::{cluster, fleet, probes};

/// Beyond the day on which a certificate of 90 days is renewed.
const AHEAD: TimeDelta = TimeDelta::days(80);
const SEEN: Duration = Duration::from_secs(20);

/// Eighty days on, every tenant is looked at again, and its certificate is as young as it was.
pub async fn moves_decisions_alone(bed: &TestBed) -> anyhow::Result<()> {
    apply_ready(bed, &tenant("clock", "clock", "clock.example.com")).await?;
    let outcome = moved(bed).await;
    // The scenarios that follow live in the present.
    bed.clock().advance(-AHEAD).await?;
    outcome
}

async fn moved(bed: &TestBed) -> anyhow::Result<()> {
    let certificate = async || {
        let found = cluster::object(bed, "clock", "secret", "clock-web").await?.context("there is no certificate")?;
        anyhow::Ok(found["metadata"]["resourceVersion"].clone())
    };
    let (before, runs) = (certificate().await?, fleet::runs(bed).await?);
    let tenants = cluster::names(bed, "clock", "tenants", "").await?.len() as f64;
    bed.clock().advance(AHEAD).await?;
    wait_until("the operator to look again in another time", SEEN, || async {
        let metrics = probes::leaders_metrics(bed).await?;
        let offset = value(&metrics, "tenant_operator_test_clock_offset_seconds")?;
        let now = fleet::runs(bed).await?;
        if offset == AHEAD.as_seconds_f64() && now >= runs + tenants {
            return Ok(Some(()));
        }
        bail!("the offset is {offset}, and there were {} runs", now - runs)
    })
    .await?;
    ensure!(value(&probes::leaders_metrics(bed).await?, "tenant_operator_test_clock")? == 1.0, "it does not say so");
    let found = bed.await_condition("clock", "clock", "Ready", "True", SEEN).await?;
    ensure!(condition(&found, "AgentsObserved")?.0 == "True", "{:?}", condition(&found, "AgentsObserved")?);
    ensure!(certificate().await? == before, "a certificate was renewed that the real time finds young");
    Ok(())
}

fn value(metrics: &BTreeMap<String, f64>, name: &str) -> anyhow::Result<f64> {
    metrics.get(name).copied().with_context(|| format!("there is no metric {name}"))
}
