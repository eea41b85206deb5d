//! The Services of a tenant.

use crds::network::Exposure;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use crate::names::Component;
use crate::object::{Kind, Object};

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
                ports: Some(vec![port("auth", 3025, 3025)]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        },
    )
}

/// The public Service: 443 and, for tenants with a block, its five ports.
pub fn public(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let mut ports = vec![port("tls", 443, 3080)];
    if let Some(block) = inputs.ports {
        ports.extend([
            port("ssh", block.ssh, 3023),
            port("tunnel", block.tunnel, 3024),
            port("kube", block.kube, 3026),
            port("mysql", block.mysql, 3036),
            // PostgreSQL is served by the web listener.
            port("postgres", block.postgres, 3080),
        ]);
    }
    let balanced = inputs.wanted.exposure == Exposure::LoadBalancer;
    Object::new(
        Kind::Service,
        &Service {
            metadata: tenant.metadata(tenant.public_service(), tenant.component_labels(Component::Proxy)),
            spec: Some(ServiceSpec {
                type_: Some(if balanced { "LoadBalancer" } else { "ClusterIP" }.into()),
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

fn port(name: &str, port: i32, target: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(target)),
        ..ServicePort::default()
    }
}
