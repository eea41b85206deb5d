//! First word of a reconcile: read everything a plan needs. Nothing is written and nothing decided; what could not be
//! read is Unknown, and the failure is remembered for the stage it belongs to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use crds::network::Exposure;
use crds::update_status::HopStage;
use kube::ResourceExt;
use plan::Fact;
use plan::keys::Authorities;
use plan::manifest::listen;
use plan::names::{self, Identity};
use plan::object::{Kind, Ref};
use plan::observed::{Objects, Observed, Process, Processes, Source, StageName};
use plan::stage::deployment::Rollout;
use plan::teleport::{AuthPing, WebPing};

use crate::clock;
use crate::context::Context;
use crate::error::{Class, Error, chain};
use crate::inventory::Ask;
use crate::teleport::{AuthTarget, TeleportError, WebTarget};
use crate::{authorities, processes, rendering, secrets, updates, vanished};

mod cloud;

/// How old a reading may become while the spec says nothing that can be understood.
const FALLBACK_TTL: TimeDelta = TimeDelta::minutes(15);

/// The tenant as far as names go, whatever its spec or its status says.
pub fn identity(tenant: &Tenant) -> Identity {
    let uid = tenant.uid().unwrap_or_default();
    Identity {
        slug: tenant.name_any(),
        namespace: tenant.namespace().unwrap_or_default(),
        id: names::tenant_id(&uid),
        uid,
    }
}

/// Reads everything.
pub async fn observe(tenant: &Tenant, context: &Context, now: DateTime<Utc>) -> Observed {
    let identity = identity(tenant);
    let ((secrets, secrets_failure), objects, cloud, vanished) = futures::join!(
        secrets::read(tenant, &identity, context),
        objects(tenant, &identity, context, now),
        cloud::read(tenant, &identity, context, now),
        vanished::read(&identity, context)
    );
    note(context, &identity, (StageName::Keys, Source::Read), secrets_failure, now);
    let (memory, memory_failure) = match vanished {
        Ok(memory) => (memory, None),
        Err(error) => (Fact::Unknown, Some(error)),
    };
    note(context, &identity, (StageName::Agents, Source::Read), memory_failure, now);
    let web_secret = secrets.web.known().and_then(|web| web.as_ref().ok());
    let (acme, acme_failure) = context.acme.read(tenant, &identity, web_secret, context, now).await;
    // What cert-manager has made is read later, and told then.
    let managed = tenant.status.as_ref().is_some_and(|status| status.cert_manager.is_some());
    if acme_failure.is_some() || !managed {
        note(context, &identity, (StageName::Certificates, Source::Read), acme_failure, now);
    }
    let proxy = objects.known(&Ref::new(Kind::Deployment, identity.proxy_deployment()));
    let metrics_in_use = secrets::metrics_in_use(&secrets, &identity, proxy);
    let stored_authorities = authorities::read(tenant, &identity, &secrets, context, now).await;
    let authorities = match &secrets.authorities {
        Fact::Known(Ok(found)) => Some(&found.authorities),
        Fact::Known(Err(_)) | Fact::Absent | Fact::Unknown => None,
    };
    let (auth, web) = match authorities {
        Some(authorities) => {
            let trust = web_secret.map_or("", |web| web.trust.as_str());
            processes(tenant, &identity, &objects, (authorities, trust), context, now).await
        }
        None => (Fact::Unknown, Fact::Unknown),
    };
    let each = match authorities {
        Some(authorities) => each(tenant, &identity, authorities, context, now).await,
        None => Fact::Unknown,
    };
    let inventory = context.readings.reading(&identity.uid);
    let told = context.memory.told(&identity.uid, clock::wall()).unwrap_or_default();
    let teleport = Processes { auth, web, each, inventory, told };
    Observed {
        now,
        wall: clock::wall(),
        clock_skew: context.skew.current(),
        operator_version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_namespace: context.namespace.clone(),
        tenant: tenant.clone(),
        installation: context.policy.current().map(|installation| rendering::of_this_build(&installation)),
        namespace_labels: context.windows.labels(&identity.namespace),
        in_accounts: in_accounts(tenant, &identity, context),
        claims: context.claims.read(),
        cloud,
        acme,
        objects,
        troubles: Fact::Unknown,
        secrets,
        stored_authorities,
        teleport,
        pools: context.pools.of(&identity),
        memory,
        metrics_in_use,
        pod_monitors: context.children.knows_monitors(),
        updates: updates::observe(tenant, &identity, context, now).await,
        failures: context.memory.failures(&identity.uid),
        mended: context.memory.mended(&identity.uid),
    }
}

