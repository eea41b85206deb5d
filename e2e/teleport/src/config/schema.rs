//! The keys that `teleport.yaml` may hold. The real parser is strict: one unknown key refuses the whole file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::rule::{Refusal, Rule};

/// One key a line; parents are implied, `[]` is any item of a list, `*` any key, `**` anything below, `@N` the first major
/// that knows the key.
const KEYS: &str = "
version
teleport.nodename teleport.data_dir teleport.pid_file teleport.auth_token teleport.auth_servers teleport.auth_server
teleport.proxy_server teleport.advertise_ip teleport.diag_addr teleport.ca_pin teleport.shutdown_delay
teleport.join_params.method teleport.join_params.token_name teleport.join_params.azure.client_id
teleport.log.severity teleport.log.output teleport.log.format.output teleport.log.format.extra_fields
teleport.connection_limits.max_connections teleport.connection_limits.max_users teleport.connection_limits.rates.**
teleport.storage.**
teleport.cache.enabled teleport.cache.max_backoff teleport.cache.type teleport.cache.ttl
teleport.ciphers teleport.kex_algos teleport.mac_algos teleport.ca_signature_algo teleport.ciphersuites teleport.pin
auth_service.enabled auth_service.cluster_name auth_service.listen_addr auth_service.public_addr auth_service.license_file
auth_service.session_recording auth_service.proxy_checks_host_keys auth_service.proxy_listener_mode
auth_service.proxy_ping_interval auth_service.proxy_protocol auth_service.routing_strategy auth_service.tokens
auth_service.client_idle_timeout auth_service.client_idle_timeout_message auth_service.disconnect_expired_cert
auth_service.keep_alive_interval auth_service.keep_alive_count_max auth_service.session_control_timeout
auth_service.web_idle_timeout auth_service.case_insensitive_routing auth_service.message_of_the_day auth_service.kubeconfig_file
auth_service.tunnel_strategy.type auth_service.tunnel_strategy.agent_connection_count
auth_service.ca_key_params.aws_kms.account auth_service.ca_key_params.aws_kms.region auth_service.ca_key_params.aws_kms.tags.**
auth_service.ca_key_params.aws_kms.multi_region.** auth_service.ca_key_params.pkcs11.** auth_service.ca_key_params.gcp_kms.**
auth_service.access_monitoring.enabled auth_service.access_monitoring.report_results auth_service.access_monitoring.role_arn
auth_service.access_monitoring.workgroup auth_service.load_all_cas auth_service.hosted_plugins.**
auth_service.authentication.type auth_service.authentication.local_auth auth_service.authentication.second_factor
auth_service.authentication.second_factors@17 auth_service.authentication.signature_algorithm_suite@17
auth_service.authentication.connector_name auth_service.authentication.locking_mode auth_service.authentication.passwordless
auth_service.authentication.headless auth_service.authentication.require_session_mfa
auth_service.authentication.default_session_ttl auth_service.authentication.allow_local_auth
auth_service.authentication.webauthn.rp_id auth_service.authentication.webauthn.attestation_allowed_cas
auth_service.authentication.webauthn.attestation_denied_cas auth_service.authentication.webauthn.disabled
auth_service.authentication.u2f.** auth_service.authentication.device_trust.** auth_service.authentication.hardware_key.**
auth_service.authentication.piv_slot auth_service.authentication.stable_unix_user_config.**
proxy_service.enabled proxy_service.web_listen_addr proxy_service.listen_addr proxy_service.tunnel_listen_addr
proxy_service.kube_listen_addr proxy_service.mysql_listen_addr proxy_service.postgres_listen_addr
proxy_service.mongo_listen_addr proxy_service.peer_listen_addr proxy_service.mysql_server_version
proxy_service.public_addr proxy_service.ssh_public_addr proxy_service.tunnel_public_addr proxy_service.kube_public_addr
proxy_service.mysql_public_addr proxy_service.postgres_public_addr proxy_service.mongo_public_addr
proxy_service.peer_public_addr proxy_service.https_key_file proxy_service.https_cert_file
proxy_service.https_keypairs[].key_file proxy_service.https_keypairs[].cert_file proxy_service.https_keypairs_reload_interval
proxy_service.acme.enabled proxy_service.acme.email proxy_service.acme.uri proxy_service.proxy_protocol
proxy_service.proxy_protocol_allow_downgrade proxy_service.trust_x_forwarded_for proxy_service.ui.**
proxy_service.kubernetes.enabled proxy_service.kubernetes.listen_addr proxy_service.kubernetes.public_addr
proxy_service.automatic_upgrades_channels.*.static_version proxy_service.automatic_upgrades_channels.*.forward_url
proxy_service.automatic_upgrades_channels.*.critical proxy_service.proxy_templates_config
metrics_service.enabled metrics_service.listen_addr metrics_service.keypairs[].key_file metrics_service.keypairs[].cert_file
metrics_service.ca_certs metrics_service.grpc_server_latency metrics_service.grpc_client_latency
debug_service.enabled ssh_service.** kubernetes_service.** app_service.** db_service.** windows_desktop_service.**
discovery_service.** okta_service.** jamf_service.** tracing_service.** opsgenie.** plugin_service.** access_graph.**
";

#[derive(Default)]
struct Node {
    below: BTreeMap<&'static str, Node>,
    since: Option<u64>,
}

static ROOT: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::default();
    for entry in KEYS.split_whitespace() {
        let (path, since) = match entry.split_once('@') {
            Some((path, major)) => (path, major.parse().ok()),
            None => (entry, None),
        };
        let mut node = &mut root;
        for part in path.split('.') {
            let (key, list) = part.strip_suffix("[]").map_or((part, false), |key| (key, true));
            node = node.below.entry(key).or_default();
            if list {
                node = node.below.entry("[]").or_default();
            }
        }
        node.since = since;
    }
    root
});

/// Refuses the first key that a major does not know.
pub(super) fn check(file: &Value, major: u64) -> Result<(), Refusal> {
    descend(file, &ROOT, "", major)
}

fn descend(value: &Value, node: &Node, path: &str, major: u64) -> Result<(), Refusal> {
    if node.below.contains_key("**") {
        return Ok(());
    }
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            // A scalar or list where keys were found is a wrong type, which reading the values finds too.
            let known = node.below.get(key.as_str()).or_else(|| node.below.get("*"));
            let Some(known) = known else { return Err(Rule::UnknownKey.by(path)) };
            match known.since {
                Some(since) if major < since => Err(Rule::KeyNotInMajor.by(format!("{path} is known from {since} on"))),
                _ => descend(value, known, &path, major),
            }
        }),
        Value::Array(items) => match node.below.get("[]") {
            Some(item) => items.iter().try_for_each(|value| descend(value, item, &format!("{path}[]"), major)),
            None if node.below.is_empty() => Ok(()),
            None => Err(Rule::WrongType.by(format!("{path}: a list where keys are expected"))),
        },
        Value::Null => Ok(()),
        _ if node.below.is_empty() => Ok(()),
        _ => Err(Rule::WrongType.by(format!("{path}: a scalar where keys are expected"))),
    }
}
