//! The licence file of an Enterprise Auth: it must be there and be PEM. Its payload is not looked into.

use chrono::{DateTime, Utc};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::process::Process;
use crate::release::{Edition, Release};
use crate::rule::{Refusal, Rule};

/// Checks the licence if the edition needs one; returns its expiry if it is a certificate.
pub(super) fn check(process: &Process, release: &Release, file: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    if release.edition == Edition::Community {
        return Ok(None);
    }
    let pem = process.read(file).map_err(|error| Rule::LicenseMissing.by(format!("{file}: {error}")))?;
    let text = String::from_utf8_lossy(&pem);
    if !(text.contains("-----BEGIN ") && text.contains("-----END ")) {
        return Err(Rule::LicenseFormat.by(file));
    }
    let Ok(certificate) = CertificateDer::from_pem_slice(&pem) else { return Ok(None) };
    let parsed = X509Certificate::from_der(&certificate);
    Ok(parsed.ok().and_then(|(_, parsed)| DateTime::from_timestamp(parsed.validity().not_after.timestamp(), 0)))
}
