//! Fifth stage: Proxy, and the address under which it is published.

use crds::network::Exposure;
use crds::tenant::Edition;
use crds::tenant_status::{Endpoints, Ports};
use crds::{ConditionType, Reason};
use serde_json::Value;

use super::deployment::Rollout;
use super::route::{self, Taken};
use super::{Answer, POLL, RETRY, Scope, Stage};
use crate::course::Target;
use crate::fact::Fact;
use crate::manifest::Rendered;
use crate::object::{Kind, Ref};
use crate::teleport::WebPing;
use crate::version::parse_reported;

/// How many addresses status holds.
const ADDRESSES: usize = 16;

/// Plans the stage.
pub fn plan(scope: &Scope<'_>, rendered: Option<&Rendered>, target: &Target, ports: Option<&Ports>) -> Stage {
    let mut stage = Stage::default();
    if let Some(rendered) = rendered {
        converge(scope, rendered, target, ports, &mut stage);
    } else {
        stage.waits("the earlier stages");
    }
    judge(scope, target, ports, &mut stage);
    stage
}

fn converge(scope: &Scope<'_>, rendered: &Rendered, target: &Target, ports: Option<&Ports>, stage: &mut Stage) {
    let proxy = &rendered.proxy;
    let live = scope.observed.objects.known(&proxy.deployment.reference);
    let mut there = stage.ensure(scope, &proxy.service) & stage.ensure(scope, &proxy.budget);
    if !target.held || live.is_none() {
        there &= stage.ensure(scope, &proxy.config)
            & stage.ensure(scope, &proxy.join)
            & stage.ensure(scope, &rendered.metrics.served);
    }
    // Read with the others, and made after the Deployment: a Gateway that is not to be had keeps no pods from running.
    let mut outside = Stage::default();
    let published = proxy.gateway.iter().fold(true, |all, object| outside.ensure(scope, object) & all);
    stage.needs.append(&mut outside.needs);
    if !there || !stage.ensure(scope, &target.applicable(&proxy.deployment, live)) {
        return;
    }
    stage.join(outside);
    let rollout = live.map(Rollout::of).unwrap_or_default();
    if !rollout.complete {
        stage.waits_for_pods(scope, &proxy.deployment.reference, live);
        return;
    }
    if !published {
        return;
    }
    let balanced = match scope.wanted.exposure {
        Exposure::LoadBalancer => Some(&proxy.service),
        Exposure::Gateway => proxy.gateway.iter().find(|object| object.reference.kind == Kind::Service),
        Exposure::ClusterIP | Exposure::NodePort => None,
    };
    if let Some(service) = balanced.filter(|_| endpoints(scope).addresses.is_empty()) {
        let named = scope.wanted.balancer.class.as_ref();
        let named = named.map(|class| format!(" of spec.network.loadBalancerClass {class}")).unwrap_or_default();
        stage.waits(format!("the load balancer{named} to give {} an address", service.reference));
    }
    for wanted in proxy.gateway.iter().filter(|object| object.reference.kind == Kind::TLSRoute) {
        let live = scope.observed.objects.known(&wanted.reference).unwrap_or(&Value::Null);
        match route::taken(wanted, live) {
            Taken::Yes => {}
            Taken::NotYet(what) => stage.waits(what),
            Taken::No(message) => stage.stalls(Reason::RouteNotAccepted, message, RETRY),
        }
    }
    match &scope.observed.teleport.web {
        Fact::Known(ping)
            if parse_reported(&ping.version).as_ref() == Some(&target.version)
                && complaint(scope, ping, target, ports).is_none() => {}
        Fact::Unknown => stage.unread.push("Proxy could not be asked".into()),
        Fact::Known(_) | Fact::Absent => stage.polls(format!("Proxy to answer as version {}", target.version)),
    }
}

fn judge(scope: &Scope<'_>, target: &Target, ports: Option<&Ports>, stage: &mut Stage) {
    let (ready, wanted) = pods(scope);
    let condition = ConditionType::ProxyAvailable;
    let mut counts = format!("{ready} of {wanted} Proxy pods ready");
    if ready == 0 {
        let reference = Ref::new(Kind::Deployment, scope.tenant.proxy_deployment());
        if let Some(why) = stage.trouble(scope, &reference, scope.observed.objects.known(&reference)) {
            counts.push_str(&format!(": {why}"));
        }
        stage.verdict(condition, Answer::False, Reason::PodsNotReady, counts);
        return;
    }
    match &scope.observed.teleport.web {
        Fact::Known(ping) => match complaint(scope, ping, target, ports) {
            None => {
                stage.verdict(condition, Answer::True, Reason::Serving, format!("{counts}, version {}", ping.version));
            }
            Some(complaint) => {
                stage.verdict(condition, Answer::False, Reason::VersionMismatch, format!("{counts}, but {complaint}"));
            }
        },
        Fact::Absent => {
            stage.verdict(condition, Answer::False, Reason::NotServing, format!("{counts}, but none is reachable"));
        }
        Fact::Unknown => {
            let message = format!("{counts}, but Proxy does not answer at {}:443", scope.wanted.domain);
            stage.verdict(condition, Answer::Unknown, Reason::NotServing, message);
            stage.wakes_in(POLL);
        }
    }
}

