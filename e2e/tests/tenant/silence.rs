//! At rest the operator writes nothing, although it reads everything again and again.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::Utc;
use e2e::testbed::{TestBed, wait_until};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::cloud;

/// How long the operator must have been silent before it counts as at rest.
const SETTLED: chrono::TimeDelta = chrono::TimeDelta::seconds(5);
/// How long it is listened to.
const LISTENING: Duration = Duration::from_secs(60);
/// How long all of it may take, until everybody has a window, a pool and agents, and afterwards.
pub const LIMIT: Duration = Duration::from_secs(300);
/// How often everything must have been read again meanwhile.
const READINGS: usize = 2;

/// All tenants that stand, those of other scenarios too; each with a window and a pool, and with agents whose heartbeats are
/// new in each reading and say nothing new.
pub async fn at_rest(bed: &TestBed) -> anyhow::Result<()> {
    let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
    ensure!(!tenants.items.is_empty(), "there is no tenant");
    for tenant in &tenants {
        furnish(bed, &tenant.namespace().unwrap_or_default(), &tenant.name_any(), &tenant.spec.domain).await?;
    }
    for tenant in &tenants {
        counted(bed, &tenant.namespace().unwrap_or_default(), &tenant.name_any()).await?;
    }
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

/// Gives a tenant a window that does not open today, a pool, and agents.
async fn furnish(bed: &TestBed, namespace: &str, name: &str, domain: &str) -> anyhow::Result<()> {
    let day = (Utc::now() + chrono::TimeDelta::days(3)).format("%a").to_string();
    let window = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow",
        "metadata": {"namespace": namespace, "name": "default"},
        "spec": {"timeZone": "UTC", "windows": [{"days": [day], "start": "02:00", "duration": "3h"}]},
    });
    let pool = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "AgentPool",
        "metadata": {"namespace": namespace, "name": pool_of(name)},
        "spec": {"tenantRef": {"name": name}, "match": {"services": ["Node"]}},
    });
    bed.agents(domain, &[("node-1", "18.1.0", &["Node"]), ("node-2", "18.1.0", &["Node"])]);
    bed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [window, pool]}).to_string()).await.map(drop)
}

fn pool_of(tenant: &str) -> String {
    format!("{tenant}-nodes")
}

/// Waits until the pool of a tenant has counted its agents.
async fn counted(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<()> {
    let pools: Api<crds::AgentPool> = Api::namespaced(bed.client(), namespace);
    wait_until(&format!("the agents of {namespace}/{name} to be counted"), Duration::from_secs(60), || async {
        let agents = pools.get(&pool_of(name)).await?.status.and_then(|status| status.agents);
        if agents == Some(2) { Ok(Some(())) } else { bail!("they are {agents:?}") }
    })
    .await
}
