//! The spec of a Tenant, parsed once into a form that cannot hold the wrong thing. After this nobody looks at the raw
//! spec.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use crds::certificates::{Issuer, IssuerRef};
use crds::maintenance::Maintenance;
use crds::network::{Exposure, IpFamilyPolicy, Network, ProxyProtocol};
use crds::pod::{Pod, Resources};
use crds::processes::Proxy;
use crds::storage::Storage;
use crds::tenant::{Agents, Edition, SessionRecording, Size, Tenant};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::agents::Forget;
use crate::duration;
use crate::feed::target::Goal;
use crate::names::{self, Component};
use crate::pattern;
use crate::pod_defaults;
use crate::resources::{self, Amounts};
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
    /// What should run: a version, or whatever a channel allows.
    pub goal: Goal,
    /// When it may be updated.
    pub maintenance: Maintenance,
    /// The wave in which it gets a release of a channel, 1 to 3.
    pub wave: u8,
    /// Who issues the web certificate.
    pub issuer: Issuer,
    /// The issuer of cert-manager; there exactly with [`Issuer::CertManager`].
    pub issuer_ref: Option<IssuerRef>,
    /// AWS region.
    pub region: String,
    /// How old the last reading of the inventory may be.
    pub report_ttl: TimeDelta,
    /// How long an agent that left on an older major counts.
    pub remember_for: TimeDelta,
    /// Whom to forget earlier.
    pub forget: Option<Forget>,
    /// 1 or 2.
    pub auth_replicas: i32,
    /// Number of Proxy pods.
    pub proxy_replicas: i32,
    /// Whether nothing is to be written but the status.
    pub paused: bool,
    /// The port pool.
    pub port_pool: Option<String>,
    /// How it is published.
    pub exposure: Exposure,
    /// What the public Service says of its load balancer.
    pub balancer: Balancer,
    /// Whether the tables have point-in-time recovery.
    pub point_in_time_recovery: bool,
    /// Days that a recording can be played; 0 = for ever.
    pub session_retention_days: i32,
    /// CPU and memory of each Auth pod.
    pub auth_amounts: Amounts,
    /// CPU and memory of each Proxy pod.
    pub proxy_amounts: Amounts,
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
    /// Where sessions are recorded.
    pub session_recording: SessionRecording,
    /// The customer's key of tables and bucket: Auth names it with each recording.
    pub kms_key_arn: Option<String>,
    /// Secret with the licence.
    pub license_secret: Option<String>,
    /// CPU and memory of Auth pods, as far as they are not by size.
    pub auth_resources: Option<Resources>,
    /// The same of Proxy pods.
    pub proxy_resources: Option<Resources>,
    /// Where Auth pods run.
    pub auth_pod: Option<Pod>,
    /// Where Proxy pods run.
    pub proxy_pod: Option<Pod>,
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
            session_recording: SessionRecording::default(),
            kms_key_arn: None,
            license_secret: None,
            auth_resources: None,
            proxy_resources: None,
            auth_pod: None,
            proxy_pod: None,
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

