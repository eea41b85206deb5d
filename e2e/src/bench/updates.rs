//! A window opens for many tenants at the same instant: how they share its places, and what a hop costs the operator.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use crds::Tenant;
use serde_json::{Value, json};

use super::book::Table;
use super::crowd::{Crowd, create_window, is_true};
use super::hops::{self, Summary};
use super::measure::{Mark, Spent, each, total};
use crate::testbed::{Options, TestBed, blockers};

/// From and to.
const VERSIONS: [&str; 2] = ["18.1.0", "18.1.1"];
/// The window that all share.
const WINDOW: &str = "default";
/// Before it opens everybody must have become due.
const AHEAD: TimeDelta = TimeDelta::minutes(10);
/// How long a tenant may take on two busy cores, to be made and to be updated.
const EACH: Duration = Duration::from_secs(12);
/// What it takes at least, however few there are.
const LEAST: Duration = Duration::from_secs(180);

const TABLE: Table = Table {
    heading: "A window opens for many tenants",
    columns: &[
        "tenants",
        "limit",
        "pace",
        "most at once",
        "places busy",
        "overtook",
        "hop, s",
        "total, s",
        "of ideal",
        "writes per hop",
        "reads per hop",
        "AWS calls per hop",
        "operator CPU per hop, ms",
        "operator memory, MiB",
        "created in, s",
    ],
    keys: 3,
};
const WRITES: Table = Table {
    heading: "Writes of the operator per hop",
    columns: &["tenants", "limit", "pace", "what", "per hop"],
    keys: 4,
};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many tenants.
    pub tenants: usize,
    /// How many of them the window lets be updated at once.
    pub limit: usize,
    /// Pods start, drain and wait this many times faster than real ones.
    pub pace: f64,
    /// Whether to write what was found into `BENCHMARKS.md`.
    pub write: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hops.
    pub hops: Summary,
    /// What the operator spent on them.
    pub spent: Spent,
    /// What it spent before, to make the tenants.
    pub made: Spent,
}

