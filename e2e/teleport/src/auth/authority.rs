//! Certificate authorities as resources: their form, what makes one usable, and making those that nobody bootstrapped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::resource::Metadata;
use crate::pki::{self, Pair, ssh};
use crate::rule::{Refusal, Rule};

/// Key prefix of all of them in the state table; `<type>/<cluster>` follows.
pub(crate) const PREFIX: &str = "authorities/";

/// A `cert_authority`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Authority {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) sub_kind: String,
    pub(crate) version: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) cluster_name: String,
    #[serde(default)]
    pub(crate) active_keys: Keys,
    #[serde(default)]
    pub(crate) additional_trusted_keys: Keys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role_map: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<Value>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Keys {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ssh: Vec<SigningPair>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tls: Vec<TlsPair>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jwt: Vec<SigningPair>,
}

/// All three are base64 of PEM, or of an `authorized_keys` line.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SigningPair {
    #[serde(default)]
    pub(crate) public_key: String,
    #[serde(default)]
    pub(crate) private_key: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TlsPair {
    #[serde(default)]
    pub(crate) cert: String,
    #[serde(default)]
    pub(crate) key: String,
}

/// Which kinds of keys a type signs with, and since which major it exists.
struct Type {
    name: &'static str,
    ssh: bool,
    tls: bool,
    jwt: bool,
    since: u64,
}

const fn authority_type(name: &'static str, (ssh, tls, jwt): (bool, bool, bool), since: u64) -> Type {
    Type { name, ssh, tls, jwt, since }
}

const TYPES: &[Type] = &[
    authority_type("host", (true, true, false), 1),
    authority_type("user", (true, true, false), 1),
    authority_type("db", (false, true, false), 9),
    authority_type("db_client", (false, true, false), 15),
    authority_type("openssh", (true, false, false), 12),
    authority_type("jwt", (false, false, true), 1),
    authority_type("saml_idp", (false, true, false), 12),
    authority_type("oidc_idp", (false, false, true), 12),
    authority_type("spiffe", (false, true, true), 15),
    authority_type("okta", (false, false, true), 17),
    authority_type("awsra", (false, true, false), 18),
    authority_type("bound_keypair", (false, false, true), 18),
];

/// The types that a major has.
pub(crate) fn types(major: u64) -> impl Iterator<Item = &'static str> {
    TYPES.iter().filter(move |kind| kind.since <= major).map(|kind| kind.name)
}

pub(crate) fn key(kind: &str, cluster: &str) -> String {
    format!("{PREFIX}{kind}/{cluster}")
}

impl Authority {
    pub(crate) fn key(&self) -> String {
        key(&self.spec.kind, &self.spec.cluster_name)
    }

    /// The checks of a bootstrapped authority.
    pub(crate) fn check(&self, cluster: &str, major: u64) -> Result<(), Refusal> {
        let name = format!("{}/{}", self.spec.kind, self.spec.cluster_name);
        if self.version != "v2" {
            return Err(Rule::ResourceInvalid.by(format!("{name}: version {:?}", self.version)));
        }
        let kind = TYPES.iter().find(|kind| kind.name == self.spec.kind && kind.since <= major);
        let kind = kind.ok_or_else(|| Rule::AuthorityType.by(&self.spec.kind))?;
        if !self.sub_kind.is_empty() && self.sub_kind != self.spec.kind || self.metadata.name != self.spec.cluster_name
        {
            return Err(Rule::AuthorityName.by(format!("{name}: {}/{}", self.sub_kind, self.metadata.name)));
        }
        let role_map = self.spec.role_map.as_ref().is_some_and(|map| map.as_array().is_some_and(|map| !map.is_empty()));
        if self.spec.roles.as_ref().is_some_and(|roles| !roles.is_empty()) && role_map {
            return Err(Rule::AuthorityRoles.by(&name));
        }
        let sets = [&self.spec.active_keys, &self.spec.additional_trusted_keys];
        if self.spec.cluster_name != cluster {
            return match sets.iter().any(|keys| keys.has_private()) {
                true => Err(Rule::AuthorityForeignKeys.by(&name)),
                false => Ok(()),
            };
        }
        let active = &self.spec.active_keys;
        let lacking = [
            (kind.ssh && !signs(&active.ssh), "ssh"),
            (kind.tls && !active.tls.iter().any(|p| !p.key.is_empty()), "tls"),
            (kind.jwt && !signs(&active.jwt), "jwt"),
        ];
        if let Some((_, what)) = lacking.iter().find(|(lacks, _)| *lacks) {
            return Err(Rule::AuthorityKeysMissing.by(format!("{name}: active_keys.{what}")));
        }
        for keys in sets {
            keys.ssh.iter().try_for_each(|pair| check_ssh(&name, pair))?;
            keys.jwt.iter().try_for_each(|pair| check_jwt(&name, pair))?;
            keys.tls.iter().try_for_each(|pair| check_tls(&name, pair))?;
        }
        self.check_subjects()
    }

