//! TLS to a tenant: the server name of Auth, the operator's identities and how long they are kept, and the handshake.
//! Keys stay in memory.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use plan::keys::Authority;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TeleportError;
use crate::pki;

/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A kept identity is made anew when it has less than this left: longer than any call.
const LEFT_AT_LEAST: TimeDelta = TimeDelta::minutes(10);
/// What every Auth has in its certificate, as it is and with one label before it.
const AUTH_NAME: &str = "teleport.cluster.local";
/// A DNS label holds 63 characters; a domain takes two for each byte.
const LONGEST_ENCODED_DOMAIN: usize = 31;

/// The name by which Auth is told which cluster's authorities to consider: the domain in hexadecimal. A longer domain
/// gives no valid name; without one Auth considers all that it knows, which is the same where it knows one cluster.
pub(super) fn auth_server_name(domain: &str) -> String {
    if domain.len() > LONGEST_ENCODED_DOMAIN {
        return AUTH_NAME.to_owned();
    }
    format!("{}.{AUTH_NAME}", hex::encode(domain))
}

/// Client configurations with an Admin identity in them, by tenant and host authority.
#[derive(Debug, Default)]
pub(super) struct Identities {
    kept: Mutex<HashMap<Key, Kept>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    domain: String,
    authority: [u8; 32],
}

#[derive(Debug)]
struct Kept {
    config: Arc<ClientConfig>,
    until: DateTime<Utc>,
}

impl Identities {
    /// The configuration for a tenant's Auth, from memory or with a freshly minted certificate.
    pub(super) fn config(
        &self,
        domain: &str,
        host: &Authority,
        now: DateTime<Utc>,
    ) -> Result<Arc<ClientConfig>, TeleportError> {
        let key = Key { domain: domain.to_owned(), authority: Sha256::digest(host.trusts()).into() };
        if let Some(kept) = self.lock().get(&key).filter(|kept| now < kept.until) {
            return Ok(Arc::clone(&kept.config));
        }
        let identity = pki::admin_identity(host, domain, now)
            .map_err(|source| TeleportError::Identity { domain: domain.to_owned(), source })?;
        let config = Arc::new(auth_config(domain, host, &identity)?);
        let until = now + pki::IDENTITY_LIFETIME - LEFT_AT_LEAST;
        let mut kept = self.lock();
        kept.retain(|_, kept| now < kept.until);
        kept.insert(key, Kept { config: Arc::clone(&config), until });
        Ok(config)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn auth_config(domain: &str, host: &Authority, identity: &pki::Identity) -> Result<ClientConfig, TeleportError> {
    let keys = keys_error(domain);
    let chain = certificates(&identity.certificate_pem).map_err(&keys)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.0.as_bytes()).map_err(|source| keys(Box::new(source)))?;
    let mut config = trusting(&host.trusts())
        .map_err(&keys)?
        .with_client_auth_cert(chain, key)
        .map_err(|source| keys(Box::new(source)))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The configuration for a tenant's web address.
pub(super) fn web_config(domain: &str, ca_pem: &str) -> Result<Arc<ClientConfig>, TeleportError> {
    let mut config = trusting(ca_pem).map_err(keys_error(domain))?.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

type Cause = Box<dyn std::error::Error + Send + Sync>;
type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn keys_error(domain: &str) -> impl Fn(Cause) -> TeleportError {
    move |source| TeleportError::Keys { domain: domain.to_owned(), source }
}

fn trusting(ca_pem: &str) -> Result<Builder, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots))
}

/// All certificates of a PEM text; none at all is an error, since trusting nobody explains itself badly later.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err("there is no certificate in the PEM text".into()) } else { Ok(certificates) }
}

/// Connects and shakes hands.
pub(super) async fn connect(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, TeleportError> {
    let server_name = ServerName::try_from(name.to_owned()).map_err(|source| TeleportError::Handshake {
        address,
        name: name.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, source),
    })?;
    let connected = timeout(CONNECT_TIMEOUT, async {
        let tcp = TcpStream::connect(address).await.map_err(|source| TeleportError::Connect { address, source })?;
        // Small questions, answered at once: waiting to fill a segment only adds latency.
        tcp.set_nodelay(true).map_err(|source| TeleportError::Connect { address, source })?;
        let shaken = TlsConnector::from(config).connect(server_name, tcp).await;
        shaken.map_err(|source| TeleportError::Handshake { address, name: name.to_owned(), source })
    });
    let seconds = CONNECT_TIMEOUT.as_secs();
    connected.await.unwrap_or(Err(TeleportError::Timeout { address, question: "a connection", seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const DOMAIN: &str = "acme.example.net";

    #[test]
    fn auth_is_asked_for_by_the_domain_in_hexadecimal() {
        assert_eq!(auth_server_name(DOMAIN), "61636d652e6578616d706c652e6e6574.teleport.cluster.local");
    }

    #[test]
    fn every_server_name_is_one_that_tls_accepts() {
        for length in [1, 30, 31, 32, 60, 253] {
            let name = auth_server_name(&"a".repeat(length));
            assert!(ServerName::try_from(name.clone()).is_ok(), "{name}");
            assert_eq!(name == AUTH_NAME, length > 31, "{name}");
        }
    }

    #[test]
    fn an_identity_is_kept_until_ten_minutes_before_its_end() {
        let (identities, now) = (Identities::default(), clock::wall());
        let host = pki::authorities(DOMAIN, now).expect("authorities").host;
        let at = |minutes| identities.config(DOMAIN, &host, now + TimeDelta::minutes(minutes)).expect("config");
        let first = at(0);
        assert!(Arc::ptr_eq(&first, &at(49)));
        assert!(!Arc::ptr_eq(&first, &at(50)));
        assert_eq!(identities.lock().len(), 1, "the old one is gone");
    }

    #[test]
    fn another_authority_or_domain_gets_another_identity() {
        let (identities, now) = (Identities::default(), clock::wall());
        let [one, other] = [0, 1].map(|_| pki::authorities(DOMAIN, now).expect("authorities").host);
        let first = identities.config(DOMAIN, &one, now).expect("config");
        assert!(!Arc::ptr_eq(&first, &identities.config(DOMAIN, &other, now).expect("config")));
        assert!(!Arc::ptr_eq(&first, &identities.config("b.example.net", &one, now).expect("config")));
        assert!(Arc::ptr_eq(&first, &identities.config(DOMAIN, &one, now).expect("config")));
    }

    #[test]
    fn trusting_nobody_is_refused_at_once() {
        let refused = web_config(DOMAIN, "").expect_err("no certificate");
        assert_eq!(refused.class(), crate::error::Class::Invalid);
    }
}
