//! The spec of a Tenant, parsed once into a form that cannot hold the wrong thing. After this nobody looks at the raw
//! spec.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use crds::network::{Exposure, Network, ProxyProtocol};
use crds::tenant::{Edition, Proxy, Size, Storage, Tenant};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::duration;
use crate::names;
use crate::version::Version;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Name of the Tenant.
    pub slug: String,
    /// Its namespace.
    pub namespace: String,
    /// Teleport cluster name and public host name.
    pub domain: String,
    /// Which build.
    pub edition: Edition,
    /// Secret with `license.pem`; always there for Enterprise.
    pub license_secret: Option<String>,
    /// The version that should run.
    pub version: Version,
    /// AWS region.
    pub region: String,
    /// How old the last reading of the inventory may be.
    pub report_ttl: TimeDelta,
    /// 1 or 2.
    pub auth_replicas: i32,
    /// Number of Proxy pods.
    pub proxy_replicas: i32,
    /// The port pool.
    pub port_pool: Option<String>,
    /// How it is published.
    pub exposure: Exposure,
    /// Whether the tables have point-in-time recovery.
    pub point_in_time_recovery: bool,
    /// What reaches the pods.
    pub pod_inputs: PodInputs,
}

/// The parts of the spec that reach the pods: a user's edit of one of them is applied at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodInputs {
    /// Size class.
    pub size: Size,
    /// Grace period of Proxy pods.
    pub proxy_grace_seconds: i64,
    /// Delay between Proxy pods.
    pub proxy_min_ready_seconds: i32,
    /// Whether clients use one port.
    pub tls_routing: bool,
    /// Whether PROXY headers are expected.
    pub proxy_protocol: ProxyProtocol,
    /// Days that audit events are kept.
    pub audit_retention_days: i32,
    /// Secret with the licence.
    pub license_secret: Option<String>,
}

impl PodInputs {
    /// What a Tenant has that says nothing about its pods.
    fn defaults() -> PodInputs {
        let (network, proxy, storage) = (Network::default(), Proxy::default(), Storage::default());
        PodInputs {
            size: Size::default(),
            proxy_grace_seconds: proxy.termination_grace_period_seconds,
            proxy_min_ready_seconds: proxy.min_ready_seconds,
            tls_routing: network.tls_routing,
            proxy_protocol: network.proxy_protocol,
            audit_retention_days: storage.audit_retention_days,
            license_secret: None,
        }
    }

    /// Digest of what differs from the defaults: a field that comes later with today's behaviour as its default changes
    /// no digest, and so restarts nothing.
    pub fn digest(&self) -> String {
        let entries = |inputs: &PodInputs| match serde_json::to_value(inputs) {
            Ok(Value::Object(entries)) => entries,
            Ok(_) | Err(_) => unreachable!("a struct of plain fields serializes to a map"),
        };
        let defaults = entries(&PodInputs::defaults());
        let own: BTreeMap<String, Value> =
            entries(self).into_iter().filter(|(key, value)| defaults.get(key) != Some(value)).collect();
        let text = serde_json::to_string(&own).expect("a map of plain values serializes");
        names::digest(text.as_bytes())[..16].to_owned()
    }
}

/// A field that cannot be carried out, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {remedy}")]
pub struct Refusal {
    /// Path of the field.
    pub field: &'static str,
    /// What to do.
    pub remedy: String,
}

impl Wanted {
    /// Parses the spec of a Tenant.
    ///
    /// # Errors
    /// Every field that cannot be carried out. The API server refuses most of them first; what gets past it (an older
    /// schema, a rule that only the operator knows) is refused here.
    pub fn parse(tenant: &Tenant) -> Result<Wanted, Vec<Refusal>> {
        let spec = &tenant.spec;
        let mut refusals = Vec::new();
        let version = match Version::parse(&spec.version) {
            Ok(version) => Some(version),
            Err(error) => {
                refusals.push(Refusal { field: "spec.version", remedy: format!("write it as 18.1.0 ({error})") });
                None
            }
        };
        let report_ttl = duration::parse(&spec.agents.report_ttl);
        if report_ttl.is_none() {
            refusals.push(Refusal {
                field: "spec.agents.reportTTL",
                remedy: format!("{:?} is no duration: write it as 15m or 1h30m", spec.agents.report_ttl),
            });
        }
        let license_secret = spec.license_secret_ref.as_ref().map(|reference| reference.name.clone());
        if (spec.edition == Edition::Enterprise) != license_secret.is_some() {
            refusals.push(Refusal {
                field: "spec.licenseSecretRef",
                remedy: "edition Enterprise needs it, edition Community must not have it".into(),
            });
        }
        match (version, report_ttl) {
            (Some(version), Some(report_ttl)) if refusals.is_empty() => Ok(Wanted {
                slug: tenant.name_any(),
                namespace: tenant.namespace().unwrap_or_default(),
                domain: spec.domain.clone(),
                edition: spec.edition,
                license_secret: license_secret.clone(),
                version,
                region: spec.region.clone(),
                report_ttl,
                auth_replicas: spec.auth.replicas,
                proxy_replicas: spec.proxy.replicas,
                port_pool: spec.network.port_pool.clone(),
                exposure: spec.network.exposure,
                point_in_time_recovery: spec.storage.point_in_time_recovery,
                pod_inputs: PodInputs {
                    size: spec.size,
                    proxy_grace_seconds: spec.proxy.termination_grace_period_seconds,
                    proxy_min_ready_seconds: spec.proxy.min_ready_seconds,
                    tls_routing: spec.network.tls_routing,
                    proxy_protocol: spec.network.proxy_protocol,
                    audit_retention_days: spec.storage.audit_retention_days,
                    license_secret,
                },
            }),
            _ => Err(refusals),
        }
    }
}
