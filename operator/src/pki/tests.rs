//! Judges what is issued with two readers that did not write it: x509-parser and the openssl command.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use plan::keys::{Authority, Sensitive};
use rcgen::{DistinguishedName, DnType, DnValue};
use tempfile::TempDir;
use x509_parser::pem::Pem;

use super::*;
use crate::clock;

const DOMAIN: &str = "acme.example.com";
/// 60 characters: neither its hexadecimal form nor a name below it fits into the bounds of X.520 or DNS labels.
const LONG_DOMAIN: &str = "a-tenant-with-a-rather-long-name.of-some-department.example4";

fn now() -> DateTime<Utc> {
    // Certificates are judged by the real clock of openssl.
    clock::wall()
}

/// Files for the openssl command, and its answer: whether it succeeded, and what it said.
struct Openssl(TempDir);

impl Openssl {
    fn with(files: &[(&str, &str)]) -> Openssl {
        let directory = tempfile::tempdir().expect("a directory for test files");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("write a test file");
        }
        Openssl(directory)
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().expect("run openssl");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said.into_owned())
    }
}

fn text(certificate: &str) -> String {
    Openssl::with(&[("c.pem", certificate)]).run(&["x509", "-in", "c.pem", "-noout", "-text", "-nameopt", "RFC2253"]).1
}

fn serial_of(certificate: &str) -> String {
    let pem = Pem::iter_from_buffer(certificate.as_bytes()).next().expect("one block").expect("PEM");
    pem.parse_x509().expect("X.509").tbs_certificate.serial.to_string()
}

#[test]
fn an_authority_has_the_form_of_teleports_own() {
    let made = authorities(DOMAIN, now()).expect("authorities");
    for authority in [&made.host, &made.user] {
        let text = text(&authority.certificate);
        for part in ["CA:TRUE", "Digital Signature, Certificate Sign, CRL Sign", "NIST CURVE: P-256"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("pathlen"), "Teleport's authorities have no path length:\n{text}");
        let facts = read_certificate(&authority.certificate).expect("read");
        let serial = serial_of(&authority.certificate);
        assert_eq!(facts.subject, format!("O={DOMAIN}, CN={DOMAIN}, serialNumber={serial}"));
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.not_after - facts.not_before, TimeDelta::hours(87_600) + CLOCK_TOLERANCE);
        assert!(key_matches(&authority.certificate, &authority.key.0).expect("compare"));
        assert!(issued_by(&authority.certificate, &authority.certificate).expect("compare"));
    }
    assert_ne!(
        read_certificate(&made.host.certificate).expect("read").subject,
        read_certificate(&made.user.certificate).expect("read").subject,
        "Teleport looks an authority up by its subject"
    );
}

#[test]
fn the_web_issuer_can_issue_no_authorities() {
    let web = authorities(DOMAIN, now()).expect("authorities").web;
    let text = text(&web.certificate);
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    assert!(read_certificate(&web.certificate).expect("read").subject.contains("CN=acme.example.com web"));
}

#[test]
fn an_ssh_pair_is_one_pair_and_openssl_reads_it() {
    let host = authorities(DOMAIN, now()).expect("authorities").host;
    let openssl = Openssl::with(&[("k.pem", &host.ssh_key.0)]);
    let (read, said) = openssl.run(&["pkey", "-in", "k.pem", "-pubout", "-outform", "DER", "-out", "p.der"]);
    assert!(read, "{said}");
    let der = std::fs::read(openssl.0.path().join("p.der")).expect("the public key");
    let line = host.ssh_public.strip_prefix("ssh-ed25519 ").expect("the key type comes first");
    let wire = STANDARD.decode(line).expect("base64");
    assert_eq!(wire[wire.len() - 32..], der[der.len() - 32..], "both end with the 32 bytes of the key");
}

fn subject_attributes(certificate: &str) -> Vec<(String, String)> {
    let pem = Pem::iter_from_buffer(certificate.as_bytes()).next().expect("one block").expect("PEM");
    let certificate = pem.parse_x509().expect("X.509");
    certificate
        .subject()
        .iter_attributes()
        .map(|attribute| (attribute.attr_type().to_id_string(), attribute.as_str().expect("a string").to_owned()))
        .collect()
}