/// How full the accounts are, for a tenant that has none yet.
fn in_accounts(tenant: &Tenant, identity: &Identity, context: &Context) -> BTreeMap<String, u32> {
    let recorded = tenant.status.as_ref().is_some_and(|status| status.storage.is_some());
    if recorded { BTreeMap::new() } else { context.accounts.held(&identity.uid) }
}

/// The objects that tell whether the tenant serves; all others are read when a plan asks for them.
async fn objects(tenant: &Tenant, identity: &Identity, context: &Context, now: DateTime<Utc>) -> Objects {
    let deployments = [identity.auth_deployment(0), identity.auth_deployment(1), identity.proxy_deployment()];
    let block = Some(identity.block_service()).filter(|_| tenant.spec.network.exposure == Exposure::Gateway);
    let services = [identity.auth(), identity.public_service()].into_iter().chain(block);
    let references = deployments
        .map(|name| Ref::new(Kind::Deployment, name))
        .into_iter()
        .chain(services.map(|name| Ref::new(Kind::Service, name)));
    let mut objects = Objects::default();
    // The second Deployment of Auth is of no interest where one is asked for, none of ours is there, and no hop looks whether
    // anything runs beside the first.
    let hops = tenant.status.as_ref().is_some_and(|status| status.update.is_some());
    let single = tenant.spec.auth.replicas < 2 && !hops;
    let second = Ref::new(Kind::Deployment, identity.auth_deployment(1));
    let (skipped, references): (Vec<Ref>, Vec<Ref>) = references.partition(|reference| {
        *reference == second && single && !context.children.lists(&identity.namespace, reference)
    });
    objects.live.extend(skipped.into_iter().map(|reference| (reference, Fact::Absent)));
    // Of a tenant that is being made most is not there yet. What the watch does not show is read by its name when a plan comes to
    // it, and not in each run until then.
    let new = tenant.status.as_ref().is_none_or(|status| status.version.is_none());
    let references =
        references.into_iter().filter(|reference| !new || context.children.lists(&identity.namespace, reference));
    let mut failure = None;
    let reads = references.map(|reference| async move {
        let found = context.children.read(&context.client, &identity.namespace, &reference).await;
        (reference, found)
    });
    for (reference, found) in futures::future::join_all(reads).await {
        let fact = match found {
            Ok(found) => Fact::answered(found.map(|value| (*value).clone())),
            Err(error) => {
                failure.get_or_insert(error);
                Fact::Unknown
            }
        };
        objects.live.insert(reference, fact);
    }
    note(context, identity, (StageName::Auth, Source::Read), failure, now);
    objects
}

/// Reads single objects that a plan asked for. What cannot be read is Unknown, so that the plan can tell of it.
pub async fn read_needed(observed: &mut Observed, needs: &[Ref], context: &Context) {
    let identity = identity(&observed.tenant);
    let mut failures = BTreeMap::from([(StageName::Proxy, None)]);
    for reference in needs {
        let stage = match reference.kind {
            Kind::Certificate | Kind::CertificateRequest => StageName::Certificates,
            _ => StageName::Proxy,
        };
        let failure = failures.entry(stage).or_insert(None);
        let fact = match context.children.read(&context.client, &identity.namespace, reference).await {
            Ok(found) => Fact::answered(found.map(|value| (*value).clone())),
            Err(error) => {
                failure.get_or_insert(error);
                Fact::Unknown
            }
        };
        observed.objects.live.insert(reference.clone(), fact);
    }
    for (stage, failure) in failures {
        note(context, &identity, (stage, Source::Read), failure, observed.now);
    }
    observed.failures = context.memory.failures(&identity.uid);
}

/// Remembers whether reading for a stage went well.
fn note(context: &Context, identity: &Identity, row: (StageName, Source), failure: Option<Error>, now: DateTime<Utc>) {
    match failure {
        Some(error) => failed(context, identity, row, error.class(), chain(&error), now),
        None => context.memory.succeeded(&identity.uid, row),
    }
}

/// Remembers how a reading of the inventory ended.
pub fn note_reading(context: &Context, identity: &Identity, outcome: Result<(), TeleportError>) {
    told(context, identity, StageName::Agents, outcome, clock::now());
}

/// Remembers a failure, and tells of it when it is news: the same one every second is none.
pub fn failed(
    context: &Context,
    identity: &Identity,
    row: (StageName, Source),
    class: Class,
    message: String,
    now: DateTime<Utc>,
) {
    let error = message.clone();
    if context.memory.failed(&identity.uid, row, class, message, now) {
        tracing::warn!(tenant = %identity.path(), stage = ?row.0, class = class.label(), %error, "cannot observe");
    }
}

