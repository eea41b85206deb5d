//! Certificates for the servers and clients of the test bed. It makes them; where they lie and who trusts them is
//! decided by the callers. Nothing here is for production: keys are written to files of a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use time::{Duration, OffsetDateTime};

/// Longer than any test bed stays up.
const LIFETIME: Duration = Duration::days(365);
/// So that a certificate is valid at once for clocks that were read before it was made.
const HEAD_START: Duration = Duration::minutes(5);

/// A certificate authority in memory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whom a certificate names and what it is good for.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A server, under these DNS names and IP addresses; it may be a client too.
    Server {
        /// Common name.
        name: String,
        /// DNS names and IP addresses.
        hosts: Vec<String>,
    },
    /// A client: Kubernetes takes the name as the user, the organization as the group.
    Client {
        /// Common name.
        name: String,
        /// Organization.
        group: Option<String>,
    },
}

/// A certificate or public key with its private key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// Certificate, or bare public key.
    pub public: String,
    /// Private key, PKCS#8.
    pub private: String,
}

/// The files of a pair.
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// Certificate, or bare public key.
    pub public: PathBuf,
    /// Private key.
    pub private: PathBuf,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn new(name: &str) -> anyhow::Result<Authority> {
        let mut params = params(name, None, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("cannot generate a key")?;
        let issuer = CertifiedIssuer::self_signed(params, key);
        Ok(Authority { issuer: issuer.with_context(|| format!("cannot make the authority {name}"))? })
    }

    /// Certificate and key of the authority itself.
    pub fn pair(&self) -> Pair {
        Pair { public: self.issuer.pem(), private: self.issuer.key().serialize_pem() }
    }

    /// A certificate with a key of its own.
    ///
    /// # Errors
    /// When a host is no valid name.
    pub fn issue(&self, identity: &Identity) -> anyhow::Result<Pair> {
        let mut params = match identity {
            Identity::Server { name, hosts } => params(name, None, hosts.clone())?,
            Identity::Client { name, group } => params(name, group.as_deref(), Vec::new())?,
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match identity {
            Identity::Server { .. } => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Identity::Client { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("cannot generate a key")?;
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.with_context(|| format!("cannot issue a certificate for {identity:?}"))?;
        Ok(Pair { public: certificate.pem(), private: key.serialize_pem() })
    }
}

impl Pair {
    /// An RSA key pair, for signing tokens: the algorithm of the large providers, which every verifier knows.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn rsa() -> anyhow::Result<Pair> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).context("cannot generate a key")?;
        Ok(Pair { public: key.public_key_pem(), private: key.serialize_pem() })
    }

    /// Writes `<name>.crt` and `<name>.key`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<PairFiles> {
        let write = |suffix: &str, text: &str| {
            let path = directory.join(format!("{name}.{suffix}"));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(PairFiles { public: write("crt", &self.public)?, private: write("key", &self.private)? })
    }
}

fn params(name: &str, group: Option<&str>, hosts: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts).with_context(|| format!("cannot make a certificate for {name}"))?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - HEAD_START;
    params.not_after = now + LIFETIME;
    Ok(params)
}