    /// The check of every start, for every authority of the table.
    pub(crate) fn check_subjects(&self) -> Result<(), Refusal> {
        for pair in self.spec.active_keys.tls.iter().chain(&self.spec.additional_trusted_keys.tls) {
            let certificate = one_certificate(&self.key(), &pair.cert)?;
            let (_, parsed) = parse(&self.key(), &certificate)?;
            let organization =
                parsed.subject().iter_organization().next().and_then(|o| o.as_str().ok()).unwrap_or_default();
            if organization != self.spec.cluster_name {
                return Err(Rule::AuthoritySubject.by(format!("{}: {organization:?}", self.key())));
            }
        }
        Ok(())
    }

    /// The pair that signs certificates.
    pub(crate) fn tls_signer(&self) -> Result<Pair, Refusal> {
        let pair = self.spec.active_keys.tls.iter().find(|pair| !pair.key.is_empty());
        let pair = pair.ok_or_else(|| Rule::AuthorityKeysMissing.by(self.key()))?;
        Ok(Pair { certificate: text(&self.key(), &pair.cert)?, key: text(&self.key(), &pair.key)? })
    }

    /// All certificates that are trusted, also those that no longer sign.
    pub(crate) fn trusted(&self) -> Result<Vec<String>, Refusal> {
        let pairs = self.spec.active_keys.tls.iter().chain(&self.spec.additional_trusted_keys.tls);
        pairs.map(|pair| text(&self.key(), &pair.cert)).collect()
    }
}

impl Keys {
    fn has_private(&self) -> bool {
        signs(&self.ssh) || signs(&self.jwt) || self.tls.iter().any(|pair| !pair.key.is_empty())
    }
}

fn signs(pairs: &[SigningPair]) -> bool {
    pairs.iter().any(|pair| !pair.private_key.is_empty())
}

fn text(name: &str, base64: &str) -> Result<String, Refusal> {
    let unusable = |error: String| Rule::AuthorityKeyUnusable.by(format!("{name}: {error}"));
    let bytes = STANDARD.decode(base64).map_err(|error| unusable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))
}

fn private(name: &str, base64: &str) -> Result<KeyPair, Refusal> {
    KeyPair::from_pem(&text(name, base64)?)
        .map_err(|error| Rule::AuthorityKeyUnusable.by(format!("{name}: private key: {error}")))
}

fn check_ssh(name: &str, pair: &SigningPair) -> Result<(), Refusal> {
    let public = text(name, &pair.public_key)?;
    let mut words = public.split_whitespace();
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return Err(Rule::AuthorityKeyUnusable.by(format!("{name}: public_key is not an authorized_keys line")));
    };
    STANDARD.decode(blob).map_err(|error| Rule::AuthorityKeyUnusable.by(format!("{name}: public_key: {error}")))?;
    if pair.private_key.is_empty() {
        return Ok(());
    }
    let derived = ssh::authorized_key(&private(name, &pair.private_key)?);
    let derived = derived.ok_or_else(|| Rule::AuthorityKeyUnusable.by(format!("{name}: algorithm of the SSH key")))?;
    if derived == format!("{kind} {blob}") {
        Ok(())
    } else {
        Err(Rule::AuthorityKeyMismatch.by(format!("{name}: ssh")))
    }
}

