use chrono::{DateTime, TimeDelta, Utc};
use plan::keys::WebIssuer;
use serde_json::{Value, json};

use super::*;

const DOMAIN: &str = "acme.example.com";
const ID: &str = "0123456789abcdef";

fn identity() -> Identity {
    Identity { slug: "acme".into(), namespace: "customers".into(), uid: "u".into(), id: ID.into() }
}

fn issuer_of_tests() -> WebIssuer {
    pki::authorities(DOMAIN, clock::wall()).expect("authorities").web
}

/// As cert-manager writes it, for a certificate that this issuer made at this time.
fn written(issuer: &WebIssuer, domain: &str, at: DateTime<Utc>) -> Secret {
    let made = pki::web_certificate(issuer, domain, at).expect("a certificate");
    let secret = json!({
        "metadata": {
            "name": "acme-web-issued",
            "labels": {TENANT_ID: ID},
            "annotations": {
                CERTIFICATE: "acme-web", "cert-manager.io/issuer-name": "letsencrypt",
                "cert-manager.io/issuer-kind": "ClusterIssuer", "cert-manager.io/issuer-group": "cert-manager.io",
            },
        },
        "stringData": {"tls.crt": made.certificate, "tls.key": made.key.0, "ca.crt": issuer.certificate},
    });
    stored(secret)
}

/// As the API server keeps texts.
fn stored(mut secret: Value) -> Secret {
    let texts = secret["stringData"].take();
    let mut secret: Secret = serde_json::from_value(secret).expect("a Secret");
    let texts = texts.as_object().cloned().unwrap_or_default();
    let bytes = |text: &Value| k8s_openapi::ByteString(text.as_str().expect("a text").as_bytes().to_vec());
    secret.data = Some(texts.iter().map(|(key, text)| (key.clone(), bytes(text))).collect());
    secret.string_data = None;
    secret
}

fn put(secret: &mut Secret, key: &str, text: &str) {
    let data = secret.data.get_or_insert_default();
    data.insert(key.to_owned(), k8s_openapi::ByteString(text.as_bytes().to_vec()));
}

fn fault(secret: &Secret) -> String {
    read(secret, &identity(), DOMAIN).expect_err("it cannot serve")
}

#[test]
fn what_cert_manager_wrote_is_read_with_its_issuer() {
    let issuer = issuer_of_tests();
    let secret = written(&issuer, DOMAIN, clock::wall());
    let found = read(&secret, &identity(), DOMAIN).expect("it can serve");
    assert_eq!(found.issuer, "ClusterIssuer.cert-manager.io/letsencrypt");
    assert_eq!(found.certificate.names, [DOMAIN, "*.acme.example.com"]);
    let another = read(&written(&issuer, DOMAIN, clock::wall()), &identity(), DOMAIN).expect("it can serve");
    assert_ne!(found.digest, another.digest);
}

#[test]
fn the_authority_beside_it_may_be_missing_or_another_one() {
    // As of issuers that name none: the chain has its issuer behind it.
    let (issuer, other) = (issuer_of_tests(), issuer_of_tests());
    let mut secret = written(&issuer, DOMAIN, clock::wall());
    for authority in ["", &other.certificate] {
        put(&mut secret, "ca.crt", authority);
        let found = pair(&secret, DOMAIN, clock::wall()).expect("it can serve");
        assert!(issuer.certificate.contains(found.trust.trim()), "{}", found.trust);
    }
}

#[test]
fn what_clients_would_not_take_is_told_and_not_copied() {
    let (issuer, now) = (issuer_of_tests(), clock::wall());
    let good = written(&issuer, DOMAIN, now);
    assert!(fault(&written(&issuer, "other.example.com", now)).contains("acme.example.com"));
    assert!(fault(&written(&issuer, DOMAIN, now - TimeDelta::days(100))).contains("expired"));
    let mut secret = good.clone();
    let others = pki::web_certificate(&issuer, DOMAIN, now).expect("a certificate");
    put(&mut secret, "tls.key", &others.key.0);
    assert!(fault(&secret).contains("key that is not that of its certificate"));
    let mut secret = good.clone();
    let chain = entry(&secret, "tls.crt").expect("a chain");
    let leaf = &chain[..chain.find("-----END CERTIFICATE-----").expect("an end") + 26];
    put(&mut secret, "tls.crt", leaf);
    assert!(read(&secret, &identity(), DOMAIN).is_ok(), "the authority beside it is enough");
    put(&mut secret, "ca.crt", "");
    assert!(fault(&secret).contains("do not take"), "{}", fault(&secret));
    let mut secret = good.clone();
    put(&mut secret, "tls.crt", "no PEM");
    assert!(fault(&secret).contains("PEM"), "{}", fault(&secret));
    let mut secret = good;
    secret.data.get_or_insert_default().remove("tls.key");
    assert!(fault(&secret).contains("has no key tls.key"));
}

#[test]
fn a_secret_of_somebody_else_is_told_apart() {
    let good = written(&issuer_of_tests(), DOMAIN, clock::wall());
    let mut unlabelled = good.clone();
    unlabelled.metadata.labels = None;
    let mut of_another = good.clone();
    of_another.metadata.annotations.get_or_insert_default().insert(CERTIFICATE.into(), "theirs".into());
    let mut of_a_former_tenant = good;
    of_a_former_tenant.metadata.labels.get_or_insert_default().insert(TENANT_ID.into(), "f".repeat(16));
    for secret in [unlabelled, of_another, of_a_former_tenant] {
        // By these words the planner knows.
        assert!(fault(&secret).starts_with("belongs to"), "{}", fault(&secret));
    }
}
