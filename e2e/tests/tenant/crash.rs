//! The operator dies while it works; another one carries on, and nothing is made twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use e2e::testbed::{INSTALLATION, TestBed, pod_of, wait_until};
use futures::future::try_join_all;
use rand::Rng;

use super::manifest::{READY, apply, id, tenant};
use super::{cloud, cluster};

/// A lease that is not given back runs out, and the next leader begins: at most this long.
const HANDOVER: Duration = Duration::from_secs(30);
/// Some moment in which tenants are being made.
const SOON: std::ops::Range<u64> = 200..2500;

/// Once by kill -9 of its process, once by the end of its pod without notice.
pub async fn while_tenants_are_made(bed: &TestBed) -> anyhow::Result<()> {
    let names = ["crash-a", "crash-b", "crash-c"];
    for name in names {
        apply(bed, &tenant("crash", name, &format!("{name}.example.com"))).await?;
    }
    for (how, way) in [("kill -9", Way::Process), ("its pod deleted without grace", Way::Pod)] {
        // When it dies is left to chance on purpose: no moment may be a bad one.
        let delay = Duration::from_millis(rand::rng().random_range(SOON));
        tokio::time::sleep(delay).await;
        let killed = bed.leader().await?;
        let since = Instant::now();
        end(bed, &killed, way).await?;
        wait_until("another leader", HANDOVER, || async {
            let now = bed.leader().await?;
            if now.is_empty() || now == killed { bail!("the leader is {now:?}") } else { Ok(Some(())) }
        })
        .await?;
        bed.say(&format!(
            "  {how} after {} ms: another leads after {:.1} s",
            delay.as_millis(),
            since.elapsed().as_secs_f32()
        ));
    }
    let tenants = try_join_all(names.map(|name| bed.await_condition("crash", name, "Ready", "True", READY))).await?;
    let holdings = cloud::holdings(bed).await?;
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in ["tables", "buckets", "roles"] {
        for name in holdings[kind].as_array().context("no list")?.iter().filter_map(|name| name.as_str()) {
            if let Some(rest) = name.strip_prefix(&format!("{INSTALLATION}-")) {
                let (tenant_id, suffix) = rest.split_once('-').unwrap_or((rest, "role"));
                held.entry(tenant_id.to_owned()).or_default().push(suffix.to_owned());
            }
        }
    }
    // Of every tenant there ever was: what is made twice belongs to none that is known.
    for (tenant_id, suffixes) in &held {
        ensure!(*suffixes == ["events", "state", "recordings", "role"], "of tenant {tenant_id} there are {suffixes:?}");
    }
    for tenant in &tenants {
        let tenant_id = id(tenant)?;
        ensure!(held.contains_key(&tenant_id), "nothing was made for {tenant_id}");
        // Each fails when there are two.
        cluster::claim(bed, "domain", &tenant_id).await?;
        cluster::claim(bed, "ports", &tenant_id).await?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Process,
    Pod,
}

async fn end(bed: &TestBed, leader: &str, way: Way) -> anyhow::Result<()> {
    let pod = pod_of(leader);
    match way {
        Way::Process => bed.kill_operator(pod),
        Way::Pod => bed.remove_operator_pod(pod).await,
    }
}