fn check_jwt(name: &str, pair: &SigningPair) -> Result<(), Refusal> {
    let public = text(name, &pair.public_key)?;
    if !public.contains("-----BEGIN ") {
        return Err(Rule::AuthorityKeyUnusable.by(format!("{name}: public_key is not PEM")));
    }
    if pair.private_key.is_empty() {
        return Ok(());
    }
    let derived = private(name, &pair.private_key)?.public_key_pem();
    let plain = |pem: &str| pem.split_whitespace().collect::<String>();
    // PKCS#1 public keys are another encoding of the same key; only the common one is compared.
    let comparable = public.contains("BEGIN PUBLIC KEY");
    match comparable && plain(&derived) != plain(&public) {
        true => Err(Rule::AuthorityKeyMismatch.by(format!("{name}: jwt"))),
        false => Ok(()),
    }
}

fn one_certificate(name: &str, base64: &str) -> Result<CertificateDer<'static>, Refusal> {
    let unusable = |error| Rule::AuthorityKeyUnusable.by(format!("{name}: certificate: {error}"));
    let mut found = pki::certificates(text(name, base64)?.as_bytes()).map_err(unusable)?;
    Ok(found.swap_remove(0))
}

fn parse<'a>(name: &str, der: &'a CertificateDer<'_>) -> Result<(&'a [u8], X509Certificate<'a>), Refusal> {
    X509Certificate::from_der(der)
        .map_err(|error| Rule::AuthorityKeyUnusable.by(format!("{name}: certificate: {error}")))
}

fn check_tls(name: &str, pair: &TlsPair) -> Result<(), Refusal> {
    let der = one_certificate(name, &pair.cert)?;
    let (_, certificate) = parse(name, &der)?;
    let signs = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !signs {
        return Err(Rule::AuthorityNotCa.by(name));
    }
    if pair.key.is_empty() {
        return Ok(());
    }
    let key = private(name, &pair.key)?;
    let public = pki::public_key(&key).map_err(|error| Rule::AuthorityKeyUnusable.by(format!("{name}: {error}")))?;
    use rcgen::PublicKeyData;
    if public.subject_public_key_info() == certificate.public_key().raw {
        Ok(())
    } else {
        Err(Rule::AuthorityKeyMismatch.by(format!("{name}: tls")))
    }
}

/// Makes an authority. All its keys are ECDSA P-256 or Ed25519: the RSA of some real types costs seconds per cluster
/// and nobody here looks at it.
pub(crate) fn generate(kind: &str, cluster: &str) -> Result<Authority, Refusal> {
    let broken = |error: rcgen::Error| Rule::AuthorityKeyUnusable.by(format!("cannot generate {kind}: {error}"));
    let needs = TYPES.iter().find(|entry| entry.name == kind).ok_or_else(|| Rule::AuthorityType.by(kind))?;
    let mut keys = Keys::default();
    if needs.ssh {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(broken)?;
        let public = ssh::authorized_key(&key).expect("Ed25519 is an SSH algorithm");
        keys.ssh.push(SigningPair {
            public_key: STANDARD.encode(public),
            private_key: STANDARD.encode(key.serialize_pem()),
        });
    }
    if needs.tls {
        let pair = pki::new_authority(cluster).map_err(broken)?;
        keys.tls.push(TlsPair { cert: STANDARD.encode(pair.certificate), key: STANDARD.encode(pair.key) });
    }
    if needs.jwt {
        let key = KeyPair::generate().map_err(broken)?;
        keys.jwt.push(SigningPair {
            public_key: STANDARD.encode(key.public_key_pem()),
            private_key: STANDARD.encode(key.serialize_pem()),
        });
    }
    Ok(Authority {
        kind: "cert_authority".to_owned(),
        sub_kind: kind.to_owned(),
        version: "v2".to_owned(),
        metadata: Metadata { name: cluster.to_owned(), ..Metadata::default() },
        spec: Spec {
            kind: kind.to_owned(),
            cluster_name: cluster.to_owned(),
            active_keys: keys,
            additional_trusted_keys: Keys::default(),
            roles: None,
            role_map: None,
            rotation: None,
        },
    })
}
