//! Third stage: certificate authorities, web certificate, licence. Authorities are made once. From the first start on those in
//! Teleport's state table count: a lost Secret is made from them again, and what is rotated there is followed here.

use chrono::{DateTime, TimeDelta, Utc};
use crds::certificates::Issuer;
use crds::tenant::Edition;
use crds::tenant_status::CertificateStatus;
use crds::{ConditionType, Reason};

use super::{Answer, POLL, RETRY, Scope, Stage, metrics};
use crate::cert_manager;
use crate::clock::rfc3339;
use crate::fact::Fact;
use crate::issuer::{self, Progress};
use crate::keys::{CertificateFacts, METRICS_CERTIFICATE, generation};
use crate::object::is_foreign;
use crate::observed::{AuthoritySecret, IssuedBy, LicenseSecret, WebSecret};
use crate::step::Step;

/// A web certificate is renewed when less than this is left of its 90 days.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(30);
/// A licence that ends within this is told of.
const WARN_BEFORE: TimeDelta = TimeDelta::days(30);
/// Name of the licence among the certificates in status.
const LICENSE: &str = "license";

/// What the later stages build on.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// The keys, once they are there.
    pub authorities: Option<AuthoritySecret>,
    /// For status.
    pub certificates: Vec<CertificateStatus>,
    /// Digest of the licence, for tenants that have one.
    pub license: Option<String>,
    /// What users see is not of the issuer that the spec asks for yet.
    pub replaced: Stage,
    /// The generation of the authorities' Secret that a step of this stage makes.
    pub generation: Option<i64>,
}

/// Plans the stage. `issuance`: how far a web certificate of another issuer than the tenant is.
pub fn plan(scope: &Scope<'_>, issuance: Option<&Progress>) -> Outcome {
    let mut stage = Stage::default();
    let mut certificates = Vec::new();
    let (authorities, generation) = authorities(scope, &mut stage);
    if let Some(found) = &authorities {
        certificates.push(status("host-ca", &found.host, "self"));
        certificates.push(status("user-ca", &found.user, "self"));
        certificates.extend(metrics_certificate(scope));
    }
    let web = web(scope, issuance, &mut stage);
    if let Some(web) = web {
        certificates.push(status("web", &web.certificate, word(&web.issued_by)));
    }
    let replaced = replaced(scope, web, issuance);
    match &stage.stalled {
        Some(stall) => {
            let (reason, message) = (stall.reason, stall.message.clone());
            stage.verdict(ConditionType::CertificatesReady, Answer::False, reason, message);
        }
        None if stage.is_settled() => {
            let failing = web.zip(issuance).filter(|(_, progress)| progress.fails());
            let (reason, message) = match failing {
                Some((web, progress)) => (
                    Reason::RenewalFailing,
                    format!(
                        "the web certificate serves until {}, and the next one does not come: {}",
                        rfc3339(web.certificate.not_after),
                        progress.message
                    ),
                ),
                None => (Reason::AsSpecified, there(authorities.as_ref()).to_owned()),
            };
            stage.verdict(ConditionType::CertificatesReady, Answer::True, reason, message);
        }
        None if stage.only_unread() => {
            stage.verdict(
                ConditionType::CertificatesReady,
                Answer::Unknown,
                Reason::Retrying,
                "the Secrets could not be read",
            );
            stage.wakes_in(POLL);
        }
        None => {
            let progress = stage.progress();
            let reason = issuance.filter(|_| web.is_none()).map_or(Reason::InProgress, |progress| progress.reason);
            stage.verdict(ConditionType::CertificatesReady, Answer::False, reason, progress);
        }
    }
    let license = license(scope, &mut stage, &mut certificates);
    Outcome { stage, authorities, certificates, license, replaced, generation }
}

/// That of the pods as they are: they read theirs when they start. What cannot be read is as it was.
fn metrics_certificate(scope: &Scope<'_>) -> Option<CertificateStatus> {
    match metrics::earliest(scope) {
        Fact::Known(until) => {
            let (name, not_after) = (METRICS_CERTIFICATE.to_owned(), rfc3339(until));
            Some(CertificateStatus { name, not_after, issuer: "self".into() })
        }
        Fact::Absent => None,
        Fact::Unknown => recorded(scope, METRICS_CERTIFICATE).cloned(),
    }
}

/// A certificate as status has it.
fn recorded<'a>(scope: &Scope<'a>, name: &str) -> Option<&'a CertificateStatus> {
    let certificates = scope.observed.tenant.status.iter().flat_map(|status| &status.certificates);
    certificates.into_iter().find(|certificate| certificate.name == name)
}

