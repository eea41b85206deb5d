//! The Certificate by which cert-manager is asked for the web certificate.

use crds::certificates::{CertManagerObjects, IssuerRef};
use serde_json::json;

use crate::acme;
use crate::names::Identity;
use crate::object::{Kind, Object};

/// X.520 bounds a common name; longer domains are in the alternative names alone, which is what counts.
const LONGEST_COMMON_NAME: usize = 64;

/// For the domain and everything right below it, with a key as the other issuers have it: P-256, another one for each certificate.
/// How long it lasts is the issuer's to say. The labels of its Secret tell that it is the tenant's.
pub fn object(tenant: &Identity, domain: &str, issuer: &IssuerRef, objects: &CertManagerObjects) -> Object {
    let IssuerRef { name, kind, group } = issuer;
    let CertManagerObjects { certificate, secret_name } = objects;
    let mut manifest = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": tenant.metadata(certificate.clone(), tenant.labels()),
        "spec": {
            "secretName": secret_name,
            "secretTemplate": {"labels": tenant.labels()},
            "issuerRef": {"name": name, "kind": kind, "group": group},
            "dnsNames": acme::names(domain),
            "usages": ["digital signature", "server auth"],
            "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "revisionHistoryLimit": 1,
        },
    });
    // Some issuers insist on one.
    if domain.len() <= LONGEST_COMMON_NAME {
        manifest["spec"]["commonName"] = json!(domain);
    }
    Object::new(Kind::Certificate, &manifest)
}
