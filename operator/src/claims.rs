//! Claims in the cluster: Leases in the operator's namespace, read from a watch and written one at a time. Creating a
//! Lease is the claim; the API server decides who was first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use chrono::{DateTime, Utc};
use crds::Tenant;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use plan::Fact;
use plan::claims::{Claim, Subject};
use plan::clock;
use plan::names::{CLAIM, CLAIM_DOMAIN, Identity, MANAGER};

use crate::error::{Error, Result};

/// All claims as the watch shows them, shared by all runs.
#[derive(Default)]
pub struct Claims {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// By the name of the Lease.
    claims: BTreeMap<String, Claim>,
    /// As runs get them, made when the first asks after a change: while hundreds of claims come, nobody needs each state.
    shared: Option<Arc<Vec<Claim>>>,
    synced: bool,
}

impl Known {
    /// Changes one claim; answers whether, and what it was.
    fn put(&mut self, name: String, claim: Option<Claim>) -> Vec<Claim> {
        let after = claim.clone();
        let before = match claim {
            Some(claim) => self.claims.insert(name, claim),
            None => self.claims.remove(&name),
        };
        if before == after {
            return Vec::new();
        }
        self.shared = None;
        before.into_iter().chain(after).collect()
    }

    /// A complete list takes the place of everything known; answers what came, went or changed.
    fn replace(&mut self, listed: BTreeMap<String, Claim>) -> Vec<Claim> {
        let before = std::mem::replace(&mut self.claims, listed);
        (self.shared, self.synced) = (None, true);
        let differing = |one: &BTreeMap<String, Claim>, other: &BTreeMap<String, Claim>| {
            let differing = one.iter().filter(|(name, claim)| other.get(*name) != Some(*claim));
            differing.map(|(_, claim)| claim.clone()).collect::<Vec<_>>()
        };
        let mut changed = differing(&before, &self.claims);
        changed.extend(differing(&self.claims, &before));
        changed
    }
}

impl Claims {
    /// What is claimed; Unknown before the first complete list.
    pub fn read(&self) -> Fact<Arc<Vec<Claim>>> {
        {
            let known = self.known.read().expect("no holder of this lock panics");
            match &known.shared {
                Some(claims) if known.synced => return Fact::Known(Arc::clone(claims)),
                _ if !known.synced => return Fact::Unknown,
                _ => {}
            }
        }
        let mut known = self.write();
        let claims = Arc::new(known.claims.values().cloned().collect::<Vec<_>>());
        known.shared = Some(Arc::clone(&claims));
        Fact::Known(claims)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().expect("no holder of this lock panics")
    }

    /// Whether the claims were listed once.
    pub fn is_synced(&self) -> bool {
        self.known.read().expect("no holder of this lock panics").synced
    }

    /// Follows the Leases; yields the Tenants that a change concerns.
    pub fn follow(&self, api: Api<Lease>) -> impl Stream<Item = ObjectRef<Tenant>> + Send + use<'_> {
        let mut listing: BTreeMap<String, Claim> = BTreeMap::new();
        let selection = watcher::Config::default().labels(CLAIM);
        watcher(api, selection).default_backoff().flat_map(move |event| {
            let changed = match event {
                Ok(watcher::Event::Init) => {
                    listing.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(lease)) => {
                    listing.extend(parse(&lease).map(|claim| (lease.name_any(), claim)));
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => self.write().replace(std::mem::take(&mut listing)),
                Ok(watcher::Event::Apply(lease)) => self.write().put(lease.name_any(), parse(&lease)),
                Ok(watcher::Event::Delete(lease)) => self.write().put(lease.name_any(), None),
                Err(error) => {
                    tracing::warn!(%error, "claims cannot be watched");
                    Vec::new()
                }
            };
            stream::iter(holders(&changed))
        })
    }
}

/// The holders of claims, each once.
fn holders(claims: &[Claim]) -> Vec<ObjectRef<Tenant>> {
    let holders: BTreeSet<&str> = claims.iter().filter_map(|claim| claim.holder.as_deref()).collect();
    holders
        .iter()
        .filter_map(|holder| {
            let mut parts = holder.split('/');
            let (namespace, slug) = (parts.next()?, parts.next()?);
            Some(ObjectRef::new(slug).within(namespace))
        })
        .collect()
}

