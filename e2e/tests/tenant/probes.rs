//! The operator's own endpoints, asked as the kubelet and Prometheus ask them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use e2e::http::Http;
use e2e::testbed::{NAMESPACE, TestBed, pod_of};

use super::cluster;

/// Leader and standby answer alike; one of them leads.
pub async fn answer(bed: &TestBed) -> anyhow::Result<()> {
    let mut leaders = 0;
    let pods = addresses(bed).await?;
    ensure!(pods.len() == 2, "the operator's pods are {pods:?}");
    for (pod, address) in pods {
        for path in ["healthz", "readyz"] {
            let answer = Http::new("")?.get(&format!("http://{address}:8080/{path}")).await?;
            ensure!(answer.status == 200, "{pod} answers /{path} with {}: {:?}", answer.status, answer.body);
        }
        let lines = metrics(address).await?;
        leaders += lines.get("tenant_operator_leader").copied().context("no metric of the lead")? as usize;
        ensure!(lines.contains_key("tenant_operator_policy_valid"), "no metric of the fleet policy");
        ensure!(lines.contains_key("tenant_operator_feed_valid"), "no metric of the release feed");
    }
    ensure!(leaders == 1, "{leaders} processes say that they lead");
    Ok(())
}

/// Addresses of the operator's pods.
async fn addresses(bed: &TestBed) -> anyhow::Result<BTreeMap<String, Ipv4Addr>> {
    let mut addresses = BTreeMap::new();
    for pod in cluster::names(bed, NAMESPACE, "pods", "tenancy.dev/process=operator").await? {
        let found = cluster::object(bed, NAMESPACE, "pod", &pod).await?.context("the pod is gone")?;
        let address = found["status"]["podIP"].as_str().context("the pod has no address")?;
        addresses.insert(pod, bed.pod_address(address.parse()?));
    }
    Ok(addresses)
}

/// The metrics of the process that leads.
pub async fn leaders_metrics(bed: &TestBed) -> anyhow::Result<BTreeMap<String, f64>> {
    let leader = bed.leader().await?;
    let address = addresses(bed).await?.get(pod_of(&leader)).copied();
    metrics(address.with_context(|| format!("the leader {leader:?} has no address"))?).await
}

async fn metrics(address: Ipv4Addr) -> anyhow::Result<BTreeMap<String, f64>> {
    let body = Http::new("")?.get(&format!("http://{address}:8080/metrics")).await?.success()?;
    let text = String::from_utf8(body.to_vec()).context("metrics are no text")?;
    ensure!(text.ends_with("# EOF\n"), "metrics are cut off");
    let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    values.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect()
}
