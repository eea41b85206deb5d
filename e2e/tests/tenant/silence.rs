//! At rest the operator writes nothing, although it reads everything again and again.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::Utc;
use e2e::testbed::{TestBed, wait_until};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::cloud;

/// How long the operator must have been silent before it counts as at rest.
const SETTLED: chrono::TimeDelta = chrono::TimeDelta::seconds(5);
/// How long it is listened to.
const LISTENING: Duration = Duration::from_secs(60);
/// How often everything must have been read again meanwhile.
const READINGS: usize = 2;

/// All tenants that stand, those of other scenarios too.
pub async fn at_rest(bed: &TestBed) -> anyhow::Result<()> {
    let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
    ensure!(!tenants.items.is_empty(), "there is no tenant");
    wait_until("the operator to come to rest", Duration::from_secs(60), || async {
        let recent = bed.write_counts_since(Utc::now() - SETTLED)?;
        if recent.is_empty() { Ok(Some(())) } else { bail!("{recent:?}") }
    })
    .await?;
    let since = Utc::now();
    tokio::time::sleep(LISTENING).await;
    let written = bed.write_counts_since(since)?;
    ensure!(written.is_empty(), "at rest the operator wrote {written:?}");
    let calls = cloud::calls(bed, since)?;
    for tenant in tenants {
        let status = tenant.status.as_ref().context("no status")?;
        let ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        ensure!(ready, "{} is not Ready at rest", tenant.name_any());
        let storage = status.storage.as_ref().context("no storage")?;
        let role = storage.role_arn.rsplit('/').next().unwrap_or_default();
        for (operation, resource) in [
            ("DescribeTable", &*storage.state_table),
            ("DescribeTable", &storage.events_table),
            ("HeadBucket", &storage.bucket),
            ("GetRole", role),
        ] {
            let about = |call: &&Value| {
                call["operation"] == operation && call["outcome"] == "allowed" && cloud::concerns(call, resource)
            };
            let read = calls.iter().filter(about).count();
            ensure!(read >= READINGS, "{operation} of {resource} was called {read} times");
        }
        let read = bed.world().calls(&tenant.spec.domain);
        let read = read.iter().filter(|call| call.at >= since && call.method.ends_with("/GetInstances")).count();
        ensure!(read >= READINGS, "the inventory of {} was read {read} times", tenant.spec.domain);
    }
    Ok(())
}