/// Ready and wanted Proxy pods.
pub fn pods(scope: &Scope<'_>) -> (i64, i64) {
    let reference = Ref::new(Kind::Deployment, scope.tenant.proxy_deployment());
    let ready = scope.observed.objects.known(&reference).map_or(0, |live| Rollout::of(live).ready);
    (ready, i64::from(scope.wanted.proxy_replicas))
}

/// What Proxy says of itself, held against what it should say.
fn complaint(scope: &Scope<'_>, ping: &WebPing, target: &Target, ports: Option<&Ports>) -> Option<String> {
    let domain = &scope.wanted.domain;
    if ping.cluster_name != *domain {
        return Some(format!("Proxy belongs to cluster {}", ping.cluster_name));
    }
    if !target.accepts(parse_reported(&ping.version).as_ref()) {
        return Some(format!("Proxy answers as version {}, not {}", ping.version, target.version));
    }
    // A self-compiled Community build calls itself `oss`.
    let enterprise = ping.edition == "ent";
    if enterprise != (scope.wanted.edition == Edition::Enterprise) {
        return Some(format!("Proxy is of edition {:?}", ping.edition));
    }
    if ping.tls_routing != scope.wanted.pod_inputs.tls_routing {
        return Some(format!("Proxy says tls_routing_enabled={}", ping.tls_routing));
    }
    let block = |port: fn(&Ports) -> i32| ports.map(|ports| format!("{domain}:{}", port(ports)));
    let addresses = [
        ("public_addr", &ping.public_addr, Some(format!("{domain}:443"))),
        ("ssh_public_addr", &ping.ssh_public_addr, block(|ports| ports.ssh)),
        ("ssh_tunnel_public_addr", &ping.tunnel_public_addr, block(|ports| ports.tunnel)),
        ("kube public_addr", &ping.kube_public_addr, block(|ports| ports.kube)),
        ("mysql_public_addr", &ping.mysql_public_addr, block(|ports| ports.mysql)),
        ("postgres_public_addr", &ping.postgres_public_addr, block(|ports| ports.postgres)),
    ];
    addresses.into_iter().find_map(|(name, said, wanted)| {
        let wanted = wanted?;
        (said.as_ref() != Some(&wanted)).then(|| format!("Proxy announces {name} {said:?}, not {wanted:?}"))
    })
}

/// Where the tenant is reached, as far as it is known.
pub fn endpoints(scope: &Scope<'_>) -> Endpoints {
    let name = match scope.wanted.exposure {
        Exposure::Gateway => scope.tenant.block_service(),
        Exposure::LoadBalancer | Exposure::ClusterIP | Exposure::NodePort => scope.tenant.public_service(),
    };
    let service = scope.observed.objects.known(&Ref::new(Kind::Service, name));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let addresses = match (scope.wanted.exposure, service) {
        (Exposure::LoadBalancer | Exposure::Gateway, Some(service)) => service["status"]["loadBalancer"]["ingress"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|ingress| text(&ingress["ip"]).or_else(|| text(&ingress["hostname"])))
            .take(ADDRESSES)
            .collect(),
        (Exposure::ClusterIP, Some(service)) => text(&service["spec"]["clusterIP"]).into_iter().collect(),
        // Those of nodes come and go.
        (Exposure::NodePort, Some(_)) | (_, None) => Vec::new(),
    };
    let node_port = service.filter(|_| scope.wanted.exposure == Exposure::NodePort).and_then(node_port);
    Endpoints { web: format!("{}:443", scope.wanted.domain), addresses, node_port }
}

/// The port of the nodes behind which 443 is.
fn node_port(service: &Value) -> Option<i32> {
    let mut ports = service["spec"]["ports"].as_array()?.iter();
    let web = ports.find(|port| port["port"] == 443)?;
    i32::try_from(web["nodePort"].as_i64()?).ok()
}
