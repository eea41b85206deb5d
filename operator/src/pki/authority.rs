//! The tenant's authorities. Their form is Teleport's own (lib/tlsca: subject with organization, name and the serial
//! number as an attribute; lib/auth looks an authority up by its raw subject, so that two of one cluster must differ
//! in it). Keys as Teleport's suite `balanced-v1` has them: P-256 for TLS, Ed25519 for SSH.

use chrono::{DateTime, TimeDelta, Utc};
use plan::keys::{Authorities, Authority, Sensitive, WebIssuer};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use super::{CLOCK_TOLERANCE, PkiError, moment, serial, ssh};

/// Ten years, as Teleport's own authorities live.
const LIFETIME: TimeDelta = TimeDelta::hours(87_600);
/// The X.520 attribute "serialNumber".
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// Makes all authorities of a tenant.
pub fn authorities(domain: &str, now: DateTime<Utc>) -> Result<Authorities, PkiError> {
    Ok(Authorities { host: authority(domain, now)?, user: authority(domain, now)?, web: web_issuer(domain, now)? })
}

fn authority(domain: &str, now: DateTime<Utc>) -> Result<Authority, PkiError> {
    let (certificate, key) = self_signed(domain, domain, BasicConstraints::Unconstrained, now)?;
    let ssh = ssh::generate()?;
    Ok(Authority { certificate, key, ssh_public: ssh.public, ssh_key: ssh.key, trusted: String::new() })
}

/// Path length 0: what it issues can issue nothing.
fn web_issuer(domain: &str, now: DateTime<Utc>) -> Result<WebIssuer, PkiError> {
    let (certificate, key) = self_signed(&format!("{domain} web"), domain, BasicConstraints::Constrained(0), now)?;
    Ok(WebIssuer { certificate, key, trusted: String::new() })
}

fn self_signed(
    name: &str,
    organization: &str,
    constraints: BasicConstraints,
    now: DateTime<Utc>,
) -> Result<(String, Sensitive), PkiError> {
    let make = |source| PkiError::Make { what: "authority", source };
    let (serial, number) = serial()?;
    let digits = number.to_string().as_str().try_into().map_err(make)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    subject.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), DnValue::PrintableString(digits));

    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(serial);
    params.not_before = moment(now - CLOCK_TOLERANCE)?;
    params.not_after = moment(now + LIFETIME)?;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let certificate = params.self_signed(&key).map_err(make)?;
    Ok((certificate.pem(), Sensitive(key.serialize_pem())))
}
