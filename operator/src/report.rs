//! Fourth word of a reconcile: tell, on every path. A status equal to the last one is not written; an event is published
//! when a person should know that something changed.

use crds::Tenant;
use crds::tenant_status::TenantStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource};
use plan::names::{Identity, MANAGER};

use crate::context::Context;
use crate::error::{Error, Result};

/// Writes the status if it changed, to exactly the Tenant that was seen; answers whether it did.
pub async fn report(tenant: &Tenant, identity: &Identity, status: TenantStatus, context: &Context) -> Result<bool> {
    if tenant.status.as_ref() == Some(&status) {
        return Ok(false);
    }
    if !context.leadership.is_held() {
        return Err(Error::NotLeading { attempt: "write the status of the Tenant".into() });
    }
    let before = tenant.status.clone().unwrap_or_default();
    let mut updated = tenant.clone();
    updated.metadata.managed_fields = None;
    updated.status = Some(status.clone());
    let api: Api<Tenant> = Api::namespaced(context.client.clone(), &identity.namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.replace_status(&identity.slug, &parameters, &updated).await {
        Ok(_) => {}
        // Its last finalizer was taken in this very run.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => return Ok(false),
        Err(source) => return Err(Error::kube("write the status of the Tenant", source)),
    }
    for event in events(&before, &status) {
        if let Err(error) = context.recorder.publish(&event, &tenant.object_ref(&())).await {
            tracing::warn!(tenant = %identity.path(), %error, "cannot publish an event");
        }
    }
    Ok(true)
}

/// What a person should know: Ready and Stalled turning, and the block of ports, once it is there.
fn events(before: &TenantStatus, after: &TenantStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let turned = |type_: &str| {
        let of = |status: &TenantStatus| status.conditions.iter().find(|condition| condition.type_ == type_).cloned();
        let (was, is) = (of(before), of(after));
        let status = |condition: &Option<Condition>| condition.as_ref().map(|condition| condition.status.clone());
        (status(&was) != status(&is)).then_some((was, is))
    };
    if let Some((_, Some(stalled))) = turned("Stalled") {
        events.push(event(EventType::Warning, &stalled.reason, &stalled.message));
    }
    match turned("Ready") {
        Some((_, Some(ready))) if ready.status == "True" => {
            events.push(event(EventType::Normal, "Ready", &ready.message));
        }
        Some((Some(was), Some(ready))) if was.status == "True" => {
            events.push(event(EventType::Warning, &ready.reason, &ready.message));
        }
        Some(_) | None => {}
    }
    if let (None, Some(ports)) = (&before.ports, &after.ports) {
        let note = format!("ports {} to {} of pool {}", ports.ssh, ports.postgres, ports.pool);
        events.push(event(EventType::Normal, "PortsAllocated", &note));
    }
    events
}

fn event(type_: EventType, reason: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.chars().take(1000).collect()),
        action: "Reconcile".into(),
        secondary: None,
    }
}
