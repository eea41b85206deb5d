//! The tenant's Kubernetes objects. One function builds one object; it takes validated input, cannot fail, and writes
//! every field that matters.

pub mod auth;
pub mod bootstrap;
pub mod budget;
pub mod certificate;
pub mod config;
pub mod gateway;
pub mod kept;
pub mod listen;
pub mod metrics;
pub mod mount;
pub mod network;
mod placement;
pub mod pod;
pub mod preflight;
pub mod proxy;
pub mod service;

use chrono::{DateTime, Utc};
use crds::tenant_status::Ports;

use crate::cloud::CloudNames;
use crate::feed::Feed;
use crate::fleet::Installation;
use crate::keys::{Authorities, MetricsKeys};
use crate::names::{self, Component, Identity};
use crate::object::Object;
use crate::version::Version;
use crate::wanted::Wanted;

/// Everything that a rendering needs.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// Names and labels.
    pub tenant: &'a Identity,
    /// What the user asked for.
    pub wanted: &'a Wanted,
    /// What the platform team decided.
    pub installation: &'a Installation,
    /// The release feed, which may know an image by its digest.
    pub feed: Option<&'a Feed>,
    /// Names of the cloud resources.
    pub cloud: &'a CloudNames,
    /// The port block, for tenants that have one.
    pub ports: Option<&'a Ports>,
    /// The version that the pods run.
    pub version: &'a Version,
    /// The certificate authorities.
    pub authorities: &'a Authorities,
    /// What metrics are served and read with.
    pub metrics: &'a MetricsKeys,
    /// Digest of the licence, for tenants that have one.
    pub license: Option<&'a str>,
    /// Namespace of the operator, whose pods may reach Auth.
    pub operator_namespace: &'a str,
}

/// The objects by which Auth is run.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthObjects {
    /// ServiceAccount whose token the role trusts.
    pub service_account: Object,
    /// `teleport.yaml`.
    pub config: Object,
    /// Bootstrap and start-up resources.
    pub startup: Object,
    /// Internal Service.
    pub service: Object,
    /// How many of its pods may be evicted at once.
    pub budget: Object,
    /// Who may speak with whom. What Auth and Proxy may comes first, and what shuts all pods off after them: where pods run
    /// already, the other order would cut them off meanwhile.
    pub network: [Object; 3],
    /// One Deployment for each replica, rolled one after the other.
    pub deployments: Vec<Object>,
}

/// The objects by which Proxy is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyObjects {
    /// `teleport.yaml`.
    pub config: Object,
    /// The token by which it joins Auth.
    pub join: Object,
    /// Public Service.
    pub service: Object,
    /// How many of its pods may be evicted at once.
    pub budget: Object,
    /// The Deployment.
    pub deployment: Object,
    /// With exposure `Gateway`: the Service of the block, and the route of port 443.
    pub gateway: Vec<Object>,
}

/// The objects by which metrics are read.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsObjects {
    /// What Auth and Proxy serve them with.
    pub served: Object,
    /// What a scraper shows.
    pub scraper: Object,
    /// How the Prometheus operator finds it all.
    pub monitor: Object,
    /// Until when the certificates are good.
    pub until: DateTime<Utc>,
}

/// A whole tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Auth.
    pub auth: AuthObjects,
    /// Proxy.
    pub proxy: ProxyObjects,
    /// Metrics of both.
    pub metrics: MetricsObjects,
}

impl Rendered {
    /// Renders everything.
    pub fn new(inputs: &Inputs<'_>) -> Rendered {
        let auth_config = auth::config(inputs);
        let startup = auth::startup(inputs);
        let metrics = metrics::objects(inputs);
        let deployments = (0..inputs.wanted.auth_replicas)
            .map(|ordinal| auth::deployment(inputs, ordinal, [&auth_config, &startup, &metrics.served]))
            .collect();
        let proxy_config = proxy::config(inputs);
        let join = proxy::join(inputs);
        let deployment = proxy::deployment(inputs, [&proxy_config, &join, &metrics.served]);
        Rendered {
            auth: AuthObjects {
                service_account: auth::service_account(inputs),
                config: auth_config,
                startup,
                service: service::auth(inputs),
                budget: budget::budget(inputs, Component::Auth),
                network: [network::auth(inputs), network::proxy(inputs), network::nothing(inputs)],
                deployments,
            },
            proxy: ProxyObjects {
                config: proxy_config,
                join,
                service: service::public(inputs),
                budget: budget::budget(inputs, Component::Proxy),
                deployment,
                gateway: gateway::objects(inputs),
            },
            metrics,
        }
    }

    /// Digest of the pod templates: what a restart would change. Replica counts are not part of it.
    pub fn template(&self) -> String {
        let Rendered { auth, proxy, .. } = self;
        let text = |object: &Object| object.manifest["spec"]["template"].to_string();
        let templates = [auth.deployments.first().map(text).unwrap_or_default(), text(&proxy.deployment)];
        names::digest(templates.join("\n").as_bytes())[..16].to_owned()
    }
}
