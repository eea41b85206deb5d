//! How often what sends no event was read again: the account, what Teleport says, the Secrets. What is watched is not among it,
//! nor the list of old recovery points, which is made once a day.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::bench::crowd::Crowd;
use crate::bench::measure::each_call;
use crate::testbed::{OPERATOR_ROLE, TestBed};

/// Agents, of which there are the most readings.
pub(super) const INVENTORY: &str = "the inventory of agents";
/// How often each is to be read again at least.
const LEAST: usize = 3;

/// One kind of reading: how often it was made of the tenant of which it was made most rarely, and of all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Of what.
    pub(super) what: &'static str,
    /// Of one tenant, at least.
    pub(super) least: usize,
    /// Of all.
    pub(super) all: usize,
}

/// The readings since a moment. Only tenants that have pools tell agents anything.
///
/// # Errors
/// When a log cannot be read.
pub(super) async fn since(
    bed: &TestBed,
    crowd: &Crowd,
    pooled: &BTreeSet<String>,
    since: DateTime<Utc>,
) -> anyhow::Result<Vec<Reading>> {
    let account = account(bed, since)?;
    let secrets = secrets(bed, crowd, since)?;
    let mut readings: Vec<Reading> = Vec::new();
    for number in 0..crowd.size {
        let name = crowd.name(number);
        let tenant = bed.tenants(&crowd.namespace).get(&name).await.with_context(|| format!("cannot read {name}"))?;
        let storage = tenant.status.and_then(|status| status.storage);
        let storage = storage.with_context(|| format!("{name} has no storage"))?;
        let role = storage.role_arn.rsplit('/').next().unwrap_or_default();
        let in_account = |operation: &str, resource: &str| {
            account.get(&(operation.to_owned(), resource.to_owned())).copied().unwrap_or_default()
        };
        let calls = bed.world().calls(&crowd.domain(number));
        let asked = |method: &str| {
            let calls = calls.iter().filter(|call| call.at >= since && call.refused.is_empty());
            calls.filter(|call| call.method.rsplit('/').next() == Some(method)).count()
        };
        let told = [
            ("the version that agents are told", asked("GetAutoUpdateVersion")),
            ("the schedule that agents are told", asked("GetAutoUpdateConfig")),
            ("the window that agents are told", asked("GetClusterMaintenanceConfig")),
            ("alerts", asked("GetClusterAlerts")),
        ];
        let counts = [
            ("the state table", in_account("DescribeTable", &storage.state_table)),
            ("the events table", in_account("DescribeTable", &storage.events_table)),
            ("the bucket", in_account("HeadBucket", &storage.bucket)),
            ("the role", in_account("GetRole", role)),
            // One item each for hosts and users.
            ("authorities in the state table", in_account("GetItem", &storage.state_table) / 2),
            ("Secrets", secrets.get(&name).copied().unwrap_or_default()),
            (INVENTORY, asked("GetInstances")),
            ("Auth", asked("Ping")),
            ("Proxy", asked("ping")),
        ];
        for (what, count) in counts.into_iter().chain(told.into_iter().filter(|_| pooled.contains(&name))) {
            match readings.iter_mut().find(|reading| reading.what == what) {
                Some(reading) => {
                    reading.least = reading.least.min(count);
                    reading.all += count;
                }
                None => readings.push(Reading { what, least: count, all: count }),
            }
        }
    }
    Ok(readings)
}

/// Holds them against what is wanted.
///
/// # Errors
/// With one that was not made often enough.
pub(super) fn check(readings: &[Reading]) -> anyhow::Result<()> {
    let rare = readings.iter().find(|reading| reading.least < LEAST);
    ensure!(rare.is_none(), "not everything was read {LEAST} times again: {rare:?}");
    Ok(())
}

/// Calls of the operator that were allowed, by operation and the name of what they are about.
fn account(bed: &TestBed, since: DateTime<Utc>) -> anyhow::Result<HashMap<(String, String), usize>> {
    let mut counts = HashMap::new();
    each_call(bed, OPERATOR_ROLE, 0, |call| {
        let at = DateTime::from_timestamp_millis((call["time"].as_f64().unwrap_or_default() * 1000.0) as i64);
        if call["outcome"] != "allowed" || at.is_none_or(|at| at < since) {
            return;
        }
        let operation = call["operation"].as_str().unwrap_or_default();
        for arn in call["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            *counts.entry((operation.to_owned(), name_of(arn).to_owned())).or_default() += 1;
        }
    })?;
    Ok(counts)
}

/// The last part of an ARN.
fn name_of(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or_default()
}

/// How often the web certificate of each tenant was read; the authorities are read with it.
fn secrets(bed: &TestBed, crowd: &Crowd, since: DateTime<Utc>) -> anyhow::Result<HashMap<String, usize>> {
    let mut counts = HashMap::new();
    for request in bed.requests_since(since)? {
        let read = request.verb == "get" && request.resource == "secrets" && request.namespace == crowd.namespace;
        if let Some(tenant) = request.name.strip_suffix("-web").filter(|_| read) {
            *counts.entry(tenant.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_known_by_the_last_part_of_their_arn() {
        let arns = [
            "arn:aws:dynamodb:us-west-2:123456789012:table/eu1-0123-state",
            "arn:aws:s3:::eu1-0123-recordings",
            "arn:aws:iam::123456789012:role/tenancy/eu1/eu1-0123",
        ];
        assert_eq!(arns.map(name_of), ["eu1-0123-state", "eu1-0123-recordings", "eu1-0123"]);
    }
}
