//! The bootstrap file, apply-on-startup, and the authorities that they bring.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use super::fixture::{CLUSTER, Good, TOKEN};
use super::{Case, case, expect_refusals};
use crate::pki;
use crate::rule::Rule;

pub(super) const CASES: &[Case] = &[
    case(Rule::BootstrapFile, "no bootstrap file", |good| {
        good.files.insert("/etc/bootstrap/bootstrap.yaml".to_owned(), String::new());
    }),
    case(Rule::ResourceSyntax, "not YAML", |good| {
        good.files.insert("/etc/bootstrap/bootstrap.yaml".to_owned(), "kind: [cert".to_owned());
    }),
    case(Rule::ResourceKind, "a node", |good| {
        good.bootstrap.push(json!({ "kind": "node", "version": "v2", "metadata": { "name": "n" } }))
    }),
    case(Rule::ResourceInvalid, "a role without a name", |good| {
        good.bootstrap.insert(0, json!({ "kind": "role", "version": "v7" }))
    }),
    case(Rule::ResourceInvalid, "version v1 of an authority", |good| good.authority("host")["version"] = json!("v1")),
    case(Rule::BootstrapExists, "17 finds its user authority there", |good| {
        good.image = "r/teleport-ent-distroless:17.5.2".to_owned();
        good.memory.table("state", |table| {
            let path = format!("teleport/authorities/user/{CLUSTER}");
            let item = crate::cloud::Item {
                path: path.clone(),
                value: b"{}".to_vec(),
                revision: "r".to_owned(),
                expires: None,
            };
            table.items.insert(path, item);
        });
    }),
    case(Rule::AuthorityType, "an unknown type", |good| {
        let host = good.authority("host");
        host["sub_kind"] = json!("hosts");
        host["spec"]["type"] = json!("hosts");
    }),
    case(Rule::AuthorityType, "awsra before 18", |good| {
        good.image = "r/teleport-ent-distroless:17.5.2".to_owned();
        let mut other = good.authority("host").clone();
        other["sub_kind"] = json!("awsra");
        other["spec"]["type"] = json!("awsra");
        good.bootstrap.insert(0, other);
    }),
    case(Rule::AuthorityName, "sub_kind and type differ", |good| good.authority("user")["sub_kind"] = json!("jwt")),
    case(Rule::AuthorityName, "name and cluster differ", |good| {
        good.authority("host")["metadata"]["name"] = json!("other.example.com")
    }),
    case(Rule::AuthorityKeysMissing, "no SSH keys", |good| {
        good.authority("host")["spec"]["active_keys"]["ssh"] = json!([]);
    }),
    case(Rule::AuthorityKeysMissing, "no TLS private key", |good| {
        good.authority("user")["spec"]["active_keys"]["tls"][0]["key"] = json!("");
    }),
    case(Rule::AuthorityForeignKeys, "private keys of another cluster", |good| {
        let host = good.authority("host");
        host["metadata"]["name"] = json!("other.example.com");
        host["spec"]["cluster_name"] = json!("other.example.com");
    }),
    case(Rule::AuthorityKeyUnusable, "not base64", |good| {
        good.authority("host")["spec"]["active_keys"]["tls"][0]["cert"] = json!("-----BEGIN CERTIFICATE-----");
    }),
    case(Rule::AuthorityKeyUnusable, "a private key that is none", |good| {
        let text = STANDARD.encode("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        good.authority("host")["spec"]["active_keys"]["ssh"][0]["private_key"] = json!(text);
    }),
    case(Rule::AuthorityKeyMismatch, "the other authority's TLS key", |good| {
        let key = STANDARD.encode(&good.user.key);
        good.authority("host")["spec"]["active_keys"]["tls"][0]["key"] = json!(key);
    }),
    case(Rule::AuthorityKeyMismatch, "another SSH public key", |good| {
        let other = good.authority("user")["spec"]["active_keys"]["ssh"][0]["public_key"].clone();
        good.authority("host")["spec"]["active_keys"]["ssh"][0]["public_key"] = other;
    }),
    case(Rule::AuthorityNotCa, "a leaf certificate", |good| replace_tls(good, CLUSTER, IsCa::ExplicitNoCa)),
    case(Rule::AuthoritySubject, "another organization", |good| {
        replace_tls(good, "Acme Inc.", IsCa::Ca(BasicConstraints::Unconstrained));
    }),
    case(Rule::AuthorityRoles, "roles and role_map", |good| {
        let host = good.authority("host");
        host["spec"]["roles"] = json!(["access"]);
        host["spec"]["role_map"] = json!([{ "remote": "access", "local": ["access"] }]);
    }),
    case(Rule::ApplyFile, "no apply file", |good| {
        good.files.insert("/etc/teleport/apply-on-startup.yaml".to_owned(), String::new());
    }),
    case(Rule::ApplyKind, "an authority", |good| {
        let host = good.authority("host").clone();
        good.apply.push(host);
    }),
    case(Rule::TokenRoles, "no roles", |good| good.apply[0]["spec"]["roles"] = json!([])),
    case(Rule::TokenRoles, "an unknown role", |good| good.apply[0]["spec"]["roles"] = json!(["Prox"])),
    case(Rule::TokenMethod, "an unknown method", |good| good.apply[0]["spec"]["join_method"] = json!("password")),
    case(Rule::VersionTarget, "a leading v", |good| good.apply.push(update_version("v18.1.0"))),
    case(Rule::UpdateConfig, "a window with halt-on-error", |good| {
        let agents = json!({ "mode": "enabled", "strategy": "halt-on-error", "maintenance_window_duration": "2h" });
        good.apply.push(json!({ "kind": "autoupdate_config", "version": "v1", "spec": { "agents": agents } }));
    }),
];

fn update_version(target: &str) -> Value {
    let agents =
        json!({ "start_version": "17.5.2", "target_version": target, "schedule": "regular", "mode": "enabled" });
    json!({ "kind": "autoupdate_version", "version": "v1", "metadata": { "name": "autoupdate-version" }, "spec": { "agents": agents } })
}

/// Another certificate for the host authority, with a key of its own.
fn replace_tls(good: &mut Good, organization: &str, is_ca: IsCa) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CLUSTER);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    good.authority("host")["spec"]["active_keys"]["tls"] =
        json!([{ "cert": STANDARD.encode(certificate), "key": STANDARD.encode(key.serialize_pem()) }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_resource_ends_the_start() {
    expect_refusals(CASES, Good::auth).await;
}

#[tokio::test]
async fn bootstrapped_authorities_are_kept_and_the_others_generated() {
    let mut good = Good::auth();
    good.apply.push(update_version("18.1.0"));
    let wanted = good.authority("host")["spec"]["active_keys"]["tls"][0]["cert"].clone();
    let memory = good.memory.clone();
    let running = good.start();
    running.readiness(200).await;
    let stored: BTreeSet<String> = memory.table("state", |table| {
        let paths = table.items.keys().filter_map(|path| path.strip_prefix("teleport/authorities/"));
        paths.filter_map(|path| path.strip_suffix(&format!("/{CLUSTER}"))).map(str::to_owned).collect()
    });
    let types = [
        "awsra",
        "bound_keypair",
        "db",
        "db_client",
        "host",
        "jwt",
        "oidc_idp",
        "okta",
        "openssh",
        "saml_idp",
        "spiffe",
        "user",
    ];
    assert_eq!(stored, types.map(str::to_owned).into());
    let host: Value = memory.table("state", |table| {
        serde_json::from_slice(&table.items[&format!("teleport/authorities/host/{CLUSTER}")].value).unwrap()
    });
    assert_eq!(host["spec"]["active_keys"]["tls"][0]["cert"], wanted);
    assert!(memory.table("state", |table| table.items.contains_key(&format!("teleport/tokens/{TOKEN}"))));
    assert!(
        !memory.table("state", |table| table.items.keys().any(|path| path.contains(".locks"))),
        "the init lock is released"
    );
    assert!(!running.text().contains(TOKEN), "the token is a secret");
    assert_eq!(running.stopped().await.0, 0);
}

/// A start that died between two items of the file: 18 goes on where it stopped.
#[tokio::test]
async fn a_half_done_bootstrap_is_finished() {
    let mut good = Good::auth();
    let user = good.authority("user").to_string();
    good.memory.table("state", |table| {
        let path = format!("teleport/authorities/user/{CLUSTER}");
        let item = crate::cloud::Item {
            path: path.clone(),
            value: user.into_bytes(),
            revision: "r".to_owned(),
            expires: None,
        };
        table.items.insert(path, item);
    });
    let running = good.start();
    running.readiness(200).await;
    assert_eq!(running.stopped().await.0, 0);
}

/// Once the host authority is there the file is not read again, not even a broken one.
#[tokio::test]
async fn a_second_start_ignores_the_bootstrap_file() {
    let good = Good::auth();
    let mut again = good.sibling();
    let first = good.start();
    first.readiness(200).await;
    assert_eq!(first.stopped().await.0, 0);
    again.bootstrap = vec![json!({ "kind": "node", "version": "v2", "metadata": { "name": "n" } })];
    let second = again.start();
    second.readiness(200).await;
    second.says("Ignoring bootstrap resources", 0).await;
    assert_eq!(second.stopped().await.0, 0);
}

#[test]
fn generated_authorities_have_the_published_shape() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let pair = pki::new_authority(CLUSTER).unwrap();
    let der = pair.chain().unwrap().remove(0);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let subject = certificate.subject();
    let serial = x509_parser::der_parser::oid::Oid::from(&[2, 5, 4, 5]).unwrap();
    assert_eq!(subject.iter_organization().next().unwrap().as_str().unwrap(), CLUSTER);
    assert_eq!(subject.iter_common_name().next().unwrap().as_str().unwrap(), CLUSTER);
    assert_eq!(subject.iter_by_oid(&serial).next().unwrap().as_str().unwrap(), certificate.serial.to_str_radix(10));
    assert!(certificate.is_ca());
    let years =
        (certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp()) / (365 * 86_400);
    assert_eq!(years, 10);
}
