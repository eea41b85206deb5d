//! Web certificates from an ACME server (RFC 8555), proved by a DNS record (dns-01) in Route 53: what is known of the server, of
//! the order that runs and of the records, and the effects by which a certificate comes. What is done when is in `course`.

pub mod course;
pub mod ledger;
pub mod policy;
pub mod problem;
pub mod renewal;

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::fact::Fact;
use ledger::{Turn, Waiting, registered};
use problem::Problem;
use renewal::Suggestion;

/// The names of a tenant's certificate: the domain, and everything right below it.
pub fn names(domain: &str) -> [String; 2] {
    [domain.to_owned(), format!("*.{domain}")]
}

/// Where the proof stands, for the domain and for its wildcard (RFC 8555, section 8.4).
pub fn record_name(domain: &str) -> String {
    format!("_acme-challenge.{domain}")
}

/// The value that tells a record of ours from one that somebody else made, since records have no tags. An ACME server passes over
/// values that it does not look for.
pub fn mark(tenant_id: &str) -> String {
    format!("heritage=tenant-operator,tenant={tenant_id}")
}

/// What is known while a certificate is issued, or for its renewal.
#[derive(Clone, Debug, Default)]
pub struct AcmeFacts {
    /// The private key of the certificate that is being issued is in its Secret.
    pub key: Fact<()>,
    /// Whose turn it is; asked for while an order is to be made.
    pub turn: Fact<Turn>,
    /// An order that this process has just made and that status does not show yet.
    pub ordered: Option<String>,
    /// The order that runs.
    pub order: Fact<OrderFacts>,
    /// The hosted zone of the domain; absent where the policy names none that has it.
    pub zone: Fact<String>,
    /// The records of the proof.
    pub records: Fact<RecordFacts>,
    /// When the server wants the certificate renewed that is there.
    pub suggestion: Option<Suggestion>,
    /// What the last step failed of.
    pub problem: Option<Problem>,
}

/// An order (RFC 8555, section 7.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFacts {
    /// How far it is.
    pub stage: OrderStage,
    /// The TXT values that prove the names which are not proved yet.
    pub values: BTreeSet<String>,
    /// Whether the server was told to look at all of them.
    pub told: bool,
}

/// How far an order is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStage {
    /// Names are to be proved.
    Pending,
    /// All names are proved: the request for the certificate is to be sent.
    Ready,
    /// The certificate is being issued.
    Processing,
    /// The certificate is there.
    Valid,
    /// It has failed.
    Invalid(Problem),
}

/// The TXT records at the name of the proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFacts {
    /// All values.
    pub values: BTreeSet<String>,
    /// Whether every authoritative server answers with them; Unknown while none was asked.
    pub spread: Fact<bool>,
}

/// An effect on the way to a certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum AcmeStep {
    /// Make a private key and store it: created, never applied, so that an existing one wins.
    CreateKey,
    /// Take a place within the limits of the server.
    TakePlace(Box<Waiting>),
    /// Order the certificate.
    Order {
        /// Cluster name.
        domain: String,
        /// The certificate that it replaces.
        replaces: Option<String>,
    },
    /// Make the TXT records.
    Present {
        /// Hosted zone.
        zone: String,
        /// Cluster name.
        domain: String,
        /// Values.
        values: BTreeSet<String>,
    },
    /// Tell the server that it may look.
    Tell {
        /// URL of the order.
        order: String,
    },
    /// Send the request for the certificate.
    Finalize {
        /// URL of the order.
        order: String,
        /// Cluster name.
        domain: String,
    },
    /// Fetch the certificate and put it into its Secret.
    Store {
        /// URL of the order.
        order: String,
        /// Cluster name.
        domain: String,
    },
    /// Take the TXT records away, if they are ours.
    RemoveRecords {
        /// Hosted zone.
        zone: String,
        /// Cluster name.
        domain: String,
    },
    /// Remove the Secret of the private key: the certificate has it now.
    RemoveKey,
}

impl AcmeStep {
    /// One word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            AcmeStep::CreateKey => "CreateCertificateKey",
            AcmeStep::TakePlace(_) => "TakeAcmePlace",
            AcmeStep::Order { .. } => "CreateAcmeOrder",
            AcmeStep::Present { .. } => "PresentChallenge",
            AcmeStep::Tell { .. } => "TellAcmeServer",
            AcmeStep::Finalize { .. } => "FinalizeAcmeOrder",
            AcmeStep::Store { .. } => "StoreCertificate",
            AcmeStep::RemoveRecords { .. } => "RemoveChallenge",
            AcmeStep::RemoveKey => "RemoveCertificateKey",
        }
    }
}

impl fmt::Display for AcmeStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label();
        match self {
            AcmeStep::CreateKey | AcmeStep::RemoveKey => write!(formatter, "{label}"),
            AcmeStep::TakePlace(asker) => write!(formatter, "{label} under {}", registered(&asker.domain)),
            AcmeStep::Order { domain, .. } => write!(formatter, "{label} {domain}"),
            AcmeStep::Present { zone, domain, .. } | AcmeStep::RemoveRecords { zone, domain } => {
                write!(formatter, "{label} {} in zone {zone}", record_name(domain))
            }
            AcmeStep::Tell { order } | AcmeStep::Finalize { order, .. } | AcmeStep::Store { order, .. } => {
                write!(formatter, "{label} {order}")
            }
        }
    }
}

/// A certificate that is there, as far as its renewal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Valid from.
    pub not_before: DateTime<Utc>,
    /// Valid until.
    pub not_after: DateTime<Utc>,
}
