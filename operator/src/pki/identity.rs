//! The operator's own client certificate for a tenant's Auth: the built-in role Admin, as Teleport reads it from a
//! certificate (lib/tlsca: organization = role, OID 1.3.9999.1.7 in the subject = cluster). Short-lived, never stored.

use chrono::{DateTime, TimeDelta, Utc};
use plan::keys::{Authority, Sensitive};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use super::{CLOCK_TOLERANCE, PkiError, issue, moment, random, serial};

/// How long it can be used.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::hours(1);
/// Teleport's subject attribute for the cluster that an identity belongs to.
const TELEPORT_CLUSTER: [u64; 5] = [1, 3, 9999, 1, 7];
/// Teleport's built-in role that may read the whole inventory.
const ROLE: &str = "Admin";

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate alone, PEM: Teleport refuses a chain.
    pub certificate_pem: String,
    /// Private key, PKCS#8 PEM.
    pub key: Sensitive,
}

/// Mints a client certificate that acts as Admin of the tenant's cluster for an hour.
pub fn admin_identity(host: &Authority, domain: &str, now: DateTime<Utc>) -> Result<Identity, PkiError> {
    const WHAT: &str = "client certificate";
    let make = |source| PkiError::Make { what: WHAT, source };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, ROLE);
    subject.push(DnType::CommonName, format!("{}.{domain}", uuid()?));
    subject.push(DnType::CustomDnType(TELEPORT_CLUSTER.to_vec()), domain);

    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(serial()?.0);
    params.not_before = moment(now - CLOCK_TOLERANCE)?;
    params.not_after = moment(now + LIFETIME)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let certificate = issue(WHAT, &params, &key, &host.certificate, &host.key.0)?;
    Ok(Identity { certificate_pem: certificate.pem(), key: Sensitive(key.serialize_pem()) })
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, PkiError> {
    let mut bytes: [u8; 16] = random()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}
