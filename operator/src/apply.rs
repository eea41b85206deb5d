//! Third word of a reconcile: perform the steps, in order, one at a time. The first failure ends the run; every step can
//! be repeated, since the process may die after any of them and an answer may be lost.

mod body;

use chrono::{DateTime, Utc};
use crds::Tenant;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::{Api, ResourceExt};
use plan::cloud::step::CloudStep;
use plan::keys::generation;
use plan::names::{FINALIZER, Identity, MANAGER};
use plan::object::{Object, Ref, foreign};
use plan::observed::{Source, StageName};
use plan::step::Step;

use crate::children;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Result, chain};
use crate::teleport::AuthTarget;
use crate::{claims, refusal, secrets, vanished};

/// What every step of a run is performed with.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// Whose steps these are.
    pub identity: &'a Identity,
    /// Its Auth, if one is ready.
    pub auth: Option<&'a AuthTarget>,
    /// Clients and caches.
    pub context: &'a Context,
    /// The one time of this run.
    pub now: DateTime<Utc>,
}

/// Performs the steps; says which stage failed and how. `tenant` follows what a step does to the object itself.
pub async fn apply(
    tenant: &mut Tenant,
    hands: &Hands<'_>,
    steps: &[(StageName, Step)],
) -> Result<(), (StageName, Error)> {
    let Hands { identity, context, now, auth: _ } = *hands;
    let mut failed = None;
    for (stage, step) in steps {
        // Judged by the clock before every effect: a process that was stopped for a while learns it here first.
        if !context.leadership.is_held() {
            return Err((*stage, Error::NotLeading { attempt: step.to_string() }));
        }
        match perform(tenant, hands, step).await {
            Ok(()) => {
                context.metrics.stepped(step.label(), "ok");
                context.memory.succeeded(&identity.uid, (*stage, Source::Step));
                tracing::info!(tenant = %identity.path(), %step, "applied");
            }
            Err(error) => {
                let class = error.class();
                context.metrics.stepped(step.label(), class.label());
                if context.memory.failed(&identity.uid, (*stage, Source::Step), class, chain(&error), now) {
                    tracing::warn!(tenant = %identity.path(), %step, class = class.label(), error = %chain(&error), "failed");
                }
                // While the memory of agents is not written the gate stays closed, and while a certificate is made another one
                // serves: what users need waits for neither.
                if !matches!(step, Step::RememberAgents { .. }) && *stage != StageName::Certificates {
                    return Err((*stage, error));
                }
                failed = Some((*stage, error));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn perform(tenant: &mut Tenant, hands: &Hands<'_>, step: &Step) -> Result<()> {
    let Hands { identity, auth, context, now } = *hands;
    let client = &context.client;
    match step {
        Step::AddFinalizer => finalizers(tenant, identity, context, |found| found.push(FINALIZER.to_owned())).await,
        Step::RemoveFinalizer => {
            finalizers(tenant, identity, context, |found| found.retain(|finalizer| finalizer != FINALIZER)).await
        }
        Step::Claim { subject, rested } => claims::claim(&context.leases(), identity, subject, rested.as_deref()).await,
        Step::Release { subject, rests_until } => {
            claims::release(&context.leases(), identity, subject, *rests_until, now).await
        }
        Step::Cloud(step) => {
            // Whatever comes of it, what was read before is not what is there now.
            context.memory.forget_cloud(&identity.uid, step.parts());
            let missing = |missing: &str| Error::Missing { attempt: step.to_string(), missing: missing.to_owned() };
            let recorded = tenant.status.as_ref().and_then(|status| status.storage.as_ref());
            let recorded = recorded.ok_or_else(|| missing("no account is recorded"))?;
            let installation = context.policy.current().map_err(|fault| missing(&fault))?;
            let account = installation.account(&recorded.account);
            let account = account.ok_or_else(|| missing("the fleet policy does not list the recorded account"))?;
            context.clouds.account(account).await.perform(step).await?;
            if let CloudStep::DeleteBackup { arn, .. } = step {
                context.memory.forget_backup(&identity.uid, arn);
            }
            Ok(())
        }
        Step::CreateAuthorities { domain } => {
            context.memory.forget_secrets(&identity.uid);
            secrets::create_authorities(client, identity, domain, clock::wall()).await
        }
        Step::KeepAuthorities { domain, generation, stored, web } => {
            context.memory.forget_secrets(&identity.uid);
            let web = web.as_deref();
            secrets::keep_authorities(client, identity, *generation, domain, stored, web, clock::wall()).await
        }
        Step::UnguardAuthorities => {
            context.memory.forget_secrets(&identity.uid);
            secrets::unguard_authorities(client, identity, generation(tenant.status.as_ref())).await
        }
        Step::IssueWebCertificate { domain } => {
            context.memory.forget_secrets(&identity.uid);
            let generation = generation(tenant.status.as_ref());
            secrets::web::issue(client, identity, generation, domain, clock::wall()).await
        }
        Step::CopyIssued { domain, secret, issuer } => {
            context.memory.forget_secrets(&identity.uid);
            secrets::issued::copy(client, identity, secret, domain, issuer).await
        }
        Step::RemoveIssued { secret } => {
            context.memory.forget_secrets(&identity.uid);
            secrets::issued::remove(client, identity, secret).await
        }
        Step::Acme(step) => context.acme.perform(step, tenant, identity, context, now).await,
        Step::RememberAgents { memory, seen } => vanished::write(identity, memory, seen.as_deref(), context).await,
        Step::Publish(step) => {
            context.memory.forget_told(&identity.uid);
            let auth =
                auth.ok_or_else(|| Error::Missing { attempt: step.to_string(), missing: "no Auth is ready".into() })?;
            Ok(context.teleport.publish(auth, step).await.map(drop)?)
        }
        Step::Apply(object) => apply_object(identity, object, context).await,
        Step::Delete { reference, uid } => delete(identity, reference, uid, context).await,
    }
}

/// Changes the finalizers of exactly the Tenant that was seen.
async fn finalizers(
    tenant: &mut Tenant,
    identity: &Identity,
    context: &Context,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<()> {
    let mut finalizers = tenant.finalizers().to_vec();
    change(&mut finalizers);
    let patch = serde_json::json!({
        "metadata": {"finalizers": finalizers, "resourceVersion": tenant.resource_version(), "uid": tenant.uid()},
    });
    let api: Api<Tenant> = Api::namespaced(context.client.clone(), &identity.namespace);
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(&identity.slug, &parameters, &Patch::Merge(patch)).await {
        Ok(updated) => {
            tenant.metadata = updated.metadata;
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::kube("change the finalizers of the Tenant", source)),
    }
}

/// Server-side apply, after one more look: what the watch does not show may still be there, and be somebody else's.
async fn apply_object(identity: &Identity, object: &Object, context: &Context) -> Result<()> {
    let reference = &object.reference;
    let found = context.children.read(&context.client, &identity.namespace, reference).await?;
    let mut manifest = object.manifest.clone();
    if let Some(live) = &found {
        if foreign(live, &identity.uid).is_some() {
            return Err(Error::Foreign { attempt: format!("apply {reference}") });
        }
        // Only to the one that was seen: an object deleted and made again in between is a conflict.
        manifest["metadata"]["uid"] = live["metadata"]["uid"].clone();
    }
    let parameters = PatchParams { force: found.is_some(), ..PatchParams::apply(MANAGER) };
    let failed = |source| refusal::explain(reference, source);
    let api = children::api(&context.client, &identity.namespace, reference.kind);
    let request = Request::new(api.resource_url()).patch(&reference.name, &parameters, &Patch::Apply(&manifest));
    let request = request.map_err(|source| failed(kube::Error::BuildRequest(source)))?.map(body::escaped);
    // Whatever comes of it, what was read before is not what is there now.
    context.children.forget(&identity.namespace, reference);
    let applied = context.client.request::<DynamicObject>(request).await.map_err(failed)?;
    context.children.keep(&identity.namespace, reference, &applied);
    Ok(())
}

/// In the foreground: the object stays, as one that is leaving, until its pods are gone.
async fn delete(identity: &Identity, reference: &Ref, uid: &str, context: &Context) -> Result<()> {
    context.children.forget(&identity.namespace, reference);
    let api: Api<DynamicObject> = children::api(&context.client, &identity.namespace, reference.kind);
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
    match api.delete(&reference.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::kube(format!("delete {reference}"), source)),
    }
}
