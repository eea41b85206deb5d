//! The tenant's web certificate: issued when the tenant is its own issuer, asked for when another is.

use chrono::{DateTime, TimeDelta, Utc};
use plan::acme;
use plan::keys::{Sensitive, WebCertificate, WebIssuer};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use super::{CLOCK_TOLERANCE, PkiError, issue, moment, serial};

/// As long as public authorities issue for.
const LIFETIME: TimeDelta = TimeDelta::days(90);
/// X.520 bounds a common name; longer domains are in the subject alternative names alone, which is what counts.
const LONGEST_COMMON_NAME: usize = 64;

/// Makes a certificate for the domain and its subdomains, with its issuer behind it, and with a key of its own.
pub fn web_certificate(web: &WebIssuer, domain: &str, now: DateTime<Utc>) -> Result<WebCertificate, PkiError> {
    const WHAT: &str = "web certificate";
    let make = |source| PkiError::Make { what: WHAT, source };
    let mut subject = DistinguishedName::new();
    if domain.len() <= LONGEST_COMMON_NAME {
        subject.push(DnType::CommonName, domain);
    }
    let mut params = CertificateParams::new(acme::names(domain)).map_err(make)?;
    params.distinguished_name = subject;
    params.serial_number = Some(serial()?.0);
    params.not_before = moment(now - CLOCK_TOLERANCE)?;
    params.not_after = moment(now + LIFETIME)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let leaf = issue(WHAT, &params, &key, &web.certificate, &web.key.0)?;
    let certificate = format!("{}{}", leaf.pem(), web.certificate);
    Ok(WebCertificate { certificate, key: Sensitive(key.serialize_pem()) })
}

/// Makes a private key for a certificate that another authority issues, PKCS#8 PEM.
pub fn certificate_key() -> Result<Sensitive, PkiError> {
    let make = |source| PkiError::Make { what: "key of a web certificate", source };
    Ok(Sensitive(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?.serialize_pem()))
}

/// Makes the request for a certificate for the domain and its subdomains, DER (RFC 2986). Its subject is empty: the names are what
/// counts.
pub fn certificate_request(key: &str, domain: &str) -> Result<Vec<u8>, PkiError> {
    const WHAT: &str = "request for a web certificate";
    let make = |source| PkiError::Make { what: WHAT, source };
    let key =
        KeyPair::from_pem(key).map_err(|source| PkiError::Read { what: "private key", source: Box::new(source) })?;
    let mut params = CertificateParams::new(acme::names(domain)).map_err(make)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(make)?.der().to_vec())
}
