//! Ready rests on evidence: the inventory was really read, the cloud is as documented, and users reach the tenant.

use std::time::Duration;

use anyhow::{Context, ensure};
use crds::Tenant;
use e2e::testbed::{Reach, TestBed};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{cloud, cluster, documented, manifest};

const DOMAIN: &str = "acme.example.com";
const INVENTORY: &str = "/proto.AuthService/GetInstances";
const ANSWER: Duration = Duration::from_secs(5);

/// The first example, as a platform team applies it and waits for it.
pub async fn rests_on_evidence(bed: &TestBed) -> anyhow::Result<()> {
    let example = e2e::testbed::root().join("examples/community.yaml");
    bed.kubectl(["apply".as_ref(), "-f".as_ref(), example.as_os_str()]).await?;
    bed.kubectl(["-n", "acme", "wait", "--for=condition=Ready", "tenant/acme", "--timeout=120s"]).await?;
    let tenant = bed.tenants("acme").get("acme").await?;
    inventory_was_read(bed, &tenant).await?;
    documented::compare(&tenant, &cloud::tenant(bed, &manifest::id(&tenant)?).await?)?;
    let reach = bed.reach("acme", "acme").await?;
    announced(&bed.ask(&reach, "/webapi/ping").await?, &tenant)?;
    connected(&reach, &tenant).await
}

/// By a client with a certificate that only the cluster's host authority can have issued, before Ready was said.
async fn inventory_was_read(bed: &TestBed, tenant: &Tenant) -> anyhow::Result<()> {
    let calls = bed.world().calls(DOMAIN);
    let call = calls.iter().find(|call| call.method == INVENTORY && call.refused.is_empty());
    let call = call.context("the stand-in saw no call of the inventory")?;
    let identity = call.identity.as_ref().context("the inventory was read without a client certificate")?;
    ensure!(identity.organizations == ["Admin"], "the inventory was read as {:?}", identity.organizations);
    is_host(&identity.common_name)?;
    let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").context("no condition Ready")?;
    // Conditions keep whole seconds.
    let said = ready.last_transition_time.0.as_second();
    ensure!(call.at.timestamp() <= said, "Ready was said at {said}, the inventory read at {}", call.at);

    let id = manifest::id(tenant)?;
    let pods = cluster::names(bed, "acme", "pods", &cluster::component(&id, "auth")).await?;
    ensure!(pods.len() == 2, "the Auth pods are {pods:?}");
    let logs: String = pods.iter().map(|pod| bed.kubelet().log("acme", pod, "teleport")).collect();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let read = |line: &Value| {
        line["method"] == INVENTORY
            && line["o"] == json!(["Admin"])
            && line["error"] == ""
            && line["cn"].as_str().is_some_and(|name| is_host(name).is_ok())
    };
    ensure!(lines.into_iter().any(|line| read(&line)), "no Auth pod's log tells that the inventory was read");
    Ok(())
}

/// `<uuid>.<domain>`, as Teleport names hosts.
fn is_host(name: &str) -> anyhow::Result<()> {
    let id = name.strip_suffix(&format!(".{DOMAIN}")).with_context(|| format!("{name} is no name of this cluster"))?;
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    ensure!(groups == [8, 4, 4, 4, 12], "{name} does not begin with a UUID");
    ensure!(id.chars().all(|character| character == '-' || character.is_ascii_hexdigit()), "{name} is no UUID");
    Ok(())
}

/// `/webapi/ping` as of a tenant of Teleport Cloud with ports of its own.
fn announced(ping: &Value, tenant: &Tenant) -> anyhow::Result<()> {
    let ports = tenant.status.as_ref().and_then(|status| status.ports.as_ref()).context("no ports")?;
    let at = |port: i32| json!(format!("{DOMAIN}:{port}"));
    let (ssh, kube, db) = (&ping["proxy"]["ssh"], &ping["proxy"]["kube"], &ping["proxy"]["db"]);
    let addresses = [
        ("proxy.ssh.public_addr", &ssh["public_addr"], at(443)),
        ("proxy.ssh.ssh_public_addr", &ssh["ssh_public_addr"], at(ports.ssh)),
        ("proxy.ssh.ssh_tunnel_public_addr", &ssh["ssh_tunnel_public_addr"], at(ports.tunnel)),
        ("proxy.kube.public_addr", &kube["public_addr"], at(ports.kube)),
        ("proxy.db.mysql_public_addr", &db["mysql_public_addr"], at(ports.mysql)),
        ("proxy.db.postgres_public_addr", &db["postgres_public_addr"], at(ports.postgres)),
        ("proxy.kube.enabled", &kube["enabled"], json!(true)),
        ("proxy.tls_routing_enabled", &ping["proxy"]["tls_routing_enabled"], json!(true)),
        ("cluster_name", &ping["cluster_name"], json!(DOMAIN)),
        ("server_version", &ping["server_version"], json!("18.1.0")),
        ("edition", &ping["edition"], json!("community")),
        ("fips", &ping["fips"], json!(false)),
        ("auth.type", &ping["auth"]["type"], json!("local")),
        ("auth.webauthn.rp_id", &ping["auth"]["webauthn"]["rp_id"], json!(DOMAIN)),
    ];
    for (name, found, wanted) in addresses {
        ensure!(*found == wanted, "/webapi/ping says {name}={found}, not {wanted}");
    }
    let block = [ports.ssh, ports.tunnel, ports.kube, ports.mysql, ports.postgres];
    ensure!(block.windows(2).all(|pair| pair[1] == pair[0] + 1), "the block {block:?} has gaps");
    Ok(())
}

/// Every published port takes connections at the published address, and the two of SSH say that they are.
async fn connected(reach: &Reach, tenant: &Tenant) -> anyhow::Result<()> {
    let ports = tenant.status.as_ref().and_then(|status| status.ports.as_ref()).context("no ports")?;
    let greeting = [(443, false), (ports.kube, false), (ports.mysql, false), (ports.postgres, false)];
    for (port, greets) in greeting.into_iter().chain([(ports.ssh, true), (ports.tunnel, true)]) {
        let address = format!("{}:{port}", reach.address);
        let connecting = tokio::time::timeout(ANSWER, TcpStream::connect(&address)).await;
        let mut stream = connecting.with_context(|| address.clone())?.with_context(|| address.clone())?;
        if greets {
            let mut banner = [0; 8];
            let read = tokio::time::timeout(ANSWER, stream.read_exact(&mut banner)).await;
            read.with_context(|| format!("{address} says nothing"))?.with_context(|| format!("{address} closes"))?;
            ensure!(&banner == b"SSH-2.0-", "{address} says {banner:?}");
        }
    }
    Ok(())
}
