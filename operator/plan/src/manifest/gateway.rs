//! What a tenant with exposure `Gateway` has beside its public Service, which stays inside the cluster: the route of port 443, and a
//! Service of type LoadBalancer for the block. Both are as the pool of its block says.

use crds::network::Exposure;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::{Value, json};

use super::{Inputs, service};
use crate::names::Component;
use crate::object::{Kind, Object};
use crate::port_pool::{GatewayRef, PoolBalancer, PortPool};

/// The objects, for a tenant with that exposure. Its pool has a Gateway, or it would not have come so far.
pub fn objects(inputs: &Inputs<'_>) -> Vec<Object> {
    let pool = inputs.ports.and_then(|block| inputs.installation.pool(&block.pool));
    match pool {
        Some(PortPool { gateway_ref: Some(gateway), load_balancer, .. })
            if inputs.wanted.exposure == Exposure::Gateway =>
        {
            vec![block(inputs, load_balancer), route(inputs, gateway)]
        }
        Some(_) | None => Vec::new(),
    }
}

/// The five ports of the block, on an address that the pool has it share with the Gateway. 443 is not on it.
fn block(inputs: &Inputs<'_>, PoolBalancer { class, annotations }: &PoolBalancer) -> Object {
    let tenant = inputs.tenant;
    let mut metadata = tenant.metadata(tenant.block_service(), tenant.component_labels(Component::Proxy));
    metadata.annotations = Some(annotations.clone()).filter(|annotations| !annotations.is_empty());
    let ports = inputs.ports.into_iter().flat_map(|block| service::of_block(block, Exposure::Gateway));
    Object::new(
        Kind::Service,
        &Service {
            metadata,
            spec: Some(ServiceSpec {
                type_: Some("LoadBalancer".into()),
                load_balancer_class: class.clone(),
                // As of the public Service.
                allocate_load_balancer_node_ports: Some(false),
                ip_family_policy: inputs.wanted.balancer.ip_family_policy.map(|policy| format!("{policy:?}")),
                selector: Some(tenant.selector(Component::Proxy)),
                ports: Some(ports.collect()),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        },
    )
}

/// Connections whose SNI is the domain or a name below it, handed through as they are: Proxy has the certificate. external-dns
/// reads the names from here.
fn route(inputs: &Inputs<'_>, gateway: &GatewayRef) -> Object {
    let tenant = inputs.tenant;
    let domain = &inputs.wanted.domain;
    let GatewayRef { name, namespace, section_name } = gateway;
    let mut parent = json!({
        "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": namespace,
    });
    if let Some(section) = section_name {
        parent["sectionName"] = Value::from(section.as_str());
    }
    let backend = json!({"group": "", "kind": "Service", "name": tenant.public_service(), "port": 443, "weight": 1});
    Object::new(
        Kind::TLSRoute,
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "TLSRoute",
            "metadata": tenant.metadata(tenant.public_service(), tenant.component_labels(Component::Proxy)),
            "spec": {
                "parentRefs": [parent],
                "hostnames": [domain, format!("*.{domain}")],
                "rules": [{"backendRefs": [backend]}],
            },
        }),
    )
}
