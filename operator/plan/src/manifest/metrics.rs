//! The metrics of Auth and Proxy: what their processes serve them with, what a scraper shows to read them, and the object that tells
//! the Prometheus operator how. All of it is the tenant's own: a scraper of one tenant is refused by every other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::{Inputs, MetricsObjects, mount};
use crate::clock::rfc3339;
use crate::keys::MetricsKeys;
use crate::names::TENANT_ID;
use crate::object::{Kind, Object};

/// Annotation of the pods: until when the certificate of their metrics is good. They read it once, when they start.
const UNTIL: &str = "tenancy.dev/metrics-certificate-until";
/// As Teleport's own chart has its PodMonitor (templates/auth/podmonitor.yaml).
const INTERVAL: &str = "30s";
/// Name of the port in the pods.
pub const PORT: &str = "metrics";

/// All of them.
pub fn objects(inputs: &Inputs<'_>) -> MetricsObjects {
    let (served, scraper, monitor) = (served(inputs), scraper(inputs), monitor(inputs));
    MetricsObjects { served, scraper, monitor, until: inputs.metrics.not_after }
}

/// What the processes serve their metrics with, immutable and named by its content.
fn served(inputs: &Inputs<'_>) -> Object {
    let MetricsKeys { authority, server_certificate, server_key, .. } = inputs.metrics;
    let content = [authority, server_certificate, &server_key.0];
    let name = inputs.tenant.metrics(&content.map(String::as_str).join("\n"));
    let mut secret = secret(inputs, name, content);
    secret.immutable = Some(true);
    Object::new(Kind::Secret, &secret)
}

/// What a scraper of this tenant shows, and by which it knows the processes. It is renewed in place.
fn scraper(inputs: &Inputs<'_>) -> Object {
    let MetricsKeys { authority, scraper_certificate, scraper_key, .. } = inputs.metrics;
    let secret = secret(inputs, inputs.tenant.scraper(), [authority, scraper_certificate, &scraper_key.0]);
    Object::new(Kind::Secret, &secret)
}

fn secret(inputs: &Inputs<'_>, name: String, [authority, certificate, key]: [&String; 3]) -> Secret {
    let entries = [("ca.crt", authority), ("tls.crt", certificate), ("tls.key", key)];
    let data = entries.map(|(entry, text)| (entry.to_owned(), ByteString(text.clone().into_bytes())));
    Secret {
        metadata: inputs.tenant.metadata(name, inputs.tenant.labels()),
        data: Some(data.into()),
        type_: Some("kubernetes.io/tls".into()),
        ..Secret::default()
    }
}

/// Tells the Prometheus operator to read the metrics of all pods of the tenant.
fn monitor(inputs: &Inputs<'_>) -> Object {
    let tenant = inputs.tenant;
    let mut labels = inputs.installation.monitoring.pod_monitor_labels.clone();
    labels.extend(tenant.labels());
    let entry = |key: &str| json!({"name": tenant.scraper(), "key": key});
    let endpoint = json!({
        "port": PORT,
        "scheme": "https",
        "path": "/metrics",
        "interval": INTERVAL,
        "tlsConfig": {
            "serverName": inputs.metrics.server_name,
            "ca": {"secret": entry("ca.crt")},
            "cert": {"secret": entry("tls.crt")},
            "keySecret": entry("tls.key"),
        },
    });
    Object::new(
        Kind::PodMonitor,
        &json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": tenant.metadata(tenant.slug.clone(), labels),
            "spec": {
                // Pods of checks have no port of this name.
                "selector": {"matchLabels": {TENANT_ID: tenant.id}},
                "podMetricsEndpoints": [endpoint],
            },
        }),
    )
}

/// What `teleport.yaml` says of it. Teleport asks for a client's certificate exactly when both lists are there (rfd/0027).
pub fn service(listen: String) -> Value {
    let file = |name: &str| format!("{}/{name}", mount::METRICS);
    json!({
        "enabled": true,
        "listen_addr": listen,
        "keypairs": [{"key_file": file("tls.key"), "cert_file": file("tls.crt")}],
        "ca_certs": [file("ca.crt")],
    })
}

/// What pods say of the certificate that they read when they start.
pub fn annotations(inputs: &Inputs<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([(UNTIL.to_owned(), rfc3339(inputs.metrics.not_after))])
}

/// Until when the certificate is good that the pods of this Deployment have read.
pub fn until(deployment: &Value) -> Option<DateTime<Utc>> {
    deployment["spec"]["template"]["metadata"]["annotations"][UNTIL].as_str()?.parse().ok()
}

/// Whether the pods of this Deployment serve with what is in that Secret.
pub fn is_served(deployment: &Value, served: &Object) -> bool {
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    volumes.iter().any(|volume| volume["secret"]["secretName"] == served.reference.name.as_str())
}
