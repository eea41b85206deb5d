//! How a tenant is reached where it has no load balancer of its own.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::kinds;
use e2e::testbed::{Reach, TestBed, wait_until};
use serde_json::{Value, json};

use super::manifest::{READY, apply, apply_ready, condition, tenant, with};
use super::{cluster, covered, rush};

const SHARED: &str = "metallb.io/allow-shared-ip";
const BEHIND: &str = "behind";
/// As often as a refused object is tried again, and some.
const AGAIN: Duration = Duration::from_secs(60);

/// The pools of the test bed's policy.
pub fn pools() -> Value {
    json!([
        {"name": "default", "start": 11100, "end": 29999},
        {"name": "nodes", "start": 31500, "end": 31599},
        {"name": "beyond", "start": 33000, "end": 33099},
        {"name": "edge", "start": 34000, "end": 34099,
            "gatewayRef": {"name": "edge", "namespace": "gateways", "sectionName": "tls"},
            "loadBalancer": {"class": "testbed.example.com/loopback", "annotations": {SHARED: "edge"}}},
        {"name": "rush", "start": 35000, "end": 35999, "maxBlocks": rush::FRONT, "overflow": "spill"},
        {"name": "spill", "start": 36000, "end": 36000 + 5 * rush::SPILL - 1},
    ])
}

