//! What a new tenant may cost until it is Ready and the operator has come to rest: requests to the API server and calls to AWS,
//! counted by who they are about.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{TimeDelta, Utc};
use crds::Tenant;
use e2e::testbed::{TestBed, Write, wait_until};
use serde_json::Value;

use super::manifest::{apply_ready, id, tenant};
use super::{cloud, cluster};

const NAME: &str = "budget";
/// How long nothing must have been written before it counts as at rest.
const SETTLED: TimeDelta = TimeDelta::seconds(3);
const SETTLES: Duration = Duration::from_secs(60);

/// Requests to the API server: 17 make its objects and its two claims, 94 were counted, and each run of a slow machine reads some more.
const REQUESTS: usize = 130;
/// Those of them that write; 36 were counted.
const WRITES: usize = 45;
/// Calls to AWS: 48 look for tables, bucket and role, make them, look until they are there, set them and look once more. Here
/// everything is read again every few seconds besides, by 23 calls: 74 were counted, and it may happen twice.
const CALLS: usize = 100;

/// One tenant, alone; what others cost meanwhile is not counted.
pub async fn of_one(bed: &TestBed) -> anyhow::Result<()> {
    let since = Utc::now();
    let found = apply_ready(bed, &tenant(NAME, NAME, "budget.example.com")).await?;
    wait_until("the operator to come to rest", SETTLES, || async {
        let recent = concerning(bed, &found, Utc::now() - SETTLED).await?.into_iter().find(Write::is_write);
        if let Some(write) = recent { bail!("{}", write.what()) } else { Ok(Some(())) }
    })
    .await?;
    let requests = concerning(bed, &found, since).await?;
    let writes = requests.iter().filter(|request| request.is_write()).count();
    let requested = counts(requests.iter().map(|request| format!("{} {}", request.verb, request.resource)));
    let tenant_id = id(&found)?;
    let calls = cloud::calls(bed, since)?.into_iter().filter(|call| cloud::concerns(call, &tenant_id));
    let called = counts(calls.map(|call| text(&call["operation"])));
    let (all, calls) = (requested.values().sum::<usize>(), called.values().sum::<usize>());
    bed.say(&format!("counted: a new tenant took {all} API requests, {writes} of them writes, and {calls} AWS calls"));
    ensure!(all <= REQUESTS && writes <= WRITES, "{all} requests to the API server, {writes} writes: {requested:#?}");
    ensure!(calls <= CALLS, "{calls} calls to AWS: {called:#?}");
    Ok(())
}

/// Requests about the tenant, its objects and its claims.
async fn concerning(bed: &TestBed, found: &Tenant, since: chrono::DateTime<Utc>) -> anyhow::Result<Vec<Write>> {
    let tenant_id = id(found)?;
    let claims = [cluster::claim(bed, "ports", &tenant_id).await?, cluster::claim(bed, "domain", &tenant_id).await?];
    let namespace = found.metadata.namespace.as_deref().context("no namespace")?;
    let about = |request: &Write| {
        request.namespace == namespace || request.resource == "leases" && claims.contains(&request.name)
    };
    Ok(bed.requests_since(since)?.into_iter().filter(about).collect())
}

fn counts(what: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    what.for_each(|what| *counts.entry(what).or_default() += 1);
    counts
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