fn there(authorities: Option<&AuthoritySecret>) -> &'static str {
    match authorities {
        Some(found) if found.authorities.is_rotated() => {
            "authorities and web certificate are there; an authority is being rotated in Teleport: the one before and the one after it are trusted"
        }
        Some(_) | None => "authorities and web certificate are there",
    }
}

/// The authorities as far as they are in their Secret; and the generation that a step makes.
fn authorities(scope: &Scope<'_>, stage: &mut Stage) -> (Option<AuthoritySecret>, Option<i64>) {
    let current = generation(scope.observed.tenant.status.as_ref());
    let secret = scope.tenant.authorities(current);
    let domain = || scope.wanted.domain.clone();
    match (&scope.observed.secrets.authorities, &scope.observed.stored_authorities) {
        (Fact::Known(Ok(found)), Fact::Known(stored)) if found.authorities.differ(stored) => {
            let web = Some(Box::new(found.authorities.web.clone()));
            let (generation, stored) = (current + 1, Box::new(stored.clone()));
            stage.steps.push(Step::KeepAuthorities { domain: domain(), generation, stored, web });
            return (Some(found.clone()), Some(generation));
        }
        (Fact::Known(Ok(found)), _) => return (Some(found.clone()), None),
        (Fact::Known(Err(fault)), _) => stage.stalls(Reason::AuthorityLost, format!("Secret {secret}: {fault}. Delete it, and it is made again from Teleport's state table; or restore it from a backup"), RETRY),
        (Fact::Unknown, _) => stage.unread.push(format!("Secret {secret} could not be read")),
        (Fact::Absent, Fact::Known(stored)) if ever_started(scope) => {
            let stored = Box::new(stored.clone());
            stage.steps.push(Step::KeepAuthorities { domain: domain(), generation: current, stored, web: None });
        }
        (Fact::Absent, Fact::Unknown) if ever_started(scope) => {
            stage.unread.push(format!("Secret {secret} is gone, and Teleport's state table, from which it is made again, could not be read"));
            stage.wakes_in(RETRY);
        }
        (Fact::Absent, Fact::Absent) if ever_started(scope) => stage.stalls(Reason::AuthorityLost, format!("Secret {secret} is gone, Auth was started with its keys, and Teleport's state table does not hold them. Restore it from a backup: new authorities would lock every user and agent out"), RETRY),
        (Fact::Absent, _) => stage.steps.push(Step::CreateAuthorities { domain: domain() }),
    }
    (None, None)
}

/// Whether an Auth process may have stored authorities already.
fn ever_started(scope: &Scope<'_>) -> bool {
    scope.observed.tenant.status.as_ref().is_some_and(|status| status.auth_high_water.is_some())
}

fn web<'a>(scope: &Scope<'a>, issuance: Option<&Progress>, stage: &mut Stage) -> Option<&'a WebSecret> {
    let secret = scope.tenant.web_certificate();
    match &scope.observed.secrets.web {
        Fact::Known(Ok(web)) => {
            let (domain, wall) = (&scope.wanted.domain, scope.observed.wall);
            if scope.wanted.issuer == Issuer::Tenant {
                let renew_at = web.certificate.not_after - RENEW_BEFORE;
                if issuer::fits(web, domain) && web.issued_by == IssuedBy::Tenant && renew_at > wall {
                    stage.wakes_in(renew_at - wall);
                } else {
                    issue(scope, issuance, stage);
                }
            } else if issuer::serves(web, domain, wall) {
                stage.wakes_in(web.certificate.not_after - wall);
            } else {
                issue(scope, issuance, stage);
                return None;
            }
            return Some(web);
        }
        Fact::Known(Err(fault)) if is_foreign(fault) => {
            stage.stalls(Reason::NameTaken, format!("Secret {secret} {fault}: delete or rename it"), RETRY);
        }
        Fact::Known(Err(_)) | Fact::Absent => issue(scope, issuance, stage),
        Fact::Unknown => stage.unread.push(format!("Secret {secret} could not be read")),
    }
    None
}

/// Has the web certificate issued: at once by the tenant's own issuer, once its authorities are there, or as far as another issuer
/// is.
fn issue(scope: &Scope<'_>, issuance: Option<&Progress>, stage: &mut Stage) {
    let authorities = matches!(scope.observed.secrets.authorities, Fact::Known(Ok(_)));
    match (scope.wanted.issuer, issuance) {
        (Issuer::Tenant, _) if authorities => {
            stage.steps.push(Step::IssueWebCertificate { domain: scope.wanted.domain.clone() });
        }
        (Issuer::Acme | Issuer::CertManager, Some(progress)) => follow(progress, stage),
        (Issuer::Tenant, _) | (Issuer::Acme | Issuer::CertManager, None) => {
            stage.waits("the web certificate to be issued");
        }
    }
}

