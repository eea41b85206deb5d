//! The command line and `teleport.yaml`.

use serde_json::json;

use super::fixture::{Good, set};
use super::{Case, case, expect_refusals};
use crate::config;
use crate::rule::Rule;

pub(super) const CASES: &[Case] = &[
    case(Rule::UnknownCommand, "an unknown command", |good| good.argv[1] = "serve".to_owned()),
    case(Rule::UnknownCommand, "an unknown flag", |good| good.argv.push("--surprise".to_owned())),
    case(Rule::ImageTag, "latest", |good| good.image = "r/teleport-ent-distroless:latest".to_owned()),
    case(Rule::ImageTag, "no tag", |good| good.image = "registry:5000/teleport-ent-distroless".to_owned()),
    case(Rule::FipsBuild, "--fips on a plain image", |good| good.argv.push("--fips".to_owned())),
    case(Rule::ConfigMissing, "no file", |good| good.argv[3] = "/etc/teleport/other.yaml".to_owned()),
    case(Rule::UnknownKey, "an unknown key", |good| good.set("auth_service.replicas", json!(2))),
    case(Rule::UnknownKey, "an unknown section", |good| good.set("gateway_service", json!({}))),
    case(Rule::UnknownKey, "an mtls key of metrics", |good| good.set("metrics_service", json!({ "mtls": true }))),
    case(Rule::DuplicateKey, "a key twice", |good| good.text = Some("version: v3\nversion: v3\n".to_owned())),
    case(Rule::WrongType, "a list for a flag", |good| good.set("auth_service.enabled", json!([]))),
    case(Rule::WrongType, "a word for a flag", |good| good.set("auth_service.enabled", json!("perhaps"))),
    case(Rule::WrongType, "a scalar for keys", |good| good.set("auth_service.authentication", json!("local"))),
    case(Rule::WrongType, "a string for a list", |good| {
        good.set("auth_service.authentication.second_factors", json!("otp"))
    }),
    case(Rule::KeyNotInMajor, "second_factors in 16", |good| {
        good.image = "r/teleport-ent-distroless:16.4.3".to_owned();
        good.remove("auth_service.authentication.signature_algorithm_suite");
    }),
    case(Rule::KeyNotInMajor, "signature_algorithm_suite in 16", |good| {
        good.image = "r/teleport-ent-distroless:16.4.3".to_owned();
        good.remove("auth_service.authentication.second_factors");
    }),
    case(Rule::ListenerMode, "another mode", |good| good.set("auth_service.proxy_listener_mode", json!("both"))),
    case(Rule::SshAlgorithm, "an unknown cipher", |good| good.set("teleport.ciphers", json!(["rot13"]))),
    case(Rule::SshAlgorithm, "an unknown mac", |good| good.set("teleport.mac_algos", json!(["crc32"]))),
    case(Rule::ConfigVersion, "v4", |good| good.set("version", json!("v4"))),
    case(Rule::AuthServersInV3, "auth_servers", |good| {
        good.remove("teleport.auth_server");
        good.set("teleport.auth_servers", json!(["127.0.0.1:3025"]));
    }),
    case(Rule::TwoServerAddresses, "proxy_server too", |good| {
        good.set("teleport.proxy_server", json!("acme.example.com:443"))
    }),
    case(Rule::NothingEnabled, "auth off", |good| good.set("auth_service.enabled", json!(false))),
    case(Rule::UnsupportedService, "ssh_service left on", |good| good.remove("ssh_service.enabled")),
    case(Rule::UnsupportedService, "kubernetes_service on", |good| {
        good.set("kubernetes_service", json!({ "enabled": "yes" }))
    }),
    case(Rule::UnsupportedService, "proxy_service left on", |good| good.remove("proxy_service.enabled")),
    case(Rule::BadAddress, "a port that is no number", |good| {
        good.set("auth_service.listen_addr", json!("0.0.0.0:auth"))
    }),
    case(Rule::CannotListen, "an address of another machine", |good| {
        good.set("auth_service.listen_addr", json!("192.0.2.1:3025"))
    }),
    case(Rule::SecondFactorBoth, "both keys", |good| {
        good.set("auth_service.authentication.second_factor", json!("otp"))
    }),
    case(Rule::SecondFactorOff, "off", |good| {
        good.remove("auth_service.authentication.second_factors");
        good.set("auth_service.authentication.second_factor", json!("off"));
    }),
    case(Rule::SecondFactorUnknown, "sms", |good| {
        good.set("auth_service.authentication.second_factors", json!(["sms"]))
    }),
    case(Rule::WebauthnRpId, "no rp_id", |good| good.remove("auth_service.authentication.webauthn.rp_id")),
    case(Rule::AuthType, "ldap", |good| good.set("auth_service.authentication.type", json!("ldap"))),
    case(Rule::SignatureSuite, "another suite", |good| {
        good.set("auth_service.authentication.signature_algorithm_suite", json!("balanced-v9"));
    }),
    case(Rule::SessionRecording, "another mode", |good| {
        good.set("auth_service.session_recording", json!("everywhere"))
    }),
    case(Rule::TunnelStrategy, "another type", |good| {
        good.set("auth_service.tunnel_strategy", json!({ "type": "star" }))
    }),
    case(Rule::EnterpriseFeature, "peering without Enterprise", |good| {
        good.image = "r/teleport-distroless:18.1.0".to_owned();
        good.set("auth_service.tunnel_strategy", json!({ "type": "proxy_peering", "agent_connection_count": 2 }));
    }),
    case(Rule::EnterpriseFeature, "SAML without Enterprise", |good| {
        good.image = "r/teleport-distroless:18.1.0".to_owned();
        good.set("auth_service.authentication.type", json!("saml"));
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_configuration_ends_the_start() {
    expect_refusals(CASES, Good::auth).await;
}

/// `teleport configure --test` sees the form of the file and nothing else.
#[tokio::test]
async fn configure_test_sees_only_what_the_real_one_sees() {
    let seen = [
        Rule::UnknownKey,
        Rule::DuplicateKey,
        Rule::WrongType,
        Rule::KeyNotInMajor,
        Rule::ListenerMode,
        Rule::SshAlgorithm,
    ];
    let configuration = |case: &&Case| {
        !matches!(case.rule, Rule::UnknownCommand | Rule::ImageTag | Rule::FipsBuild | Rule::ConfigMissing)
    };
    for case in CASES.iter().filter(configuration) {
        let mut broken = Good::auth();
        (case.breaks)(&mut broken);
        broken.argv = ["teleport", "configure", "--test", "/etc/teleport/teleport.yaml"].map(str::to_owned).to_vec();
        let (code, log) = broken.start().ended().await;
        assert_eq!(code != 0, seen.contains(&case.rule), "{}:\n{log}", case.name);
    }
}

#[test]
fn unknown_keys_below_storage_are_ignored() {
    let mut good = Good::auth();
    set(&mut good.config, "teleport.storage.endpoint", json!("http://127.0.0.1"));
    assert!(config::parse(&good.config.to_string(), 18).is_ok());
}

/// YAML as a person writes it: words for booleans, a list or a string of addresses, absent sections.
#[test]
fn real_yaml_is_read() {
    let text = "
version: v3
teleport:
  auth_server: 127.0.0.1:3025
  log: {output: stderr, severity: INFO, format: {output: json, extra_fields: [timestamp, level]}}
  storage: {type: dynamodb, region: eu-central-1, table_name: t-state, poll_stream_period: 1000000000}
auth_service:
  enabled: yes
  cluster_name: acme.example.com
  public_addr: [auth.example.com:3025]
  authentication: {type: local, second_factor: on, webauthn: {rp_id: acme.example.com}}
proxy_service: {enabled: \"no\", proxy_protocol: off, public_addr: acme.example.com:443}
ssh_service: {enabled: off}
metrics_service: {enabled: true, listen_addr: 0.0.0.0:3081}
";
    let file = config::parse(text, 16).unwrap();
    assert_eq!(file.auth_service.authentication.second_factor.as_deref(), Some("on"));
    assert_eq!(file.proxy_service.proxy_protocol.as_deref(), Some("off"));
    assert!(!file.ssh_service.enabled.unwrap().0);
    assert_eq!(file.auth_service.public_addr.unwrap().0, ["auth.example.com:3025"]);
}
