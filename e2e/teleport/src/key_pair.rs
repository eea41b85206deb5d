//! Key pairs from files: they must be there, belong together, and verify against the trust store that a Go program has
//! in that container.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::file::KeyPairFiles;
use crate::pki::{self, Pair};
use crate::process::Process;
use crate::rule::{Refusal, Rule};

/// Where a Go program looks unless the environment says otherwise.
const SYSTEM_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Key pairs of one listener; a client gets the first that fits its server name, else the first.
#[derive(Debug)]
pub(crate) struct KeyPairs(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for KeyPairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let Some(name) = &name else { return false };
            let leaf = key.end_entity_cert().ok().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            leaf.is_some_and(|leaf| verify_server_name(&leaf, name).is_ok())
        };
        self.0.iter().find(fits).or_else(|| self.0.first()).cloned()
    }
}

/// Loads and judges key pairs from files.
pub(crate) fn load(process: &Process, files: &[KeyPairFiles]) -> Result<KeyPairs, Refusal> {
    let mut pairs = Vec::new();
    for files in files {
        let read = |file: &str| process.read(file).map_err(|error| Rule::KeyPairFile.by(format!("{file}: {error}")));
        let (certificate, key) = (read(&files.cert_file)?, read(&files.key_file)?);
        let bad = |error: String| Rule::KeyPairFile.by(format!("{}: {error}", files.cert_file));
        let chain = pki::certificates(&certificate).map_err(bad)?;
        trusted(process, &chain).map_err(|error| Rule::KeyPairUntrusted.by(format!("{}: {error}", files.cert_file)))?;
        let key =
            pki::private_key(&key).map_err(|error| Rule::KeyPairFile.by(format!("{}: {error}", files.key_file)))?;
        let pair = CertifiedKey::from_der(chain, key, &pki::provider());
        pairs.push(Arc::new(pair.map_err(|error| Rule::KeyPairMismatch.by(format!("{}: {error}", files.cert_file)))?));
    }
    Ok(KeyPairs(pairs))
}

/// A pair from memory: the self-signed one of a Proxy without `https_keypairs`.
pub(crate) fn of_pair(pair: &Pair) -> Result<KeyPairs, Refusal> {
    let bad = |error: String| Rule::KeyPairFile.by(error);
    let (chain, key) = (pair.chain().map_err(bad)?, pair.private_key().map_err(bad)?);
    let key = CertifiedKey::from_der(chain, key, &pki::provider()).map_err(|error| Rule::KeyPairMismatch.by(error))?;
    Ok(KeyPairs(vec![Arc::new(key)]))
}

/// Whether a chain verifies; exactly one self-signed certificate always does.
fn trusted(process: &Process, chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let Some((leaf, intermediates)) = chain.split_first() else { return Err("no certificate".to_owned()) };
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    if intermediates.is_empty() && parsed.subject().as_raw() == parsed.issuer().as_raw() {
        return Ok(());
    }
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
    let algorithms = pki::provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &store(process), intermediates, UnixTime::now(), algorithms)
        .map_err(|error| error.to_string())
}

/// The container's trust store, by Go's rules: `SSL_CERT_FILE` replaces the file, `SSL_CERT_DIR` adds directories.
fn store(process: &Process) -> RootCertStore {
    let mut files = vec![process.path(process.env("SSL_CERT_FILE").unwrap_or(SYSTEM_STORE))];
    for directory in
        process.env("SSL_CERT_DIR").unwrap_or_default().split(':').filter(|directory| !directory.is_empty())
    {
        if let Ok(entries) = std::fs::read_dir(process.path(directory)) {
            files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        }
    }
    let mut roots = RootCertStore::empty();
    for certificates in files.iter().filter_map(|file| pki::certificates(&std::fs::read(file).ok()?).ok()) {
        roots.add_parsable_certificates(certificates);
    }
    roots
}
