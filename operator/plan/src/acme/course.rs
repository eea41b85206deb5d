//! What is done when on the way to a web certificate: one effect at a time, and nothing before what it rests on stands in status.
//! It runs beside the stages of the tenant: a certificate that is there serves while the next one is made.

use chrono::{DateTime, TimeDelta, Utc};
use crds::Reason;
use crds::certificates::{Issuance, IssuanceKind, Issuer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ledger::{Rank, Turn, Waiting};
use super::policy::Acme;
use super::problem::{Kind, Problem};
use super::renewal;
use super::{AcmeStep, OrderFacts, OrderStage, Validity, mark, record_name};
use crate::clock::{from_jiff, rfc3339, to_jiff};
use crate::fact::Fact;
use crate::issuer::{Progress, fits};
use crate::observed::{IssuedBy, WebSecret};
use crate::stage::{POLL, Scope};

/// First and longest wait after an order that failed. Let's Encrypt takes five failed proofs of a name in an hour ("Rate Limits").
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(5);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(6);
/// A server whose clock is behind ours, or that asks for nothing, is not asked again at once.
const LEAST_WAIT: TimeDelta = TimeDelta::minutes(1);
/// More than any limit of a server lasts is a mistake of its.
const MOST_PATIENCE: TimeDelta = TimeDelta::days(30);
/// How often whoever is in line looks whether the line has become shorter.
const IN_LINE: TimeDelta = TimeDelta::minutes(1);
/// Bound of a problem's text.
const TEXT: usize = 1000;

/// What is done, and what is said of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// At most one effect.
    pub step: Option<AcmeStep>,
    /// For status.
    pub issuance: Option<Issuance>,
    /// Look again after this time at the latest.
    pub wake: Option<TimeDelta>,
    /// How far it is; none where nothing is to be done.
    pub progress: Option<Progress>,
}

/// Whether this certificate is of the ACME server that the policy names now.
fn is_of(web: &WebSecret, acme: &Acme, domain: &str) -> bool {
    fits(web, domain) && web.issued_by == IssuedBy::Acme { directory: acme.directory.clone() }
}

/// Plans the next effect. `claimed`: the domain is the tenant's.
pub fn plan(scope: &Scope<'_>, web: Option<&WebSecret>, claimed: bool) -> Outcome {
    let before = scope.observed.tenant.status.as_ref().and_then(|status| status.issuance.clone());
    if scope.wanted.issuer != Issuer::Acme {
        return before.map_or_else(Outcome::default, |issuance| clean_up(scope, issuance));
    }
    let Some(acme) = &scope.installation.acme else {
        let message =
            "spec.certificates.web.issuer: the fleet policy has no section acme: add it there, or choose issuer Tenant";
        return Outcome { issuance: before, progress: Some(Progress::person(message)), ..Outcome::default() };
    };
    let own = web.filter(|web| is_of(web, acme, &scope.wanted.domain));
    if let Some(web) = own {
        let validity = Validity { not_before: web.certificate.not_before, not_after: web.certificate.not_after };
        let due = renewal::due(&scope.tenant.id, validity, scope.observed.acme.suggestion);
        let left = due - scope.observed.wall;
        // What was begun is ended, though the server may name another time by now, or none.
        let begun = before.as_ref().and_then(|issuance| issuance.replaces.as_ref());
        let replaces = begun.is_some() && begun == web.certificate_id.as_ref();
        if left > TimeDelta::zero() && !replaces {
            let outcome = before.map_or_else(Outcome::default, |issuance| clean_up(scope, issuance));
            return Outcome { wake: Some(outcome.wake.map_or(left, |wake| wake.min(left))), ..outcome };
        }
    }
    if !claimed {
        let progress = Some(Progress::doing("the domain is not the tenant's yet"));
        return Outcome { issuance: before, progress, ..Outcome::default() };
    }
    let Some(issuance) = before else {
        return Outcome {
            issuance: Some(wanted(scope, own)),
            wake: Some(POLL),
            progress: Some(Progress::doing("the certificate is about to be ordered")),
            ..Outcome::default()
        };
    };
    Course { scope, own, issuance, wake: POLL }.next()
}

