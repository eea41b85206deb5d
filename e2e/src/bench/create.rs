//! Tenants applied at once, by the operator and by a plain client: on a fresh test bed each, the second makes what the first
//! left behind, the same objects under the same names and the same AWS resources, without looking at anything but whether the
//! tables are there. What it takes is what the machine, the control plane and the emulator take.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::book::Table;
use super::crowd::{Crowd, is_true};
use super::measure::{Mark, Spent, calls_of, each, total};
use crate::testbed::{NAMESPACE, Options, TestBed, operator_binary};

mod account;
mod arrivals;
mod objects;
mod plain;
mod role;

use objects::Objects;
use plain::Original;

const VERSION: &str = "18.1.0";
/// The window of all tenants, which nobody makes.
const WINDOW: &str = "default";
/// Pods of each tenant of a crowd: one of Auth and one of Proxy.
const PODS: usize = 2;
/// How long a tenant may take on two busy cores, and all of them at least.
const EACH: Duration = Duration::from_secs(6);
const LEAST: Duration = Duration::from_secs(120);

const TABLE: Table = Table {
    heading: "Tenants applied at once",
    columns: &[
        "tenants",
        "operator's build",
        "pace",
        "runs of each",
        "operator: all pods ready, s",
        "plain client: all pods ready, s",
        "ratio (target 1.25)",
        "all Ready, s",
        "half of them Ready, % of the run (target 60)",
        "children of a tenant",
        "API requests beyond them (target 12)",
        "AWS calls per tenant (target 30)",
        "AWS calls of the plain client",
        "operator CPU per tenant, ms (target 50)",
        "operator memory, MiB",
    ],
    keys: 3,
};
const REQUESTS: Table = Table {
    heading: "Requests of the operator per tenant made",
    columns: &["tenants", "operator's build", "what", "per tenant"],
    keys: 3,
};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many tenants.
    pub tenants: usize,
    /// How often the operator and the plain client make them, one after the other.
    pub rounds: usize,
    /// Pods start and wait this many times faster than real ones.
    pub pace: f64,
    /// Whether to write what was found into `BENCHMARKS.md`.
    pub write: bool,
}

impl Plan {
    fn crowd(&self) -> Crowd {
        Crowd { namespace: "made".into(), size: self.tenants }
    }

    fn patience(&self) -> Duration {
        self.crowd().patience(LEAST, EACH)
    }
}

/// What the operator came to.
#[derive(Clone, Debug)]
struct Made {
    /// Until the last pod was ready.
    pods: Duration,
    /// When each tenant was Ready, in order.
    ready: Vec<Duration>,
    spent: Spent,
    /// Objects that a tenant consists of, on average.
    children: f64,
}

/// Runs the benchmark on test beds of its own.
///
/// # Errors
/// When a part does not start, or somebody does not become ready.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    ensure!(plan.tenants > 0 && plan.rounds > 0, "nothing is measured of none");
    let (mut made, mut copied) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (by_operator, originals) = operator(plan).await?;
        made.push(by_operator);
        copied.push(copy(plan, originals).await?);
    }
    tell(plan, &made, &copied)
}

