//! Releases that do not work: a patch goes back, a major halts, and what has failed too often is halted for all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use e2e::testbed::{TestBed, blockers, wait_until};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::cluster::{component, names};
use super::super::covered::says;
use super::super::manifest::{condition, edit, id};
use super::setting::{HOP, SHOWS, always, await_event, await_result, await_stage, make, pause, pinned, set_feed};

const SPACE: &str = "halts";
/// Longer than a hop of one Proxy pod may take.
const LATE: TimeDelta = TimeDelta::minutes(25);

/// Two failures halt a release, or many do, and there is a newer one.
fn feed(patient: bool) -> Value {
    let release = |version: &str| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z"});
    let mut releases: Vec<Value> = ["17.5.2", "18.1.0", "18.1.1"].map(release).into();
    if patient {
        releases.push(release("18.1.2"));
    }
    json!({
        "releases": releases,
        "channels": {"stable": {}},
        "waves": {"haltAfterFailures": if patient { 9 } else { 2 }},
    })
}

/// `late` has Proxies and `follower` an Auth that never become ready as 18.1.1, `stuck` an Auth that does not as 18.1.0;
/// `third` wants what failed on the first two.
pub async fn bad_releases(bed: &TestBed) -> anyhow::Result<()> {
    set_feed(bed, &feed(false)).await?;
    let mut late = pinned(SPACE, "late", "18.1.0");
    late["spec"]["auth"]["replicas"] = json!(2);
    let mut stuck = pinned(SPACE, "stuck", "17.5.2");
    let until = (bed.clock().now()? + TimeDelta::days(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let exemption = json!({"checks": ["Agents"], "reason": "there are none", "until": until});
    stuck["spec"]["maintenance"] = json!({"override": exemption});
    let tenants = [late, pinned(SPACE, "follower", "18.1.0"), pinned(SPACE, "third", "18.1.0"), stuck];
    make(bed, SPACE, &[always(SPACE, "default")], &tenants).await?;
    let census = Census::take(bed, &id(&bed.tenants(SPACE).get("late").await?)?);

    for (pods, version) in [("late-proxy", "18.1.1"), ("follower-auth", "18.1.1"), ("stuck-auth", "18.1.0")] {
        bed.world().hang_start(pods, version, true);
    }
    edit(bed, SPACE, "late", json!({"version": "18.1.1"})).await?;
    edit(bed, SPACE, "follower", json!({"version": null, "channel": "stable"})).await?;
    edit(bed, SPACE, "stuck", json!({"version": "18.1.0"})).await?;
    for (name, stage) in [("follower", "Auth"), ("stuck", "Auth"), ("late", "Proxy")] {
        await_stage(bed, SPACE, name, stage).await?;
    }
    wait_until("the Proxy that does not become ready", SHOWS, || async {
        let bad = "app.kubernetes.io/component=proxy,app.kubernetes.io/version=18.1.1";
        Ok((!names(bed, SPACE, "pods", bad).await?.is_empty()).then_some(()))
    })
    .await?;
    let since = Utc::now();
    bed.clock().advance(LATE).await?;
    goes_back(bed, since).await?;
    let backup = halts(bed).await?;
    let most = census.end()?;
    ensure!(most <= 2, "there were {most} Auth pods of one tenant at once");
    bed.say(&format!("  a patch to and fro with two Auth pods: never more than {most} at once"));

    // Failed here, and halted for all.
    for name in ["late", "follower"] {
        bed.await_blockers(SPACE, name, &["ReleaseHalted", "FailedBefore"], SHOWS).await?;
    }
    edit(bed, SPACE, "third", json!({"version": "18.1.1"})).await?;
    bed.await_blockers(SPACE, "third", &["ReleaseHalted"], SHOWS).await?;

    // No longer halted for all. Where it failed only a newer one is tried, or what somebody asks for.
    bed.world().hang_start("late-proxy", "18.1.1", false);
    set_feed(bed, &feed(true)).await?;
    let third = bed.await_version(SPACE, "third", "18.1.1", HOP).await?;
    bed.await_version(SPACE, "follower", "18.1.2", HOP).await?;
    bed.await_blockers(SPACE, "late", &["FailedBefore"], SHOWS).await?;
    let now = bed.clock().now()?.to_rfc3339_opts(SecondsFormat::Secs, true);
    edit(bed, SPACE, "late", json!({"maintenance": {"applyNow": now}})).await?;
    let late = bed.await_version(SPACE, "late", "18.1.1", HOP).await?;
    pause(bed, "one Auth", &third)?;
    pause(bed, "two Auths", &late)?;
    is_replaced(bed, &backup).await
}

/// Proxy first, so that it is never newer than Auth; Auth then. An Auth alone has nothing before it.
async fn goes_back(bed: &TestBed, since: DateTime<Utc>) -> anyhow::Result<()> {
    for name in ["late", "follower"] {
        let status = await_result(bed, SPACE, name, "RolledBack").await?;
        let record = &status["history"][0];
        ensure!(status["version"] == "18.1.0" && record["to"] == "18.1.1" && record["kind"] == "Patch", "{status}");
        says(
            "Tenant",
            &json!({"history": [record]}),
            &json!({"history": [{"result": "RolledBack", "message": "~."}]}),
        )?;
        bed.await_condition(SPACE, name, "Ready", "True", SHOWS).await?;
    }
    await_event(bed, SPACE, "UpdateRolledBack", &["from 18.1.0 to 18.1.1"]).await?;
    let writes =
        bed.writes_since(since)?.into_iter().filter(|write| write.resource == "deployments" && write.code < 300);
    let order: Vec<String> = writes.map(|write| write.name).filter(|name| name.starts_with("late-")).collect();
    let auth = |name: &String| name.starts_with("late-auth-");
    ensure!(order.len() == 3 && order[0] == "late-proxy" && order[1..].iter().all(auth), "they went back as {order:?}");
    Ok(())
}

/// The data of a new major cannot go back: it stands still, says what to do, and names its recovery point.
async fn halts(bed: &TestBed) -> anyhow::Result<String> {
    let halted = |status: &Value| status["update"]["haltedAt"].is_string();
    let status = bed.await_status(SPACE, "stuck", "its hop to halt", SHOWS, halted).await?;
    let backup = status["update"]["recoveryPoint"].as_str().context("no recovery point")?.to_owned();
    says(
        "Tenant",
        &status,
        &json!({"update": {
            "kind": "Major", "from": "17.5.2", "to": "18.1.0", "stage": "Auth", "startedAt": "~^20.*Z$", "stageSince": "~^20.*Z$",
            "window": "halts/default", "skipped": ["Agents"], "recoveryPoint": backup, "downSecondsBefore": 0,
            "deadline": "~^20.*Z$", "haltedAt": "~^20.*Z$",
        }}),
    )?;
    let stalled = bed.await_condition(SPACE, "stuck", "Stalled", "True", SHOWS).await?;
    let (_, reason, message) = condition(&stalled, "Stalled")?;
    ensure!(reason == "HopHalted", "{reason}: {message}");
    ensure!(
        message.contains(&backup) && message.contains("let another release of this major take its place"),
        "{message}"
    );
    await_event(bed, SPACE, "HopHalted", &["Major from 17.5.2 to 18.1.0", &backup]).await?;
    Ok(backup)
}

/// A newer release of the same major takes the place of one that halted, on the same recovery point.
async fn is_replaced(bed: &TestBed, backup: &str) -> anyhow::Result<()> {
    edit(bed, SPACE, "stuck", json!({"version": "18.1.1"})).await?;
    let status = bed.await_version(SPACE, "stuck", "18.1.1", HOP).await?;
    let (last, halted) = (&status["history"][0], &status["history"][1]);
    ensure!(last["result"] == "Succeeded" && last["kind"] == "Major" && last["to"] == "18.1.1", "{last}");
    ensure!(halted["result"] == "Halted" && halted["to"] == "18.1.0", "{halted}");
    says("Tenant", &json!({"history": [halted]}), &json!({"history": [{"skipped": ["Agents"]}]}))?;
    ensure!(last["recoveryPoint"] == backup && halted["recoveryPoint"] == backup, "{}", status["history"]);
    ensure!(blockers(&status).is_empty(), "{}", status["next"]);
    let table = status["storage"]["stateTable"].as_str().context("no table")?;
    let backups = bed.cloud().backups(table).await?;
    ensure!(backups.len() == 1, "{backups:?}");
    bed.await_condition(SPACE, "stuck", "Ready", "True", SHOWS).await.map(drop)
}

/// How many Auth pods of a tenant there were at the same time, ending ones included.
struct Census {
    most: Arc<AtomicUsize>,
    count: JoinHandle<()>,
}

impl Census {
    fn take(bed: &TestBed, tenant_id: &str) -> Census {
        let api: Api<Pod> = Api::namespaced(bed.client(), SPACE);
        let config = watcher::Config::default().labels(&component(tenant_id, "auth"));
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let count = tokio::spawn(async move {
            let mut pods = BTreeSet::new();
            let mut events = watcher(api, config).default_backoff().boxed();
            while let Some(event) = events.next().await {
                // One whose containers have ended has left the state table, whether its object is gone or not.
                let ended = |pod: &Pod| {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    matches!(phase, Some("Succeeded" | "Failed"))
                };
                match event {
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) if ended(&pod) => {
                        pods.remove(&pod.name_any())
                    }
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pods.insert(pod.name_any()),
                    Ok(watcher::Event::Delete(pod)) => pods.remove(&pod.name_any()),
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => false,
                };
                seen.fetch_max(pods.len(), Ordering::SeqCst);
            }
        });
        Census { most, count }
    }

    fn end(self) -> anyhow::Result<usize> {
        ensure!(!self.count.is_finished(), "the watch of pods ended");
        self.count.abort();
        let most = self.most.load(Ordering::SeqCst);
        ensure!(most > 0, "no Auth pod was seen");
        Ok(most)
    }
}