/// Reads a Lease; one that is no claim of ours is none.
fn parse(lease: &Lease) -> Option<Claim> {
    let subject = match lease.labels().get(CLAIM)?.as_str() {
        "domain" => Subject::Domain(lease.annotations().get(CLAIM_DOMAIN)?.clone()),
        "ports" => {
            let (pool, base) = lease
                .name_any()
                .strip_prefix("ports-")?
                .rsplit_once('-')
                .map(|(pool, base)| (pool.to_owned(), base.parse().ok()))?;
            Subject::Ports { pool, base: base? }
        }
        _ => return None,
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let rests_until =
        spec.renew_time.as_ref().zip(spec.lease_duration_seconds).map(|(MicroTime(released), seconds)| {
            clock::from_jiff(*released) + chrono::TimeDelta::seconds(i64::from(seconds))
        });
    Some(Claim {
        subject,
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        created: lease
            .meta()
            .creation_timestamp
            .as_ref()
            .map(|created| clock::from_jiff(created.0))
            .unwrap_or_default(),
        rests_until,
        resource_version: lease.resource_version().unwrap_or_default(),
    })
}

/// Claims. Somebody else being first is a conflict: the next look decides anew. Being first ourselves, in a run whose
/// answer was lost, is done.
pub async fn claim(api: &Api<Lease>, tenant: &Identity, subject: &Subject, rested: Option<&str>) -> Result<()> {
    let name = subject.lease();
    let attempt = || format!("claim {name}");
    let lease = lease(tenant, subject, rested);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let outcome = match rested {
        None => api.create(&parameters, &lease).await,
        Some(_) => api.replace(&name, &parameters, &lease).await,
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() || status.is_conflict() => {
            let found = api.get_opt(&name).await.map_err(|source| Error::kube(attempt(), source))?;
            let holder = found.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
            if holder == Some(tenant.holder()) { Ok(()) } else { Err(Error::Overtaken { attempt: attempt() }) }
        }
        Err(source) => Err(Error::kube(attempt(), source)),
    }
}

/// Gives a claim up, if it is the tenant's: a domain at once, a port block with a rest.
pub async fn release(
    api: &Api<Lease>,
    tenant: &Identity,
    subject: &Subject,
    rests_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    let name = subject.lease();
    let failed = |source| Error::kube(format!("release {name}"), source);
    let Some(mut lease) = api.get_opt(&name).await.map_err(failed)? else { return Ok(()) };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity != Some(tenant.holder()) {
        return Ok(());
    }
    let Some(until) = rests_until else {
        let preconditions = Preconditions { resource_version: lease.resource_version(), uid: lease.uid() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        return match api.delete(&name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed(source)),
        };
    };
    spec.holder_identity = None;
    spec.renew_time = Some(MicroTime(clock::to_jiff(now)));
    // The API refuses a duration of zero; one second of rest does no harm.
    let seconds = (until - now).num_seconds().clamp(1, i64::from(i32::MAX));
    spec.lease_duration_seconds = i32::try_from(seconds).ok();
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    api.replace(&name, &parameters, &lease).await.map(drop).map_err(failed)
}

fn lease(tenant: &Identity, subject: &Subject, rested: Option<&str>) -> Lease {
    let mut labels = tenant.labels();
    let mut annotations = BTreeMap::new();
    match subject {
        Subject::Domain(domain) => {
            labels.insert(CLAIM.into(), "domain".into());
            annotations.insert(CLAIM_DOMAIN.to_owned(), domain.clone());
        }
        Subject::Ports { .. } => {
            labels.insert(CLAIM.into(), "ports".into());
        }
    }
    Lease {
        metadata: ObjectMeta {
            name: Some(subject.lease()),
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            resource_version: rested.map(str::to_owned),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec { holder_identity: Some(tenant.holder()), ..LeaseSpec::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_back_as_it_was_written() {
        let tenant = Identity { slug: "acme".into(), namespace: "ns".into(), uid: "u".into(), id: "0".repeat(16) };
        for subject in [Subject::Domain("acme.example.com".into()), Subject::Ports { pool: "a-b".into(), base: 11105 }]
        {
            let claim = parse(&lease(&tenant, &subject, None)).expect("a claim");
            assert_eq!((claim.subject, claim.holder), (subject, Some(tenant.holder())));
        }
    }

    #[test]
    fn a_change_concerns_the_former_holder_and_the_new_and_the_next_reader_sees_it() {
        let subject = Subject::Domain("acme.example.com".into());
        let claim = |slug: &str| {
            let tenant = Identity { slug: slug.into(), namespace: "ns".into(), uid: "u".into(), id: "0".repeat(16) };
            parse(&lease(&tenant, &subject, None)).expect("a claim")
        };
        let claims = Claims::default();
        let seen = || match claims.read() {
            Fact::Known(claims) => Some(claims.len()),
            Fact::Absent | Fact::Unknown => None,
        };
        let concerned =
            |changed: Vec<Claim>| holders(&changed).into_iter().map(|tenant| tenant.name).collect::<Vec<_>>();
        assert_eq!(seen(), None);
        assert_eq!(concerned(claims.write().replace([("l".to_owned(), claim("first"))].into())), ["first"]);
        assert_eq!(seen(), Some(1));
        assert!(concerned(claims.write().put("l".into(), Some(claim("first")))).is_empty());
        assert_eq!(concerned(claims.write().put("l".into(), Some(claim("second")))), ["first", "second"]);
        assert_eq!(concerned(claims.write().put("l".into(), None)), ["second"]);
        assert_eq!(seen(), Some(0));
    }
}
