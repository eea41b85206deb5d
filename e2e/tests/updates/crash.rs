//! The operator is killed after each write of a hop; whoever carries on comes to the same end.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use e2e::testbed::{TestBed, Write, Writes, pod_of, wait_until};
use serde_json::{Value, json};

use super::super::cluster;
use super::super::manifest::edit;
use super::setting::{HOP, SHOWS, always, revisions, rolled_once, with_window};

/// Each of these is a step of the hop, or says how far it is.
const WRITTEN: [&str; 4] = ["tenants/status", "deployments", "jobs", "configmaps"];
/// Fewer kills than this would say that writes were overlooked.
const LEAST: usize = 6;
/// How often to look for a new write.
const LOOK: Duration = Duration::from_millis(10);

/// A minor update.
pub async fn minor(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, "minor", "18.1.0", &always("minor", "default")).await?;
    let done = killed(bed, "minor", "18.2.0").await?;
    ensure!(done["history"][0]["kind"] == "Minor" && backups(bed, &done).await? == 0, "{done}");
    Ok(())
}

/// A major update, with its recovery point.
pub async fn major(bed: &TestBed) -> anyhow::Result<()> {
    let domain = with_window(bed, "slain", "17.5.2", &always("slain", "default")).await?;
    bed.agents(&domain, &[("node", "17.5.2", &["Node"])]);
    bed.clock().advance(TimeDelta::minutes(21)).await?;
    let done = killed(bed, "slain", "18.1.0").await?;
    ensure!(done["history"][0]["kind"] == "Major" && backups(bed, &done).await? == 1, "{done}");
    Ok(())
}

async fn backups(bed: &TestBed, status: &Value) -> anyhow::Result<usize> {
    let table = status["storage"]["stateTable"].as_str().context("no table")?;
    Ok(bed.cloud().backups(table).await?.len())
}

/// Runs a hop, and kills the leader as soon as another write of it is seen, until it has ended.
async fn killed(bed: &TestBed, name: &str, version: &str) -> anyhow::Result<Value> {
    let before = revisions(bed, name).await?;
    let mut writes = bed.follow_writes()?;
    let mut points = Vec::new();
    edit(bed, name, name, json!({"version": version})).await?;
    let began = Instant::now();
    let done = loop {
        let status = bed.status(name, name).await?;
        if status["version"] == version && status["update"].is_null() {
            break status;
        }
        ensure!(began.elapsed() < HOP, "killed after {points:?}: {}", status["update"]);
        let Some(write) = next_write(&mut writes, name).await? else { continue };
        points.push(format!("{} ({})", write.what(), status["update"]["stage"].as_str().unwrap_or("no hop")));
        hand_over(bed).await?;
        // What the dead one still got through is not the other's.
        writes.more()?;
    };
    bed.say(&format!(
        "  {name} to {version}: the leader killed after {} writes in {:.0} s: {}",
        points.len(),
        began.elapsed().as_secs_f32(),
        points.join(", ")
    ));
    ensure!(points.len() >= LEAST, "killed after {points:?} alone");
    bed.await_condition(name, name, "Ready", "True", SHOWS).await?;
    let history = done["history"].as_array().context("no history")?;
    ensure!(history.len() == 1 && history[0]["result"] == "Succeeded" && done["next"].is_null(), "{done}");
    let after = revisions(bed, name).await?;
    ensure!(after == rolled_once(&before), "Deployments were rolled from {before:?} to {after:?}");
    let jobs = cluster::names(bed, name, "jobs", "").await?;
    ensure!(jobs.len() == 1, "the configuration was checked by {jobs:?}");
    Ok(done)
}

/// The first write of the hop within a second that was not looked at yet.
async fn next_write(writes: &mut Writes, namespace: &str) -> anyhow::Result<Option<Write>> {
    let mut interval = tokio::time::interval(LOOK);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        interval.tick().await;
        let ours = |write: &Write| {
            write.namespace == namespace && write.code < 300 && WRITTEN.contains(&write.resource.as_str())
        };
        if let Some(write) = writes.more()?.into_iter().find(ours) {
            return Ok(Some(write));
        }
    }
    Ok(None)
}

/// Kills the leader and waits until another leads, without waiting for the lease to run out or for a container that backs
/// off: that is another scenario.
async fn hand_over(bed: &TestBed) -> anyhow::Result<()> {
    let dead = wait_until("a leader that lives", SHOWS, || async {
        let leader = bed.leader().await?;
        bed.kill_operator(pod_of(&leader))?;
        Ok(Some(leader))
    })
    .await?;
    bed.remove_operator_pod(pod_of(&dead)).await?;
    bed.expire_lead().await?;
    wait_until("another leader", SHOWS, || async {
        let now = bed.leader().await?;
        if now.is_empty() || now == dead { bail!("the leader is {now:?}") } else { Ok(Some(())) }
    })
    .await
}
