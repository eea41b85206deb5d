//! Third stage: certificate authorities, web certificate, licence. Authorities are made once; losing them
//! after the first start is a loss that making new ones would only hide.

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant::Edition;
use crds::tenant_status::CertificateStatus;
use crds::{ConditionType, Reason};

use super::{Answer, POLL, RETRY, Scope, Stage};
use crate::fact::Fact;
use crate::keys::{Authorities, CertificateFacts};
use crate::observed::{AuthoritySecret, WebSecret};
use crate::step::Step;

/// A web certificate is renewed when less than this is left of its 90 days.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(30);

/// What the later stages build on.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// The keys, once they are there.
    pub authorities: Option<Authorities>,
    /// For status.
    pub certificates: Vec<CertificateStatus>,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>) -> Outcome {
    let mut stage = Stage::default();
    let mut certificates = Vec::new();
    let authorities = authorities(scope, &mut stage);
    if let Some(found) = &authorities {
        certificates.push(status("host-ca", &found.host, "self"));
        certificates.push(status("user-ca", &found.user, "self"));
        if let Some(web) = web(scope, &mut stage) {
            certificates.push(status("web", &web.certificate, "Tenant"));
        }
    }
    match &stage.stalled {
        Some(stall) => {
            let (reason, message) = (stall.reason, stall.message.clone());
            stage.verdict(ConditionType::CertificatesReady, Answer::False, reason, message);
        }
        None if stage.is_settled() => stage.verdict(
            ConditionType::CertificatesReady,
            Answer::True,
            Reason::AsSpecified,
            "authorities and web certificate are there",
        ),
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
            stage.verdict(ConditionType::CertificatesReady, Answer::False, Reason::InProgress, progress);
        }
    }
    license(scope, &mut stage);
    Outcome { stage, authorities: authorities.map(|found| found.authorities), certificates }
}

fn authorities(scope: &Scope<'_>, stage: &mut Stage) -> Option<AuthoritySecret> {
    let secret = scope.tenant.authorities();
    match &scope.observed.secrets.authorities {
        Fact::Known(Ok(found)) => return Some(found.clone()),
        Fact::Known(Err(fault)) => stage.stalls(Reason::AuthorityLost, format!("Secret {secret}: {fault}. Restore it from a backup: a cluster cannot change its authorities like this"), RETRY),
        Fact::Unknown => stage.unread.push(format!("Secret {secret} could not be read")),
        Fact::Absent if ever_started(scope) => stage.stalls(Reason::AuthorityLost, format!("Secret {secret} is gone, and Auth was started with its keys. Restore it from a backup: new authorities would lock every user and agent out"), RETRY),
        Fact::Absent => {
            stage.steps.push(Step::CreateAuthorities { domain: scope.wanted.domain.clone() });
        }
    }
    None
}

/// Whether an Auth process may have stored authorities already.
fn ever_started(scope: &Scope<'_>) -> bool {
    scope.observed.tenant.status.as_ref().is_some_and(|status| status.auth_high_water.is_some())
}

fn web<'a>(scope: &Scope<'a>, stage: &mut Stage) -> Option<&'a WebSecret> {
    let secret = scope.tenant.web_certificate();
    let issue = Step::IssueWebCertificate { domain: scope.wanted.domain.clone() };
    match &scope.observed.secrets.web {
        Fact::Known(Ok(web)) => {
            let domain = &scope.wanted.domain;
            let names = [domain.clone(), format!("*.{domain}")];
            let covers = names.iter().all(|name| web.certificate.names.contains(name));
            let renew_at = web.certificate.not_after - RENEW_BEFORE;
            if covers && web.key_matches && web.issued_by_tenant && renew_at > scope.observed.wall {
                stage.wakes_in(renew_at - scope.observed.wall);
            } else {
                stage.steps.push(issue);
            }
            return Some(web);
        }
        Fact::Known(Err(fault)) if fault.starts_with("belongs to") => {
            stage.stalls(Reason::NameTaken, format!("Secret {secret} {fault}: delete or rename it"), RETRY);
        }
        Fact::Known(Err(_)) | Fact::Absent => stage.steps.push(issue),
        Fact::Unknown => stage.unread.push(format!("Secret {secret} could not be read")),
    }
    None
}

fn license(scope: &Scope<'_>, stage: &mut Stage) {
    let (Edition::Enterprise, Some(secret)) = (scope.wanted.edition, &scope.wanted.license_secret) else { return };
    let condition = ConditionType::LicenseValid;
    let missing = match &scope.observed.secrets.license {
        Fact::Known(Ok(())) => {
            stage.verdict(condition, Answer::True, Reason::AsSpecified, format!("Secret {secret} holds a licence"));
            return;
        }
        Fact::Unknown => {
            stage.verdict(
                condition,
                Answer::Unknown,
                Reason::InProgress,
                format!("Secret {secret} could not be read yet"),
            );
            stage.unread.push(format!("Secret {secret} could not be read"));
            return;
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
}

fn status(name: &str, facts: &CertificateFacts, issuer: &str) -> CertificateStatus {
    CertificateStatus { name: name.into(), not_after: rfc3339(facts.not_after), issuer: issuer.into() }
}

fn rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