/// The block has its own numbers on the nodes. A pool that cannot have them is told before anything is claimed; what only the API
/// server knows, as soon as it says so.
pub async fn on_the_nodes(bed: &TestBed) -> anyhow::Result<()> {
    let published = |name: &str, pool: &str| {
        let network = json!({"exposure": "NodePort", "portPool": pool});
        with(tenant("noded", name, &format!("{name}.nodes.example.com")), "network", network)
    };
    for (name, pool) in [("wrong-pool", "default"), ("refused", "beyond")] {
        apply(bed, &published(name, pool)).await?;
    }
    let found = apply_ready(bed, &published("noded", "nodes")).await?;
    let status = found.status.context("a status")?;
    let (ports, endpoints) = (status.ports.context("a block")?, status.endpoints.context("endpoints")?);
    let service = cluster::object(bed, "noded", "service", "noded").await?.context("no Service")?;
    ensure!(service["spec"]["type"] == "NodePort", "{}", service["spec"]);
    let node_ports = service["spec"]["ports"].as_array().context("ports")?.iter().map(|port| port["nodePort"].as_i64());
    let node_ports: Vec<i64> = node_ports.collect::<Option<_>>().context("a port without a node port")?;
    let web = i64::from(endpoints.node_port.context("no node port is published")?);
    let block = [ports.ssh, ports.tunnel, ports.kube, ports.mysql, ports.postgres].map(i64::from);
    ensure!(node_ports == [&[web][..], &block].concat(), "{node_ports:?} for {web} and {block:?}");
    covered::seen("Tenant", "status.endpoints.nodePort", web);
    ensure!((31500..31600).contains(&ports.ssh) && ports.pool == "nodes", "{ports:?}");
    let address = service["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    let authority = bed.authority("noded", "noded").await?;
    bed.ask(&Reach { domain: found.spec.domain, address, authority }, "/webapi/ping").await?;

    let told = bed.await_condition("noded", "wrong-pool", "Stalled", "True", READY).await?;
    let (_, reason, message) = condition(&told, "Stalled")?;
    ensure!(
        reason == "InvalidSpec" && message.contains("11100 to 29999") && message.contains("network.nodePorts"),
        "{message}"
    );
    ensure!(told.status.is_some_and(|status| status.ports.is_none()), "a block was claimed that cannot be published");
    let told = bed.await_condition("noded", "refused", "Stalled", "True", READY).await?;
    let (_, reason, message) = condition(&told, "Stalled")?;
    ensure!(reason == "RefusedByCluster", "{reason}: {message}");
    for part in ["Service refused", "nodePort", "30000-32767", "network.nodePorts of the fleet policy"] {
        ensure!(message.contains(part), "it is not told {part:?}: {message}");
    }
    ensure!(condition(&told, "Ready")?.0 == "False", "it is Ready");
    // Neither comes to rest, which others look for.
    bed.kubectl(["-n", "noded", "delete", "tenant", "wrong-pool", "refused", "--timeout=60s"]).await.map(drop)
}

/// A cluster that does not know the kind, a Gateway that says nothing, one that refuses, and one that takes the route.
pub async fn behind_a_gateway(bed: &TestBed) -> anyhow::Result<()> {
    let network = json!({"exposure": "Gateway", "portPool": "edge"});
    apply(bed, &with(tenant(BEHIND, BEHIND, "behind.example.com"), "network", network)).await?;
    let (reason, message) = stalled(bed, "RefusedByCluster").await?;
    for part in ["TLSRoute", "install the CRDs of the Gateway API"] {
        ensure!(message.contains(part), "{reason}: it is not told {part:?}: {message}");
    }
    // Nobody else is held up by it, and the pods run already.
    bed.await_condition(BEHIND, BEHIND, "Available", "True", READY).await?;
    apply_ready(bed, &with(tenant(BEHIND, "beside", "beside.example.com"), "network", json!({}))).await?;

    kinds::install(&bed.client(), kinds::GATEWAYS).await?;
    let route = wait_until("the TLSRoute", AGAIN, || async { cluster::object(bed, BEHIND, "tlsroute", BEHIND).await });
    let route = route.await?;
    let spec = &route["spec"];
    let parent = &spec["parentRefs"][0];
    ensure!(
        parent["name"] == "edge" && parent["namespace"] == "gateways" && parent["sectionName"] == "tls",
        "{parent}"
    );
    ensure!(spec["hostnames"] == json!(["behind.example.com", "*.behind.example.com"]), "{spec}");
    let backend = &spec["rules"][0]["backendRefs"][0];
    ensure!(backend["name"] == BEHIND && backend["port"] == 443, "{backend}");
    ready_says(bed, "the controller of Gateway gateways/edge to accept TLSRoute behind").await?;
    say(bed, &route, "False", "NotAllowedByListeners").await?;
    let (_, message) = stalled(bed, "RouteNotAccepted").await?;
    ensure!(message.contains("NotAllowedByListeners") && message.contains("Passthrough"), "{message}");
    say(bed, &route, "True", "Accepted").await?;
    let found = bed.await_condition(BEHIND, BEHIND, "Ready", "True", READY).await?;
    ensure!(condition(&found, "Stalled").is_err(), "it is Ready and still Stalled");

    let status = found.status.context("a status")?;
    let (ports, endpoints) = (status.ports.context("a block")?, status.endpoints.context("endpoints")?);
    let numbers = |service: &Value| {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["port"].as_i64()).collect::<Vec<_>>()
    };
    let block = cluster::object(bed, BEHIND, "service", "behind-proxy").await?.context("no Service of the block")?;
    let spec = &block["spec"];
    ensure!(spec["type"] == "LoadBalancer" && spec["loadBalancerClass"] == "testbed.example.com/loopback", "{spec}");
    ensure!(block["metadata"]["annotations"][SHARED] == "edge", "{}", block["metadata"]);
    let wanted = [ports.ssh, ports.tunnel, ports.kube, ports.mysql, ports.postgres].map(i64::from);
    ensure!(numbers(&block) == wanted, "{:?} instead of {wanted:?}", numbers(&block));
    let address = block["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().context("an address")?;
    ensure!(endpoints.addresses == [address], "{endpoints:?} instead of {address}");
    let public = cluster::object(bed, BEHIND, "service", BEHIND).await?.context("no public Service")?;
    ensure!(public["spec"]["type"] == "ClusterIP" && numbers(&public) == [443], "{}", public["spec"]);
    // As the Gateway reaches it.
    let address = public["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    let authority = bed.authority(BEHIND, BEHIND).await?;
    bed.ask(&Reach { domain: found.spec.domain, address, authority }, "/webapi/ping").await?;

    // By the watch: what somebody changes is put back.
    let nobody = json!({"spec": {"hostnames": ["elsewhere.example.com"]}}).to_string();
    bed.kubectl(["-n", BEHIND, "patch", "tlsroute", BEHIND, "--type=merge", "-p", &nobody]).await?;
    wait_until("the names to be put back", AGAIN, || async {
        let route = cluster::object(bed, BEHIND, "tlsroute", BEHIND).await?.context("no TLSRoute")?;
        let back = route["spec"]["hostnames"] == json!(["behind.example.com", "*.behind.example.com"]);
        if back { Ok(Some(())) } else { bail!("{}", route["spec"]["hostnames"]) }
    })
    .await?;
    bed.kubectl(["-n", BEHIND, "delete", "tenant", BEHIND, "--timeout=60s"]).await?;
    wait_until("the TLSRoute to be gone", AGAIN, || async {
        let left = cluster::object(bed, BEHIND, "tlsroute", BEHIND).await?;
        Ok(left.is_none().then_some(()))
    })
    .await
}

/// Reason and message, once it is Stalled for this reason.
async fn stalled(bed: &TestBed, reason: &str) -> anyhow::Result<(String, String)> {
    wait_until(&format!("Stalled for {reason}"), READY, || async {
        let found = bed.tenants(BEHIND).get(BEHIND).await?;
        let (status, found, message) = condition(&found, "Stalled")?;
        if status == "True" && found == reason { Ok(Some((found, message))) } else { bail!("{found}: {message}") }
    })
    .await
}

async fn ready_says(bed: &TestBed, text: &str) -> anyhow::Result<()> {
    wait_until(&format!("Ready to say {text:?}"), READY, || async {
        let (status, _, message) = condition(&bed.tenants(BEHIND).get(BEHIND).await?, "Ready")?;
        if status == "False" && message.contains(text) { Ok(Some(())) } else { bail!("{status}: {message}") }
    })
    .await
}

/// Says of a route what the controller of its Gateway would.
async fn say(bed: &TestBed, route: &Value, accepted: &str, reason: &str) -> anyhow::Result<()> {
    let of = |type_: &str, status: &str, reason: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": "as the test says",
            "observedGeneration": route["metadata"]["generation"], "lastTransitionTime": "2026-11-22T10:00:00Z"})
    };
    let conditions = [of("Accepted", accepted, reason), of("ResolvedRefs", "True", "ResolvedRefs")];
    let parent = json!({"parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.com/played", "conditions": conditions});
    let patch = json!({"status": {"parents": [parent]}}).to_string();
    let patch = ["-n", BEHIND, "patch", "tlsroute", BEHIND, "--subresource=status", "--type=merge", "-p", &patch];
    bed.kubectl(patch).await.map(drop)
}
