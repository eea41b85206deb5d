//! The metrics of Auth and Proxy as Prometheus reads them: by nothing but what the PodMonitor says, with the tenant's own certificate,
//! which no other tenant takes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use e2e::kinds;
use e2e::testbed::{TestBed, wait_until};
use serde_json::{Value, json};

use super::cluster;
use super::manifest::{apply, apply_ready, tenant};

const SPACE: &str = "scraped";
/// The operator looks whether the cluster knows the kind, and nothing tells it.
const KNOWN: Duration = Duration::from_secs(40);
const HEALED: Duration = Duration::from_secs(10);

/// One process that Prometheus would read, with what it would show.
struct Target {
    pod: String,
    url: String,
    resolve: String,
    show: [PathBuf; 3],
}

pub async fn by_its_own_scraper(bed: &TestBed) -> anyhow::Result<()> {
    let tenants = ["mine", "yours"].map(|name| tenant(SPACE, name, &format!("{name}.scraped.example.com")));
    // Both are made at the same time.
    apply(bed, &tenants[0]).await?;
    let (yours, mine) = (apply_ready(bed, &tenants[1]).await?, apply_ready(bed, &tenants[0]).await?);
    let ends = |tenant: &crds::Tenant| {
        let certificates = tenant.status.iter().flat_map(|status| &status.certificates);
        certificates.into_iter().any(|certificate| certificate.name == "metrics")
    };
    ensure!(ends(&mine) && ends(&yours), "no status says when the certificate of metrics ends");
    ensure!(cluster::object(bed, SPACE, "podmonitor", "mine").await.is_err(), "the cluster knows PodMonitors already");

    kinds::install(&bed.client(), kinds::POD_MONITORS).await?;
    let (mine, yours) = (targets(bed, "mine").await?, targets(bed, "yours").await?);
    ensure!(mine.len() == 2 && yours.len() == 2, "{} and {} processes are monitored", mine.len(), yours.len());
    for target in mine.iter().chain(&yours) {
        let read = scrape(target, &target.show).await.with_context(|| format!("{} is not read", target.pod))?;
        for part in ["process_state 0", "teleport_build_info{", "version=\"18.1.0\""] {
            ensure!(read.contains(part), "{} does not tell {part:?}: {read}", target.pod);
        }
    }
    for target in &mine {
        let [authority, _, _] = &target.show;
        let [_, certificate, key] = &yours[0].show;
        // Its own authority is trusted, so that only the process can be who refuses.
        let as_other = [authority, certificate, key].map(PathBuf::clone);
        let nobody = [authority.clone(), PathBuf::new(), PathBuf::new()];
        for (who, show) in [("another tenant's scraper", &as_other), ("nobody", &nobody)] {
            let Err(refused) = scrape(target, show).await else { bail!("{} is read by {who}", target.pod) };
            ensure!(format!("{refused:#}").contains("alert"), "{who} is not refused by TLS: {refused:#}");
        }
        let Err(unknown) = scrape(target, &yours[0].show).await else { bail!("{} is taken for another's", target.pod) };
        ensure!(format!("{unknown:#}").contains("certificate"), "{unknown:#}");
    }

    let elsewhere = json!({"spec": {"podMetricsEndpoints": [{"port": "diag", "path": "/metrics"}]}}).to_string();
    bed.kubectl(["-n", SPACE, "patch", "podmonitor", "mine", "--type=merge", "-p", &elsewhere]).await?;
    wait_until("the PodMonitor to be as it was", HEALED, || async {
        let found = monitor(bed, "mine").await?;
        Ok((found["spec"]["podMetricsEndpoints"][0]["port"] == "metrics").then_some(()))
    })
    .await?;
    // The kind goes and comes again; tenants stay as they are meanwhile.
    bed.kubectl(["delete", "crd", "podmonitors.monitoring.coreos.com", "--timeout=60s"]).await?;
    kinds::install(&bed.client(), kinds::POD_MONITORS).await?;
    for name in ["mine", "yours"] {
        monitor(bed, name).await?;
        bed.await_condition(SPACE, name, "Ready", "True", HEALED).await?;
    }
    Ok(())
}

async fn monitor(bed: &TestBed, name: &str) -> anyhow::Result<Value> {
    wait_until("the PodMonitor", KNOWN, || async { cluster::object(bed, SPACE, "podmonitor", name).await }).await
}

/// What the PodMonitor of a tenant leads to.
async fn targets(bed: &TestBed, name: &str) -> anyhow::Result<Vec<Target>> {
    let monitor = monitor(bed, name).await?;
    let spec = &monitor["spec"];
    let labels = spec["selector"]["matchLabels"].as_object().context("a selector")?;
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let [endpoint] = spec["podMetricsEndpoints"].as_array().context("endpoints")?.as_slice() else {
        bail!("not one endpoint: {spec}")
    };
    ensure!(endpoint["scheme"] == "https" && endpoint["path"] == "/metrics", "{endpoint}");
    let tls = &endpoint["tlsConfig"];
    let server = tls["serverName"].as_str().context("a server name")?;
    let mut show = Vec::new();
    for (part, entry) in [("ca", &tls["ca"]["secret"]), ("cert", &tls["cert"]["secret"]), ("key", &tls["keySecret"])] {
        show.push(file(bed, &format!("{name}-{part}.pem"), entry).await?);
    }
    let show: [PathBuf; 3] = show.try_into().map_err(|_| anyhow::anyhow!("three files"))?;
    let mut targets = Vec::new();
    for pod in cluster::names(bed, SPACE, "pods", &labels.join(",")).await? {
        let found = cluster::object(bed, SPACE, "pod", &pod).await?.context("a pod")?;
        let ports = found["spec"]["containers"][0]["ports"].as_array().context("ports")?;
        let Some(port) = ports.iter().find(|port| port["name"] == endpoint["port"]) else { continue };
        let address = bed.pod_address(found["status"]["podIP"].as_str().context("an address")?.parse()?);
        let port = port["containerPort"].as_i64().context("a number")?;
        let (url, resolve) = (format!("https://{server}:{port}/metrics"), format!("{server}:{port}:{address}"));
        targets.push(Target { pod, url, resolve, show: show.clone() });
    }
    Ok(targets)
}

/// An entry of a Secret as a file of this run.
async fn file(bed: &TestBed, name: &str, entry: &Value) -> anyhow::Result<PathBuf> {
    let text = |key: &str| entry[key].as_str().with_context(|| format!("no {key} in {entry}"));
    let secret = cluster::object(bed, SPACE, "secret", text("name")?).await?.context("no such Secret")?;
    let data = secret["data"][text("key")?].as_str().context("no such key")?;
    let path = bed.control_plane().run_dir().path().join(format!("scraped-{name}"));
    std::fs::write(&path, base64::engine::general_purpose::STANDARD.decode(data)?)?;
    Ok(path)
}

/// As curl does: a client that shares nothing with what it asks.
async fn scrape(target: &Target, [authority, certificate, key]: &[PathBuf; 3]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "10", "--resolve", &target.resolve]);
    command.arg("--cacert").arg(authority);
    if !certificate.as_os_str().is_empty() {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let output = command.arg(&target.url).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.context("cannot run curl; install it")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("no text")
}
