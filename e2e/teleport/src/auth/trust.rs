//! The authorities that Auth trusts right now, and the TLS server configurations that follow from them.
//! Which certificate may do what is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::Authority;
use crate::pki::{self, Pair};
use crate::rule::{Refusal, Rule};

/// Which authority a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signer {
    Host,
    User,
}

/// One trusted CA certificate.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) signer: Signer,
    pub(super) cluster: String,
    pub(super) der: CertificateDer<'static>,
    /// Subject as DER: issuers are looked up by it.
    pub(super) subject: Vec<u8>,
    pub(super) organization: String,
}

/// A snapshot; replaced as a whole when an authority changes.
pub(super) struct Trust {
    pub(super) anchors: Vec<Anchor>,
    pub(super) host_signer: Pair,
    pub(super) host_pem: String,
    pub(super) user_pem: String,
    /// By the cluster that a server name means; `None` when it means none.
    configs: BTreeMap<Option<String>, Arc<ServerConfig>>,
}

impl Trust {
    /// Everything from the stored authorities. `names` and `key` are for the server's own certificate.
    pub(super) fn new(
        authorities: &[Authority],
        cluster: &str,
        host_id: &str,
        names: &[String],
        key: &KeyPair,
    ) -> Result<Trust, Refusal> {
        let mut anchors = Vec::new();
        let mut host_signer = None;
        let (mut host_pem, mut user_pem) = (String::new(), String::new());
        for authority in authorities {
            let signer = match authority.spec.kind.as_str() {
                "host" => Signer::Host,
                "user" => Signer::User,
                _ => continue,
            };
            let own = authority.spec.cluster_name == cluster;
            if own && signer == Signer::Host {
                host_signer = Some(authority.tls_signer()?);
            }
            for pem in authority.trusted()? {
                if own {
                    let bundle = if signer == Signer::Host { &mut host_pem } else { &mut user_pem };
                    bundle.push_str(&pem);
                }
                anchors.push(anchor(signer, &authority.spec.cluster_name, &pem)?);
            }
        }
        let host_signer = host_signer.ok_or_else(|| Rule::AuthorityKeysMissing.by(format!("host/{cluster}")))?;
        let certificate = server_certificate(&host_signer, cluster, host_id, names, key)?;
        let mut clusters: Vec<Option<String>> = anchors.iter().map(|anchor| Some(anchor.cluster.clone())).collect();
        clusters.push(None);
        let mut configs = BTreeMap::new();
        for wanted in clusters {
            let roots = anchors.iter().filter(|anchor| wanted.as_ref().is_none_or(|wanted| *wanted == anchor.cluster));
            let config = server_config(roots, &certificate, key)?;
            configs.insert(wanted, Arc::new(config));
        }
        Ok(Trust { anchors, host_signer, host_pem, user_pem, configs })
    }

    /// The configuration for a server name: the authorities of the cluster that it means, or of all.
    pub(super) fn config(&self, server_name: Option<&str>) -> Result<Arc<ServerConfig>, Refusal> {
        let cluster = server_name.and_then(pki::decoded_name);
        let config = self.configs.get(&cluster).cloned();
        config.ok_or_else(|| Rule::ServerNameUnknown.by(cluster.unwrap_or_default()))
    }
}

fn anchor(signer: Signer, cluster: &str, pem: &str) -> Result<Anchor, Refusal> {
    let unusable = |error: String| Rule::AuthorityKeyUnusable.by(format!("{cluster}: {error}"));
    let der = pki::certificates(pem.as_bytes()).map_err(unusable)?.swap_remove(0);
    let (subject, organization) = {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| unusable(error.to_string()))?;
        let organization =
            parsed.subject().iter_organization().next().and_then(|o| o.as_str().ok()).unwrap_or_default();
        (parsed.subject().as_raw().to_vec(), organization.to_owned())
    };
    Ok(Anchor { signer, cluster: cluster.to_owned(), der, subject, organization })
}

fn server_certificate(
    signer: &Pair,
    cluster: &str,
    host_id: &str,
    names: &[String],
    key: &KeyPair,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let unusable = |error: String| Rule::AuthorityKeyUnusable.by(format!("host/{cluster} cannot sign: {error}"));
    let public = pki::public_key(key).map_err(|error| unusable(error.to_string()))?;
    let pem = pki::host_certificate(signer, cluster, host_id, "Auth", &pki::host_names(names), &public);
    pki::certificates(pem.map_err(|error| unusable(error.to_string()))?.as_bytes()).map_err(unusable)
}

fn server_config<'a>(
    anchors: impl Iterator<Item = &'a Anchor>,
    certificate: &[CertificateDer<'static>],
    key: &KeyPair,
) -> Result<ServerConfig, Refusal> {
    let unusable = |error: &dyn std::fmt::Display| Rule::AuthorityKeyUnusable.by(error);
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.der.clone()).map_err(|error| unusable(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), pki::provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(&error))?;
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.to_vec(), private.into())
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
