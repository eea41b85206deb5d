//! A hundred tenants under one registered domain, and a server that issues fifty first certificates a week for it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use e2e::http::Http;
use e2e::testbed::{NAMESPACE, TestBed, namespace, wait_until};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::front::Front;
use super::manifest::tenant;

const SPACE: &str = "line";
/// A registered domain of their own: what other scenarios have ordered counts for another one.
pub const DOMAIN: &str = "example.org";
const BATCHES: usize = 5;
const BATCH: usize = 20;
const WEEK: TimeDelta = TimeDelta::days(7);
/// For twenty certificates, at the pace that Route 53 allows.
const ISSUED: Duration = Duration::from_secs(150);

/// No limit is exceeded, and whoever asked first is served first.
pub async fn is_kept(bed: &TestBed, front: &Front) -> anyhow::Result<()> {
    // Certificates do not wait for what else a tenant needs: without tables there are no pods, which nobody looks at here.
    faults(bed, json!([{"match": "dynamodb:CreateTable", "kind": "deny", "times": 0}])).await?;
    let (before, refused) = (front.orders().len(), front.refused());
    for batch in 0..BATCHES {
        apply_batch(bed, batch).await?;
        // Three batches more than fill the week; whoever finds no place is in line.
        let asked = (batch + 1) * BATCH;
        let holding = asked.min(50);
        let waiting = asked - holding;
        wait_until(&format!("{holding} orders and {waiting} in line"), ISSUED, || async {
            let tenants = all(bed).await?;
            let (issued, line) = (tenants.iter().filter(|tenant| issued(tenant)).count(), line(&tenants).len());
            ensure!((issued, line) == (holding, waiting), "{issued} were issued, {line} are in line");
            Ok(Some(()))
        })
        .await?;
        bed.clock().advance(TimeDelta::hours(1)).await?;
    }
    // Each looks once a minute how long the line before it is.
    let waiting = wait_until("each to know its place", ISSUED, || async {
        let waiting = line(&all(bed).await?);
        let places: Vec<i32> = waiting.iter().map(|waiting| waiting.position).collect();
        ensure!(places == (1..=50).collect::<Vec<_>>(), "the places in line are {places:?}");
        Ok(Some(waiting))
    })
    .await?;
    let first = front.orders()[before].at;
    for waiting in &waiting {
        let left = waiting.expected - (first + WEEK);
        ensure!(
            left >= TimeDelta::zero() && left <= TimeDelta::hours(4),
            "{} expects {}",
            waiting.name,
            waiting.expected
        );
    }
    wait_until("the metric to count them", ISSUED, || async {
        let metric = super::probes::leaders_metrics(bed).await?.get("tenant_operator_acme_waiting_tenants").copied();
        ensure!(metric == Some(50.0), "it says {metric:?}");
        Ok(Some(()))
    })
    .await?;

    // What was ordered in one hour comes back to the line a week later in one hour.
    let mut served = 0;
    for (hour, freed) in [20, 20, 10].into_iter().enumerate() {
        let hour = TimeDelta::hours(i64::try_from(hour)?);
        bed.clock().set(first + WEEK + hour + TimeDelta::minutes(50)).await?;
        served += freed;
        let wanted: BTreeSet<&str> = waiting[..served].iter().map(|waiting| waiting.name.as_str()).collect();
        wait_until(&format!("{served} of the line to be served"), ISSUED, || async {
            let tenants = all(bed).await?;
            let done = waiting
                .iter()
                .filter(|waiting| tenants.iter().any(|tenant| tenant.name_any() == waiting.name && issued(tenant)));
            let done: BTreeSet<&str> = done.map(|waiting| waiting.name.as_str()).collect();
            if !done.is_subset(&wanted) {
                let out: Vec<&str> = done.symmetric_difference(&wanted).copied().collect();
                bail!("served out of turn: {}", told(bed, &tenants, &out).await?);
            }
            Ok((done == wanted).then_some(()))
        })
        .await?;
    }
    let orders = front.orders().split_off(before);
    ensure!(orders.len() == BATCHES * BATCH, "{} orders for {} certificates", orders.len(), BATCHES * BATCH);
    ensure!(front.refused() == refused, "{} orders were refused", front.refused() - refused);
    for order in &orders {
        let within = orders.iter().filter(|other| other.at <= order.at && other.at > order.at - WEEK).count();
        ensure!(within <= 50, "{within} certificates in the week before {}", order.at);
    }
    bed.say(&format!("  {} certificates, 50 in the first week, none refused", orders.len()));
    Ok(())
}

async fn apply_batch(bed: &TestBed, batch: usize) -> anyhow::Result<()> {
    let tenants = (0..BATCH).map(|number| {
        let name = format!("t{:03}", batch * BATCH + number);
        let mut tenant = tenant(SPACE, &name, &format!("{name}.{DOMAIN}"));
        tenant["spec"]["certificates"] = json!({"web": {"issuer": "Acme"}});
        tenant
    });
    let items: Vec<Value> = [namespace(SPACE)].into_iter().chain(tenants).collect();
    bed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await.map(drop)
}

async fn all(bed: &TestBed) -> anyhow::Result<Vec<Tenant>> {
    Ok(bed.tenants(SPACE).list(&ListParams::default()).await?.items)
}

fn issued(tenant: &Tenant) -> bool {
    let certificates = tenant.status.iter().flat_map(|status| &status.certificates);
    certificates.into_iter().any(|certificate| certificate.name == "web" && certificate.issuer == "Acme")
}

struct Waiting {
    name: String,
    position: i32,
    expected: DateTime<Utc>,
}

/// Who is in line, in the order in which they asked.
fn line(tenants: &[Tenant]) -> Vec<Waiting> {
    let mut line: Vec<_> = tenants
        .iter()
        .filter_map(|tenant| {
            let status = tenant.status.as_ref()?;
            let issuance = status.issuance.as_ref()?;
            let expected = issuance.expected_at.as_ref()?.0;
            let expected = DateTime::from_timestamp(expected.as_second(), 0)?;
            let rank = (issuance.requested_at.0, status.tenant_id.clone());
            Some((rank, Waiting { name: tenant.name_any(), position: issuance.position?, expected }))
        })
        .collect();
    line.sort_by(|(one, _), (other, _)| one.cmp(other));
    line.into_iter().map(|(_, waiting)| waiting).collect()
}

async fn faults(bed: &TestBed, faults: Value) -> anyhow::Result<()> {
    let url = format!("{}/testbed/faults", bed.cloud().endpoint());
    Http::new("")?.post(&url, &faults).await?.success().context("the emulator takes no faults").map(drop)
}

/// What the operator knows of some tenants, and what stands of them in its book.
async fn told(bed: &TestBed, tenants: &[Tenant], names: &[&str]) -> anyhow::Result<String> {
    let book = bed.kubectl(["-n", NAMESPACE, "get", "configmap", "tenant-operator-acme-orders", "-o", "yaml"]).await?;
    let book: Vec<&str> = book.split("{\"at\"").filter(|entry| names.iter().any(|name| entry.contains(name))).collect();
    let found = tenants.iter().filter(|tenant| names.contains(&tenant.name_any().as_str()));
    let found: Vec<String> = found
        .map(|tenant| {
            let status = tenant.status.clone().unwrap_or_default();
            let stalled =
                status.conditions.iter().find(|condition| condition.type_ == "Stalled").map(|found| &found.message);
            format!("{} {:?} Stalled {stalled:?}", tenant.name_any(), status.issuance)
        })
        .collect();
    Ok(format!("{found:#?} {book:#?}"))
}
