//! What agents and users of a tenant are told: the new version once its hop has ended, in the order and the hour of pools
//! and window; nobody's edit is overwritten; an alert while agents hold a major back; and at rest nothing is written.

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use e2e::testbed::{TestBed, agent, wait_until};
use serde_json::{Value, json};
use teleport_standin::Agent;
use teleport_standin::told::Told;

use super::super::manifest::{condition, edit};
use super::setting::{HOP, SHOWS, events, sunday, with_window};

const NAME: &str = "told";
/// Under which the alert stands.
const ALERT: Told<'static> = Told::Alert("tenant-operator-update-withheld");
/// How what agents are told is looked at.
const LOOK: &str = "/GetAutoUpdateVersion";
/// Longer than the longest time between two looks at what drifts.
const DRIFTS: std::time::Duration = std::time::Duration::from_secs(60);

/// The whole story of one tenant with two enrolled pools and one that must be left alone.
pub async fn agents_and_users(bed: &TestBed) -> anyhow::Result<()> {
    let domain = with_window(bed, NAME, "17.5.2", &sunday(NAME, "default")).await?;
    for (name, order, enrolled) in [("prod", 2, true), ("staging", 1, true), ("lab", 1, false)] {
        bed.apply(&pool(name, order, enrolled).to_string()).await?;
    }
    let agents = |prod: &str| {
        [in_group("p-1", prod, "prod"), in_group("s-1", "17.5.2", "staging"), in_group("l-1", "17.5.2", "lab")]
    };
    bed.world().set_agents(&domain, agents("17.5.2").to_vec());

    // Every agent has reported by then, and the window is open.
    bed.clock().set("2027-03-07T03:30:00Z".parse()?).await?;
    await_told(bed, "version 17.5.2", Told::Version, |version| version["target_version"] == "17.5.2").await?;
    edit(bed, NAME, NAME, json!({"version": "17.5.3"})).await?;
    bed.await_version(NAME, NAME, "17.5.3", HOP).await?;
    // Auth was replaced: who must be left alone is known when everybody has reported to the new one.
    bed.clock().advance(TimeDelta::minutes(21)).await?;
    let version =
        await_told(bed, "version 17.5.3", Told::Version, |version| version["target_version"] == "17.5.3").await?;
    ensure!(version["start_version"] == "17.5.2" && version["mode"] == "enabled", "{version}");
    bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "True", SHOWS).await?;
    let config = bed.told(NAME, NAME, Told::Config).await?.context("no autoupdate_config")?;
    let group = |name: &str, wait: i64| json!({"name": name, "days": ["Sun"], "start_hour": 2, "wait_hours": wait});
    // An agent of a group that is not listed counts to the last one, which begins in ten years.
    let groups = [group("staging", 0), group("prod", 0), group("not-enrolled", 87_600)];
    ensure!(config["groups"] == json!(groups) && config["strategy"] == "halt-on-error", "{config}");
    let window = bed.told(NAME, NAME, Told::Maintenance).await?.context("no cluster_maintenance_config")?;
    ensure!(window["utc_start_hour"] == 2 && window["weekdays"] == json!(["Sun"]), "{window}");

    at_rest(bed, &domain, LOOK).await.context("with everything as wanted")?;
    foreign(bed, &domain).await?;
    warned(bed, &domain, agents("16.4.3").to_vec(), agents("17.5.3").to_vec()).await
}

/// Somebody turns updates off: that stands, and is told, until it is put back.
async fn foreign(bed: &TestBed, domain: &str) -> anyhow::Result<()> {
    bed.set_update_mode(NAME, NAME, "disabled").await?;
    let told = bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "False", DRIFTS).await?;
    let (_, reason, message) = condition(&told, "AgentUpdatesPublished")?;
    ensure!(reason == "ForeignEdit" && message.contains("agents.mode is \"disabled\""), "{reason}: {message}");
    ensure!(condition(&told, "Ready")?.0 == "True", "{:?}", condition(&told, "Ready")?);
    at_rest(bed, domain, LOOK).await.context("with an edit of somebody else")?;
    let config = bed.told(NAME, NAME, Told::Config).await?.context("no autoupdate_config")?;
    ensure!(config["mode"] == "disabled", "it was overwritten: {config}");
    let notes = events(bed, NAME, "ForeignEdit").await?;
    ensure!(notes.len() == 1, "{notes:?}");
    bed.set_update_mode(NAME, NAME, "enabled").await?;
    bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "True", SHOWS).await.map(drop)
}

