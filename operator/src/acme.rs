//! Web certificates from an ACME server: reading how far one is, and performing what the planner wants next. What is kept here
//! only delays when it is lost: everything that must not be done twice stands in status, in Secrets or in the book of orders.

mod account;
mod error;
mod nameservers;
mod order;
mod orders;
mod perform;
mod route53;
mod transport;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crds::Tenant;
use crds::certificates::{Issuance, Issuer};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use plan::Fact;
use plan::acme::policy::{Acme as Policy, HostedZone};
use plan::acme::problem::Problem;
use plan::acme::renewal::Suggestion;
use plan::acme::{AcmeFacts, OrderFacts, RecordFacts};
use plan::clock::from_jiff;
use plan::names::Identity;
use plan::observed::{IssuedBy, WebSecret};
use rand::Rng as _;

use crate::clock;
use crate::context::Context;
use crate::error::{Error, Result, chain};
use crate::secrets;

pub use error::AcmeError;
use orders::Orders;
use route53::Route53;
use transport::Patience;

/// How long the server is given to look at a proof before it is told again: not every server shows that it was told.
const TOLD: Duration = Duration::from_secs(60);
/// How long a server is left alone that did not answer.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// How often the server is asked when to renew, at most, and where it does not say.
const SUGGESTION: Duration = Duration::from_secs(6 * 3600);
/// When to ask again after no answer.
const UNANSWERED: Duration = Duration::from_secs(600);

/// An account with a server.
struct Server {
    account: instant_acme::Account,
    patience: Patience,
}

/// A refusal, with the server's own word on how long.
fn refused(attempt: &'static str, patience: &Patience, source: instant_acme::Error) -> AcmeError {
    let asked = patience.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    let until = asked.map(|asked| clock::now() + asked);
    AcmeError::Server { attempt, until, source: Box::new(source) }
}

/// All that this process knows of certificates that are being issued.
#[derive(Default)]
pub struct Acme {
    servers: tokio::sync::Mutex<Servers>,
    route53: Route53,
    orders: Orders,
    /// By uid.
    tenants: Mutex<HashMap<String, Kept>>,
}

/// The account, and the last time that it could not be opened.
#[derive(Default)]
struct Servers {
    opened: Option<(Policy, Arc<Server>)>,
    failed: Option<(Policy, Instant, String)>,
}

/// Since when a certificate is wanted, in seconds, and how many orders of it have failed.
type Attempt = (i64, i32);

fn attempt_of(issuance: &Issuance) -> Attempt {
    (issuance.requested_at.0.as_second(), issuance.failures)
}

/// Of one tenant.
#[derive(Default)]
struct Kept {
    /// The order that was made in this attempt.
    ordered: Option<(Attempt, String)>,
    /// What this attempt failed of.
    problem: Option<(Attempt, Problem)>,
    /// The order of which the server was told that it may look.
    told: Option<(String, Instant)>,
    /// The records as they were made.
    made: Option<Made>,
    /// In which attempt this process has removed them.
    removed: Option<Attempt>,
    suggestion: Option<Suggested>,
    /// When to look again, whatever else of the tenant fails.
    wake: Option<Duration>,
}

#[derive(Clone)]
struct Made {
    zone: String,
    values: BTreeSet<String>,
    change: String,
    spread: bool,
}

#[derive(Clone)]
struct Suggested {
    /// Of which certificate.
    id: String,
    window: Option<Suggestion>,
    good_until: Instant,
}

