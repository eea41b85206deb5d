//! What can go wrong with a tenant's Teleport, and what each failure means for the next attempt.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use tonic::{Code, Status};

use crate::error::Class;
use crate::pki::PkiError;

/// A question to a tenant's Teleport that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum TeleportError {
    /// No client certificate to ask with.
    #[error("cannot make a client certificate for {domain}")]
    Identity {
        /// Teleport cluster name.
        domain: String,
        /// Why.
        source: PkiError,
    },
    /// What is to be trusted or shown is not usable.
    #[error("the keys of {domain} cannot be used for TLS")]
    Keys {
        /// Teleport cluster name.
        domain: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nobody listens, or the way there is closed.
    #[error("cannot connect to {address}")]
    Connect {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Somebody listens who is not the tenant's, or who does not take us for ours.
    #[error("{address} and the operator do not agree on TLS for {name}")]
    Handshake {
        /// Address and port.
        address: SocketAddr,
        /// The server name that was asked for.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer from {address} to {question} within {seconds} s")]
    Timeout {
        /// Address and port.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// Auth refused or broke off.
    #[error("Auth at {address} did not answer {question}")]
    Call {
        /// Address and port.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// What it said.
        source: Refusal,
    },
    /// Somebody else wrote what was about to be written.
    #[error("{resource} of {address} was changed meanwhile")]
    Changed {
        /// Address and port.
        address: SocketAddr,
        /// What it is called in Teleport.
        resource: &'static str,
        /// What Auth said, if it was Auth who noticed.
        source: Option<Refusal>,
    },
    /// Proxy refused or broke off.
    #[error("Proxy at {address} did not answer {question}")]
    Web {
        /// Address and port.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Proxy answered with something else than success.
    #[error("Proxy at {address} answered {question} with HTTP {status}")]
    Status {
        /// Address and port.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// An answer that makes no sense.
    #[error("the answer of {address} to {question} {problem}")]
    Answer {
        /// Address and port.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl TeleportError {
    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            TeleportError::Identity { source, .. } => source.class(),
            TeleportError::Keys { .. } => Class::Invalid,
            TeleportError::Connect { .. } | TeleportError::Timeout { .. } => Class::Transient,
            TeleportError::Changed { .. } => Class::Conflict,
            TeleportError::Handshake { source, .. } => class_of_transport(source),
            TeleportError::Call { source, .. } => class_of_status(&source.0),
            TeleportError::Web { source, .. } => class_of_transport(source.as_ref()),
            TeleportError::Status { status: 401 | 403, .. } => Class::Denied,
            TeleportError::Status { status: 429, .. } => Class::Throttled(None),
            TeleportError::Status { .. } | TeleportError::Answer { .. } => Class::Transient,
        }
    }
}

/// A gRPC status, as a person reads it: its code and message, and the causes below it one by one.
#[derive(Debug)]
pub struct Refusal(pub(super) Box<Status>);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.0.code(), self.0.message())
    }
}

impl StdError for Refusal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn class_of_status(status: &Status) -> Class {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Class::Denied,
        Code::ResourceExhausted => Class::Throttled(None),
        Code::InvalidArgument | Code::Unimplemented => Class::Invalid,
        _ => class_of_transport(status),
    }
}

/// A lost connection may come back. A certificate that one side does not accept stays unaccepted until a person or
/// a rotation changes it.
fn class_of_transport(error: &(dyn StdError + 'static)) -> Class {
    if is_about_certificates(error) { Class::Denied } else { Class::Transient }
}

/// Whether TLS was refused somewhere below an error.
fn is_about_certificates(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return true,
            Some(rustls::Error::AlertReceived(alert)) => return blames_a_certificate(*alert),
            Some(_) => return false,
            None => {}
        }
        // HTTP/2 keeps only the text of what its transport said.
        let said = error.downcast_ref::<io::Error>().map(ToString::to_string).unwrap_or_default();
        if let Some(alert) = said.strip_prefix("received fatal alert: ") {
            return BLAMES
                .iter()
                .any(|blame| alert.eq_ignore_ascii_case(&format!("{blame:?}")) || alert.contains("ertificate"))
                || alert.contains("UnknownCA");
        }
        // An io::Error shows what it wraps by `get_ref`; its `source` is already one further.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// Alerts by which a peer says that it does not accept a certificate; all others may pass by themselves.
const BLAMES: [rustls::AlertDescription; 8] = [
    rustls::AlertDescription::NoCertificate,
    rustls::AlertDescription::BadCertificate,
    rustls::AlertDescription::UnsupportedCertificate,
    rustls::AlertDescription::CertificateRevoked,
    rustls::AlertDescription::CertificateExpired,
    rustls::AlertDescription::CertificateUnknown,
    rustls::AlertDescription::UnknownCA,
    rustls::AlertDescription::AccessDenied,
];

fn blames_a_certificate(alert: rustls::AlertDescription) -> bool {
    BLAMES.contains(&alert)
}
