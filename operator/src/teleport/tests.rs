//! The real client against servers in this process that speak TLS, gRPC and HTTP as Teleport does.

mod stand_in;
mod update;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plan::agents::Profile;
use plan::keys::{Authorities, Authority};
use plan::version::Version;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::clock;
use crate::error::{Class, chain};
use crate::pki;
use stand_in::{AuthBehaviour, entry};

const DOMAIN: &str = "acme.example.net";
const LONG_DOMAIN: &str = "a-tenant-with-a-rather-long-name.of-some-department.example4";

fn keys(domain: &str) -> Authorities {
    pki::authorities(domain, clock::wall()).expect("authorities")
}

fn auth_target(address: SocketAddr, domain: &str, host: &Authority) -> AuthTarget {
    AuthTarget { address, domain: domain.to_owned(), host: host.clone() }
}

#[tokio::test]
async fn ping_tells_cluster_version_and_the_end_of_the_licence() {
    let keys = keys(DOMAIN);
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(vec![])).await;
    let answer = Network::default().ping(&auth_target(auth.address, DOMAIN, &keys.host)).await.expect("ping");
    assert_eq!(
        answer,
        AuthPing {
            cluster_name: DOMAIN.to_owned(),
            version: "17.5.2".to_owned(),
            license_expires: DateTime::from_timestamp(stand_in::LICENSE_ENDS, 0),
        }
    );
}

#[tokio::test]
async fn the_inventory_is_read_to_its_end_as_admin() {
    let keys = keys(DOMAIN);
    let entries: Vec<_> = (0..2_500).map(entry).collect();
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(entries)).await;
    let inventory = Network::default()
        .inventory(&auth_target(auth.address, DOMAIN, &keys.host), clock::wall())
        .await
        .expect("read");
    assert_eq!(inventory.agents.len(), 2_500);
    let expected = Profile {
        version: Some(Version::new(16, 4, 3)),
        reported: "16.4.3".to_owned(),
        services: vec!["Kube".to_owned(), "Node".to_owned()],
        updater: "unit".to_owned(),
        update_group: "staging".to_owned(),
    };
    let agent = inventory.get("id-7").expect("an agent");
    assert_eq!((&*agent.hostname, inventory.profile(agent)), ("host-7", &expected));
    let hello = auth.hello();
    assert_eq!(hello.server_name.as_deref(), Some("61636d652e6578616d706c652e6e6574.teleport.cluster.local"));
    assert_eq!(hello.client_certificates, 1, "Teleport refuses a chain");
    assert_eq!(hello.alpn.as_deref(), Some("h2"));
}

#[tokio::test]
async fn an_empty_inventory_is_an_answer() {
    let keys = keys(DOMAIN);
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(vec![])).await;
    let inventory = Network::default()
        .inventory(&auth_target(auth.address, DOMAIN, &keys.host), clock::wall())
        .await
        .expect("read");
    assert_eq!(inventory.agents, []);
}

#[tokio::test]
async fn the_clock_of_auth_has_no_say() {
    let keys = keys(DOMAIN);
    let begun = clock::wall();
    let mut read = Vec::new();
    // When the tests were written, never, at the end of all times, and at none.
    for seconds in [1_700_000_000, 0, 253_402_300_799, i64::MIN] {
        let mut entries: Vec<_> = (0..3).map(entry).collect();
        for spec in entries.iter_mut().filter_map(|entry| entry.spec.as_mut()) {
            spec.last_seen = Some(prost_types::Timestamp { seconds, nanos: -1 });
        }
        let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(entries)).await;
        let target = auth_target(auth.address, DOMAIN, &keys.host);
        read.push(Network::default().inventory(&target, begun).await.expect("read"));
    }
    assert!(read.iter().all(|inventory| *inventory == read[0] && inventory.read_at == begun), "{read:?}");
}

#[tokio::test]
async fn a_domain_too_long_for_a_label_is_asked_under_the_common_name() {
    assert_eq!(LONG_DOMAIN.len(), 60);
    let keys = keys(LONG_DOMAIN);
    let auth = stand_in::auth(&keys, LONG_DOMAIN, AuthBehaviour::Answers(vec![entry(0)])).await;
    let target = auth_target(auth.address, LONG_DOMAIN, &keys.host);
    assert_eq!(Network::default().inventory(&target, clock::wall()).await.expect("read").agents.len(), 1);
    assert_eq!(auth.hello().server_name.as_deref(), Some("teleport.cluster.local"));
}