async fn processes(
    tenant: &Tenant,
    identity: &Identity,
    objects: &Objects,
    (authorities, trust): (&Authorities, &str),
    context: &Context,
    now: DateTime<Utc>,
) -> (Fact<AuthPing>, Fact<WebPing>) {
    let domain = &tenant.spec.domain;
    let web_address = ready(objects, &[identity.proxy_deployment()])
        .then(|| cluster_address(objects, identity.public_service(), 443))
        .flatten();
    let auth_target = target(domain, identity, objects, authorities);
    let (auth, web) = futures::join!(
        async {
            let Some(target) = &auth_target else {
                // Nobody to ask: what failed before says nothing any more.
                context.memory.succeeded(&identity.uid, (StageName::Auth, Source::Process));
                return Fact::Absent;
            };
            let answer = context.teleport.ping(target).await;
            told(context, identity, StageName::Auth, answer, now)
        },
        async {
            let Some(address) = web_address else {
                context.memory.succeeded(&identity.uid, (StageName::Proxy, Source::Process));
                return Fact::Absent;
            };
            // A Proxy that has not read a new certificate yet still serves the tenant's own.
            let ca_pem = format!("{}{trust}", authorities.web.trusts());
            let target = WebTarget { address, domain: domain.clone(), ca_pem };
            let answer = context.teleport.web_ping(&target).await;
            told(context, identity, StageName::Proxy, answer, now)
        }
    );
    if let (Some(target), Fact::Known(_)) = (&auth_target, &auth) {
        let report_ttl = plan::duration::parse(&tenant.spec.agents.report_ttl).unwrap_or(FALLBACK_TTL);
        context
            .readings
            .ask(&Ask { tenant: identity, target, pace: updates::pace(tenant, context, now), report_ttl }, now);
    }
    (auth, web)
}

/// Every single process, while a hop waits for nothing else.
async fn each(
    tenant: &Tenant,
    identity: &Identity,
    authorities: &Authorities,
    context: &Context,
    now: DateTime<Utc>,
) -> Fact<Vec<Process>> {
    let update = tenant.status.as_ref().and_then(|status| status.update.as_ref());
    if !update.is_some_and(|update| matches!(update.stage, HopStage::Verify | HopStage::RevertAuth)) {
        return Fact::Unknown;
    }
    match processes::ask(identity, &tenant.spec.domain, authorities, context).await {
        Ok(found) => {
            context.memory.succeeded(&identity.uid, (StageName::Update, Source::Process));
            Fact::Known(found)
        }
        Err(error) => {
            let row = (StageName::Update, Source::Process);
            failed(context, identity, row, error.class(), chain(&error), now);
            Fact::Unknown
        }
    }
}

/// Where Auth is, if one of its pods is ready.
pub fn auth_target(observed: &Observed) -> Option<AuthTarget> {
    let Fact::Known(Ok(found)) = &observed.secrets.authorities else { return None };
    let tenant = &observed.tenant;
    target(&tenant.spec.domain, &identity(tenant), &observed.objects, &found.authorities)
}

fn target(domain: &str, identity: &Identity, objects: &Objects, authorities: &Authorities) -> Option<AuthTarget> {
    let address = ready(objects, &[identity.auth_deployment(0), identity.auth_deployment(1)])
        .then(|| cluster_address(objects, identity.auth(), listen::AUTH))
        .flatten()?;
    Some(AuthTarget { address, domain: domain.to_owned(), host: authorities.host.clone() })
}

fn ready(objects: &Objects, deployments: &[String]) -> bool {
    deployments.iter().any(|name| {
        objects.known(&Ref::new(Kind::Deployment, name.clone())).is_some_and(|live| Rollout::of(live).ready > 0)
    })
}

fn told<T>(
    context: &Context,
    identity: &Identity,
    stage: StageName,
    answer: Result<T, TeleportError>,
    now: DateTime<Utc>,
) -> Fact<T> {
    match answer {
        Ok(value) => {
            context.memory.succeeded(&identity.uid, (stage, Source::Process));
            Fact::Known(value)
        }
        Err(error) => {
            failed(context, identity, (stage, Source::Process), error.class(), chain(&error), now);
            Fact::Unknown
        }
    }
}

/// The cluster address of a Service of the tenant.
fn cluster_address(objects: &Objects, service: String, port: u16) -> Option<SocketAddr> {
    let live = objects.known(&Ref::new(Kind::Service, service))?;
    let address: IpAddr = live["spec"]["clusterIP"].as_str()?.parse().ok()?;
    Some(SocketAddr::new(address, port))
}