/// Agents hold a major back, and then they do not.
async fn warned(bed: &TestBed, domain: &str, behind: Vec<Agent>, moved: Vec<Agent>) -> anyhow::Result<()> {
    // The window has closed: agents that move must not let the update begin here.
    bed.clock().set("2027-03-07T06:00:00Z".parse()?).await?;
    bed.world().set_agents(domain, behind);
    edit(bed, NAME, NAME, json!({"version": "18.1.0"})).await?;
    let text = |told: &Value| told["message"].as_str().unwrap_or_default().to_owned();
    let waits = "waits for 1 agent that still runs an older major version: p-1 (16.4.3)";
    let raised = await_told(bed, "an alert", ALERT, |told| text(told).contains(waits)).await?;
    let ends = DateTime::from_timestamp(raised["expires"].as_i64().unwrap_or_default(), 0).context("an end")?;
    ensure!((ends - Utc::now() - TimeDelta::hours(24)).abs() < TimeDelta::minutes(1), "it ends at {ends}");
    at_rest(bed, domain, "GetInstances").await.context("with an alert")?;
    bed.world().set_agents(domain, moved);
    wait_until("the alert to end", SHOWS, || async {
        match bed.told(NAME, NAME, ALERT).await? {
            None => Ok(Some(())),
            Some(told) if text(&told).contains("no longer") => {
                let ends = told["expires"].as_i64().unwrap_or(i64::MAX);
                ensure!(ends <= Utc::now().timestamp() + 60, "it lasts: {told}");
                Ok(Some(()))
            }
            Some(told) => bail!("{told}"),
        }
    })
    .await?;
    let gone = |status: &Value| status["published"]["alert"].is_null();
    bed.await_status(NAME, NAME, "the alert to be gone", SHOWS, gone).await.map(drop)
}

/// What is looked at is looked at again, and nothing is written, here or there.
async fn at_rest(bed: &TestBed, domain: &str, look: &str) -> anyhow::Result<()> {
    let writes = |since: DateTime<Utc>| {
        let calls = bed.world().calls(domain).into_iter().filter(move |call| call.at >= since);
        let told = calls.filter(|call| {
            let method = call.method.rsplit('/').next().unwrap_or_default();
            ["AutoUpdate", "ClusterMaintenance", "ClusterAlert"].iter().any(|what| method.contains(what))
                && !method.starts_with("Get")
        });
        let mut found: Vec<String> = told.map(|call| call.method).collect();
        found.extend(
            bed.writes_since(since)?.into_iter().filter(|write| write.namespace == NAME).map(|write| write.what()),
        );
        anyhow::Ok(found)
    };
    wait_until("the operator to come to rest", SHOWS, || async {
        let recent = writes(Utc::now() - TimeDelta::seconds(3))?;
        if recent.is_empty() { Ok(Some(())) } else { bail!("{recent:?}") }
    })
    .await?;
    let since = Utc::now();
    wait_until("another look", DRIFTS, || async {
        let read = |call: &teleport_standin::Call| call.at > since && call.method.ends_with(look);
        Ok(bed.world().calls(domain).iter().any(read).then_some(()))
    })
    .await?;
    let written = writes(since)?;
    ensure!(written.is_empty(), "at rest the operator wrote {written:?}");
    Ok(())
}

/// What Teleport tells, once it is as it should be.
async fn await_told(
    bed: &TestBed,
    what: &str,
    told: Told<'_>,
    holds: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let holds = &holds;
    wait_until(&format!("agents and users to be told {what}"), SHOWS, || async move {
        match bed.told(NAME, NAME, told).await? {
            Some(found) if holds(&found) => Ok(Some(found)),
            found => bail!("{found:?}; {}", bed.status(NAME, NAME).await?["conditions"]),
        }
    })
    .await
}

fn in_group(hostname: &str, version: &str, group: &str) -> Agent {
    Agent { upgrader: "binary".into(), update_group: group.into(), ..agent(hostname, version, &["Node"]) }
}

fn pool(name: &str, order: i32, enrolled: bool) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"namespace": NAME, "name": name},
        "spec": {
            "tenantRef": {"name": NAME},
            "match": {"updateGroups": [name]},
            "automaticUpdates": {"enrolled": enrolled, "order": order},
        },
    })
}
