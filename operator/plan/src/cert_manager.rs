//! A web certificate from cert-manager: a Certificate of its is kept, and what it writes is copied into the Secret that Proxy reads.
//! So the former one serves until the new one is there, and nothing is mounted in another place. cert-manager renews by itself, and
//! the watch of the Certificate tells. `said` reads what it says, `leave` takes away what was made.

pub mod leave;
mod said;

use chrono::TimeDelta;
use crds::Reason;
use crds::certificates::{CertManagerObjects, IssuerRef};
use serde_json::Value;

use crate::fact::Fact;
use crate::issuer::{self, Progress};
use crate::manifest::certificate;
use crate::names::Identity;
use crate::object::{Kind, Object, Ref, is_foreign};
use crate::observed::{IssuedBy, IssuedSecret, WebSecret};
use crate::stage::{POLL, RETRY, Scope, Stage};
use crate::step::Step;
use leave::Left;
use said::{Request, Said};

/// How much later than it was planned a renewal may be before it is told. Slow issuers take minutes.
const OVERDUE: TimeDelta = TimeDelta::hours(1);

/// What is done, and what is said of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// At most one effect.
    pub step: Option<Step>,
    /// Objects to be read before more can be said.
    pub needs: Vec<Ref>,
    /// For status.
    pub objects: Option<CertManagerObjects>,
    /// Look again after this time at the latest.
    pub wake: Option<TimeDelta>,
    /// How far it is; none where nothing is to be done.
    pub progress: Option<Progress>,
}

/// An issuer in one word, as kubectl takes it.
pub fn word(IssuerRef { name, kind, group }: &IssuerRef) -> String {
    format!("{kind}.{group}/{name}")
}

/// What is made for a tenant.
pub fn objects(tenant: &Identity) -> CertManagerObjects {
    CertManagerObjects { certificate: tenant.web_certificate(), secret_name: tenant.issued_web_certificate() }
}

/// Plans the next effect. `claimed`: the domain is the tenant's.
pub fn plan(scope: &Scope<'_>, web: Option<&WebSecret>, claimed: bool) -> Outcome {
    let recorded = scope.observed.tenant.status.as_ref().and_then(|status| status.cert_manager.clone());
    let Some(issuer) = &scope.wanted.issuer_ref else {
        return recorded.map_or_else(Outcome::default, |objects| given_up(scope, objects));
    };
    if !claimed {
        let progress = Some(Progress::doing("the domain is not the tenant's yet"));
        return Outcome { objects: recorded, progress, ..Outcome::default() };
    }
    let Some(objects) = recorded else {
        return Outcome {
            objects: Some(objects(&scope.tenant)),
            wake: Some(POLL),
            progress: Some(Progress::doing("cert-manager is about to be asked")),
            ..Outcome::default()
        };
    };
    Course { scope, web, issuer, objects }.next()
}

/// The spec asks for another issuer now.
fn given_up(scope: &Scope<'_>, objects: CertManagerObjects) -> Outcome {
    match leave::next(scope.observed, &scope.tenant, &objects) {
        Left::Nothing => Outcome::default(),
        Left::Step(step) => {
            Outcome { step: Some(*step), objects: Some(objects), wake: Some(POLL), ..Outcome::default() }
        }
        Left::Unread(reference) => Outcome { needs: vec![reference], objects: Some(objects), ..Outcome::default() },
        Left::Waits(_) => Outcome { objects: Some(objects), wake: Some(POLL), ..Outcome::default() },
    }
}

struct Course<'a> {
    scope: &'a Scope<'a>,
    web: Option<&'a WebSecret>,
    issuer: &'a IssuerRef,
    objects: CertManagerObjects,
}

