//! Makes and reads keys and certificates: the tenant's authorities, the operator's own client certificates, the
//! tenant's web certificate. It decides nothing: when to make what is the planner's business, where to keep it the
//! reconciler's.

mod authority;
mod identity;
mod metrics;
mod read;
mod ssh;
#[cfg(test)]
mod tests;
mod verify;
mod web;

use chrono::{DateTime, TimeDelta, Utc};
use rand::TryRngCore;
use rand::rngs::OsRng;
use rcgen::{Certificate, CertificateParams, Issuer, KeyPair, SerialNumber};
use time::OffsetDateTime;

use crate::error::Class;

pub use authority::authorities;
pub(crate) use identity::LIFETIME as IDENTITY_LIFETIME;
pub use identity::{Identity, admin_identity};
pub use metrics::{Span, metrics_keys};
pub use read::{certificate_id, issued_by, key_matches, last_of_chain, read_certificate};
pub use verify::verify;
pub use web::{certificate_key, certificate_request, web_certificate};

/// How far clocks may be apart: what is issued now is valid this long before.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A key or certificate that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library could not make it.
    #[error("cannot make the {what}")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// Something that was given cannot be understood.
    #[error("cannot read the {what}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something that was given is not in the form it should have.
    #[error("the {what} is not {expected}")]
    Form {
        /// What was to be read.
        what: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A client would not take it.
    #[error("clients do not take the certificate for {name}")]
    Refused {
        /// Under which name they ask for it.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness(#[source] rand::rand_core::OsError),
    /// The issuer that was written into a certificate is not the authority's subject, byte for byte.
    #[error("the issuer of the new {what} is not its authority's subject")]
    Issuer {
        /// What was issued.
        what: &'static str,
    },
}

impl PkiError {
    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            PkiError::Randomness(_) => Class::Transient,
            // What is read came out of a Secret: somebody has to mend that.
            PkiError::Read { .. } | PkiError::Form { .. } | PkiError::Issuer { .. } | PkiError::Refused { .. } => {
                Class::Invalid
            }
            PkiError::Make { .. } => Class::Bug,
        }
    }
}

/// Fills an array with random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(PkiError::Randomness)?;
    Ok(bytes)
}

/// A random serial of 128 bits, as a number too. The library's own is a hash of the public key, so that two
/// certificates for one key would share it.
fn serial() -> Result<(SerialNumber, u128), PkiError> {
    let bytes: [u8; 16] = random()?;
    let number = u128::from_be_bytes(bytes);
    // DER wants the shortest form; zero, which no certificate may have, is as likely as guessing a key.
    let shortest = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    Ok((SerialNumber::from_slice(shortest), number))
}

/// A moment in the time type of the library, to the second, as certificates have it.
fn moment(time: DateTime<Utc>) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(time.timestamp())
        .map_err(|source| PkiError::Read { what: "time", source: Box::new(source) })
}

/// Issues a certificate and checks the one thing that the library can get wrong silently: it takes the authority's
/// subject apart and writes it anew, and verifiers compare bytes.
fn issue(
    what: &'static str,
    params: &CertificateParams,
    key: &KeyPair,
    authority_certificate: &str,
    authority_key: &str,
) -> Result<Certificate, PkiError> {
    let make = |source| PkiError::Make { what, source };
    let authority_key = KeyPair::from_pem(authority_key)
        .map_err(|source| PkiError::Read { what: "authority's key", source: Box::new(source) })?;
    let issuer = Issuer::from_ca_cert_pem(authority_certificate, authority_key)
        .map_err(|source| PkiError::Read { what: "authority's certificate", source: Box::new(source) })?;
    let certificate = params.signed_by(key, &issuer).map_err(make)?;
    if !issued_by(&certificate.pem(), authority_certificate)? {
        return Err(PkiError::Issuer { what });
    }
    Ok(certificate)
}
