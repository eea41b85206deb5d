//! The web certificate by another issuer than the tenant itself: an ACME server (`acme`) or one of cert-manager (`cert_manager`).
//! Both run beside the stages of the tenant: a certificate that is there serves while the next one is made.

use chrono::{DateTime, TimeDelta, Utc};
use crds::Reason;
use crds::certificates::{CertManagerObjects, Issuance};

use crate::acme::{course, names};
use crate::cert_manager;
use crate::object::Ref;
use crate::observed::{FailureKind, IssuedBy, Source, StageName, WebSecret};
use crate::report;
use crate::stage::Scope;
use crate::step::Step;

/// What is done, and what is said of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// At most one effect with each of the two.
    pub steps: Vec<Step>,
    /// Objects to be read before more can be said.
    pub needs: Vec<Ref>,
    /// For status.
    pub issuance: Option<Issuance>,
    /// For status.
    pub cert_manager: Option<CertManagerObjects>,
    /// Look again after this time at the latest.
    pub wake: Option<TimeDelta>,
    /// How far the certificate is that the spec asks for; none where nothing is to be done.
    pub progress: Option<Progress>,
}

/// How far a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In one word.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// Whether only a person can help.
    pub person: bool,
}

impl Progress {
    /// Whether it does not come on: neither is it being made, nor does it wait for its turn.
    pub fn fails(&self) -> bool {
        !matches!(self.reason, Reason::InProgress | Reason::IssuanceQueued)
    }

    /// It is being made, or waited for.
    pub fn doing(what: &str) -> Progress {
        Progress { reason: Reason::InProgress, message: format!("the web certificate: {what}"), person: false }
    }

    /// Only a person can help.
    pub fn person(message: &str) -> Progress {
        Progress { reason: Reason::IssuanceFailed, message: message.to_owned(), person: true }
    }

    /// It is being made, or waited for; what was tried in vain stands beside it.
    pub fn trying(scope: &Scope<'_>, what: &str) -> Progress {
        let failures = &scope.observed.failures;
        let failed = [Source::Step, Source::Read].map(|source| failures.get(&(StageName::Certificates, source)));
        match failed.into_iter().flatten().next() {
            None => Progress::doing(what),
            Some(failure) => Progress {
                reason: if report::lasts(scope.observed, failure) {
                    report::reason_of(failure)
                } else {
                    Reason::InProgress
                },
                message: format!("the web certificate: {what}; the last attempt failed: {}", failure.message),
                person: failure.kind != FailureKind::Passing,
            },
        }
    }
}

/// Plans the next effects. A former issuer is left while the new one is asked. `claimed`: the domain is the tenant's.
pub fn plan(scope: &Scope<'_>, web: Option<&WebSecret>, claimed: bool) -> Outcome {
    let acme = course::plan(scope, web, claimed);
    let managed = cert_manager::plan(scope, web, claimed);
    Outcome {
        steps: acme.step.map(Step::Acme).into_iter().chain(managed.step).collect(),
        needs: managed.needs,
        issuance: acme.issuance,
        cert_manager: managed.objects,
        wake: acme.wake.into_iter().chain(managed.wake).min(),
        progress: acme.progress.or(managed.progress),
    }
}

/// Whether a certificate is for this domain and the key beside it, whoever issued it and however old it is.
pub fn fits(web: &WebSecret, domain: &str) -> bool {
    web.key_matches && names(domain).iter().all(|name| web.certificate.names.contains(name))
}

/// Whether a certificate in the Secret can serve: of which issuer it is does not matter for that.
pub fn serves(web: &WebSecret, domain: &str, wall: DateTime<Utc>) -> bool {
    fits(web, domain) && web.issued_by != IssuedBy::Unknown && web.certificate.not_after > wall
}