#[tokio::test]
async fn a_stream_that_is_cut_is_an_error() {
    let keys = keys(DOMAIN);
    for behaviour in [AuthBehaviour::HangsUp, AuthBehaviour::EndsWithoutStatus, AuthBehaviour::FailsLate] {
        let name = format!("{behaviour:?}");
        let auth = stand_in::auth(&keys, DOMAIN, behaviour).await;
        let answer = Network::default().inventory(&auth_target(auth.address, DOMAIN, &keys.host), clock::wall()).await;
        let error = answer.expect_err("three entries came, and then not the end");
        assert!(matches!(error, TeleportError::Call { .. }), "{name}: {}", chain(&error));
        assert_eq!(error.class(), Class::Transient, "{name}: {}", chain(&error));
    }
}

#[tokio::test]
async fn an_entry_without_an_id_makes_the_inventory_unusable() {
    let keys = keys(DOMAIN);
    let mut nameless = entry(1);
    nameless.header = None;
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers(vec![entry(0), nameless])).await;
    let error = Network::default()
        .inventory(&auth_target(auth.address, DOMAIN, &keys.host), clock::wall())
        .await
        .expect_err("refused");
    assert!(chain(&error).ends_with("has an entry without a server id"), "{}", chain(&error));
}

#[tokio::test]
async fn an_auth_with_other_authorities_is_not_believed() {
    let (ours, theirs) = (keys(DOMAIN), keys(DOMAIN));
    let auth = stand_in::auth(&theirs, DOMAIN, AuthBehaviour::Answers(vec![])).await;
    let error = Network::default().ping(&auth_target(auth.address, DOMAIN, &ours.host)).await.expect_err("refused");
    assert!(matches!(error, TeleportError::Handshake { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Denied, "{}", chain(&error));
}

#[tokio::test]
async fn an_auth_that_does_not_take_our_certificate_says_so() {
    let (ours, theirs) = (keys(DOMAIN), keys(DOMAIN));
    // It shows what we trust, but trusts somebody else.
    let mixed = Authorities { user: theirs.user.clone(), ..ours.clone() };
    let auth = stand_in::auth_trusting(&mixed, &[&theirs.host], DOMAIN, AuthBehaviour::Answers(vec![])).await;
    let error = Network::default().ping(&auth_target(auth.address, DOMAIN, &ours.host)).await.expect_err("refused");
    assert_eq!(error.class(), Class::Denied, "{}", chain(&error));
    assert!(chain(&error).contains("received fatal alert"), "{}", chain(&error));
}

#[tokio::test]
async fn what_auth_refuses_is_said_in_its_words() {
    let keys = keys(DOMAIN);
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Refuses).await;
    let target = auth_target(auth.address, DOMAIN, &keys.host);
    let error = Network::default().inventory(&target, clock::wall()).await.expect_err("refused");
    let address = auth.address;
    assert_eq!(chain(&error), format!("Auth at {address} did not answer GetInstances: PermissionDenied: not you"));
    assert_eq!(error.class(), Class::Denied);
}

#[tokio::test]
async fn a_key_that_is_not_the_authoritys_issues_nothing() {
    let (ours, theirs) = (keys(DOMAIN), keys(DOMAIN));
    let mixed = Authority { key: theirs.host.key.clone(), ..ours.host.clone() };
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let error = Network::default().ping(&auth_target(nowhere, DOMAIN, &mixed)).await.expect_err("refused");
    assert!(matches!(error, TeleportError::Identity { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Invalid);
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("its address")
    };
    let error = Network::default().ping(&auth_target(address, DOMAIN, &keys(DOMAIN).host)).await.expect_err("refused");
    assert!(matches!(error, TeleportError::Connect { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Transient);
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_connection_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let begun = Instant::now();
    let error = Network::default().ping(&auth_target(address, DOMAIN, &keys(DOMAIN).host)).await.expect_err("refused");
    assert!(matches!(error, TeleportError::Timeout { .. }), "{}", chain(&error));
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(error.class(), Class::Transient);
}

fn web_target(address: SocketAddr, keys: &Authorities) -> WebTarget {
    WebTarget { address, domain: DOMAIN.to_owned(), ca_pem: keys.web.certificate.clone() }
}

#[tokio::test]
async fn the_web_address_tells_version_edition_and_addresses() {
    let keys = keys(DOMAIN);
    let answer = json!({
        "auth": {"type": "local", "second_factor": "on"},
        "proxy": {
            "kube": {"enabled": true, "public_addr": "acme.example.net:11107", "listen_addr": "0.0.0.0:3026"},
            "ssh": {
                "listen_addr": "[::]:3023", "public_addr": "acme.example.net:443",
                "ssh_public_addr": "acme.example.net:11105", "ssh_tunnel_public_addr": "acme.example.net:11106",
                "dial_timeout": 30_000_000_000_i64,
            },
            "db": {"mysql_public_addr": "acme.example.net:11108", "postgres_public_addr": ""},
            "tls_routing_enabled": true,
        },
        "server_version": "17.5.2", "min_client_version": "16.0.0", "cluster_name": DOMAIN,
        "automatic_upgrades": false, "edition": "community", "fips": false,
    });
    let proxy = stand_in::proxy(&keys, DOMAIN, 200, answer.to_string()).await;
    let address = |port: u16| Some(format!("{DOMAIN}:{port}"));
    let expected = WebPing {
        cluster_name: DOMAIN.to_owned(),
        version: "17.5.2".to_owned(),
        edition: "community".to_owned(),
        tls_routing: true,
        public_addr: address(443),
        ssh_public_addr: address(11105),
        tunnel_public_addr: address(11106),
        kube_public_addr: address(11107),
        mysql_public_addr: address(11108),
        postgres_public_addr: None,
    };
    assert_eq!(Network::default().web_ping(&web_target(proxy.address, &keys)).await.expect("ping"), expected);
    assert_eq!(proxy.hello().server_name.as_deref(), Some(DOMAIN));
    assert_eq!(proxy.hello().client_certificates, 0, "the web address is asked as anybody");
    assert_eq!(proxy.requests(), [format!("GET /webapi/ping {DOMAIN}")]);
}

#[tokio::test]
async fn what_is_not_teleports_answer_is_an_error() {
    let keys = keys(DOMAIN);
    for (status, body, class) in [
        (503, String::new(), Class::Transient),
        (403, String::new(), Class::Denied),
        (200, "<html>".to_owned(), Class::Transient),
        (200, json!({"server_version": "17.5.2"}).to_string(), Class::Transient),
        (200, "x".repeat(2 * 1024 * 1024), Class::Transient),
    ] {
        let proxy = stand_in::proxy(&keys, DOMAIN, status, body).await;
        let error = Network::default().web_ping(&web_target(proxy.address, &keys)).await.expect_err("refused");
        assert_eq!(error.class(), class, "{status}: {}", chain(&error));
    }
}

#[tokio::test]
async fn a_web_certificate_of_somebody_else_is_not_believed() {
    let (ours, theirs) = (keys(DOMAIN), keys(DOMAIN));
    let proxy = stand_in::proxy(&theirs, DOMAIN, 200, "{}".to_owned()).await;
    let error = Network::default().web_ping(&web_target(proxy.address, &ours)).await.expect_err("refused");
    assert!(matches!(error, TeleportError::Handshake { .. }), "{}", chain(&error));
    assert_eq!(error.class(), Class::Denied);
}

#[tokio::test]
async fn one_client_serves_many_questions_at_once() {
    let keys = keys(DOMAIN);
    let auth = stand_in::auth(&keys, DOMAIN, AuthBehaviour::Answers((0..10).map(entry).collect())).await;
    let (network, target) = (Arc::new(Network::default()), auth_target(auth.address, DOMAIN, &keys.host));
    let answers = futures::future::join_all((0..20).map(|_| network.inventory(&target, clock::wall()))).await;
    for answer in answers {
        assert_eq!(answer.expect("read").agents.len(), 10);
    }
}
