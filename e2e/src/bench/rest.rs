//! At rest: tenants, windows and pools as they are, agents that send heartbeats and do not change, and everything read
//! again and again. The operator must write nothing; and what a hand changes halfway it must put back by a single write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{bail, ensure};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use crds::{AgentPool, Tenant};
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::book::Table;
use super::crowd::{Crowd, create_window, is_true};
use super::measure::{Mark, Spent, each, total};
use crate::follow::{Change, Follower};
use crate::testbed::{Options, TestBed, Write, agent, wait_until};

mod heal;
mod readings;

use heal::Healed;
use readings::Reading;

const VERSION: &str = "18.1.0";
/// Agents of each tenant.
const AGENTS: usize = 3;
/// How often they send a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long nothing must have been written before it counts as rest.
const SETTLED: TimeDelta = TimeDelta::seconds(15);
/// How long it may take to come to rest.
const SETTLES: Duration = Duration::from_secs(240);
/// After so long Auth counts as having heard of every agent, and what agents are told is settled.
const HEARD: TimeDelta = TimeDelta::minutes(25);
/// How long a tenant may take to be made.
const EACH: Duration = Duration::from_secs(6);

const TABLE: Table = Table {
    heading: "At rest",
    columns: &[
        "tenants",
        "windows",
        "pools",
        "minutes",
        "writes",
        "API reads per minute",
        "AWS calls per minute",
        "inventories read per minute",
        "operator CPU, % of a core",
        "operator memory, MiB",
        "each fact read again, at least",
        "a hand edit healed after, s (target 10)",
        "writes for it (target 1)",
    ],
    keys: 4,
};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many tenants.
    pub tenants: usize,
    /// How many windows; the tenants are spread over them.
    pub windows: usize,
    /// How many agent pools, spread over the tenants.
    pub pools: usize,
    /// How long to listen.
    pub minutes: f64,
    /// Pods start and wait this many times faster than real ones.
    pub pace: f64,
    /// Whether to write what was found into `BENCHMARKS.md`.
    pub write: bool,
}

/// Runs the benchmark on a test bed of its own.
///
/// # Errors
/// When a part does not start, or something was written.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let releases = [json!({"version": VERSION, "releasedAt": "2026-01-01T00:00:00Z"})];
    let values = json!({
        "inventoryInterval": "5s", "cloudResync": "30s", "fleet": {"releases": {"releases": releases}},
    });
    let bed = TestBed::with_operator(&Options { values, scale: plan.pace, ..Options::default() }).await?;
    let crowd = Crowd { namespace: "rest".into(), size: plan.tenants };
    let ran = tokio::select! {
        ran = on(&bed, &crowd, plan) => ran,
        never = hearts(&bed, &crowd) => match never {},
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    bed.stop().await;
    let rested = ran?;
    tell(plan, &rested)?;
    let Rested { before, after, healed, readings, .. } = &rested;
    readings::check(readings)?;
    ensure!(before.is_empty(), "at rest the operator wrote {before:?}");
    ensure!(*after == [healed.write.clone()], "after a hand edit the operator wrote {after:?}");
    Ok(())
}

/// What a run came to.
struct Rested {
    spent: Spent,
    /// Writes of the operator before the hand edit, and since.
    before: Vec<String>,
    after: Vec<String>,
    healed: Healed,
    readings: Vec<Reading>,
}

/// The agents of a crowd send heartbeats for ever: who they are and what they run does not change.
pub async fn hearts(bed: &TestBed, crowd: &Crowd) -> std::convert::Infallible {
    let mut interval = tokio::time::interval(HEARTBEAT);
    loop {
        interval.tick().await;
        for number in 0..crowd.size {
            // As the operator's clock has it, which is ahead.
            beat(bed, &crowd.domain(number), bed.clock().now().unwrap_or_else(|_| Utc::now()));
        }
    }
}

/// One heartbeat of the agents of a cluster.
pub fn beat(bed: &TestBed, domain: &str, at: DateTime<Utc>) {
    let agents = (0..AGENTS).map(|number| {
        let mut agent = agent(&format!("{domain}-{number}"), VERSION, &["Node"]);
        agent.last_seen = Some(at);
        agent
    });
    bed.world().set_agents(domain, agents.collect());
}

