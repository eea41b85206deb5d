//! The objects of Proxy.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::mount::{self, item};
use super::pod::{self, Parts};
use super::{Inputs, config as teleport_yaml, listen};
use crate::names::Component;
use crate::object::{Kind, Object};

/// `teleport.yaml`, immutable and named by its content.
pub fn config(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let text = teleport_yaml::proxy(inputs);
    Object::new(
        Kind::ConfigMap,
        &ConfigMap {
            metadata: tenant
                .metadata(tenant.hashed(Component::Proxy, &text), tenant.component_labels(Component::Proxy)),
            data: Some(BTreeMap::from([("teleport.yaml".to_owned(), text)])),
            immutable: Some(true),
            ..ConfigMap::default()
        },
    )
}

/// The token by which Proxy joins Auth, immutable and named by its content.
pub fn join(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let token = inputs.authorities.join_token().0;
    Object::new(
        Kind::Secret,
        &Secret {
            metadata: tenant
                .metadata(tenant.hashed(Component::Proxy, &token), tenant.component_labels(Component::Proxy)),
            data: Some(BTreeMap::from([("token".to_owned(), k8s_openapi::ByteString(token.into_bytes()))])),
            immutable: Some(true),
            type_: Some("Opaque".into()),
            ..Secret::default()
        },
    )
}

/// The Proxy pods, replaced one at a time: agents keep a tunnel to each of them and need time to move.
pub fn deployment(inputs: &Inputs<'_>, [config, join, metrics]: [&Object; 3]) -> Object {
    let Inputs { tenant, wanted, .. } = inputs;
    let mut ports = vec![("tls", listen::WEB)];
    if inputs.ports.is_some() {
        ports.extend([
            ("sshproxy", listen::SSH),
            ("sshtun", listen::TUNNEL),
            ("kube", listen::KUBE),
            ("mysql", listen::MYSQL),
        ]);
    }
    let certificate = tenant.web_certificate();
    let template = pod::template(
        inputs,
        Parts {
            component: Component::Proxy,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account: None,
            args: vec!["--diag-addr=0.0.0.0:3000".into()],
            trust: vec![mount::TRUST],
            metrics,
            env: Vec::new(),
            ports,
            volumes: vec![
                (mount::config("config", &config.reference.name), mount::CONFIG.to_owned()),
                (mount::secret("join", &join.reference.name, None), mount::JOIN.to_owned()),
                (
                    mount::secret(
                        "tls",
                        &certificate,
                        Some(vec![item("tls.crt", "tls.crt"), item("tls.key", "tls.key")]),
                    ),
                    mount::TLS.to_owned(),
                ),
                (mount::secret("tls-ca", &certificate, Some(vec![item("ca.crt", "ca.pem")])), mount::TRUST.to_owned()),
            ],
            grace_seconds: wanted.pod_inputs.proxy_grace_seconds,
        },
    );
    Object::new(
        Kind::Deployment,
        &Deployment {
            metadata: tenant.metadata(tenant.proxy_deployment(), tenant.component_labels(Component::Proxy)),
            spec: DeploymentSpec {
                min_ready_seconds: Some(wanted.pod_inputs.proxy_min_ready_seconds).filter(|seconds| *seconds > 0),
                replicas: Some(wanted.proxy_replicas),
                revision_history_limit: Some(0),
                selector: tenant.label_selector(Component::Proxy),
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".into()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(1)),
                        max_unavailable: Some(IntOrString::Int(0)),
                    }),
                }),
                template,
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        },
    )
}