/// Written down before anything is done.
fn wanted(scope: &Scope<'_>, own: Option<&WebSecret>) -> Issuance {
    let announced = scope.observed.acme.suggestion.is_some();
    Issuance {
        kind: if own.is_some() { IssuanceKind::Renewal } else { IssuanceKind::First },
        requested_at: Time(to_jiff(scope.observed.now)),
        replaces: own.filter(|_| announced).and_then(|web| web.certificate_id.clone()),
        position: None,
        expected_at: None,
        order: None,
        zone: None,
        failures: 0,
        problem: None,
        needs_person: false,
        retry_at: None,
    }
}

/// Who wants to order by this issuance; none while it does not stand in line.
pub fn waiting(
    tenant_id: &str,
    domain: &str,
    issuance: &Issuance,
    ends: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Waiting> {
    let rests = issuance.retry_at.as_ref().is_some_and(|at| from_jiff(at.0) > now);
    if issuance.order.is_some() || issuance.replaces.is_some() || rests {
        return None;
    }
    let requested_at = from_jiff(issuance.requested_at.0);
    let rank = match (issuance.kind, ends) {
        (IssuanceKind::Renewal, Some(ends)) => Rank::Expiring(ends),
        (IssuanceKind::Renewal, None) => Rank::Expiring(requested_at),
        (IssuanceKind::First, _) => Rank::First(requested_at),
    };
    Some(Waiting {
        rank,
        tenant: tenant_id.to_owned(),
        domain: domain.to_owned(),
        requested_at,
        attempt: issuance.failures,
    })
}

struct Course<'a> {
    scope: &'a Scope<'a>,
    own: Option<&'a WebSecret>,
    issuance: Issuance,
    wake: TimeDelta,
}