async fn on(bed: &TestBed, crowd: &Crowd, plan: Plan) -> anyhow::Result<Rested> {
    let window = |number: usize| format!("window-{:04}", number % plan.windows.max(1));
    crowd.create(bed, VERSION, window).await?;
    // Not today, so that none of them opens or closes meanwhile.
    let day = (Utc::now() + TimeDelta::days(3)).weekday().to_string();
    let spec = json!({"timeZone": "UTC", "windows": [{"days": [day], "start": "02:00", "duration": "3h"}]});
    for number in 0..plan.windows {
        create_window(bed, &crowd.namespace, &window(number), &spec).await?;
    }
    let pools: Api<AgentPool> = Api::namespaced(bed.client(), &crowd.namespace);
    for number in 0..plan.pools {
        let pool = json!({
            "apiVersion": "tenancy.dev/v1alpha1",
            "kind": "AgentPool",
            "metadata": {"namespace": crowd.namespace, "name": format!("pool-{number:04}")},
            "spec": {"tenantRef": {"name": crowd.name(number % plan.tenants.max(1))}, "match": {"services": ["Node"]}},
        });
        pools.create(&PostParams::default(), &serde_json::from_value(pool)?).await?;
    }
    let patience = crowd.patience(SETTLES, EACH);
    let agents = i64::try_from(AGENTS).unwrap_or(i64::MAX);
    crowd
        .await_all(bed, "ready, with their agents", patience, |tenant| {
            let seen = tenant.status.as_ref().and_then(|status| status.agents.as_ref()).map(|agents| agents.total);
            is_true(tenant, "Ready") && is_true(tenant, "AgentsObserved") && seen == Some(agents)
        })
        .await?;
    bed.clock().advance(HEARD).await?;
    let pooled: BTreeSet<String> = (0..plan.pools.min(crowd.size)).map(|number| crowd.name(number)).collect();
    crowd
        .await_all(bed, "settled with their agents", patience, |tenant| {
            !pooled.contains(&tenant.name_any()) || is_true(tenant, "AgentUpdatesPublished")
        })
        .await?;
    wait_until("the operator to come to rest", SETTLES, || async {
        let recent = bed.write_counts_since(Utc::now() - SETTLED)?;
        if recent.is_empty() { Ok(Some(())) } else { bail!("{recent:?}") }
    })
    .await?;
    bed.say(&format!("at rest; listening for {} minutes", plan.minutes));
    let (since, mark) = (Utc::now(), Mark::now(bed)?);
    let half = Duration::from_secs_f64(plan.minutes * 30.0);
    let listened = async {
        tokio::time::sleep(half).await;
        let before = bed.writes_since(since)?;
        let edited = Utc::now();
        let healed = heal::by_hand(bed, crowd).await?;
        tokio::time::sleep(half).await;
        anyhow::Ok((before, edited, healed))
    };
    // Whoever wrote something is told of as it happens: afterwards nobody knows what it was.
    let (before, edited, healed) = tokio::select! {
        listened = listened => listened?,
        never = tell_changes(bed, crowd) => match never {},
    };
    let what = |writes: Vec<Write>| writes.iter().map(Write::what).collect();
    Ok(Rested {
        spent: mark.spent(bed)?,
        before: what(before),
        after: what(bed.writes_since(edited)?),
        healed,
        readings: readings::since(bed, crowd, &pooled, since).await?,
    })
}

async fn tell_changes(bed: &TestBed, crowd: &Crowd) -> std::convert::Infallible {
    let mut tenants = Follower::<Tenant>::new(bed.tenants(&crowd.namespace), watcher::Config::default());
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let Change::Applied(tenant) = tenants.next().await else { continue };
        let status = serde_json::to_value(&tenant.status).unwrap_or_default();
        if let Some(before) = known.get(&tenant.name_any()) {
            differences(before, &status).iter().for_each(|what| bed.say(&format!("{}: {what}", tenant.name_any())));
        }
        known.insert(tenant.name_any(), status);
    }
}

/// What differs between two statuses, conditions each for itself.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let parts = |status: &Value| {
        let mut parts: BTreeMap<String, String> = BTreeMap::new();
        for (field, value) in status.as_object().into_iter().flatten().filter(|(field, _)| *field != "conditions") {
            parts.insert(field.clone(), value.to_string());
        }
        for condition in status["conditions"].as_array().into_iter().flatten() {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            parts.insert(text("type"), format!("{} {}: {}", text("status"), text("reason"), text("message")));
        }
        parts
    };
    let (before, after) = (parts(before), parts(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |parts: &BTreeMap<String, String>, name| parts.get(name).map_or("none", String::as_str).to_owned();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(|name| format!("{name} was {:?}, is {:?}", shown(&before, name), shown(&after, name))).collect()
}

fn tell(plan: Plan, rested: &Rested) -> anyhow::Result<()> {
    let Plan { tenants, windows, pools, minutes, pace: _, write } = plan;
    let Rested { spent, before, after, healed, readings } = rested;
    let per_minute = |count: usize| format!("{:.0}", count as f64 / minutes);
    let inventories = readings.iter().find(|reading| reading.what == readings::INVENTORY);
    let row = [
        tenants.to_string(),
        windows.to_string(),
        pools.to_string(),
        minutes.to_string(),
        before.len().to_string(),
        per_minute(total(&spent.reads)),
        per_minute(total(&spent.aws)),
        per_minute(inventories.map_or(0, |reading| reading.all)),
        format!("{:.1}", spent.cpu.as_secs_f64() / (minutes * 60.0) * 100.0),
        format!("{:.0}", spent.memory as f64 / f64::from(1 << 20)),
        readings.iter().map(|reading| reading.least).min().unwrap_or_default().to_string(),
        format!("{:.2}", healed.took.as_secs_f64()),
        after.len().to_string(),
    ];
    print!("{}:\n{}", TABLE.heading, TABLE.lines(&row));
    for Reading { what, least, all } in readings {
        println!("    {what}: read {least} times or more of each tenant, {all} times of all");
    }
    for (what, count) in each(&spent.reads, 1) {
        println!("    {:7.1} a minute: {what}", count / minutes);
    }
    if write { TABLE.write(&row) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_in_a_status_is_named() {
        let status = |message: &str, total: i64| {
            json!({
                "agents": {"total": total},
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "AsSpecified", "message": ""},
                    {"type": "StorageReady", "status": "True", "reason": "AsSpecified", "message": message},
                ],
            })
        };
        let told = differences(&status("as specified", 1), &status("again", 1));
        assert_eq!(told, [r#"StorageReady was "True AsSpecified: as specified", is "True AsSpecified: again""#]);
        assert!(differences(&status("again", 2), &status("again", 2)).is_empty());
        assert_eq!(differences(&status("again", 1), &status("again", 2)).len(), 1);
    }
}