fn follow(progress: &Progress, stage: &mut Stage) {
    if progress.person {
        stage.stalls(progress.reason, progress.message.clone(), RETRY);
    } else {
        stage.waits(progress.message.clone());
    }
}

/// A certificate of another issuer than the spec asks for serves until the right one is there.
fn replaced(scope: &Scope<'_>, web: Option<&WebSecret>, issuance: Option<&Progress>) -> Stage {
    let mut stage = Stage::default();
    let other = web.is_some_and(|web| match (&web.issued_by, &scope.wanted.issuer_ref) {
        (IssuedBy::CertManager { issuer }, Some(wanted)) => *issuer != cert_manager::word(wanted),
        _ => word(&web.issued_by) != scope.wanted.issuer.word(),
    });
    if let (true, Issuer::Acme | Issuer::CertManager, Some(progress)) = (other, scope.wanted.issuer, issuance) {
        follow(progress, &mut stage);
    }
    stage
}

fn word(issued_by: &IssuedBy) -> &'static str {
    match issued_by {
        IssuedBy::Tenant => Issuer::Tenant.word(),
        IssuedBy::Acme { .. } => Issuer::Acme.word(),
        IssuedBy::CertManager { .. } => Issuer::CertManager.word(),
        IssuedBy::Unknown => "Unknown",
    }
}

/// The licence is there, and not at its end. The Secret says which one Auth is to run with, Auth when the one that it runs
/// with ends.
fn license(scope: &Scope<'_>, stage: &mut Stage, certificates: &mut Vec<CertificateStatus>) -> Option<String> {
    let (Edition::Enterprise, Some(secret)) = (scope.wanted.edition, &scope.wanted.license_secret) else { return None };
    let condition = ConditionType::LicenseValid;
    let missing = match &scope.observed.secrets.license {
        Fact::Known(Ok(LicenseSecret { digest })) => {
            let Some(ends) = license_ends(scope) else {
                stage.verdict(condition, Answer::True, Reason::AsSpecified, format!("Secret {secret} holds a licence"));
                return Some(digest.clone());
            };
            certificates.push(CertificateStatus {
                name: LICENSE.into(),
                not_after: rfc3339(ends),
                issuer: "Teleport".into(),
            });
            let remedy =
                format!("put a new one into Secret {secret}: Auth is restarted for it in the next maintenance window");
            let ends_at = rfc3339(ends);
            let (answer, reason, message) = if ends <= scope.observed.wall {
                (Answer::False, Reason::LicenseExpired, format!("the licence ended at {ends_at}: {remedy}"))
            } else if ends - WARN_BEFORE <= scope.observed.wall {
                (Answer::True, Reason::LicenseExpiring, format!("the licence ends at {ends_at}: {remedy}"))
            } else {
                (Answer::True, Reason::AsSpecified, format!("the licence ends at {ends_at}"))
            };
            stage.verdict(condition, answer, reason, message);
            let turns = [ends - WARN_BEFORE, ends].into_iter().find(|turn| *turn > scope.observed.wall);
            if let Some(turn) = turns {
                stage.wakes_in(turn - scope.observed.wall);
            }
            return Some(digest.clone());
        }
        Fact::Unknown => {
            stage.verdict(
                condition,
                Answer::Unknown,
                Reason::InProgress,
                format!("Secret {secret} could not be read yet"),
            );
            stage.unread.push(format!("Secret {secret} could not be read"));
            return None;
        }
        Fact::Absent => format!("Secret {secret} does not exist"),
        Fact::Known(Err(fault)) => format!("Secret {secret} {fault}"),
    };
    let message = format!(
        "spec.licenseSecretRef: {missing} in namespace {}: create it with `kubectl -n {} create secret generic {secret} --from-file=license.pem`",
        scope.tenant.namespace, scope.tenant.namespace
    );
    stage.verdict(condition, Answer::False, Reason::LicenseSecretMissing, &message);
    // Secrets are not watched: looking again makes creating it enough.
    stage.stalls(Reason::LicenseSecretMissing, message, RETRY);
    None
}

/// When the licence ends that Auth runs with: as it says, or has said last.
fn license_ends(scope: &Scope<'_>) -> Option<DateTime<Utc>> {
    let said = scope.observed.teleport.auth.known().and_then(|ping| ping.license_expires);
    said.or_else(|| recorded(scope, LICENSE)?.not_after.parse().ok())
}

fn status(name: &str, facts: &CertificateFacts, issuer: &str) -> CertificateStatus {
    CertificateStatus { name: name.into(), not_after: rfc3339(facts.not_after), issuer: issuer.into() }
}
