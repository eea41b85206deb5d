//! What agents and users of a tenant are told: the new version once its hop has ended, in the order and the hour of pools
//! and window; nobody's edit is overwritten; an alert while agents hold a major back; and at rest nothing is written.

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use e2e::testbed::statuses::Statuses;
use e2e::testbed::{TestBed, agent, wait_until};
use serde_json::{Value, json};
use teleport_standin::Agent;
use teleport_standin::told::Told;

use super::super::covered::{says, seen};
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
pub async fn agents_are_told(bed: &TestBed) -> anyhow::Result<()> {
    let statuses = bed.follow_statuses();
    let domain = with_window(bed, NAME, "17.5.2", &sunday(NAME, "default")).await?;
    for (name, order, enrolled) in [("prod", 2, true), ("staging", 1, true), ("lab", 1, false)] {
        bed.apply(&pool(name, order, enrolled).to_string()).await?;
    }
    let agents = [("p-1", "prod"), ("s-1", "staging"), ("l-1", "lab")].map(|(name, group)| in_group(name, group));
    bed.world().set_agents(&domain, agents.to_vec());

    // Every agent has reported by then, and the window is open.
    bed.clock().set("2027-03-07T03:30:00Z".parse()?).await?;
    await_told(bed, NAME, "version 17.5.2", Told::Version, |version| version["target_version"] == "17.5.2").await?;
    edit(bed, NAME, NAME, json!({"version": "17.5.3"})).await?;
    bed.await_version(NAME, NAME, "17.5.3", HOP).await?;
    // Auth was replaced: who must be left alone is known when everybody has reported to the new one.
    bed.clock().advance(TimeDelta::minutes(21)).await?;
    let version =
        await_told(bed, NAME, "version 17.5.3", Told::Version, |version| version["target_version"] == "17.5.3").await?;
    ensure!(version["start_version"] == "17.5.2" && version["mode"] == "enabled", "{version}");
    bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "True", SHOWS).await?;
    let config = bed.told(NAME, NAME, Told::Config).await?.context("no autoupdate_config")?;
    let group = |name: &str, wait: i64| json!({"name": name, "days": ["Sun"], "start_hour": 2, "wait_hours": wait});
    // An agent of a group that is not listed counts to the last one, which begins in ten years.
    let groups = [group("staging", 0), group("prod", 0), group("not-enrolled", 87_600)];
    ensure!(config["groups"] == json!(groups) && config["strategy"] == "halt-on-error", "{config}");
    let window = bed.told(NAME, NAME, Told::Maintenance).await?.context("no cluster_maintenance_config")?;
    ensure!(window["utc_start_hour"] == 2 && window["weekdays"] == json!(["Sun"]), "{window}");
    seen("AgentPool", "spec.automaticUpdates.order", 2);
    seen("AgentPool", "spec.automaticUpdates.enrolled", false);
    seen("AgentPool", "spec.automaticUpdates.strategy", "HaltOnError");
    let digest = json!({"written": "~^[0-9a-f]{8,}$"});
    let published = json!({"version": digest, "config": digest, "maintenance": digest});
    says("Tenant", &bed.status(NAME, NAME).await?, &json!({"published": published}))?;

    let status = bed.status(NAME, NAME).await?;
    let rounded = status["published"]["rounded"].as_array().context("nothing was rounded")?;
    let hour = rounded.iter().find(|note| note["what"] == "cluster_maintenance_config").context("not the hour")?;
    let note = json!({"what": "cluster_maintenance_config", "how": "~on Sun from 2:00 to 3:00 UTC"});
    let rounded = |note: Value| json!({"published": {"rounded": [note]}});
    says("Tenant", &rounded(hour.clone()), &rounded(note))?;
    intended(&statuses)?;

    at_rest(bed, &domain).await.context("with everything as wanted")?;
    foreign(bed, &domain).await
}

/// What was about to be written stood in status before it was.
fn intended(statuses: &Statuses) -> anyhow::Result<()> {
    let mut statuses = statuses.told();
    statuses.retain(|told| told.namespace == NAME);
    for part in ["version", "config", "maintenance"] {
        let of = |index: usize, when: &str| statuses[index].status["published"][part][when].clone();
        let meant = (0..statuses.len()).find(|index| !of(*index, "intended").is_null());
        let meant = meant.with_context(|| format!("{part} was written and never meant to be"))?;
        let digest = of(meant, "intended");
        let arrives = (meant..statuses.len()).find(|index| of(*index, "written") == digest);
        let written = (0..meant).any(|index| of(index, "written") == digest);
        ensure!(arrives.is_some() && !written, "{part}: {digest} was meant to be written, and then {arrives:?}");
        seen("Tenant", &format!("status.published.{part}.intended"), digest);
    }
    Ok(())
}

