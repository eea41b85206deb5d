//! Removing a tenant gives up its address and ends its pods. Its data, its keys and its role stay.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{NAMESPACE, TestBed, wait_until};
use serde_json::json;

use super::covered::seen;
use super::manifest::{apply_ready, id, tenant, with};
use super::{cloud, cluster};

const NAME: &str = "removal";
const GONE: Duration = Duration::from_secs(60);
/// A released block rests for a week.
const REST_SECONDS: i64 = 168 * 3600;

/// Refused while protected; then everything that should go goes, and a successor shares nothing with it.
pub async fn gives_up_the_address_alone(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant(NAME, NAME, "removal.example.com"), "deletionProtection", json!(true));
    let first = apply_ready(bed, &wanted).await?;
    let tenant_id = id(&first)?;
    let data = cloud::tenant(bed, &tenant_id).await?;
    let (ports, domain) =
        (cluster::claim(bed, "ports", &tenant_id).await?, cluster::claim(bed, "domain", &tenant_id).await?);

    let Err(refusal) = bed.kubectl(["-n", NAME, "delete", "tenant", NAME, "--timeout=30s"]).await else {
        bail!("a protected tenant was deleted");
    };
    seen("Tenant", "spec.deletionProtection", true);
    let remedy = "kubectl -n removal patch tenant removal --type=merge -p ";
    let refusal = refusal.to_string();
    let patch = refusal.split_once(remedy).with_context(|| format!("the remedy is missing: {refusal}"))?.1;
    let patch = patch.split('\'').nth(1).with_context(|| format!("the patch is not quoted: {refusal}"))?;
    bed.kubectl(remedy.split_whitespace().skip(1).chain([patch])).await?;
    bed.kubectl(["-n", NAME, "delete", "tenant", NAME, "--timeout=60s"]).await?;

    wait_until("the pods to end", GONE, || async {
        let left =
            cluster::names(bed, NAME, "pods,deployments,services", "app.kubernetes.io/managed-by=tenant-operator")
                .await?;
        if left.is_empty() { Ok(Some(())) } else { bail!("left are {left:?}") }
    })
    .await?;
    ensure!(cluster::object(bed, NAMESPACE, "lease", &domain).await?.is_none(), "the domain is still claimed");
    let lease = cluster::object(bed, NAMESPACE, "lease", &ports).await?.context("the port block does not rest")?;
    let spec = &lease["spec"];
    ensure!(spec["holderIdentity"].as_str().unwrap_or_default().is_empty(), "the block is held: {spec}");
    let rest = spec["leaseDurationSeconds"].as_i64().unwrap_or_default();
    ensure!(spec["renewTime"].is_string() && (rest - REST_SECONDS).abs() < 60, "the block rests otherwise: {spec}");
    ensure!(cloud::tenant(bed, &tenant_id).await? == data, "the tenant's data has changed");
    let keys =
        cluster::object(bed, NAME, "secret", &format!("{NAME}-ca-1")).await?.context("the authorities are gone")?;
    ensure!(keys["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty), "the authorities are guarded still");
    ensure!(keys["metadata"]["deletionTimestamp"].is_null(), "the authorities are being deleted");

    let other = apply_ready(bed, &tenant(NAME, "successor", "removal.example.com")).await?;
    ensure!(id(&other)? != tenant_id, "the successor has the id of its predecessor");
    let block =
        |tenant: &crds::Tenant| tenant.status.as_ref().and_then(|status| status.ports.clone()).map(|ports| ports.ssh);
    ensure!(
        block(&other).is_some() && block(&other) != block(&first),
        "the successor has the block {:?}",
        block(&other)
    );
    Ok(())
}
