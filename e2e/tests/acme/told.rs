//! What status told of the certificates that were issued, held against what the ACME server saw and the scenarios did. Most of it
//! stands there for a moment: a watch has seen every status.

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use e2e::testbed::statuses::{Statuses, Told};
use serde_json::Value;

use super::covered::seen;
use super::front::Front;
use super::limits::Order;

/// To be run after the others.
pub async fn of_each_certificate(statuses: &Statuses, front: &Front, zone: &str) -> anyhow::Result<()> {
    let mut told = statuses.told();
    told.retain(|told| !told.status["issuance"].is_null());
    let of = |namespace: &'static str| told.iter().filter(move |told| told.namespace == namespace);
    let once = |found: Option<&Told>, what: &str| found.map(drop).with_context(|| format!("it was never told {what}"));
    let seen = |field: &str| seen("Tenant", &format!("status.issuance.{field}"), Value::Null);

    // Renewed after it was issued first, by an order that named what it replaces.
    let mut kinds: Vec<&str> = of("course").filter_map(|told| issuance(told)["kind"].as_str()).collect();
    kinds.dedup();
    ensure!(kinds == ["First", "Renewal"], "the kinds were {kinds:?}");
    seen("kind");
    let replaces: Vec<String> = front.orders().into_iter().filter_map(|order| order.replaces).collect();
    let named =
        |told: &&Told| issuance(told)["replaces"].as_str().is_some_and(|id| replaces.iter().any(|one| one == id));
    once(of("course").find(named), "what the order replaced that the server saw")?;
    seen("replaces");
    // Ordered when it had been wanted, by the operator's clock as the server's.
    let ordered = |name: &str| {
        let names = |order: &Order| order.names.iter().any(|found| found.starts_with(&format!("{name}.")));
        front.orders().into_iter().filter(move |order| names(order)).map(|order| order.at).min()
    };
    for told in of("line") {
        let requested = time(issuance(told), "requestedAt")?.context("it is told since when")?;
        let ordered = ordered(&told.name).with_context(|| format!("{} was never ordered", told.name))?;
        ensure!(requested <= ordered, "{} was wanted at {requested} and ordered at {ordered}", told.name);
    }
    seen("requestedAt");

    let orders = told.iter().filter_map(|told| issuance(told)["order"].as_str());
    let orders: std::collections::BTreeSet<&str> = orders.collect();
    ensure!(orders.len() >= front.orders().len(), "{} orders in status, {} made", orders.len(), front.orders().len());
    let server = front.directory.rsplit_once('/').map_or("", |(server, _)| server);
    ensure!(orders.iter().all(|order| order.starts_with(server)), "orders of another server: {orders:?}");
    seen("order");
    let mut zones = of("line").filter_map(|told| issuance(told)["zone"].as_str());
    ensure!(zones.clone().count() > 0 && zones.all(|found| found == zone), "records of the line went elsewhere");
    seen("zone");

    let says = |part: &'static str| {
        move |told: &&Told| issuance(told)["problem"].as_str().is_some_and(|problem| problem.contains(part))
    };
    let foreign = of("refused").find(says("somebody else"));
    once(foreign.filter(|told| issuance(told)["needsPerson"] == true), "that a person has to remove a record")?;
    seen("needsPerson");
    let refused = of("refused").find(says("too many certificates")).context("the refusal was never told")?;
    ensure!(issuance(refused)["needsPerson"].is_null(), "time alone mends it: {}", issuance(refused));
    seen("problem");
    ensure!(issuance(refused)["failures"].as_i64() >= Some(1), "{}", issuance(refused));
    seen("failures");
    ensure!(time(issuance(refused), "retryAt")?.is_some(), "{}", issuance(refused));
    seen("retryAt");

    let places: Vec<i64> = of("line").filter_map(|told| issuance(told)["position"].as_i64()).collect();
    ensure!(places.contains(&1) && places.iter().all(|place| *place >= 1), "places in the line: {places:?}");
    seen("position");
    let expected = of("line").filter(|told| !issuance(told)["position"].is_null());
    for told in expected {
        let expected = time(issuance(told), "expectedAt")?.context("whoever waits is told until when")?;
        let ordered = ordered(&told.name).with_context(|| format!("{} was never ordered", told.name))?;
        // The clock is moved by an hour at a time at most while they wait.
        ensure!(ordered <= expected + TimeDelta::hours(4), "{}: expected {expected}, ordered {ordered}", told.name);
    }
    seen("expectedAt");
    Ok(())
}

fn issuance(told: &Told) -> &Value {
    &told.status["issuance"]
}

fn time(issuance: &Value, field: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    issuance[field].as_str().map(|text| text.parse().with_context(|| format!("{field}: {text}"))).transpose()
}