/// Runs the benchmark on a test bed of its own.
///
/// # Errors
/// When a part does not start, or a promise is broken.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let releases = VERSIONS.map(|version| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z"}));
    let values = json!({
        "inventoryInterval": "5m", "cloudResync": "6h",
        "fleet": {"releases": {"releases": releases, "maxConcurrentUpdates": plan.limit.max(50)}},
    });
    let bed = TestBed::with_operator(&Options { values, scale: plan.pace, ..Options::default() }).await?;
    let crowd = Crowd { namespace: "crowd".into(), size: plan.tenants };
    let ran = tokio::select! {
        ran = on(&bed, &crowd, plan.limit, VERSIONS) => ran,
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    if ran.is_err() {
        let log = bed.operator_log().await;
        let lines: Vec<&str> = log.lines().collect();
        bed.say(&lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    bed.stop().await;
    let (found, created) = ran?;
    tell(plan, &found, created)?;
    found.hops.check(plan.tenants, plan.limit)
}

/// Makes a crowd, has it become due while its window is closed, opens the window and follows it to the end. Answers how
/// long it took to make the crowd, too.
///
/// # Errors
/// When the crowd does not become ready, or the hops do not end.
pub async fn on(
    bed: &TestBed,
    crowd: &Crowd,
    limit: usize,
    [from, to]: [&str; 2],
) -> anyhow::Result<(Found, Duration)> {
    let patience = crowd.patience(LEAST, EACH);
    let (began, made) = (Instant::now(), Mark::now(bed)?);
    crowd.create(bed, from, |_| WINDOW.to_owned()).await?;
    crowd.await_all(bed, "ready", patience, |tenant| is_true(tenant, "Ready")).await?;
    let created = began.elapsed();
    let made = made.spent(bed)?;
    say_of(bed, "a tenant", &made, crowd.size);
    let opens = opening(bed.clock().now()?)?;
    create_window(bed, &crowd.namespace, WINDOW, &window(opens, limit)).await?;
    crowd.pin(bed, to).await?;
    crowd.await_all(bed, "due", patience, held_by_window).await?;
    let mark = Mark::now(bed)?;
    let open = async { bed.clock().set(opens).await.map(drop) };
    let hops = hops::follow(bed, crowd, limit, patience, open).await?;
    let spent = mark.spent(bed)?;
    say_of(bed, "a hop", &spent, crowd.size);
    Ok((Found { hops, spent, made }, created))
}

/// The next minute but some: nobody is late for it.
fn opening(now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let opens = now + AHEAD;
    opens.with_second(0).and_then(|opens| opens.with_nanosecond(0)).context("a minute begins")
}

/// Opens then on every day, for all but an hour.
fn window(opens: DateTime<Utc>, limit: usize) -> Value {
    json!({
        "timeZone": "UTC",
        "windows": [{
            "days": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
            "start": opens.format("%H:%M").to_string(),
            "duration": "23h",
        }],
        "maxConcurrentUpdates": limit,
    })
}

fn held_by_window(tenant: &Tenant) -> bool {
    let status = serde_json::to_value(&tenant.status).unwrap_or_default();
    blockers(&status) == ["WindowClosed"]
}

/// What a number of things cost, each.
fn say_of(bed: &TestBed, what: &str, spent: &Spent, things: usize) {
    let listed = |counts: &BTreeMap<String, usize>| {
        each(counts, things).iter().map(|(what, count)| format!("\n    {count:7.2} {what}")).collect::<String>()
    };
    if spent.ended > 0 {
        bed.say(&format!("{} of the operator's processes ended meanwhile, and their CPU time is lost", spent.ended));
    }
    bed.say(&format!(
        "{what} costs {:.0} ms of the operator's CPU\n  writes {:.2}:{}\n  reads {:.2}:{}\n  AWS calls {:.2}:{}",
        spent.cpu.as_secs_f64() * 1000.0 / things.max(1) as f64,
        total(&spent.writes) as f64 / things.max(1) as f64,
        listed(&spent.writes),
        total(&spent.reads) as f64 / things.max(1) as f64,
        listed(&spent.reads),
        total(&spent.aws) as f64 / things.max(1) as f64,
        listed(&spent.aws),
    ));
}

fn tell(plan: Plan, found: &Found, created: Duration) -> anyhow::Result<()> {
    let Plan { tenants, limit, pace, write } = plan;
    let Found { hops, spent, made: _ } = found;
    let per_hop = |counts| format!("{:.1}", total(counts) as f64 / tenants.max(1) as f64);
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let keys = [tenants.to_string(), limit.to_string(), pace.to_string()];
    let found = [
        hops.most.to_string(),
        format!("{:.1} %", hops.busy * 100.0),
        hops.overtook.to_string(),
        seconds(hops.hop),
        seconds(hops.total),
        format!("{:.2}", hops.total.as_secs_f64() / hops.ideal(limit).as_secs_f64().max(f64::MIN_POSITIVE)),
        per_hop(&spent.writes),
        per_hop(&spent.reads),
        per_hop(&spent.aws),
        format!("{:.0}", spent.cpu.as_secs_f64() * 1000.0 / tenants.max(1) as f64),
        format!("{:.0}", spent.memory as f64 / f64::from(1 << 20)),
        seconds(created),
    ];
    let row: Vec<String> = keys.iter().cloned().chain(found).collect();
    print!("{}:\n{}", TABLE.heading, TABLE.lines(&row));
    println!(
        "  hops ended: {}, given up before anything was touched: {}, farthest from its turn: {} places",
        hops.finished, hops.given_up, hops.displaced
    );
    if write {
        TABLE.write(&row)?;
        for (what, count) in each(&spent.writes, tenants) {
            let row: Vec<String> = keys.iter().cloned().chain([what, format!("{count:.2}")]).collect();
            WRITES.write(&row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_soon_and_is_closed_until_then() {
        let now = "2026-11-27T23:55:30.5Z".parse().expect("a time");
        let opens = opening(now).expect("a minute");
        assert_eq!(opens.to_rfc3339(), "2026-11-28T00:05:00+00:00");
        let spec = serde_json::from_value(window(opens, 3)).expect("a spec");
        let schedule = plan::window::Schedule::parse(&spec).expect("a schedule");
        assert!(schedule.open_at(now).is_none() && schedule.open_at(opens).is_some());
    }
}
