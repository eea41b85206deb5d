//! The gate, row by row: the blocker stands on the object, and the hop begins once it is removed.

use anyhow::{Context, bail, ensure};
use chrono::{TimeDelta, Utc};
use e2e::testbed::{TestBed, blockers, wait_until};
use serde_json::{Value, json};

use super::super::covered::seen;
use super::super::manifest::edit;
use super::setting::{HOP, SHOWS, always, feed, set_feed, with_window};

/// Rows that a patch meets: each is put in the way, seen, and taken away.
pub async fn by_window_and_policy(bed: &TestBed) -> anyhow::Result<()> {
    let window = always("gate", "default");
    with_window(bed, "gate", "18.1.0", &window).await?;
    let mut row = Row { bed, versions: ["18.1.1", "18.1.0"].into_iter().cycle() };

    let excluded = json!([{"start": day(-1), "end": day(1), "reason": "audit"}]);
    row.held("Excluded", with(&window, "exclusions", excluded), window.clone()).await?;
    row.held("WindowMissing", Value::Null, window.clone()).await?;
    let mut frozen = feed();
    frozen["freeze"] = json!({"until": day(1), "reason": "audit"});
    row.held_by_feed("Frozen", &frozen).await?;
    let mut withdrawn = feed();
    for release in withdrawn["releases"].as_array_mut().context("releases")? {
        release["withdrawn"] = json!(true);
    }
    row.held_by_feed("ReleaseHalted", &withdrawn).await?;
    row.held_by_feed("VersionUnknown", &json!({})).await?;

    let version = row.next();
    bed.clock().pretend_skew(TimeDelta::seconds(45)).await?;
    bed.await_condition("gate", "gate", "Ready", "True", SHOWS).await?;
    edit(bed, "gate", "gate", json!({"version": version})).await?;
    bed.await_blockers("gate", "gate", &["ClockSkewed"], SHOWS).await?;
    bed.clock().pretend_skew(TimeDelta::zero()).await?;
    bed.await_version("gate", "gate", version, HOP).await?;

    edit(bed, "gate", "gate", json!({"version": "17.5.2"})).await?;
    let downgrade = |status: &Value| blockers(status).first() == Some(&"Downgrade");
    bed.await_status("gate", "gate", "the older major to be refused", SHOWS, downgrade).await?;
    let version = row.next();
    edit(bed, "gate", "gate", json!({"version": version})).await?;
    bed.await_version("gate", "gate", version, HOP).await.map(drop)
}

struct Row<'a, V> {
    bed: &'a TestBed,
    versions: V,
}

impl<V: Iterator<Item = &'static str>> Row<'_, V> {
    fn next(&mut self) -> &'static str {
        self.versions.next().unwrap_or_default()
    }

    /// A window that holds, seen, and then one that does not.
    async fn held(&mut self, reason: &str, holds: Value, opens: Value) -> anyhow::Result<()> {
        let version = self.next();
        let Row { bed, .. } = self;
        match &holds {
            Value::Null => bed.kubectl(["-n", "gate", "delete", "maintenancewindow", "default"]).await?,
            window => bed.apply(&window.to_string()).await?,
        };
        edit(bed, "gate", "gate", json!({"version": version})).await?;
        let held = bed.await_blockers("gate", "gate", &[reason], SHOWS).await?;
        let why = &holds["spec"]["exclusions"][0]["reason"];
        if let Some(text) = why.as_str() {
            let message = held["next"]["blockers"][0]["message"].as_str().unwrap_or_default();
            ensure!(message.contains(text), "{message}");
            seen("MaintenanceWindow", "spec.exclusions[].reason", text);
        }
        bed.apply(&opens.to_string()).await?;
        bed.await_version("gate", "gate", version, HOP).await.with_context(|| format!("after {reason}")).map(drop)
    }

    /// A feed that holds, seen, and then the usual one.
    async fn held_by_feed(&mut self, reason: &str, holds: &Value) -> anyhow::Result<()> {
        let version = self.next();
        let Row { bed, .. } = self;
        set_feed(bed, holds).await?;
        edit(bed, "gate", "gate", json!({"version": version})).await?;
        bed.await_blockers("gate", "gate", &[reason], SHOWS).await?;
        set_feed(bed, &feed()).await?;
        bed.await_version("gate", "gate", version, HOP).await.with_context(|| format!("after {reason}")).map(drop)
    }
}

/// Of two tenants that share a window of one the second waits for its turn, and both come through.
pub async fn one_at_a_time(bed: &TestBed) -> anyhow::Result<()> {
    let window = with(&always("pair", "default"), "maxConcurrentUpdates", json!(1));
    with_window(bed, "pair", "18.1.0", &window).await?;
    let mut second = super::super::manifest::tenant("pair", "second", "second.example.com");
    second["spec"]["version"] = json!("18.1.0");
    bed.apply(&second.to_string()).await?;
    bed.await_condition("pair", "second", "Ready", "True", HOP).await?;
    for name in ["pair", "second"] {
        edit(bed, "pair", name, json!({"version": "18.1.1"})).await?;
    }
    let held = wait_until("one of both to wait for its turn", SHOWS, || async {
        for name in ["pair", "second"] {
            let status = bed.status("pair", name).await?;
            if status["next"]["blockers"][0]["reason"] == "ConcurrencyReached" {
                return Ok(Some(name));
            }
        }
        bail!("none does")
    })
    .await?;
    for name in ["pair", "second"] {
        bed.await_version("pair", name, "18.1.1", HOP).await?;
    }
    let of = async |name: &str| anyhow::Ok(bed.status("pair", name).await?["history"][0].clone());
    let (one, other) = (of("pair").await?, of("second").await?);
    let (first, last) = if held == "second" { (one, other) } else { (other, one) };
    let (ended, began) = (first["finishedAt"].as_str(), last["startedAt"].as_str());
    ensure!(ended <= began, "the first ended at {ended:?}, the second began at {began:?}");
    seen("MaintenanceWindow", "spec.maxConcurrentUpdates", 1);
    Ok(())
}

fn with(window: &Value, field: &str, value: Value) -> Value {
    let mut window = window.clone();
    window["spec"][field] = value;
    window
}

/// Midnight, so many days from today.
fn day(offset: i64) -> String {
    (Utc::now() + TimeDelta::days(offset)).format("%Y-%m-%dT00:00:00Z").to_string()
}
