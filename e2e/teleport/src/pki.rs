//! Keys and certificates: making a cluster's authorities, signing with them, reading PEM. It trusts nobody; who may do
//! what is decided in `auth::identity`.

pub(crate) mod ssh;

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber, SigningKey,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

/// Cluster name as an attribute of the subject.
pub(crate) const CLUSTER_ATTRIBUTE: &[u64] = &[1, 3, 9999, 1, 7];
/// `serialNumber` of a subject, which tells two authorities of one cluster apart.
const SUBJECT_SERIAL: &[u64] = &[2, 5, 4, 5];
const CA_LIFE: Duration = Duration::from_secs(87_600 * 3600);
const HOST_LIFE: Duration = Duration::from_secs(87_600 * 3600);
/// Clocks differ.
const BACKDATED: Duration = Duration::from_secs(60);

/// The one TLS provider; nothing rests on a process-wide default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        certificates(self.certificate.as_bytes())
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        private_key(self.key.as_bytes())
    }
}

/// All certificates of a PEM file; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err("no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// The first private key of a PEM file.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())
}

/// A self-signed authority in Teleport's shape: CN and O are the cluster, serialNumber is the serial.
pub(crate) fn new_authority(cluster: &str) -> Result<Pair, rcgen::Error> {
    // 127 bits: a DER integer with the top bit set grows by a byte, and decimal must say the same number.
    let serial: u128 = rand::rng().random::<u128>() >> 1;
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster);
    name.push(DnType::CommonName, cluster);
    let printable = rcgen::string::PrintableString::try_from(serial.to_string())?;
    name.push(DnType::CustomDnType(SUBJECT_SERIAL.to_vec()), DnValue::PrintableString(printable));
    let mut params = valid_for(CA_LIFE);
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from(serial.to_be_bytes().to_vec()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

fn valid_for(life: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    params
}

/// A host certificate for a system role: server and client in one.
pub(crate) fn host_certificate(
    authority: &Pair,
    cluster: &str,
    host_id: &str,
    role: &str,
    names: &[String],
    public_key: &rcgen::SubjectPublicKeyInfo,
) -> Result<String, rcgen::Error> {
    let mut params = valid_for(HOST_LIFE);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{host_id}.{cluster}"));
    params.distinguished_name.push(DnType::OrganizationName, role);
    params.distinguished_name.push(DnType::CustomDnType(CLUSTER_ATTRIBUTE.to_vec()), cluster);
    let serial: u128 = rand::rng().random::<u128>() >> 1;
    params.serial_number = Some(SerialNumber::from(serial.to_be_bytes().to_vec()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(ip) => rcgen::SanType::IpAddress(ip),
            Err(_) => rcgen::SanType::DnsName(name.as_str().try_into()?),
        });
    }
    let issuer = issuer(authority)?;
    Ok(params.signed_by(public_key, &issuer)?.pem())
}

/// The names in every Auth's and Proxy's host certificate.
pub(crate) fn host_names(more: &[String]) -> Vec<String> {
    let fixed = ["teleport.cluster.local", "*.teleport.cluster.local"];
    fixed.into_iter().map(str::to_owned).chain(more.iter().cloned()).collect()
}

pub(crate) fn issuer(authority: &Pair) -> Result<Issuer<'static, impl SigningKey>, rcgen::Error> {
    Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)
}

/// The public half of a key, as a certificate carries it.
pub(crate) fn public_key(key: &KeyPair) -> Result<rcgen::SubjectPublicKeyInfo, rcgen::Error> {
    use rcgen::PublicKeyData;
    rcgen::SubjectPublicKeyInfo::from_der(&key.subject_public_key_info())
}

/// A certificate for a web listener that was given none: exactly one, self-signed.
pub(crate) fn self_signed(host: &str) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = valid_for(Duration::from_secs(365 * 86_400));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(host.try_into()?)];
    params.serial_number = Some(SerialNumber::from(rand::rng().random::<[u8; 15]>().to_vec()));
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A random UUID, version 4.
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Whether a text has the form of a UUID.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The name by which a client asks Auth for a cluster: hex of its bytes as one label.
pub(crate) fn encoded_name(cluster: &str) -> String {
    format!("{}.teleport.cluster.local", hex::encode(cluster))
}

/// The cluster that a server name means; `None` if it means none, as `teleport.cluster.local` does.
pub(crate) fn decoded_name(server_name: &str) -> Option<String> {
    let label = server_name.strip_suffix(".teleport.cluster.local")?;
    String::from_utf8(hex::decode(label).ok()?).ok()
}