#[test]
fn the_operators_identity_is_what_teleport_takes_for_admin() {
    for domain in [DOMAIN, LONG_DOMAIN] {
        let host: Authority = authorities(domain, now()).expect("authorities").host;
        let now = now();
        let identity = admin_identity(&host, domain, now).expect("identity");

        let attributes = subject_attributes(&identity.certificate_pem);
        let value = |oid: &str| {
            let mut values = attributes.iter().filter(|(id, _)| id == oid).map(|(_, value)| value.as_str());
            let value = values.next();
            assert_eq!(values.next(), None, "{oid} is there once");
            value
        };
        assert_eq!(value("2.5.4.10"), Some("Admin"), "organization is the role");
        assert_eq!(value("1.3.9999.1.7"), Some(domain), "the cluster");
        assert_eq!(value("2.5.4.11"), None, "an organizational unit would restrict it");
        let name = value("2.5.4.3").expect("common name");
        let uuid = name.strip_suffix(&format!(".{domain}")).expect("uuid.domain");
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);

        let text = text(&identity.certificate_pem);
        for part in ["CA:FALSE", "Digital Signature", "TLS Web Server Authentication, TLS Web Client Authentication"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let facts = read_certificate(&identity.certificate_pem).expect("read");
        assert_eq!(facts.not_before.timestamp(), (now - CLOCK_TOLERANCE).timestamp());
        assert_eq!(facts.not_after.timestamp(), (now + TimeDelta::hours(1)).timestamp());
        assert_eq!(identity.certificate_pem.matches("BEGIN CERTIFICATE").count(), 1, "Teleport refuses a chain");
        assert!(key_matches(&identity.certificate_pem, &identity.key.0).expect("compare"));

        let openssl = Openssl::with(&[("ca.pem", &host.certificate), ("leaf.pem", &identity.certificate_pem)]);
        let (verified, said) = openssl.run(&["verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "leaf.pem"]);
        assert!(verified, "{said}");
    }
}

#[test]
fn two_identities_share_nothing() {
    let host = authorities(DOMAIN, now()).expect("authorities").host;
    let [first, second] = [0, 1].map(|_| admin_identity(&host, DOMAIN, now()).expect("identity"));
    assert_ne!(serial_of(&first.certificate_pem), serial_of(&second.certificate_pem));
    assert_ne!(first.key, second.key);
}

#[test]
fn the_web_certificate_serves_the_domain_and_what_is_below_it() {
    for domain in [DOMAIN, LONG_DOMAIN] {
        let web = authorities(domain, now()).expect("authorities").web;
        let made = web_certificate(&web, domain, now()).expect("certificate");
        let facts = read_certificate(&made.certificate).expect("read");
        assert_eq!(facts.names, [domain.to_owned(), format!("*.{domain}")]);
        assert_eq!(facts.not_after - facts.not_before, TimeDelta::days(90) + CLOCK_TOLERANCE);
        assert!(key_matches(&made.certificate, &made.key.0).expect("compare"), "the leaf comes first");
        assert!(issued_by(&made.certificate, &web.certificate).expect("compare"));
        assert_eq!(made.certificate.matches("BEGIN CERTIFICATE").count(), 2, "leaf and issuer");

        let openssl = Openssl::with(&[("ca.pem", &web.certificate), ("leaf.pem", &made.certificate)]);
        for name in [domain.to_owned(), format!("app.{domain}")] {
            let verify =
                ["verify", "-purpose", "sslserver", "-verify_hostname", &name, "-CAfile", "ca.pem", "leaf.pem"];
            let (verified, said) = openssl.run(&verify);
            assert!(verified, "{name}: {said}");
        }
        let elsewhere =
            ["verify", "-purpose", "sslserver", "-verify_hostname", "example.org", "-CAfile", "ca.pem", "leaf.pem"];
        assert!(!openssl.run(&elsewhere).0, "it must not serve another name");
    }
}

#[test]
fn what_clients_would_take_is_verified_as_they_do() {
    for domain in [DOMAIN, LONG_DOMAIN] {
        let [ours, theirs] = [0, 1].map(|_| authorities(domain, now()).expect("authorities").web);
        let leaf = web_certificate(&ours, domain, now()).expect("certificate").certificate;
        let bundle = format!("{}{}", theirs.certificate, ours.certificate);
        assert!(verify(&leaf, &ours.certificate, domain, now()).is_ok());
        assert!(verify(&leaf, &bundle, domain, now()).is_ok(), "a bundle may hold others");
        for (what, refused) in [
            ("another authority", verify(&leaf, &theirs.certificate, domain, now())),
            ("no authority", verify(&leaf, "", domain, now())),
            ("another domain", verify(&leaf, &ours.certificate, "other.example.com", now())),
            ("too late", verify(&leaf, &ours.certificate, domain, now() + TimeDelta::days(91))),
            ("too early", verify(&leaf, &ours.certificate, domain, now() - TimeDelta::days(1))),
            ("an authority as the leaf", verify(&ours.certificate, &ours.certificate, domain, now())),
        ] {
            assert_eq!(refused.expect_err(what).class(), Class::Invalid, "{what}");
        }
    }
}

#[test]
fn what_belongs_to_another_authority_is_told_apart() {
    let [ours, theirs] = [0, 1].map(|_| authorities(DOMAIN, now()).expect("authorities"));
    let leaf = web_certificate(&ours.web, DOMAIN, now()).expect("certificate");
    assert!(!issued_by(&leaf.certificate, &theirs.web.certificate).expect("compare"));
    assert!(!key_matches(&leaf.certificate, &theirs.web.key.0).expect("compare"));
}

#[test]
fn a_certificate_with_a_foreign_key_under_our_name_is_not_ours() {
    // Same subject bytes, another key: only the signature tells.
    let ours = authorities(DOMAIN, now()).expect("authorities").web;
    let subject = read_certificate(&ours.certificate).expect("read").subject;
    let serial = subject.rsplit('=').next().expect("the serial comes last");
    let serial = DnValue::PrintableString(serial.try_into().expect("digits"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, DOMAIN);
    params.distinguished_name.push(DnType::CommonName, format!("{DOMAIN} web"));
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), serial);
    let forger = KeyPair::generate().expect("key");
    let forged = params.self_signed(&forger).expect("certificate").pem();
    assert_eq!(read_certificate(&forged).expect("read").issuer, subject, "the name is the same");
    assert!(!issued_by(&forged, &ours.certificate).expect("compare"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let made = authorities(DOMAIN, now()).expect("authorities");
    for (name, text) in [("nothing", ""), ("no certificate", &made.host.key.0), ("noise", "-----BEGIN X")] {
        let refused = read_certificate(text).expect_err(name);
        assert_eq!(refused.class(), Class::Invalid, "{name}");
    }
    let broken = Authority { key: Sensitive("nonsense".to_owned()), ..made.host };
    let refused = admin_identity(&broken, DOMAIN, now()).expect_err("there is no key");
    assert_eq!(refused.to_string(), "cannot read the authority's key");
}