impl Course<'_> {
    fn next(mut self) -> Outcome {
        let facts = &self.scope.observed.acme;
        if let (None, Some(url)) = (&self.issuance.order, &facts.ordered) {
            self.issuance.order = Some(url.clone());
            (self.issuance.position, self.issuance.expected_at) = (None, None);
            return self.says("the order is being recorded");
        }
        if let Some(problem) = &facts.problem {
            // An order that the server only wants to be left alone for a while goes on afterwards.
            let order = self.issuance.order.take().filter(|_| matches!(problem.kind, Kind::Wait(_)));
            let mut outcome = self.failed(problem);
            if let Some(issuance) = &mut outcome.issuance {
                issuance.order = order;
            }
            return outcome;
        }
        let now = self.scope.observed.now;
        if let Some(at) = self.issuance.retry_at.as_ref().map(|at| from_jiff(at.0)).filter(|at| *at > now) {
            self.wake = at - now;
            let problem = self.issuance.problem.clone().unwrap_or_default();
            let message = format!("{problem} (tried again at {})", rfc3339(at));
            let progress = Progress { reason: Reason::IssuanceFailed, message, person: self.issuance.needs_person };
            return self.ends(None, progress);
        }
        match self.issuance.order.clone() {
            None => self.order(),
            Some(url) => self.of_order(&url),
        }
    }

    fn order(mut self) -> Outcome {
        let (facts, domain) = (&self.scope.observed.acme, self.scope.wanted.domain.clone());
        match &facts.zone {
            Fact::Known(_) => {}
            Fact::Unknown => return self.says("the hosted zone of the domain to be found"),
            Fact::Absent => {
                let text = format!(
                    "no public hosted zone of acme.dns.route53 in the fleet policy has {domain}: name the zone there, or choose issuer Tenant"
                );
                return self.failed(&Problem { kind: Kind::Person, text });
            }
        }
        match &facts.key {
            Fact::Known(()) => {}
            Fact::Absent => return self.does(AcmeStep::CreateKey),
            Fact::Unknown => return self.says("the key of the certificate to be read"),
        }
        let order = AcmeStep::Order { domain, replaces: self.issuance.replaces.clone() };
        if self.issuance.replaces.is_some() {
            return self.does(order);
        }
        match &facts.turn {
            Fact::Known(Turn::Taken) => self.does(order),
            Fact::Known(Turn::Now) => match self.waiting() {
                Some(asker) => self.does(AcmeStep::TakePlace(Box::new(asker))),
                None => self.says("its turn to come"),
            },
            Fact::Known(Turn::Later { position, at }) => {
                let (position, at, now) = (*position, *at, self.scope.observed.now);
                let at_latest = whole_hour(at);
                self.issuance.position = i32::try_from(position).ok();
                self.issuance.expected_at = Some(Time(to_jiff(at_latest)));
                self.wake = (at - now).min(IN_LINE).max(POLL);
                let message = format!(
                    "place {position} in the line for certificates under {}, within the limits of the ACME server; ordered by {}",
                    super::ledger::registered(&self.scope.wanted.domain),
                    rfc3339(at_latest)
                );
                self.ends(None, Progress { reason: Reason::IssuanceQueued, message, person: false })
            }
            Fact::Absent | Fact::Unknown => self.says("the orders of others to be read"),
        }
    }

    fn waiting(&self) -> Option<Waiting> {
        let ends = self.own.map(|web| web.certificate.not_after);
        waiting(&self.scope.tenant.id, &self.scope.wanted.domain, &self.issuance, ends, self.scope.observed.now)
    }

    fn of_order(self, url: &str) -> Outcome {
        let (facts, domain) = (&self.scope.observed.acme, self.scope.wanted.domain.clone());
        let order = match &facts.order {
            Fact::Known(order) => order,
            Fact::Unknown => return self.says("the order to be read"),
            Fact::Absent => {
                return self.failed(&Problem {
                    kind: Kind::Again,
                    text: "the ACME server does not know the order any more".into(),
                });
            }
        };
        let order_url = url.to_owned();
        match (&order.stage, &facts.key) {
            (OrderStage::Invalid(problem), _) => self.failed(problem),
            (OrderStage::Pending, _) => self.prove(url, order),
            (OrderStage::Processing, _) => self.says("the certificate to be issued"),
            (_, Fact::Unknown) => self.says("the key of the certificate to be read"),
            (OrderStage::Ready, Fact::Absent) => self.does(AcmeStep::CreateKey),
            (OrderStage::Ready, Fact::Known(())) => self.does(AcmeStep::Finalize { order: order_url, domain }),
            (OrderStage::Valid, Fact::Known(())) => self.does(AcmeStep::Store { order: order_url, domain }),
            (OrderStage::Valid, Fact::Absent) => {
                let text = "the key of the certificate was removed before the certificate came".into();
                self.failed(&Problem { kind: Kind::Again, text })
            }
        }
    }

    fn prove(mut self, url: &str, order: &OrderFacts) -> Outcome {
        if order.told {
            return self.says("the ACME server to look at the proof");
        }
        let facts = &self.scope.observed.acme;
        let Some(zone) = self.issuance.zone.clone() else {
            // What is made there must be found again.
            let Fact::Known(zone) = &facts.zone else { return self.says("the hosted zone of the domain to be found") };
            self.issuance.zone = Some(zone.clone());
            return self.says("the zone of the proof is being recorded");
        };
        let (mark, domain) = (mark(&self.scope.tenant.id), self.scope.wanted.domain.clone());
        let mut values = order.values.clone();
        values.insert(mark.clone());
        let present = AcmeStep::Present { zone: zone.clone(), domain: domain.clone(), values: values.clone() };
        match &facts.records {
            Fact::Unknown => self.says("the records of the proof to be read"),
            Fact::Absent => self.does(present),
            Fact::Known(found) if !found.values.is_empty() && !found.values.contains(&mark) => {
                let text = format!(
                    "the TXT record {} in hosted zone {zone} was made by somebody else: remove it, if nobody needs it",
                    record_name(&domain)
                );
                self.failed(&Problem { kind: Kind::Person, text })
            }
            Fact::Known(found) if found.values != values => self.does(present),
            Fact::Known(found) => match found.spread {
                Fact::Known(true) => self.does(AcmeStep::Tell { order: url.to_owned() }),
                Fact::Known(false) => self.says("all name servers of the zone to answer with the proof"),
                // This process did not make them: made again, they are the same, and it can be asked how far they are.
                Fact::Unknown | Fact::Absent => self.does(present),
            },
        }
    }

    fn failed(mut self, problem: &Problem) -> Outcome {
        let now = self.scope.observed.now;
        let issuance = &mut self.issuance;
        let wait = FIRST_WAIT * (1 << issuance.failures.clamp(0, 10));
        let retry_at = match problem.kind {
            Kind::Replaced => {
                issuance.replaces = None;
                now
            }
            Kind::Wait(Some(until)) => until.clamp(now + LEAST_WAIT, now + MOST_PATIENCE),
            Kind::Person | Kind::Wait(None) | Kind::Again => now + wait.min(LONGEST_WAIT),
        };
        issuance.failures = issuance.failures.saturating_add(1);
        issuance.problem = Some(problem.text.chars().take(TEXT).collect());
        issuance.needs_person = problem.kind == Kind::Person;
        issuance.retry_at = Some(Time(to_jiff(retry_at)));
        (issuance.order, issuance.position, issuance.expected_at) = (None, None, None);
        let progress =
            Progress { reason: Reason::IssuanceFailed, message: problem.text.clone(), person: issuance.needs_person };
        self.ends(None, progress)
    }

    fn does(self, step: AcmeStep) -> Outcome {
        let progress = Progress::trying(self.scope, &step.to_string());
        // After it one looks again at once, and after its failure when that says so.
        Outcome { wake: None, ..self.ends(Some(step), progress) }
    }

    fn says(self, what: &str) -> Outcome {
        let progress = Progress::trying(self.scope, what);
        self.ends(None, progress)
    }

    fn ends(self, step: Option<AcmeStep>, progress: Progress) -> Outcome {
        Outcome { step, issuance: Some(self.issuance), wake: Some(self.wake), progress: Some(progress) }
    }
}