impl Course<'_> {
    fn next(self) -> Outcome {
        let secret = self.objects.secret_name.clone();
        match &self.scope.observed.secrets.issued {
            // cert-manager would write over it.
            Fact::Known(Err(fault)) if is_foreign(fault) => {
                let message =
                    format!("Secret {secret}, into which cert-manager is to write, {fault}: delete or rename it");
                return self.stalls(Reason::NameTaken, message);
            }
            Fact::Unknown => return self.says(&format!("Secret {secret} to be read"), POLL),
            Fact::Known(_) | Fact::Absent => {}
        }
        let wanted = certificate::object(&self.scope.tenant, &self.scope.wanted.domain, self.issuer, &self.objects);
        let mut stage = Stage::default();
        if !stage.ensure(self.scope, &wanted) {
            return self.of(stage);
        }
        let live = self.scope.observed.objects.known(&wanted.reference).unwrap_or(&Value::Null);
        self.of_certificate(&wanted, &Said::by(live))
    }

    /// The Certificate is not as it should be.
    fn of(self, stage: Stage) -> Outcome {
        let progress = stage.progress();
        let Stage { mut steps, stalled, needs, .. } = stage;
        if let Some(stall) = stalled {
            return self.stalls(stall.reason, stall.message);
        }
        let step = steps.pop();
        // After a step one looks again at once, and after its failure when that says so.
        let wake = step.is_none().then_some(POLL);
        let progress = Progress::trying(self.scope, &progress);
        Outcome { step, needs, objects: Some(self.objects), wake, progress: Some(progress) }
    }

    fn of_certificate(self, wanted: &Object, said: &Said<'_>) -> Outcome {
        let ready = said.condition("Ready");
        if ready.as_ref().is_some_and(|ready| ready.status == "True") {
            return self.of_secret(said);
        }
        if let Some(failed) = said.failed() {
            return self.fails(&format!("cert-manager says: {failed}"));
        }
        let Some(ready) = ready else {
            let what = format!("cert-manager to look at {}: its controller does, where it runs", wanted.reference);
            return self.says(&what, RETRY);
        };
        match self.of_request(said) {
            Ok(Request { said: Some(text), person: true }) => self.fails(&format!("cert-manager says: {text}")),
            Ok(Request { said: Some(text), person: false }) => self.says(&format!("cert-manager says: {text}"), RETRY),
            Ok(Request { said: None, .. }) => self.says(&format!("cert-manager says: {}", ready.message), RETRY),
            Err(reference) => self.needs(reference),
        }
    }

    /// The request for the next certificate; not every change of it shows on the Certificate, which alone is watched.
    fn of_request(&self, said: &Said<'_>) -> Result<Request, Ref> {
        let name = format!("{}-{}", self.objects.certificate, said.revision() + 1);
        let reference = Ref::new(Kind::CertificateRequest, name);
        let live = self.scope.observed.objects.read(&reference).ok_or_else(|| reference.clone())?;
        Ok(live.known().map_or_else(Request::default, |live| Request::of(&reference, live)))
    }

    /// cert-manager says that its Secret is as it should be.
    fn of_secret(self, said: &Said<'_>) -> Outcome {
        let secret = self.objects.secret_name.clone();
        let (domain, issuer) = (&self.scope.wanted.domain, word(self.issuer));
        let issued = match &self.scope.observed.secrets.issued {
            Fact::Known(Ok(issued)) if issued.issuer == issuer && said.speaks_of(&issued.certificate) => issued,
            Fact::Known(Err(fault)) => {
                return self.fails(&format!("Secret {secret}, which cert-manager wrote, {fault}"));
            }
            // It writes the Secret and says so of the Certificate in two steps.
            Fact::Known(Ok(_)) | Fact::Absent | Fact::Unknown => {
                return self.says(&format!("Secret {secret} to be as its Certificate says"), POLL);
            }
        };
        let copied = |web: &&WebSecret| {
            issuer::fits(web, domain)
                && web.issued_by == IssuedBy::CertManager { issuer: issuer.clone() }
                && web.digest == issued.digest
        };
        if self.web.filter(copied).is_some() {
            return self.rests(said, issued);
        }
        let step = Step::CopyIssued { domain: domain.clone(), secret, issuer };
        let progress = Progress::trying(self.scope, &step.to_string());
        Outcome { step: Some(step), objects: Some(self.objects), progress: Some(progress), ..Outcome::default() }
    }

    /// What cert-manager wrote serves. Its next one may not come.
    fn rests(self, said: &Said<'_>, issued: &IssuedSecret) -> Outcome {
        if let Some(failed) = said.failed() {
            return self.fails(&format!("cert-manager says: {failed}"));
        }
        let wall = self.scope.observed.wall;
        let told = said.renewal().map(|renewal| renewal + OVERDUE);
        if told.is_none_or(|told| wall < told) {
            let next = told.unwrap_or(issued.certificate.not_after).min(issued.certificate.not_after) - wall;
            let wake = Some(next.max(RETRY));
            return Outcome { objects: Some(self.objects), wake, ..Outcome::default() };
        }
        if said.condition("Issuing").is_none() {
            return self.fails("cert-manager was to renew it and has not begun: see whether its controller runs");
        }
        match self.of_request(said) {
            Ok(Request { said: Some(text), .. }) => self.fails(&format!("cert-manager says: {text}")),
            Ok(Request { said: None, .. }) => self.fails("cert-manager was to renew it and has not come to an end"),
            Err(reference) => self.needs(reference),
        }
    }

    fn needs(self, reference: Ref) -> Outcome {
        let progress = Some(Progress::doing(&format!("{reference} to be read")));
        Outcome { needs: vec![reference], objects: Some(self.objects), progress, ..Outcome::default() }
    }

    fn says(self, what: &str, wake: TimeDelta) -> Outcome {
        let progress = Some(Progress::trying(self.scope, what));
        Outcome { objects: Some(self.objects), wake: Some(wake), progress, ..Outcome::default() }
    }

    fn fails(self, told: &str) -> Outcome {
        let message = format!(
            "spec.certificates.web.issuerRef: no web certificate comes from {}: {told}; mend that, and it goes on: `kubectl -n {} describe certificate {}` tells more",
            word(self.issuer),
            self.scope.tenant.namespace,
            self.objects.certificate
        );
        self.stalls(Reason::IssuanceFailed, message)
    }

    fn stalls(self, reason: Reason, message: String) -> Outcome {
        let progress = Some(Progress { reason, message, person: true });
        Outcome { objects: Some(self.objects), wake: Some(RETRY), progress, ..Outcome::default() }
    }
}
