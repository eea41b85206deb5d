//! What can go wrong on the way to a certificate, and what each failure means for the next attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use plan::acme::AcmeStep;
use plan::acme::problem::{self, Kind, Problem};

use crate::clock;
use crate::cloud::CloudError;
use crate::error::{Class, chain};

/// A question or a step that failed.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The ACME server refused, or could not be asked.
    #[error("the ACME server cannot {attempt}")]
    Server {
        /// What was asked for.
        attempt: &'static str,
        /// When it may be asked again, by its own word.
        until: Option<DateTime<Utc>>,
        /// What it answered.
        source: Box<instant_acme::Error>,
    },
    /// Route 53 refused, or could not be asked.
    #[error(transparent)]
    Route53(#[from] CloudError),
    /// The account could not be opened a moment ago.
    #[error("the account with the ACME server could not be opened a moment ago: {fault}")]
    Unopened {
        /// Why.
        fault: String,
    },
    /// Two public zones of one name: records in the wrong one are seen by nobody.
    #[error(
        "{count} public hosted zones are called {zone}: remove all but the one that its name servers are delegated to"
    )]
    Ambiguous {
        /// Their name.
        zone: String,
        /// How many.
        count: usize,
    },
    /// Route 53 takes five calls a second.
    #[error("the calls of Route 53 are spent; this one waits for its turn")]
    Paced,
    /// The name servers of the zone could not be asked.
    #[error("the name server {server} cannot be asked")]
    NameServer {
        /// Its name.
        server: String,
        /// Why.
        source: Box<hickory_resolver::net::NetError>,
    },
    /// A resolver could not be set up.
    #[error("DNS cannot be asked: {fault}")]
    Resolver {
        /// Why.
        fault: String,
    },
    /// A Secret that the operator was told of is not there, or not as it should be.
    #[error("Secret {name} in the operator's namespace {fault}")]
    Secret {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The policy has no answer.
    #[error("the fleet policy has no {missing}")]
    Policy {
        /// What is missing.
        missing: String,
    },
}

impl AcmeError {
    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            AcmeError::Server { source, until, .. } => match (source.as_ref(), until) {
                (_, Some(until)) => Class::Throttled((*until - clock::now()).to_std().ok()),
                (instant_acme::Error::Api(problem), None) => match kind_of(problem, None) {
                    Kind::Person => Class::Denied,
                    Kind::Wait(_) => Class::Throttled(None),
                    Kind::Again | Kind::Replaced => Class::Transient,
                },
                _ => Class::Transient,
            },
            AcmeError::Route53(error) => error.class(),
            AcmeError::Paced => Class::Throttled(Some(Duration::from_secs(1))),
            AcmeError::NameServer { .. } | AcmeError::Resolver { .. } | AcmeError::Unopened { .. } => Class::Transient,
            AcmeError::Ambiguous { .. } | AcmeError::Secret { .. } | AcmeError::Policy { .. } => Class::Denied,
        }
    }

    /// The refusal that ends this attempt at a certificate; none where the same may simply be asked again.
    pub fn problem(&self, step: &AcmeStep) -> Option<Problem> {
        let AcmeError::Server { source, until, .. } = self else { return None };
        let kind = match source.as_ref() {
            instant_acme::Error::Api(problem) => kind_of(problem, *until),
            _ => until.map_or(Kind::Again, |until| Kind::Wait(Some(until))),
        };
        // Whatever a server has against an order that says what it replaces, it may not have against one that does not.
        let replaces = matches!(step, AcmeStep::Order { replaces: Some(_), .. }) && self.is_answer();
        let kind = match kind {
            Kind::Person | Kind::Again if replaces => Kind::Replaced,
            kind => kind,
        };
        (kind != Kind::Again).then(|| Problem { kind, text: chain(self) })
    }

    /// Whether the server has answered, however it did; else it was not reached.
    fn is_answer(&self) -> bool {
        let AcmeError::Server { source, .. } = self else { return false };
        match source.as_ref() {
            instant_acme::Error::Other(error) => error.to_string().contains("replaces field mismatch"),
            error => !matches!(error, instant_acme::Error::Http(_) | instant_acme::Error::Timeout(_)),
        }
    }
}

/// Sorts what the server says.
pub(super) fn kind_of(problem: &instant_acme::Problem, until: Option<DateTime<Utc>>) -> Kind {
    problem::kind(problem.r#type.as_deref(), until)
}