/// The operator makes them. Answers what there is then, too.
async fn operator(plan: Plan) -> anyhow::Result<(Made, Vec<Original>)> {
    let releases = [json!({"version": VERSION, "releasedAt": "2026-01-01T00:00:00Z"})];
    let values = json!({
        "inventoryInterval": "5m", "cloudResync": "6h", "fleet": {"releases": {"releases": releases}},
    });
    let bed = TestBed::with_operator(&Options { values, scale: plan.pace, ..Options::default() }).await?;
    let ran = tokio::select! {
        ran = by_operator(&bed, plan) => ran,
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    if ran.is_err() {
        let log = bed.operator_log().await;
        let lines: Vec<&str> = log.lines().collect();
        bed.say(&lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    bed.stop().await;
    ran
}

async fn by_operator(bed: &TestBed, plan: Plan) -> anyhow::Result<(Made, Vec<Original>)> {
    let (crowd, patience) = (plan.crowd(), plan.patience());
    let (began, mark) = (Instant::now(), Mark::now(bed)?);
    let ((), pods, ready) = tokio::try_join!(
        crowd.create(bed, VERSION, |_| WINDOW.to_owned()),
        arrivals::of_pods(bed, &crowd.namespace, plan.tenants * PODS, began, patience),
        arrivals::of(bed, bed.tenants(&crowd.namespace), "Ready", plan.tenants, began, patience, |tenant| {
            is_true(tenant, "Ready")
        }),
    )?;
    let spent = mark.spent(bed)?;
    bed.say(&format!("{} tenants were made by the operator in {:.1} s", plan.tenants, last(&ready).as_secs_f64()));
    let objects = Objects::of(bed, &crowd.namespace, NAMESPACE).await?;
    ensure!(objects.len() == plan.tenants, "objects of {} tenants were found", objects.len());
    let children = objects.values().map(Objects::children).sum::<usize>() as f64 / plan.tenants as f64;
    let originals = plain::originals(bed, &crowd, objects).await?;
    Ok((Made { pods: last(&pods), ready, spent, children }, originals))
}

/// The plain client makes them again. Answers when the last pod was ready, and how many AWS calls it took.
async fn copy(plan: Plan, originals: Vec<Original>) -> anyhow::Result<(Duration, usize)> {
    let bed = TestBed::start(&Options { scale: plan.pace, ..Options::default() }).await?;
    let ran = tokio::select! {
        ran = by_plain_client(&bed, plan, originals) => ran,
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    bed.stop().await;
    ran
}

async fn by_plain_client(bed: &TestBed, plan: Plan, originals: Vec<Original>) -> anyhow::Result<(Duration, usize)> {
    let crowd = plan.crowd();
    let client = plain::Client::prepare(bed, &[&crowd.namespace, NAMESPACE]).await?;
    let began = Instant::now();
    let ((), pods) = tokio::try_join!(
        client.make_all(originals),
        arrivals::of_pods(bed, &crowd.namespace, plan.tenants * PODS, began, plan.patience()),
    )?;
    bed.say(&format!("{} tenants were made by the plain client in {:.1} s", plan.tenants, last(&pods).as_secs_f64()));
    Ok((last(&pods), total(&calls_of(bed, plain::ROLE)?)))
}

fn last(times: &[Duration]) -> Duration {
    times.last().copied().unwrap_or_default()
}

/// The one in the middle; of an even number the smaller one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// In which way the operator was built: cargo names the folder after it.
fn build() -> anyhow::Result<String> {
    let binary = operator_binary()?;
    let folder = binary.parent().and_then(|folder| folder.file_name()).context("the operator is in no folder")?;
    Ok(folder.to_string_lossy().into_owned())
}

fn tell(plan: Plan, made: &[Made], copied: &[(Duration, usize)]) -> anyhow::Result<()> {
    let tenants = plan.tenants as f64;
    let of_made = |value: &dyn Fn(&Made) -> f64| median(made.iter().map(value).collect());
    let operator = of_made(&|made| made.pods.as_secs_f64());
    let plain = median(copied.iter().map(|(pods, _)| pods.as_secs_f64()).collect());
    let requests = |made: &Made| (total(&made.spent.writes) + total(&made.spent.reads)) as f64 / tenants;
    let build = build()?;
    let keys = [plan.tenants.to_string(), build.clone(), plan.pace.to_string()];
    let found = [
        plan.rounds.to_string(),
        format!("{operator:.1}"),
        format!("{plain:.1}"),
        format!("{:.2}", operator / plain),
        format!("{:.1}", of_made(&|made| last(&made.ready).as_secs_f64())),
        format!("{:.0}", of_made(&|made| half(&made.ready) * 100.0)),
        format!("{:.1}", of_made(&|made| made.children)),
        format!("{:.1}", of_made(&|made| requests(made) - made.children)),
        format!("{:.1}", of_made(&|made| total(&made.spent.aws) as f64 / tenants)),
        format!("{:.1}", median(copied.iter().map(|(_, calls)| *calls as f64 / tenants).collect())),
        format!("{:.0}", of_made(&|made| made.spent.cpu.as_secs_f64() * 1000.0 / tenants)),
        format!("{:.0}", of_made(&|made| made.spent.memory as f64 / f64::from(1 << 20))),
    ];
    let row: Vec<String> = keys.into_iter().chain(found).collect();
    print!("{}:\n{}", TABLE.heading, TABLE.lines(&row));
    let rows = made.last().map(|made| listed(&made.spent, plan.tenants)).unwrap_or_default();
    println!("{}:", REQUESTS.heading);
    rows.iter().for_each(|(what, count)| println!("  {count:7.2} {what}"));
    if plan.write {
        TABLE.write(&row)?;
        for (what, count) in rows {
            REQUESTS.write(&[plan.tenants.to_string(), build.clone(), what, format!("{count:.2}")])?;
        }
    }
    Ok(())
}

/// When half of them were ready, as a share of the whole.
fn half(ready: &[Duration]) -> f64 {
    let middle = ready.get(ready.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    middle.as_secs_f64() / last(ready).as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Everything that was asked for, the API server first.
fn listed(spent: &Spent, tenants: usize) -> Vec<(String, f64)> {
    let Spent { writes, reads, aws, .. } = spent;
    [writes, reads, aws].into_iter().flat_map(|counts| each(counts, tenants)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_runs_and_of_tenants() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![2.0, 1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
        let ready = [1, 2, 8, 10].map(Duration::from_secs);
        assert!((half(&ready) - 0.2).abs() < f64::EPSILON);
    }
}
