//! Reads certificates that lie in Secrets: what they say, whether a key is theirs, who issued them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use plan::keys::CertificateFacts;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

use super::PkiError;

/// What the first certificate of a PEM text says.
pub fn read_certificate(pem: &str) -> Result<CertificateFacts, PkiError> {
    with_certificate(pem, |certificate| {
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|source| PkiError::Read { what: "certificate's names", source: Box::new(source) })?;
        let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Ok(CertificateFacts {
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
            names: names.collect(),
            issuer: certificate.issuer().to_string(),
            subject: certificate.subject().to_string(),
        })
    })
}

/// Whether the private key belongs to the first certificate of the PEM text.
pub fn key_matches(certificate_pem: &str, key_pem: &str) -> Result<bool, PkiError> {
    let key = KeyPair::from_pem(key_pem)
        .map_err(|source| PkiError::Read { what: "private key", source: Box::new(source) })?;
    with_certificate(certificate_pem, |certificate| {
        Ok(certificate.public_key().raw == key.subject_public_key_info().as_slice())
    })
}

/// Whether the first certificate of one PEM text was issued by the first of the other: the names are the same bytes,
/// and the signature is the authority's.
pub fn issued_by(certificate_pem: &str, authority_pem: &str) -> Result<bool, PkiError> {
    with_certificate(certificate_pem, |certificate| {
        with_certificate(authority_pem, |authority| {
            let named = certificate.issuer().as_raw() == authority.subject().as_raw();
            Ok(named && certificate.verify_signature(Some(authority.public_key())).is_ok())
        })
    })
}

fn with_certificate<T>(
    pem: &str,
    read: impl FnOnce(&X509Certificate<'_>) -> Result<T, PkiError>,
) -> Result<T, PkiError> {
    const WHAT: &str = "certificate";
    let block = Pem::iter_from_buffer(pem.as_bytes())
        .next()
        .ok_or(PkiError::Form { what: WHAT, expected: "PEM text" })?
        .map_err(|source| PkiError::Read { what: WHAT, source: Box::new(source) })?;
    if block.label != "CERTIFICATE" {
        return Err(PkiError::Form { what: WHAT, expected: "a PEM block CERTIFICATE" });
    }
    let certificate =
        block.parse_x509().map_err(|source| PkiError::Read { what: WHAT, source: source.to_string().into() })?;
    read(&certificate)
}

fn time(time: ASN1Time) -> Result<DateTime<Utc>, PkiError> {
    DateTime::from_timestamp(time.timestamp(), 0)
        .ok_or(PkiError::Form { what: "certificate", expected: "valid in a year that can be counted" })
}

/// How an ACME server knows a certificate (RFC 9773, section 4.1): the key identifier of its authority and its serial, both in
/// base64url; none where it names no authority.
pub fn certificate_id(pem: &str) -> Result<Option<String>, PkiError> {
    with_certificate(pem, |certificate| {
        let authority = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) => {
                found.key_identifier.as_ref().map(|identifier| identifier.0)
            }
            _ => None,
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Ok(authority.map(|authority| format!("{}.{}", encode(authority), encode(certificate.raw_serial()))))
    })
}

/// The last certificate of a chain: the authority that is nearest to the root.
pub fn last_of_chain(pem: &str) -> Result<String, PkiError> {
    const END: &str = "-----END CERTIFICATE-----";
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let last =
        pem.rfind(BEGIN).and_then(|begin| pem[begin..].find(END).map(|end| &pem[begin..begin + end + END.len()]));
    last.map(|last| format!("{last}\n")).ok_or(PkiError::Form { what: "certificate", expected: "PEM text" })
}
