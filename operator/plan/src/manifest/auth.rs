//! The objects of Auth.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::pod::{self, Parts};
use super::{Inputs, bootstrap, config as teleport_yaml, listen, mount};
use crate::names::Component;
use crate::object::{Kind, Object};

/// Label that tells the two Deployments of Auth apart.
const ORDINAL: &str = "tenancy.dev/ordinal";
/// Annotation with the digest of the licence: another one is another template.
const LICENSE: &str = "tenancy.dev/license";

/// The ServiceAccount that the tenant's role trusts.
pub fn service_account(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    Object::new(
        Kind::ServiceAccount,
        &ServiceAccount {
            metadata: tenant.metadata(tenant.auth(), tenant.component_labels(Component::Auth)),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
    )
}

/// `teleport.yaml`, immutable and named by its content, so that a pod that restarts gets what it had.
pub fn config(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let text = teleport_yaml::auth(inputs);
    Object::new(
        Kind::ConfigMap,
        &ConfigMap {
            metadata: tenant.metadata(tenant.hashed(Component::Auth, &text), tenant.component_labels(Component::Auth)),
            data: Some(BTreeMap::from([("teleport.yaml".to_owned(), text)])),
            immutable: Some(true),
            ..ConfigMap::default()
        },
    )
}

/// The files of start-up resources, which hold keys and the join token.
pub fn startup(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let bootstrap = bootstrap::bootstrap(&inputs.wanted.domain, inputs.authorities);
    let apply = bootstrap::apply_on_startup(&inputs.authorities.join_token());
    let name = tenant.hashed(Component::Auth, &format!("{bootstrap}\n{apply}"));
    Object::new(
        Kind::Secret,
        &Secret {
            metadata: tenant.metadata(name, tenant.component_labels(Component::Auth)),
            data: Some(
                [("bootstrap.yaml", bootstrap), ("apply-on-startup.yaml", apply)]
                    .into_iter()
                    .map(|(key, text)| (key.to_owned(), k8s_openapi::ByteString(text.into_bytes())))
                    .collect(),
            ),
            immutable: Some(true),
            type_: Some("Opaque".into()),
            ..Secret::default()
        },
    )
}

/// One replica of Auth. One Deployment each, since a Deployment of two lets the old pods of both run while they end,
/// and a state table bears no more than two readers.
pub fn deployment(inputs: &Inputs<'_>, ordinal: i32, [config, startup, metrics]: [&Object; 3]) -> Object {
    let Inputs { tenant, wanted, cloud, .. } = inputs;
    let ordinal_label = BTreeMap::from([(ORDINAL.to_owned(), ordinal.to_string())]);
    let mut selector = tenant.selector(Component::Auth);
    selector.extend(ordinal_label.clone());
    let mut labels = tenant.component_labels(Component::Auth);
    labels.extend(ordinal_label.clone());
    let mut volumes = vec![
        (mount::config("config", &config.reference.name), mount::CONFIG.to_owned()),
        (mount::secret("startup", &startup.reference.name, None), mount::STARTUP.to_owned()),
        (mount::aws_token(), mount::AWS_TOKEN.to_owned()),
    ];
    if let Some(license) = &wanted.license_secret {
        let items = Some(vec![mount::item("license.pem", "license.pem")]);
        volumes.push((mount::secret("license", license, items), mount::LICENSE.to_owned()));
    }
    let template = pod::template(
        inputs,
        Parts {
            component: Component::Auth,
            labels: ordinal_label,
            // Auth reads its licence when it starts.
            annotations: inputs.license.map(|digest| (LICENSE.to_owned(), digest.to_owned())).into_iter().collect(),
            service_account: Some(tenant.auth()),
            args: vec![
                "--diag-addr=0.0.0.0:3000".into(),
                format!("--bootstrap={}/bootstrap.yaml", mount::STARTUP),
                format!("--apply-on-startup={}/apply-on-startup.yaml", mount::STARTUP),
            ],
            env: vec![
                pod::variable("AWS_REGION", &cloud.region),
                pod::variable("AWS_ROLE_ARN", &cloud.role_arn),
                pod::variable("AWS_WEB_IDENTITY_TOKEN_FILE", format!("{}/token", mount::AWS_TOKEN)),
                pod::variable("AWS_STS_REGIONAL_ENDPOINTS", "regional"),
            ],
            trust: Vec::new(),
            metrics,
            ports: vec![("auth", listen::AUTH)],
            volumes,
            grace_seconds: 60,
        },
    );
    Object::new(
        Kind::Deployment,
        &Deployment {
            metadata: tenant.metadata(tenant.auth_deployment(ordinal), labels),
            spec: DeploymentSpec {
                replicas: Some(1),
                revision_history_limit: Some(0),
                selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
                strategy: Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }),
                template,
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        },
    )
}
