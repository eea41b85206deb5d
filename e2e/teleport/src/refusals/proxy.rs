//! The Proxy: joining, key pairs, listeners, discovery, readiness.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::Client;
use super::fixture::{AUTH_HOST, CLUSTER, Good, web_certificate};
use super::running::{Running, get_over};
use super::{Case, case, expect_refusals};
use crate::pki;
use crate::rule::Rule;
use crate::wire::proto::PingRequest;
use crate::wire::proto::auth_service_client::AuthServiceClient;

pub(super) const CASES: &[Case] = &[
    case(Rule::ServerAddressMissing, "no auth_server", |good| good.remove("teleport.auth_server")),
    case(Rule::BadAddress, "a public address that is none", |good| {
        good.set("proxy_service.public_addr", json!("acme:https"))
    }),
    case(Rule::PublicAddrWithoutListener, "mysql", |good| good.remove("proxy_service.mysql_listen_addr")),
    case(Rule::PublicAddrWithoutListener, "kube", |good| good.remove("proxy_service.kube_listen_addr")),
    case(Rule::ProxyProtocol, "maybe", |good| good.set("proxy_service.proxy_protocol", json!("maybe"))),
    case(Rule::TokenMethod, "another join method", |good| good.set("teleport.join_params.method", json!("kubernetes"))),
    case(Rule::JoinTokenFile, "no token file", |good| good.files.retain(|file, _| !file.contains("token"))),
    case(Rule::KeyPairFile, "no certificate", |good| good.files.retain(|file, _| !file.ends_with("tls.crt"))),
    case(Rule::KeyPairFile, "no key", |good| good.files.retain(|file, _| !file.ends_with("tls.key"))),
    case(Rule::KeyPairMismatch, "the key of another certificate", |good| {
        good.files.insert("/etc/teleport-tls/tls.key".to_owned(), web_certificate(&[CLUSTER]).1.key);
    }),
    case(Rule::KeyPairUntrusted, "a private CA that nobody names", |good| {
        good.env.remove("SSL_CERT_FILE");
    }),
    case(Rule::KeyPairUntrusted, "another CA", |good| {
        good.files.insert("/etc/teleport-tls-ca/ca.pem".to_owned(), web_certificate(&[CLUSTER]).0);
    }),
    case(Rule::KeyPairUntrusted, "metrics with mTLS and a private CA that nobody names", |good| {
        good.env.remove("SSL_CERT_FILE");
        good.remove("proxy_service.https_keypairs");
        good.set("metrics_service", metrics(&["/etc/teleport-tls-ca/ca.pem"]));
    }),
];

/// The Proxy tries for ever.
pub(super) const NEVER_READY: &[Case] = &[
    case(Rule::JoinToken, "another token", |good| {
        good.files.insert("/etc/teleport-token/token".to_owned(), "f".repeat(64));
    }),
    case(Rule::JoinToken, "a token that expired", |good| {
        good.apply[0]["metadata"]["expires"] = json!("2020-01-01T00:00:00Z")
    }),
    case(Rule::JoinTokenRole, "a token for nodes", |good| good.apply[0]["spec"]["roles"] = json!(["Node"])),
    case(Rule::ProxyTooOld, "two majors behind", |good| {
        good.image = "r/teleport-ent-distroless:16.4.3".to_owned();
    }),
    // One of the rules that end the process; here because it needs an Auth that answers.
    case(Rule::AuthTooOld, "an Auth of the major before", |good| {
        good.image = "r/teleport-ent-distroless:19.0.0".to_owned();
    }),
];

