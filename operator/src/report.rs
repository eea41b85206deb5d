//! Fourth word of a reconcile: tell, on every path. A status equal to the last one is not written; an event is published
//! when a person should know that something changed.

pub mod events;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use crds::Tenant;
use crds::tenant_status::TenantStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource};
use plan::names::{Identity, MANAGER};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::fleet::Asker;
use crate::{updates, windows};

/// Writes the status if it changed, to exactly the Tenant that was seen; answers whether it did. A status with which a hop
/// begins is a claim: it is written only while a place is free, and the place is taken before the write.
pub async fn report(
    tenant: &Tenant,
    identity: &Identity,
    status: TenantStatus,
    context: &Context,
    now: DateTime<Utc>,
) -> Result<bool> {
    if status.update.is_none() && tenant.status.as_ref().is_none_or(|before| before.update.is_none()) {
        // A claim whose answer was lost did not come about: its place is nobody's any more.
        context.fleet.release(&identity.uid);
    }
    if tenant.status.as_ref() == Some(&status) {
        return Ok(false);
    }
    let before = tenant.status.clone().unwrap_or_default();
    if !context.leadership.is_held() {
        return Err(Error::NotLeading { attempt: "write the status of the Tenant".into() });
    }
    let claims = before.update.is_none() && status.update.is_some();
    if claims && !claim(tenant, identity, context, now) {
        return Err(Error::Overtaken { attempt: "claim a place among the running updates".into() });
    }
    if let Some(storage) = status.storage.as_ref().filter(|_| before.storage.is_none())
        && !enter_account(identity, &storage.account, context)
    {
        return Err(Error::Overtaken { attempt: "take a place in an AWS account".into() });
    }
    let mut updated = tenant.clone();
    updated.metadata.managed_fields = None;
    updated.status = Some(status.clone());
    let api: Api<Tenant> = Api::namespaced(context.client.clone(), &identity.namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.replace_status(&identity.slug, &parameters, &updated).await {
        Ok(_) => {}
        // Its last finalizer was taken in this very run.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => {
            context.fleet.release(&identity.uid);
            return Ok(false);
        }
        Err(source) => {
            // What was refused did not happen. Where the answer was lost, or the server failed, it may have: the place stays
            // taken until the next run sees how it went.
            if claims && matches!(&source, kube::Error::Api(answer) if answer.code < 500) {
                context.fleet.release(&identity.uid);
            }
            return Err(Error::kube("write the status of the Tenant", source));
        }
    }
    if before.update.is_some() && status.update.is_none() {
        context.fleet.release(&identity.uid);
    }
    if before.history.first() != status.history.first() || halted_at(&before) != halted_at(&status) {
        context.fleet.fared();
    }
    if before.next != status.next || before.update != status.update {
        context.fleet.changed();
        look_at_window(tenant, context);
    }
    events::count(&before, &status, context);
    let budget = context.policy.feed().ok().map(|feed| feed.monthly_downtime_budget);
    for event in events::events(&before, &status, tenant, budget) {
        if let Err(error) = context.recorder.publish(&event, &tenant.object_ref(&())).await {
            tracing::warn!(tenant = %identity.path(), %error, "cannot publish an event");
        }
    }
    Ok(true)
}

fn halted_at(status: &TenantStatus) -> Option<&Time> {
    status.update.as_ref().and_then(|update| update.halted_at.as_ref())
}

fn enter_account(identity: &Identity, id: &str, context: &Context) -> bool {
    let installation = context.policy.current();
    let account = installation.as_ref().ok().and_then(|installation| installation.account(id));
    account.is_some_and(|account| context.accounts.enter(&identity.uid, account))
}

fn claim(tenant: &Tenant, identity: &Identity, context: &Context, now: DateTime<Utc>) -> bool {
    let window = windows::name_of(tenant);
    let asker = Asker { uid: &identity.uid, window: &window, due_since: updates::due_since(tenant, now) };
    context.fleet.claim(asker, &context.windows, updates::fleet_limit(&context.policy.feed()))
}

/// The window counts its tenants again.
fn look_at_window(tenant: &Tenant, context: &Context) {
    let window = windows::name_of(tenant);
    if let Some((namespace, name)) = window.split_once('/') {
        // The receiver lives as long as the controller.
        let _ = context.trigger_window.send(ObjectRef::new(name).within(namespace));
    }
}