impl Acme {
    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.tenants.lock().expect("no holder of this lock panics")
    }

    fn with<T>(&self, uid: &str, use_it: impl FnOnce(&mut Kept) -> T) -> T {
        use_it(self.kept().entry(uid.to_owned()).or_default())
    }

    /// Only these tenants are left.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.kept().retain(|uid, _| uids.contains(uid));
    }

    /// A run failed of something else: when the certificate is to be looked at again.
    pub fn wakes_in(&self, uid: &str, wake: Option<Duration>) {
        if wake.is_some() || self.kept().contains_key(uid) {
            self.with(uid, |kept| kept.wake = wake);
        }
    }

    /// The same, for whoever decides when to look.
    pub fn wake(&self, uid: &str) -> Option<Duration> {
        self.kept().get(uid)?.wake
    }

    /// The account that the policy names; opened when it is first used. A server that does not answer is left alone for a while:
    /// whoever asks meanwhile is not held up.
    async fn server(&self, policy: &Policy, context: &Context) -> Result<Arc<Server>> {
        let mut servers = self.servers.lock().await;
        if let Some((_, server)) = servers.opened.as_ref().filter(|(known, _)| same_account(known, policy)) {
            return Ok(Arc::clone(server));
        }
        if let Some((known, at, fault)) = &servers.failed
            && known == policy
            && at.elapsed() < LEFT_ALONE
        {
            return Err(AcmeError::Unopened { fault: fault.clone() }.into());
        }
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &context.namespace);
        match account::open(&secrets, policy).await {
            Ok(server) => {
                let server = Arc::new(server);
                // A former account is of no use any more.
                *servers = Servers { opened: Some((policy.clone(), Arc::clone(&server))), failed: None };
                Ok(server)
            }
            Err(error) => {
                servers.failed = Some((policy.clone(), Instant::now(), chain(&error)));
                Err(error)
            }
        }
    }

    /// Reads how far a tenant's certificate is; what could not be read is Unknown, with the first failure beside it.
    pub async fn read(
        &self,
        tenant: &Tenant,
        identity: &Identity,
        web: Option<&WebSecret>,
        context: &Context,
        now: DateTime<Utc>,
    ) -> (AcmeFacts, Option<Error>) {
        let issuance = tenant.status.as_ref().and_then(|status| status.issuance.as_ref());
        let mut facts = AcmeFacts::default();
        let wanted = tenant.spec.certificates.web.issuer == Issuer::Acme;
        if !wanted && issuance.is_none() {
            return (facts, None);
        }
        let Ok(installation) = context.policy.current() else { return (facts, None) };
        let Some(policy) = &installation.acme else {
            // Without a policy nothing that was made is within reach; what lies in the cluster goes with the Tenant.
            (facts.records, facts.key) = (Fact::Absent, Fact::Absent);
            return (facts, None);
        };
        let mut failure = None;
        if let Some(web) =
            web.filter(|web| wanted && web.issued_by == (IssuedBy::Acme { directory: policy.directory.clone() }))
        {
            facts.suggestion = self.suggestion(identity, web, policy, context).await;
        }
        let Some(issuance) = issuance else { return (facts, None) };
        self.with(&identity.uid, |kept| {
            let of = |attempt: Attempt| attempt == attempt_of(issuance);
            facts.ordered = kept.ordered.as_ref().filter(|(attempt, _)| of(*attempt)).map(|(_, url)| url.clone());
            facts.problem =
                kept.problem.as_ref().filter(|(attempt, _)| of(*attempt)).map(|(_, problem)| problem.clone());
        });
        let mut believe = |error: Error| {
            if !matches!(error, Error::Acme(AcmeError::Paced)) {
                failure.get_or_insert(error);
            }
        };
        match secrets::web::next_key(&context.client, identity).await {
            Ok(found) => facts.key = Fact::answered(found.map(drop)),
            Err(error) => believe(error),
        }
        let resting = issuance.retry_at.as_ref().is_some_and(|at| from_jiff(at.0) > now);
        if resting && wanted {
            return (facts, failure);
        }
        if wanted {
            match self.order(identity, issuance, policy, context).await {
                Ok(found) => facts.order = found,
                Err(error) => believe(error),
            }
            if let Some(asker) = orders::of(tenant, now) {
                let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.namespace);
                match self.orders.turn(&api, &context.fleet, &asker, policy.limits(), now).await {
                    Ok(turn) => facts.turn = Fact::Known(turn),
                    Err(error) => believe(error),
                }
            }
        }
        match self.zone(tenant, policy).await {
            Ok(zone) => facts.zone = Fact::answered(zone),
            Err(error) => believe(error.into()),
        }
        if let Some(zone) = &issuance.zone {
            let proving = facts.order.known().map(|order| order.values.clone());
            match self.records(tenant, identity, zone, proving, policy).await {
                Ok(found) => facts.records = found,
                Err(error) => believe(error.into()),
            }
        }
        (facts, failure)
    }

    async fn suggestion(
        &self,
        identity: &Identity,
        web: &WebSecret,
        policy: &Policy,
        context: &Context,
    ) -> Option<Suggestion> {
        let id = web.certificate_id.as_ref()?;
        let known = self.with(&identity.uid, |kept| kept.suggestion.clone()).filter(|known| known.id == *id);
        if let Some(known) = known.as_ref().filter(|known| known.good_until > Instant::now()) {
            return known.window;
        }
        // Without an answer it stays as it was known.
        let server = self.server(policy, context).await.ok()?;
        let answer = order::suggestion(&server, id).await;
        let (window, period) = match answer {
            Some((window, again)) => (Some(window), again.clamp(LEFT_ALONE, SUGGESTION)),
            None => (known.and_then(|known| known.window), UNANSWERED),
        };
        let period = period.mul_f64(rand::rng().random_range(0.5..1.5));
        let suggested = Suggested { id: id.clone(), window, good_until: Instant::now() + period };
        self.with(&identity.uid, |kept| kept.suggestion = Some(suggested));
        window
    }

    async fn order(
        &self,
        identity: &Identity,
        issuance: &Issuance,
        policy: &Policy,
        context: &Context,
    ) -> Result<Fact<OrderFacts>> {
        let Some(url) = &issuance.order else { return Ok(Fact::Unknown) };
        // Nothing is signed for anybody else, and another server does not know the order.
        if origin(url).is_none() || origin(url) != origin(&policy.directory) {
            return Ok(Fact::Absent);
        }
        let server = self.server(policy, context).await?;
        let mut found = order::read(&server, url).await?;
        if let Some(order) = &mut found {
            order.told |= self.with(&identity.uid, |kept| {
                kept.told.as_ref().is_some_and(|(told, at)| told == url && at.elapsed() < TOLD)
            });
        }
        Ok(Fact::answered(found))
    }

    async fn zone(&self, tenant: &Tenant, policy: &Policy) -> std::result::Result<Option<String>, AcmeError> {
        let Some(hosted) = policy.zone(&tenant.spec.domain) else { return Ok(None) };
        let found = self.route53.zone(hosted, &tenant.spec.domain).await?;
        Ok(found.map(|zone| zone.id))
    }

    /// `proving`: the values that an order wants, while it wants any.
    async fn records(
        &self,
        tenant: &Tenant,
        identity: &Identity,
        zone: &str,
        proving: Option<BTreeSet<String>>,
        policy: &Policy,
    ) -> std::result::Result<Fact<RecordFacts>, AcmeError> {
        let domain = &tenant.spec.domain;
        // A zone that the policy does not name any more is out of reach.
        let Some(hosted) = policy.zone(domain) else { return Ok(Fact::Absent) };
        let (made, removed) = self.with(&identity.uid, |kept| (kept.made.clone(), kept.removed));
        let attempt = tenant.status.as_ref().and_then(|status| status.issuance.as_ref()).map(attempt_of);
        if removed.is_some() && removed == attempt {
            return Ok(Fact::Absent);
        }
        let Some(mut made) = made.filter(|made| made.zone == zone) else {
            let values = match self.route53.values(hosted, zone, domain).await {
                Err(AcmeError::Route53(error)) if error.code() == Some("NoSuchHostedZone") => BTreeSet::new(),
                values => values?,
            };
            let records = RecordFacts { values, spread: Fact::Unknown };
            return Ok(if records.values.is_empty() { Fact::Absent } else { Fact::Known(records) });
        };
        if !made.spread && proving.is_some_and(|values| values.is_subset(&made.values)) {
            made.spread = self.route53.in_sync(hosted, &made.change).await? && {
                let servers = self.route53.servers(hosted, zone).await?;
                nameservers::answer_with(&servers, &policy.dns.resolvers, domain, &made.values).await?
            };
            self.with(&identity.uid, |kept| kept.made = Some(made.clone()));
        }
        Ok(Fact::Known(RecordFacts { values: made.values, spread: Fact::Known(made.spread) }))
    }
}

fn hosted<'a>(policy: &'a Policy, domain: &str) -> std::result::Result<&'a HostedZone, AcmeError> {
    policy.zone(domain).ok_or_else(|| AcmeError::Policy { missing: format!("zone for {domain} in acme.dns.route53") })
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<(Option<String>, String)> {
    let url: hyper::Uri = url.parse().ok()?;
    Some((url.scheme_str().map(str::to_owned), url.authority()?.as_str().to_owned()))
}

/// Whether two policies mean the same account.
fn same_account(one: &Policy, other: &Policy) -> bool {
    let of = |policy: &Policy| {
        let Policy { directory, ca_bundle, email, account_secret_ref, external_account, .. } = policy.clone();
        (directory, ca_bundle, email, account_secret_ref, external_account)
    };
    of(one) == of(other)
}