fn metrics(authorities: &[&str]) -> Value {
    let pair = json!({ "key_file": "/etc/teleport-tls/tls.key", "cert_file": "/etc/teleport-tls/tls.crt" });
    json!({ "enabled": true, "listen_addr": "0.0.0.0:3081", "keypairs": [pair], "ca_certs": authorities })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_proxy_ends() {
    expect_refusals(CASES, Good::lone_proxy).await;
}

#[tokio::test]
async fn a_proxy_that_may_not_join_is_never_ready() {
    for case in NEVER_READY {
        let auth = Good::auth();
        let mut proxy = auth.proxy_of();
        (case.breaks)(&mut proxy);
        let mut other = auth.sibling();
        other.apply.clone_from(&proxy.apply);
        let auth = other.start_at(auth.address);
        auth.readiness(200).await;
        let proxy = proxy.start();
        if case.rule == Rule::AuthTooOld {
            let (code, log) = proxy.ended().await;
            assert!(code != 0 && log.contains(case.rule.text()), "{}:\n{log}", case.name);
        } else {
            proxy.says(case.rule.text(), 0).await;
            proxy.readiness(400).await;
            assert_eq!(proxy.stopped().await.0, 0, "{}", case.name);
        }
        assert_eq!(auth.stopped().await.0, 0);
    }
}

#[tokio::test]
async fn a_newer_proxy_joins_when_the_check_is_skipped() {
    let auth = Good::auth();
    let mut proxy = auth.proxy_of();
    proxy.image = "r/teleport-ent-distroless:19.0.0".to_owned();
    proxy.argv.push("--skip-version-check".to_owned());
    let auth = auth.sibling().start_at(auth.address);
    auth.readiness(200).await;
    let proxy = proxy.start();
    proxy.readiness(200).await;
    assert_eq!(proxy.stopped().await.0, 0);
    assert_eq!(auth.stopped().await.0, 0);
}

/// An HTTPS GET on the web port, trusting whatever CA the Proxy was given.
async fn https(proxy: &Running, ca: &str, path: &str) -> (u16, String) {
    let mut roots = RootCertStore::empty();
    roots.add(pki::certificates(ca.as_bytes()).unwrap().remove(0)).unwrap();
    let tls = ClientConfig::builder_with_provider(pki::provider()).with_safe_default_protocol_versions().unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect((proxy.address, 3080)).await.unwrap();
    let stream =
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(CLUSTER).unwrap(), stream).await.unwrap();
    get_over(stream, path).await.unwrap()
}

#[tokio::test]
async fn a_ready_proxy_answers_on_all_its_ports() {
    let good = Good::auth();
    let pod = good.proxy_of();
    let ca = pod.files["/etc/teleport-tls-ca/ca.pem"].clone();
    let auth = good.sibling().start_at(good.address);
    let proxy = pod.start();
    proxy.readiness(400).await;
    proxy.readiness(200).await;

    let (status, body) = https(&proxy, &ca, "/webapi/ping").await;
    let ping: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, ping["server_version"].as_str(), ping["edition"].as_str()), (200, Some("18.1.0"), Some("ent")));
    assert_eq!(ping["cluster_name"], CLUSTER);
    assert_eq!(ping["auth"]["webauthn"]["rp_id"], CLUSTER);
    let expected = json!({
        "tls_routing_enabled": true,
        "kube": { "enabled": true, "public_addr": "acme.example.com:11107", "listen_addr": "0.0.0.0:3080" },
        "ssh": {
            "listen_addr": "0.0.0.0:3080", "tunnel_listen_addr": "0.0.0.0:3080", "web_listen_addr": "0.0.0.0:3080",
            "public_addr": "acme.example.com:443", "ssh_public_addr": "acme.example.com:11105",
            "ssh_tunnel_public_addr": "acme.example.com:11106", "dial_timeout": 30_000_000_000_u64,
        },
        "db": {
            "postgres_listen_addr": "0.0.0.0:3080", "postgres_public_addr": "acme.example.com:11109",
            "mysql_listen_addr": "0.0.0.0:3080", "mysql_public_addr": "acme.example.com:11108",
        },
    });
    assert_eq!(ping["proxy"], expected);
    let find: Value = serde_json::from_str(&https(&proxy, &ca, "/webapi/find?group=default").await.1).unwrap();
    assert_eq!(find["auth"], json!({ "signature_algorithm_suite": "balanced-v1" }));
    assert_eq!(
        https(&proxy, &ca, "/v1/webapi/automaticupgrades/channel/default/version").await,
        (200, "v18.1.0".to_owned())
    );
    assert_eq!(
        https(&proxy, &ca, "/v1/webapi/automaticupgrades/channel/default/critical").await,
        (200, "no".to_owned())
    );
    assert_eq!(https(&proxy, &ca, "/v1/webapi/automaticupgrades/channel/stable/version").await.0, 404);
    assert_eq!(https(&proxy, &ca, "/webapi/auth/export?type=tls-host").await, (200, good.host.certificate.clone()));

    for port in [3023, 3024] {
        let mut banner = [0; 16];
        TcpStream::connect((proxy.address, port)).await.unwrap().read_exact(&mut banner).await.unwrap();
        assert_eq!(&banner, b"SSH-2.0-Teleport");
    }
    for port in [3026, 3036] {
        TcpStream::connect((proxy.address, port)).await.unwrap();
    }

    // TLS routing: by its ALPN name a connection goes on to Auth, with its client certificate.
    let mut client = Client::admin(&good);
    client.server_name = "teleport.cluster.local".to_owned();
    let encoded = pki::encoded_name(CLUSTER);
    let routed = client.routed(&encoded).channel(&good, SocketAddr::new(proxy.address, 3080));
    let answer = AuthServiceClient::new(routed).ping(PingRequest {}).await.unwrap().into_inner();
    assert_eq!((answer.cluster_name.as_str(), answer.proxy_public_addr.as_str()), (CLUSTER, "acme.example.com:443"));

    assert!(good.world.calls(CLUSTER).iter().any(|call| call.method == "/webapi/ping"));
    assert_eq!(proxy.stopped().await.0, 0);
    assert_eq!(auth.stopped().await.0, 0);
}

