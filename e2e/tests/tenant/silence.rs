//! At rest the operator writes nothing, although it reads everything again and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use e2e::testbed::{TestBed, wait_until};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::cloud;

const OPERATOR: &str = "system:serviceaccount:tenancy-system:tenant-operator";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// How long the operator must have been silent before it counts as at rest.
const SETTLED: chrono::TimeDelta = chrono::TimeDelta::seconds(5);
/// How long it is listened to.
const LISTENING: Duration = Duration::from_secs(60);
/// How often everything must have been read again meanwhile.
const READINGS: usize = 2;

/// All tenants that stand, those of other scenarios too.
pub async fn at_rest(bed: &TestBed) -> anyhow::Result<()> {
    let audit = bed.control_plane().audit_log().context("this cluster has no audit log")?;
    let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
    ensure!(!tenants.items.is_empty(), "there is no tenant");
    wait_until("the operator to come to rest", Duration::from_secs(60), || async {
        let recent = writes(audit, Utc::now() - SETTLED)?;
        if recent.is_empty() { Ok(Some(())) } else { bail!("{recent:?}") }
    })
    .await?;
    let since = Utc::now();
    tokio::time::sleep(LISTENING).await;
    let written = writes(audit, since)?;
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

/// The operator's writes since a moment, by what was written; the lease of its leader apart.
fn writes(audit: &Path, since: DateTime<Utc>) -> anyhow::Result<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(audit).context("cannot read the audit log")?;
    let mut writes = BTreeMap::new();
    // Its last line may be half written.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let verb = entry["verb"].as_str().unwrap_or_default();
        let object = &entry["objectRef"];
        let leading = object["resource"] == "leases" && object["name"] == "tenant-operator";
        let at = entry["stageTimestamp"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        if entry["user"]["username"] == OPERATOR
            && WRITES.contains(&verb)
            && !leading
            && at.is_none_or(|at| at >= since)
        {
            *writes.entry(format!("{verb} {}", entry["requestURI"].as_str().unwrap_or_default())).or_default() += 1;
        }
    }
    Ok(writes)
}
