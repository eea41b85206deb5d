//! Whether clients take a web certificate: the same verifier as theirs is asked.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use plan::acme;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::PkiError;

/// What stands for all names right below a domain.
const BELOW: &str = "any";

/// Verifies a chain, leaf first, for the domain and everything right below it, as a client does at this time who trusts these
/// authorities alone.
pub fn verify(chain: &str, trust: &str, domain: &str, now: DateTime<Utc>) -> Result<(), PkiError> {
    let mut roots = RootCertStore::empty();
    // A bundle may hold some that nobody can use; those that are good are what counts.
    roots.add_parsable_certificates(certificates(trust)?);
    let refused = |name: &str, source: Box<dyn std::error::Error + Send + Sync>| PkiError::Refused {
        name: name.to_owned(),
        source,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|source| refused(domain, Box::new(source)))?;
    let chain = certificates(chain)?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(PkiError::Form { what: "certificate", expected: "PEM text" });
    };
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    for name in acme::names(domain).map(|name| name.replace('*', BELOW)) {
        let server = ServerName::try_from(name.clone()).map_err(|source| refused(&name, Box::new(source)))?.to_owned();
        verifier
            .verify_server_cert(leaf, intermediates, &server, &[], now)
            .map_err(|source| refused(&name, Box::new(source)))?;
    }
    Ok(())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| PkiError::Read { what: "certificate", source: Box::new(source) })
}