/// Somebody turns updates off: that stands, and is told, until it is put back.
async fn foreign(bed: &TestBed, domain: &str) -> anyhow::Result<()> {
    bed.set_update_mode(NAME, NAME, "disabled").await?;
    let told = bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "False", DRIFTS).await?;
    let (_, reason, message) = condition(&told, "AgentUpdatesPublished")?;
    ensure!(reason == "ForeignEdit" && message.contains("agents.mode is \"disabled\""), "{reason}: {message}");
    ensure!(condition(&told, "Ready")?.0 == "True", "{:?}", condition(&told, "Ready")?);
    let note = json!({"what": "~autoupdate_config", "how": "~."});
    says("Tenant", &bed.status(NAME, NAME).await?, &json!({"published": {"foreign": [note]}}))?;
    at_rest(bed, domain).await.context("with an edit of somebody else")?;
    let config = bed.told(NAME, NAME, Told::Config).await?.context("no autoupdate_config")?;
    ensure!(config["mode"] == "disabled", "it was overwritten: {config}");
    let notes = events(bed, NAME, "ForeignEdit").await?;
    ensure!(notes.len() == 1, "{notes:?}");
    bed.set_update_mode(NAME, NAME, "enabled").await?;
    bed.await_condition(NAME, NAME, "AgentUpdatesPublished", "True", SHOWS).await.map(drop)
}

/// Waits for the alert of a tenant that bears the name of its namespace; it says this, and lasts for a day.
pub async fn warned(bed: &TestBed, name: &str, words: &str) -> anyhow::Result<()> {
    let raised = await_told(bed, name, "an alert", ALERT, |told| text(told).contains(words)).await?;
    let ends = DateTime::from_timestamp(raised["expires"].as_i64().unwrap_or_default(), 0).context("an end")?;
    ensure!((ends - Utc::now() - TimeDelta::hours(24)).abs() < TimeDelta::minutes(1), "it ends at {ends}");
    says("Tenant", &bed.status(name, name).await?, &json!({"published": {"alert": "~^18[.]"}}))?;
    Ok(())
}

/// Waits until that alert ends within a minute, or has; it was written a few times, and not in each run.
pub async fn warned_no_more(bed: &TestBed, name: &str, domain: &str) -> anyhow::Result<()> {
    wait_until("the alert to end", SHOWS, || async {
        match bed.told(name, name, ALERT).await? {
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
    bed.await_status(name, name, "the alert to be gone", SHOWS, gone).await?;
    let calls = bed.world().calls(domain).into_iter().filter(|call| call.method.ends_with("/UpsertClusterAlert"));
    let writes = calls.count();
    // Once to raise it and once to end it; an answer may be lost.
    ensure!((2..=3).contains(&writes), "it was written {writes} times");
    Ok(())
}

fn text(alert: &Value) -> String {
    alert["message"].as_str().unwrap_or_default().to_owned()
}

/// What agents are told is looked at again, and nothing is written, here or there.
async fn at_rest(bed: &TestBed, domain: &str) -> anyhow::Result<()> {
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
        let read = |call: &teleport_standin::Call| call.at > since && call.method.ends_with(LOOK);
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
    name: &str,
    what: &str,
    told: Told<'_>,
    holds: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let holds = &holds;
    wait_until(&format!("agents and users to be told {what}"), SHOWS, || async move {
        match bed.told(name, name, told).await? {
            Some(found) if holds(&found) => Ok(Some(found)),
            found => bail!("{found:?}; {}", bed.status(name, name).await?["conditions"]),
        }
    })
    .await
}

fn in_group(hostname: &str, group: &str) -> Agent {
    Agent { upgrader: "binary".into(), update_group: group.into(), ..agent(hostname, "17.5.2", &["Node"]) }
}

fn pool(name: &str, order: i32, enrolled: bool) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"namespace": NAME, "name": name},
        "spec": {
            "tenantRef": {"name": NAME},
            "match": {"updateGroups": [name]},
            "automaticUpdates": {"enrolled": enrolled, "order": order, "strategy": "HaltOnError"},
        },
    })
}
