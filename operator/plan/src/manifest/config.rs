//! `teleport.yaml` of Auth and Proxy, configuration version v3.

use crds::network::ProxyProtocol;
use crds::tenant::{Edition, SessionRecording};
use serde_json::{Value, json};

use super::{Inputs, listen, metrics, mount};
use crate::cloud::CloudNames;
use crate::object::sorted;

/// Connections that one process accepts; Teleport's scaling guide raises its default of 15,000 to this.
const MAX_CONNECTIONS: u32 = 65_000;
/// How often Proxy looks for a renewed web certificate.
const KEYPAIRS_RELOAD: &str = "1m";

/// Configuration of Auth.
pub fn auth(inputs: &Inputs<'_>) -> String {
    let Inputs { wanted, cloud, .. } = inputs;
    // `second_factors` came with major 17; before it the parser knows only the single key, and refuses the other.
    let factors = if inputs.version.major >= 17 {
        ("second_factors", json!(["webauthn", "otp"]))
    } else {
        ("second_factor", json!("on"))
    };
    let mut authentication = json!({"type": "local", "webauthn": {"rp_id": wanted.domain}});
    authentication[factors.0] = factors.1;
    let mut service = json!({
        "enabled": true,
        "cluster_name": wanted.domain,
        "listen_addr": everywhere(listen::AUTH),
        "proxy_listener_mode": if wanted.pod_inputs.tls_routing { "multiplex" } else { "separate" },
        "session_recording": match wanted.pod_inputs.session_recording {
            SessionRecording::Node => "node",
            SessionRecording::NodeSync => "node-sync",
            SessionRecording::Disabled => "off",
        },
        "authentication": authentication,
    });
    if wanted.edition == Edition::Enterprise {
        service["license_file"] = json!(format!("{}/license.pem", mount::LICENSE));
    }
    let mut teleport = process();
    teleport["auth_server"] = json!(format!("127.0.0.1:{}", listen::AUTH));
    teleport["storage"] = json!({
        "type": "dynamodb",
        "region": cloud.region,
        "table_name": cloud.state_table,
        "audit_events_uri": [format!("dynamodb://{}", cloud.events_table)],
        "audit_sessions_uri": sessions(cloud, wanted.pod_inputs.kms_key_arn.as_deref()),
        // The operator keeps point-in-time recovery; with `true` Auth would need the right to change it and set it at each start.
        "continuous_backups": false,
        "billing_mode": "pay_per_request",
        "retention_period": format!("{}d", wanted.pod_inputs.audit_retention_days),
    });
    yaml(json!({
        "version": "v3",
        "teleport": teleport,
        "auth_service": service,
        "proxy_service": {"enabled": false},
        "ssh_service": {"enabled": false},
        "metrics_service": metrics::service(everywhere(listen::METRICS)),
    }))
}

/// On all addresses of a pod.
fn everywhere(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

/// Where recordings go. Auth asks for `aws:kms` with each of them, which without a key is the one that AWS manages, whatever the
/// default of the bucket (lib/events/s3sessions).
fn sessions(cloud: &CloudNames, key: Option<&str>) -> String {
    let uri = format!("s3://{}/records?region={}", cloud.bucket, cloud.region);
    match key {
        Some(key) => format!("{uri}&sse_kms_key={key}"),
        None => uri,
    }
}

/// Configuration of Proxy. The separate listeners are open whenever there is a block, also with TLS routing, which is
/// only what clients are told to use.
pub fn proxy(inputs: &Inputs<'_>) -> String {
    let Inputs { tenant, wanted, installation, .. } = inputs;
    let domain = &wanted.domain;
    let mut service = json!({
        "enabled": true,
        "web_listen_addr": everywhere(listen::WEB),
        "public_addr": [format!("{domain}:443")],
        "https_keypairs": [{
            "key_file": format!("{}/tls.key", mount::TLS),
            "cert_file": format!("{}/tls.crt", mount::TLS),
        }],
        "https_keypairs_reload_interval": KEYPAIRS_RELOAD,
        "proxy_protocol": match wanted.pod_inputs.proxy_protocol {
            ProxyProtocol::Enabled => "on",
            ProxyProtocol::Disabled => "off",
        },
    });
    if let Some(ports) = inputs.ports {
        let addresses = [
            ("listen_addr", listen::SSH, "ssh_public_addr", ports.ssh),
            ("tunnel_listen_addr", listen::TUNNEL, "tunnel_public_addr", ports.tunnel),
            ("kube_listen_addr", listen::KUBE, "kube_public_addr", ports.kube),
            ("mysql_listen_addr", listen::MYSQL, "mysql_public_addr", ports.mysql),
        ];
        for (listener, own, public, port) in addresses {
            service[listener] = json!(everywhere(own));
            service[public] = json!([format!("{domain}:{port}")]);
        }
        // PostgreSQL is served by the web listener.
        service["postgres_public_addr"] = json!([format!("{domain}:{}", ports.postgres)]);
    }
    let mut teleport = process();
    teleport["auth_server"] =
        json!(format!("{}.{}.svc.{}:{}", tenant.auth(), tenant.namespace, installation.cluster_domain, listen::AUTH));
    teleport["join_params"] = json!({"method": "token", "token_name": format!("{}/token", mount::JOIN)});
    yaml(json!({
        "version": "v3",
        "teleport": teleport,
        "proxy_service": service,
        "auth_service": {"enabled": false},
        "ssh_service": {"enabled": false},
        "metrics_service": metrics::service(everywhere(listen::METRICS)),
    }))
}

/// What every process has in its `teleport` section.
fn process() -> Value {
    json!({
        "data_dir": "/var/lib/teleport",
        "log": {"output": "stderr", "severity": "INFO", "format": {"output": "json"}},
        "connection_limits": {"max_connections": MAX_CONNECTIONS},
    })
}

/// As YAML with sorted keys.
pub fn yaml(value: Value) -> String {
    serde_saphyr::to_string(&sorted(value)).expect("a JSON value is always a YAML document")
}
