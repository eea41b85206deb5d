//! What a person should know: that a tenant became ready or is not any more, and how its updates go.

use crds::Tenant;
use crds::published::PublishedNote;
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopKind, HopResult};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use crate::context::Context;

/// One event per change.
pub fn events(before: &TenantStatus, after: &TenantStatus, tenant: &Tenant) -> Vec<Event> {
    let mut events = conditions(before, after);
    if let (None, Some(ports)) = (&before.ports, &after.ports) {
        let note = format!("ports {} to {} of pool {}", ports.ssh, ports.postgres, ports.pool);
        events.push(event(EventType::Normal, "PortsAllocated", &note));
    }
    if let (None, Some(update)) = (&before.update, &after.update) {
        let mut note = format!("{:?} from {} to {} begins", update.kind, update.from, update.to);
        if !update.skipped.is_empty() {
            let reason = tenant.spec.maintenance.exemption.as_ref().map(|exemption| exemption.reason.as_str());
            let why = reason.unwrap_or("spec.maintenance.applyNow");
            note.push_str(&format!(", without the checks {:?} ({why})", update.skipped));
        }
        events.push(event(EventType::Normal, "UpdateStarted", &note));
    }
    if let (Some(update), None, true) = (&before.update, &after.update, before.history.len() == after.history.len())
        && before.history.first() == after.history.first()
    {
        let note = format!("{:?} to {} was given up before anything was touched", update.kind, update.to);
        events.push(event(EventType::Normal, "UpdateAbandoned", &note));
    }
    if let Some(record) = after.history.first().filter(|record| before.history.first() != Some(*record)) {
        let what = format!("{:?} from {} to {}", record.kind, record.from, record.to);
        events.push(match record.result {
            HopResult::Succeeded => {
                let note = format!("{what}; users could not log in for {} s", record.pause_seconds);
                event(EventType::Normal, "UpdateSucceeded", &note)
            }
            HopResult::RolledBack => {
                event(EventType::Warning, "UpdateRolledBack", &format!("{what}: {}", record.message))
            }
            HopResult::Halted => event(EventType::Warning, "UpdateReplaced", &format!("{what}: {}", record.message)),
            HopResult::PreflightFailed => {
                event(EventType::Warning, "PreflightFailed", &format!("{what}: {}", record.message))
            }
        });
    }
    for foreign in newly_foreign(before, after) {
        events.push(event(EventType::Warning, "ForeignEdit", &format!("{}: {}", foreign.what, foreign.how)));
    }
    if let Some(missed) = newly_missed(before, after) {
        let note = format!(
            "the window that opened at {} passed without the update to {}: {}",
            missed.start.0,
            after.next.as_ref().map(|next| next.to.as_str()).unwrap_or_default(),
            missed.reason
        );
        events.push(event(EventType::Warning, "WindowMissed", &note));
    }
    events
}

/// Counts what became of updates.
pub fn count(before: &TenantStatus, after: &TenantStatus, context: &Context) {
    if let Some(record) = after.history.first().filter(|record| before.history.first() != Some(*record)) {
        let took = (record.finished_at.0.as_second() - record.started_at.0.as_second()).max(0);
        context.metrics.hop_ended(kind(record.kind), result(record.result), took);
    }
    if let Some(missed) = newly_missed(before, after) {
        context.metrics.window_missed(&missed.reason);
    }
}

/// What somebody else changed in Teleport and was not told of before.
fn newly_foreign<'a>(before: &TenantStatus, after: &'a TenantStatus) -> Vec<&'a PublishedNote> {
    let foreign = |status: &'a TenantStatus| status.published.iter().flat_map(|published| &published.foreign);
    let known: Vec<&str> =
        before.published.iter().flat_map(|published| &published.foreign).map(|note| &*note.what).collect();
    foreign(after).filter(|note| !known.contains(&&*note.what)).collect()
}

fn newly_missed<'a>(before: &TenantStatus, after: &'a TenantStatus) -> Option<&'a crds::update_status::MissedWindow> {
    let missed = |status: &TenantStatus| status.next.as_ref().map_or(0, |next| next.missed);
    let next = after.next.as_ref()?;
    (next.missed > missed(before)).then_some(next.last_missed.as_ref()).flatten()
}

fn kind(kind: HopKind) -> &'static str {
    match kind {
        HopKind::Template => "Template",
        HopKind::Patch => "Patch",
        HopKind::Minor => "Minor",
        HopKind::Major => "Major",
    }
}

fn result(result: HopResult) -> &'static str {
    match result {
        HopResult::Succeeded => "Succeeded",
        HopResult::RolledBack => "RolledBack",
        HopResult::Halted => "Halted",
        HopResult::PreflightFailed => "PreflightFailed",
    }
}

/// Ready and Stalled turning.
fn conditions(before: &TenantStatus, after: &TenantStatus) -> Vec<Event> {
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
    if let Some((_, Some(blocked))) =
        turned("UpdateBlocked").filter(|(_, is)| is.as_ref().is_some_and(|condition| condition.status == "True"))
    {
        events.push(event(EventType::Warning, &blocked.reason, &blocked.message));
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