/// What the public Service says of its load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Its implementation.
    pub class: Option<String>,
    /// Annotations of the user.
    pub annotations: BTreeMap<String, String>,
    /// From where clients come in; none = from everywhere.
    pub source_ranges: Vec<String>,
    /// Address families.
    pub ip_family_policy: Option<IpFamilyPolicy>,
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
        let mut refusals = texts(tenant);
        let goal = match (&spec.version, &spec.channel) {
            (Some(version), None) => match Version::parse(version) {
                Ok(version) => Some(Goal::Pinned(version)),
                Err(error) => {
                    refusals.push(Refusal { field: "spec.version", remedy: format!("write it as 18.1.0 ({error})") });
                    None
                }
            },
            (None, Some(channel)) => Some(Goal::Channel(channel.clone())),
            (Some(_), Some(_)) | (None, None) => {
                let remedy = "set exactly one of spec.version and spec.channel".into();
                refusals.push(Refusal { field: "spec.version", remedy });
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
        let remember_for = duration::parse(&spec.agents.remember_for);
        if remember_for.is_none() {
            refusals.push(Refusal {
                field: "spec.agents.rememberFor",
                remedy: format!("{:?} is no duration: write it as 24h", spec.agents.remember_for),
            });
        }
        let forget = forget(&spec.agents, &mut refusals);
        let license_secret = spec.license_secret_ref.as_ref().map(|reference| reference.name.clone());
        if (spec.edition == Edition::Enterprise) != license_secret.is_some() {
            refusals.push(Refusal {
                field: "spec.licenseSecretRef",
                remedy: "edition Enterprise needs it, edition Community must not have it".into(),
            });
        }
        if (spec.certificates.web.issuer == Issuer::CertManager) != spec.certificates.web.issuer_ref.is_some() {
            refusals.push(Refusal {
                field: "spec.certificates.web.issuerRef",
                remedy: "issuer CertManager needs it, the other issuers must not have it".into(),
            });
        }
        let mut amounts = |component, field, resources| {
            resources::amounts(spec.size, component, resources)
                .map_err(|remedy| refusals.push(Refusal { field, remedy }))
                .ok()
        };
        let auth_amounts = amounts(Component::Auth, "spec.auth.resources", spec.auth.resources.as_ref());
        let proxy_amounts = amounts(Component::Proxy, "spec.proxy.resources", spec.proxy.resources.as_ref());
        for (field, pod) in [("spec.auth.pod", &spec.auth.pod), ("spec.proxy.pod", &spec.proxy.pod)] {
            let faults = pod.iter().flat_map(pod_defaults::faults);
            refusals.extend(faults.map(|remedy| Refusal { field, remedy }));
        }
        match (goal, report_ttl, remember_for, auth_amounts.zip(proxy_amounts)) {
            (Some(goal), Some(report_ttl), Some(remember_for), Some((auth_amounts, proxy_amounts)))
                if refusals.is_empty() =>
            {
                Ok(Wanted {
                    slug: tenant.name_any(),
                    namespace: tenant.namespace().unwrap_or_default(),
                    domain: spec.domain.clone(),
                    edition: spec.edition,
                    license_secret: license_secret.clone(),
                    goal,
                    maintenance: spec.maintenance.clone(),
                    wave: wave(tenant),
                    issuer: spec.certificates.web.issuer,
                    issuer_ref: spec.certificates.web.issuer_ref.clone(),
                    region: spec.region.clone(),
                    report_ttl,
                    remember_for,
                    forget,
                    auth_replicas: spec.auth.replicas,
                    proxy_replicas: spec.proxy.replicas,
                    paused: spec.paused,
                    port_pool: spec.network.port_pool.clone(),
                    exposure: spec.network.exposure,
                    balancer: Balancer {
                        class: spec.network.load_balancer_class.clone(),
                        annotations: spec.network.annotations.clone(),
                        source_ranges: spec.network.source_ranges.clone(),
                        ip_family_policy: spec.network.ip_family_policy,
                    },
                    point_in_time_recovery: spec.storage.point_in_time_recovery,
                    session_retention_days: spec.storage.session_retention_days,
                    auth_amounts,
                    proxy_amounts,
                    pod_inputs: PodInputs {
                        size: spec.size,
                        proxy_grace_seconds: spec.proxy.termination_grace_period_seconds,
                        proxy_min_ready_seconds: spec.proxy.min_ready_seconds,
                        tls_routing: spec.network.tls_routing,
                        proxy_protocol: spec.network.proxy_protocol,
                        audit_retention_days: spec.storage.audit_retention_days,
                        session_recording: spec.session_recording,
                        kms_key_arn: spec.storage.kms_key_arn.clone(),
                        license_secret,
                        auth_resources: spec.auth.resources.clone(),
                        proxy_resources: spec.proxy.resources.clone(),
                        auth_pod: spec.auth.pod.clone(),
                        proxy_pod: spec.proxy.pod.clone(),
                    },
                })
            }
            _ => Err(refusals),
        }
    }
}

/// What becomes part of names, certificates, configuration and rights must be what it says it is, whoever let it through: a
/// wildcard or a line break in it would say something else there.
fn texts(tenant: &Tenant) -> Vec<Refusal> {
    let (spec, name) = (&tenant.spec, tenant.name_any());
    let arn =
        "the ARN of a KMS key, such as arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let issuer = spec.certificates.web.issuer_ref.as_ref();
    let texts = [
        ("metadata.name", Some(&name), pattern::NAME, "a letter, then at most 39 letters, digits and '-'"),
        ("spec.domain", Some(&spec.domain), pattern::DOMAIN, "a lower-case domain name such as acme.example.com"),
        ("spec.region", Some(&spec.region), pattern::REGION, "an AWS region such as us-west-2"),
        ("spec.storage.kmsKeyArn", spec.storage.kms_key_arn.as_ref(), pattern::KMS_KEY, arn),
        (
            "spec.certificates.web.issuerRef.name",
            issuer.map(|issuer| &issuer.name),
            pattern::OBJECT_NAME,
            "the name of an issuer such as letsencrypt",
        ),
        (
            "spec.certificates.web.issuerRef.kind",
            issuer.map(|issuer| &issuer.kind),
            pattern::KIND,
            "the kind of an issuer such as ClusterIssuer",
        ),
        (
            "spec.certificates.web.issuerRef.group",
            issuer.map(|issuer| &issuer.group),
            pattern::DOMAIN,
            "the API group of an issuer such as cert-manager.io",
        ),
    ];
    let wrong = texts.into_iter().filter_map(|(field, text, pattern, remedy)| {
        let text = text.filter(|text| !pattern::matches(pattern, text))?;
        Some(Refusal { field, remedy: format!("{text:?} must be {remedy}") })
    });
    wrong.collect()
}

/// The wave that the label names: 2 without one, the last one where it cannot be read.
pub fn wave(tenant: &Tenant) -> u8 {
    match tenant.labels().get(names::WAVE).map(String::as_str) {
        None | Some("2") => 2,
        Some("1") => 1,
        Some(_) => 3,
    }
}

fn forget(agents: &Agents, refusals: &mut Vec<Refusal>) -> Option<Forget> {
    let forget = agents.forget.as_ref()?;
    match DateTime::parse_from_rfc3339(&forget.requested_at) {
        Ok(instant) => Some(Forget { ids: forget.ids.iter().cloned().collect(), requested_at: instant.to_utc() }),
        Err(_) => {
            refusals.push(Refusal {
                field: "spec.agents.forget.requestedAt",
                remedy: format!("{:?} is no time: write it as 2026-11-22T10:00:00Z", forget.requested_at),
            });
            None
        }
    }
}