/// Nothing is issued any more: what was made for it goes.
fn clean_up(scope: &Scope<'_>, mut issuance: Issuance) -> Outcome {
    let (facts, domain) = (&scope.observed.acme, scope.wanted.domain.clone());
    if let Some(zone) = issuance.zone.clone() {
        match &facts.records {
            Fact::Known(found) if found.values.contains(&mark(&scope.tenant.id)) => {
                let step = AcmeStep::RemoveRecords { zone, domain };
                return Outcome { step: Some(step), issuance: Some(issuance), wake: Some(POLL), progress: None };
            }
            Fact::Unknown => return Outcome { issuance: Some(issuance), wake: Some(IN_LINE), ..Outcome::default() },
            Fact::Known(_) | Fact::Absent => issuance.zone = None,
        }
    }
    match &facts.key {
        Fact::Known(()) => {
            Outcome { step: Some(AcmeStep::RemoveKey), issuance: Some(issuance), wake: Some(POLL), progress: None }
        }
        Fact::Unknown => Outcome { issuance: Some(issuance), wake: Some(POLL), ..Outcome::default() },
        Fact::Absent => Outcome::default(),
    }
}

/// A time that does not move with each look at the line.
fn whole_hour(at: DateTime<Utc>) -> DateTime<Utc> {
    let beyond = at.timestamp().rem_euclid(3600);
    if beyond == 0 { at } else { at + TimeDelta::seconds(3600 - beyond) }
}