#[tokio::test]
async fn a_proxy_without_auth_is_degraded_and_comes_back() {
    let good = Good::auth();
    let first = good.sibling().start_at(good.address);
    let proxy = good.proxy_of().start();
    proxy.readiness(200).await;
    assert_eq!(first.stopped().await.0, 0);
    proxy.readiness(503).await;
    let second = good.sibling().start();
    good.names.set(AUTH_HOST, vec![second.address]);
    proxy.readiness(200).await;
    assert_eq!(proxy.stopped().await.0, 0);
    assert_eq!(second.stopped().await.0, 0);
}

#[tokio::test]
async fn renewed_key_pairs_are_served_without_a_restart() {
    let good = Good::auth();
    let auth = good.sibling().start_at(good.address);
    let mut pod = good.proxy_of();
    pod.set("proxy_service.https_keypairs_reload_interval", json!("10s"));
    let proxy = pod.start();
    proxy.readiness(200).await;
    let (ca, renewed) = web_certificate(&[CLUSTER]);
    let write = |file: &str, text: &str| std::fs::write(proxy._root.path().join(file), text).unwrap();
    write("etc/teleport-tls-ca/ca.pem", &ca);
    write("etc/teleport-tls/tls.key", &renewed.key);
    write("etc/teleport-tls/tls.crt", &renewed.certificate);
    let deadline = tokio::time::Instant::now() + super::running::DEADLINE;
    while served_certificate(&proxy).await != renewed.chain().unwrap()[0] {
        assert!(tokio::time::Instant::now() < deadline, "still the old certificate:\n{}", proxy.text());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(proxy.stopped().await.0, 0);
    assert_eq!(auth.stopped().await.0, 0);
}

async fn served_certificate(proxy: &Running) -> rustls::pki_types::CertificateDer<'static> {
    let tls = ClientConfig::builder_with_provider(pki::provider()).with_safe_default_protocol_versions().unwrap();
    let tls = tls.dangerous().with_custom_certificate_verifier(crate::proxy::first_contact()).with_no_client_auth();
    let stream = TcpStream::connect((proxy.address, 3080)).await.unwrap();
    let stream =
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(CLUSTER).unwrap(), stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn one_self_signed_certificate_needs_no_trust() {
    let mut proxy = Good::lone_proxy();
    let pair = pki::self_signed(CLUSTER).unwrap();
    proxy.env.remove("SSL_CERT_FILE");
    proxy.files.insert("/etc/teleport-tls/tls.crt".to_owned(), pair.certificate);
    proxy.files.insert("/etc/teleport-tls/tls.key".to_owned(), pair.key);
    let running = proxy.start();
    // It gets as far as looking for its Auth.
    running.says("no such host", 0).await;
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn the_metrics_service_takes_the_metrics_from_the_diagnostics() {
    let mut plain = Good::lone_proxy();
    plain.set("metrics_service", metrics(&[]));
    let running = plain.start();
    running.readiness(400).await;
    assert_eq!(running.diag("/metrics").await.unwrap().0, 404);
    let (status, text) = super::running::get((running.address, 3081).into(), "/metrics").await.unwrap();
    assert!(status == 200 && text.contains("process_state 3"), "{text}");
    assert_eq!(running.stopped().await.0, 0);

    let mut mutual = Good::lone_proxy();
    mutual.set("metrics_service", metrics(&["/etc/teleport-tls-ca/ca.pem"]));
    let running = mutual.start();
    running.readiness(400).await;
    assert!(
        super::running::get((running.address, 3081).into(), "/metrics").await.is_none(),
        "plain HTTP on a TLS port"
    );
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn waiting_ends_when_its_time_or_its_host_is_gone() {
    let mut wait = Good::lone_proxy();
    wait.argv = ["teleport", "wait", "duration", "30s"].map(str::to_owned).to_vec();
    let began = std::time::Instant::now();
    assert_eq!(wait.start().ended().await.0, 0);
    assert!(began.elapsed() >= std::time::Duration::from_millis(150), "30 s at scale 200");

    let mut wait = Good::lone_proxy();
    wait.argv = ["teleport", "wait", "no-resolve", "acme-auth-v17"].map(str::to_owned).to_vec();
    wait.names.set("acme-auth-v17", vec![wait.address]);
    let names = wait.names.clone();
    let running = wait.start();
    running.says("Host still resolves", 0).await;
    names.set("acme-auth-v17", vec![]);
    assert_eq!(running.ended().await.0, 0);

    let mut version = Good::lone_proxy();
    version.argv = ["teleport", "version"].map(str::to_owned).to_vec();
    let (code, log) = version.start().ended().await;
    assert!(code == 0 && log.starts_with("Teleport Enterprise v18.1.0 "), "{log}");
}

/// What an administrator writes reaches the updaters through every Proxy.
#[tokio::test]
async fn a_new_agent_version_is_offered() {
    use crate::wire::teleport::autoupdate::v1 as update;
    use update::auto_update_service_client::AutoUpdateServiceClient;
    let good = Good::auth();
    let pod = good.proxy_of();
    let ca = pod.files["/etc/teleport-tls-ca/ca.pem"].clone();
    let auth = good.sibling().start_at(good.address);
    let proxy = pod.start();
    proxy.readiness(200).await;
    let offered = async || {
        let find: Value = serde_json::from_str(&https(&proxy, &ca, "/webapi/find").await.1).unwrap();
        find["auto_update"]["agent_version"].as_str().unwrap().to_owned()
    };
    assert_eq!(offered().await, "18.1.0", "its own, until somebody says another");
    let mut version = update::AutoUpdateVersion::default();
    version.metadata.get_or_insert_default().name = "autoupdate-version".to_owned();
    version.spec.get_or_insert_default().agents = Some(update::VersionSpecAgents {
        start_version: "18.0.0".to_owned(),
        target_version: "18.0.1".to_owned(),
        schedule: "immediate".to_owned(),
        mode: "enabled".to_owned(),
    });
    let mut admin = AutoUpdateServiceClient::new(Client::admin(&good).channel(&good, (auth.address, 3025).into()));
    admin.upsert_auto_update_version(update::VersionRequest { version: Some(version) }).await.unwrap();
    let deadline = tokio::time::Instant::now() + super::running::DEADLINE;
    while offered().await != "18.0.1" {
        assert!(tokio::time::Instant::now() < deadline, "{}", proxy.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(proxy.stopped().await.0, 0);
    assert_eq!(auth.stopped().await.0, 0);
}
