//! What a person should know: that a tenant became ready or is not any more, and how its updates go.

use chrono::TimeDelta;
use crds::maintenance::Check;
use crds::published::PublishedNote;
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopKind, HopResult, Update};
use crds::{ConditionType, Reason, Tenant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};
use plan::availability;
use plan::clock::from_jiff;
use plan::keys::METRICS_CERTIFICATE;
use plan::names;

use crate::context::Context;

/// Bytes of a note that are told; Kubernetes takes up to 1,024.
const NOTE: usize = 1000;

/// One event per change. `budget` is how long the fleet policy lets a tenant be down in a month.
pub fn events(before: &TenantStatus, after: &TenantStatus, tenant: &Tenant, budget: Option<TimeDelta>) -> Vec<Event> {
    let mut events = conditions(before, after);
    if let (None, Some(ports)) = (&before.ports, &after.ports) {
        let note = format!("ports {} to {} of pool {}", ports.ssh, ports.postgres, ports.pool);
        events.push(event(EventType::Normal, "PortsAllocated", &note));
    }
    if before.authority_generation != after.authority_generation
        && let Some(generation) = after.authority_generation
    {
        let note = format!(
            "Teleport has other certificate authorities than before, or trusts others: they are kept in Secret {}-ca-{generation}",
            tenant.name_any()
        );
        events.push(event(EventType::Warning, "AuthoritiesChanged", &note));
    }
    if let Some(note) = restarted_early(before, after) {
        events.push(event(EventType::Warning, "CertificateEnding", &note));
    }
    if let (None, Some(update)) = (&before.update, &after.update) {
        let mut note = format!("{:?} from {} to {} begins", update.kind, update.from, update.to);
        if !update.skipped.is_empty() {
            let why = exemptions(update, before, after, tenant);
            note.push_str(&format!(", without the checks {:?} ({why})", update.skipped));
        }
        if budget.is_some_and(|budget| outspends(update, before, budget)) {
            note.push_str("; the downtime budget of this month is spent, but the release is critical");
        }
        events.push(event(EventType::Normal, "UpdateStarted", &note));
    }
    if let (Some(was), Some(update)) = (&before.update, &after.update)
        && was.started_at == update.started_at
        && update.skipped.iter().any(|check| !was.skipped.contains(check))
    {
        let why = exemptions(update, before, after, tenant);
        let note =
            format!("{:?} to {} goes on without the checks {:?} ({why})", update.kind, update.to, update.skipped);
        events.push(event(EventType::Normal, "ChecksSkipped", &note));
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

/// Why pods are restarted outside of a window though nobody changed what reaches them: only a certificate that is about to end does that.
fn restarted_early(before: &TenantStatus, after: &TenantStatus) -> Option<String> {
    let (was, is) = before.applied.as_ref().zip(after.applied.as_ref())?;
    let hops = before.update.is_some() || after.update.is_some() || before.history.first() != after.history.first();
    let by_itself = was.template != is.template && was.pod_inputs == is.pod_inputs && was.version == is.version;
    (by_itself && !hops && before.version.is_some()).then(|| {
        let ends = before.certificates.iter().find(|certificate| certificate.name == METRICS_CERTIFICATE);
        let ends = ends.map_or("soon", |certificate| &certificate.not_after);
        format!("pods are restarted outside of the maintenance window: the certificate with which they serve their metrics ends at {ends}")
    })
}

/// By whose word checks were skipped: an override that is still good, an instant that this update uses up, or both.
fn exemptions(update: &Update, before: &TenantStatus, after: &TenantStatus, tenant: &Tenant) -> String {
    let exemption = tenant.spec.maintenance.exemption.as_ref().filter(|exemption| {
        let good = update.started_at.0 < exemption.until.0;
        good && update.skipped.iter().any(|check| exemption.checks.contains(check))
    });
    let by_override = exemption.map(|exemption| format!("override until {}: {}", exemption.until.0, exemption.reason));
    let now = after.applied_now.as_ref().filter(|now| before.applied_now.as_ref() != Some(*now));
    let by_now = now.map(|now| format!("applyNow: {}", now.0));
    [by_override, by_now].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Whether it starts although the month's budget is spent. Without an override only a critical release may.
fn outspends(update: &Update, before: &TenantStatus, budget: TimeDelta) -> bool {
    let spent = availability::spent(before, from_jiff(update.started_at.0));
    spent > budget.num_seconds() && !update.skipped.contains(&Check::Policy)
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
    let of = |type_: &str| {
        let found = |status: &TenantStatus| status.conditions.iter().find(|found| found.type_ == type_).cloned();
        (found(before), found(after))
    };
    let turned = |type_: &str| {
        let (was, is) = of(type_);
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
    // Another remark, such as that a release which left the feed is back there and withdrawn, is another change.
    let (was, is) = of(&ConditionType::ReleaseUnlisted.to_string());
    if let Some(remark) = is.filter(|is| was.is_none_or(|was| was.message != is.message)) {
        events.push(event(EventType::Warning, &remark.reason, &remark.message));
    }
    // It may stay True while it nears its end.
    let ending = [Reason::LicenseExpiring, Reason::LicenseExpired].map(|reason| reason.to_string());
    let (was, is) = of(&ConditionType::LicenseValid.to_string());
    if let Some(license) = is.filter(|is| ending.contains(&is.reason) && was.is_none_or(|was| was.reason != is.reason))
    {
        events.push(event(EventType::Warning, &license.reason, &license.message));
    }
    if let Some((_, Some(blocked))) =
        turned("UpdateBlocked").filter(|(_, is)| is.as_ref().is_some_and(|condition| condition.status == "True"))
    {
        events.push(event(EventType::Warning, &blocked.reason, &blocked.message));
    }
    events
}

/// An event about what the operator saw or did.
pub fn event(type_: EventType, reason: &str, note: &str) -> Event {
    // Kubernetes counts bytes, and refuses an event with a longer note.
    let note = &note[..note.floor_char_boundary(NOTE)];
    // Within some minutes kube counts events of one reason and action as one, and tells the first note only: what another
    // update skipped would be lost.
    let action = format!("Reconcile-{}", &names::digest(note.as_bytes())[..8]);
    Event { type_, reason: reason.to_owned(), note: Some(note.to_owned()), action, secondary: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The note of the event of this reason that a change of the status is told by.
    fn told(maintenance: Value, before: Value, after: Value, reason: &str) -> Option<String> {
        let tenant = json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "namespace": "n"},
            "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.1", "region": "r",
                "maintenance": maintenance},
        });
        let read = |status: Value| serde_json::from_value::<TenantStatus>(status).expect("a status");
        let tenant = serde_json::from_value(tenant).expect("a tenant");
        let found = events(&read(before), &read(after), &tenant, Some(TimeDelta::minutes(44)));
        found.into_iter().find(|event| event.reason == reason).and_then(|event| event.note)
    }

    /// A status in which a patch runs since 2 November.
    fn runs(skipped: Value, applied_now: Value) -> Value {
        let at = "2026-11-02T02:00:00Z";
        json!({"version": "18.1.0", "appliedNow": applied_now, "update": {
            "kind": "Patch", "from": "18.1.0", "to": "18.1.1", "stage": "Preflight", "startedAt": at, "stageSince": at,
            "skipped": skipped, "downSecondsBefore": 0,
        }})
    }

    /// The note of the event with which it begins.
    fn begins(maintenance: Value, skipped: Value, applied_now: Value, down: i64) -> String {
        let before = json!({"version": "18.1.0", "availability": {"month": "2026-11", "downSeconds": down}});
        told(maintenance, before, runs(skipped, applied_now), "UpdateStarted").expect("an event")
    }

    fn exemption(checks: &[&str], until: &str) -> Value {
        json!({"checks": checks, "reason": "CVE-2026-1234", "until": until})
    }

    #[test]
    fn an_update_tells_by_whose_word_it_skipped_a_check() {
        let good = exemption(&["Policy"], "2026-11-03T00:00:00Z");
        let late = exemption(&["Window"], "2026-11-01T00:00:00Z");
        let now = "2026-11-02T01:00:00Z";
        assert_eq!(
            begins(json!({"override": good}), json!(["Policy"]), Value::Null, 0),
            "Patch from 18.1.0 to 18.1.1 begins, without the checks [Policy] (override until 2026-11-03T00:00:00Z: CVE-2026-1234)"
        );
        assert_eq!(
            begins(json!({"override": late, "applyNow": now}), json!(["Window"]), json!(now), 0),
            "Patch from 18.1.0 to 18.1.1 begins, without the checks [Window] (applyNow: 2026-11-02T01:00:00Z)",
            "an override that is over skipped nothing"
        );
        let both = begins(json!({"override": good, "applyNow": now}), json!(["Window", "Policy"]), json!(now), 0);
        assert!(both.contains("CVE-2026-1234; applyNow"), "{both}");
        assert_eq!(begins(json!({}), json!([]), Value::Null, 0), "Patch from 18.1.0 to 18.1.1 begins");
    }

    #[test]
    fn pods_that_are_restarted_for_a_certificate_outside_of_a_window_are_told_of() {
        let with = |template: &str, inputs: &str, generation: i64| {
            let applied =
                json!({"generation": generation, "version": "18.1.0", "podInputs": inputs, "template": template});
            let certificates = json!([{"name": "metrics", "notAfter": "2026-12-01T00:00:00Z", "issuer": "self"}]);
            json!({"version": "18.1.0", "applied": applied, "certificates": certificates})
        };
        let note = |before, after| told(json!({}), before, after, "CertificateEnding");
        let early = note(with("a", "x", 1), with("b", "x", 1)).expect("an event");
        assert!(early.ends_with("ends at 2026-12-01T00:00:00Z"), "{early}");
        assert_eq!(note(with("a", "x", 1), with("b", "y", 2)), None, "a person's edit");
        assert_eq!(note(with("a", "x", 1), with("a", "x", 2)), None);
        let mut hop = with("b", "x", 1);
        hop["update"] = runs(json!([]), Value::Null)["update"].clone();
        assert_eq!(note(hop.clone(), with("a", "x", 1)), None, "the end of a hop");
        assert_eq!(note(with("a", "x", 1), hop), None, "its beginning");
    }

    #[test]
    fn a_check_that_is_skipped_only_after_the_claim_is_told_once() {
        let now = "2026-11-02T02:30:00Z";
        let goes_on = |was: Value, applied: Value, is: Value| {
            told(json!({"applyNow": now}), runs(was, applied), runs(is, json!(now)), "ChecksSkipped")
        };
        assert_eq!(
            goes_on(json!([]), Value::Null, json!(["Window"])).as_deref(),
            Some("Patch to 18.1.1 goes on without the checks [Window] (applyNow: 2026-11-02T02:30:00Z)")
        );
        assert_eq!(goes_on(json!(["Window"]), json!(now), json!(["Window"])), None);
    }

    #[test]
    fn what_another_update_says_is_another_event() {
        let told = |note| event(EventType::Normal, "UpdateStarted", note).action;
        assert_eq!(told("to 18.1.1"), told("to 18.1.1"));
        assert_ne!(told("to 18.1.1"), told("to 18.1.2"));
    }

    #[test]
    fn a_note_is_cut_where_kubernetes_would_refuse_it_and_not_within_a_character() {
        let note = event(EventType::Normal, "UpdateStarted", &format!("a{}", "\u{1f600}".repeat(300))).note;
        let note = note.expect("a note");
        assert_eq!((note.len(), note.chars().last()), (997, Some('\u{1f600}')));
    }

    #[test]
    fn an_update_that_starts_over_budget_says_that_it_is_critical() {
        let critical = begins(json!({}), json!([]), Value::Null, 45 * 60);
        assert!(critical.ends_with("but the release is critical"), "{critical}");
        let by_override = exemption(&["Policy"], "2026-11-03T00:00:00Z");
        let skipped = begins(json!({"override": by_override}), json!(["Policy"]), Value::Null, 45 * 60);
        assert!(!skipped.contains("critical"), "{skipped}");
    }
}
