//! The Services of a tenant.

use crds::network::Exposure;
use crds::tenant_status::Ports;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use super::listen::{AUTH, KUBE, MYSQL, SSH, TUNNEL, WEB};
use crate::consent;
use crate::names::Component;
use crate::object::{Kind, Object};
use crate::wanted::Balancer;

/// Names that external-dns points at the Service: the web address, and those of applications.
const HOSTNAMES: &str = "external-dns.alpha.kubernetes.io/hostname";

/// The internal Service of Auth, which Proxy and the operator use.
pub fn auth(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    Object::new(
        Kind::Service,
        &Service {
            metadata: tenant.metadata(tenant.auth(), tenant.component_labels(Component::Auth)),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".into()),
                selector: Some(tenant.selector(Component::Auth)),
                ports: Some(vec![port("auth", i32::from(AUTH), AUTH)]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        },
    )
}

/// The public Service: 443 and, for tenants with a block that no Gateway stands before, its five ports.
pub fn public(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let exposure = inputs.wanted.exposure;
    let mut ports = vec![port("tls", 443, WEB)];
    // A Gateway has a Service of its own for them.
    let block = inputs.ports.filter(|_| exposure != Exposure::Gateway);
    ports.extend(block.into_iter().flat_map(|block| of_block(block, exposure)));
    let balanced = exposure == Exposure::LoadBalancer;
    let Balancer { class, annotations: _, source_ranges, ip_family_policy } = &inputs.wanted.balancer;
    let (mut annotations, _) = consent::annotations(inputs.wanted, inputs.installation);
    if balanced {
        annotations.insert(HOSTNAMES.to_owned(), format!("{0},*.{0}", inputs.wanted.domain));
    }
    let mut metadata = tenant.metadata(tenant.public_service(), tenant.component_labels(Component::Proxy));
    metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    Object::new(
        Kind::Service,
        &Service {
            metadata,
            spec: Some(ServiceSpec {
                load_balancer_class: class.clone().filter(|_| balanced),
                load_balancer_source_ranges: Some(source_ranges.clone())
                    .filter(|ranges| balanced && !ranges.is_empty()),
                ip_family_policy: ip_family_policy.map(|policy| format!("{policy:?}")),
                type_: Some(type_of(exposure).into()),
                // Six node ports a tenant would use the cluster's whole range up with 460 tenants; balancers that go to the
                // pods, or through kube-proxy's load-balancer address, need none.
                allocate_load_balancer_node_ports: balanced.then_some(false),
                selector: Some(tenant.selector(Component::Proxy)),
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        },
    )
}

fn type_of(exposure: Exposure) -> &'static str {
    match exposure {
        Exposure::LoadBalancer => "LoadBalancer",
        // The Gateway reaches it inside the cluster.
        Exposure::ClusterIP | Exposure::Gateway => "ClusterIP",
        Exposure::NodePort => "NodePort",
    }
}

/// The five ports of a block. What clients are told is the same number everywhere, so it is that of the node as well.
pub fn of_block(block: &Ports, exposure: Exposure) -> [ServicePort; 5] {
    let ports = [
        port("ssh", block.ssh, SSH),
        port("tunnel", block.tunnel, TUNNEL),
        port("kube", block.kube, KUBE),
        port("mysql", block.mysql, MYSQL),
        // PostgreSQL is served by the web listener.
        port("postgres", block.postgres, WEB),
    ];
    ports.map(|port| ServicePort { node_port: (exposure == Exposure::NodePort).then_some(port.port), ..port })
}

fn port(name: &str, port: i32, target: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(i32::from(target))),
        ..ServicePort::default()
    }
}
