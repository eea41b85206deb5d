//! A major update: withheld while an agent is on an older major, then carried out in the next window, not before it opens.

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use e2e::testbed::{TestBed, blockers, wait_until};
use serde_json::{Value, json};

use super::super::cluster::{self, component};
use super::super::covered::{says, seen};
use super::super::manifest::{condition, edit, id};
use super::publish;
use super::setting::{HOP, SHOWS, events, sunday, with_window};

/// Control plane 17, agents 16, target 18: withheld, and the agents are named. Agents move to 17: it runs in the next
/// window.
pub async fn waits(bed: &TestBed) -> anyhow::Result<()> {
    let domain = with_window(bed, "major", "17.5.2", &sunday("major", "default")).await?;
    bed.agents(&domain, &[("old-1", "16.4.3", &["Node"]), ("old-2", "16.4.3", &["App"]), ("new", "17.5.2", &["Node"])]);
    edit(bed, "major", "major", json!({"version": "18.1.0"})).await?;
    let young = |status: &Value| blockers(status).contains(&"AgentReportIncomplete");
    let held = bed.await_status("major", "major", "agents that may not have reported", SHOWS, young).await?;
    ensure!(held["next"]["kind"] == "Major" && held["next"]["to"] == "18.1.0", "{}", held["next"]);

    // Every agent has reported by then, and the window is open.
    bed.clock().set(instant("2027-03-07T03:30:00Z")).await?;
    let held = bed.await_blockers("major", "major", &["AgentsBehind"], SHOWS).await?;
    let message = held["next"]["blockers"][0]["message"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with("2 of the required agents do not run major 17: old-1 (16.4.3), old-2 (16.4.3)"),
        "{message}"
    );
    let tenant = bed.tenants("major").get("major").await?;
    ensure!(condition(&tenant, "UpdateBlocked")?.0 == "True", "{:?}", condition(&tenant, "UpdateBlocked")?);
    ensure!(condition(&tenant, "Ready")?.0 == "True", "{:?}", condition(&tenant, "Ready")?);
    ensure!(held["version"] == "17.5.2" && held["update"].is_null(), "{held}");
    says(
        "Tenant",
        &held,
        &json!({"next": {
            "kind": "Major", "to": "18.1.0", "hops": 1, "actionable": true, "dueSince": "~^20.*Z$",
            "blockers": [{"reason": "AgentsBehind", "message": "~^2 of the required agents"}],
        }}),
    )?;
    wait_until("the window to say that it is open", SHOWS, || async {
        let window = cluster::object(bed, "major", "maintenancewindow", "default").await?.context("no window")?;
        let current = json!({"current": {"start": "2027-03-07T02:00:00Z", "end": "2027-03-07T05:00:00Z"}});
        says("MaintenanceWindow", &window["status"], &current).map(Some)
    })
    .await?;

    publish::warned(bed, "major", "waits for 2 agents that still run an older major version: old-").await?;

    // The window passes; then the agents follow.
    bed.clock().set(instant("2027-03-07T06:00:00Z")).await?;
    let missed = |status: &Value| status["next"]["lastMissed"]["start"] == "2027-03-07T02:00:00Z";
    let late = bed.await_status("major", "major", "the window to be missed", SHOWS, missed).await?;
    says(
        "Tenant",
        &late,
        &json!({"next": {"lastMissed": {"start": "2027-03-07T02:00:00Z", "reason": "AgentsBehind"}}}),
    )?;
    let count = |status: &Value| status["next"]["missed"].as_i64().unwrap_or_default();
    ensure!(count(&late) == count(&held) + 1, "{} windows were missed, and then {}", count(&held), count(&late));
    seen("Tenant", "status.next.missed", count(&late));
    // Agents of a pool that is not required hold nothing up.
    let pool = json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"namespace": "major", "name": "apps"},
        "spec": {"tenantRef": {"name": "major"}, "match": {"services": ["App"]}, "required": false},
    });
    bed.apply(&pool.to_string()).await?;
    let one = |status: &Value| {
        let blockers = status["next"]["blockers"].as_array().into_iter().flatten();
        let mut messages = blockers.filter_map(|blocker| blocker["message"].as_str());
        messages.any(|message| message.starts_with("1 of the required agents") && message.contains("old-1"))
    };
    bed.await_status("major", "major", "one agent to hold it back", SHOWS, one).await?;
    seen("AgentPool", "spec.required", false);
    bed.agents_move_to(&domain, "17.5.2");
    let held = bed.await_blockers("major", "major", &["WindowClosed"], SHOWS).await?;
    says("Tenant", &held, &json!({"next": {"notBefore": "2027-03-14T02:00:00Z"}}))?;
    publish::warned_no_more(bed, "major", &domain).await?;
    let pods = cluster::names(bed, "major", "pods", &component(&id(&tenant)?, "auth")).await?;
    bed.clock().set(instant("2027-03-14T01:59:00Z")).await?;
    bed.await_status("major", "major", "the inventory to be fresh", SHOWS, |status| {
        status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "AgentsObserved" && condition["status"] == "True")
    })
    .await?;
    ensure!(bed.status("major", "major").await?["update"].is_null(), "it began before the window");
    ensure!(
        cluster::names(bed, "major", "pods", &component(&id(&tenant)?, "auth")).await? == pods,
        "Auth was replaced"
    );

    let opens = instant("2027-03-14T02:00:00Z");
    bed.clock().set(opens).await?;
    let done = bed.await_version("major", "major", "18.1.0", HOP).await?;
    let record = &done["history"][0];
    ensure!(record["result"] == "Succeeded" && record["kind"] == "Major", "{record}");
    let started: DateTime<Utc> = record["startedAt"].as_str().context("a start")?.parse()?;
    ensure!(started >= opens && started < opens + TimeDelta::minutes(5), "it began at {started}");
    says(
        "Tenant",
        &json!({"history": [record]}),
        &json!({"history": [{
            "kind": "Major", "from": "17.5.2", "to": "18.1.0", "result": "Succeeded", "startedAt": "~^2027-03-14T02",
            "finishedAt": "~^2027-03-14T02", "generation": held["observedGeneration"], "recoveryPoint": "~:backup/|/backup/",
        }]}),
    )?;
    let seconds = record["pauseSeconds"].as_i64().context("no pause")?;
    ensure!((1..60).contains(&seconds), "users could not log in for {seconds} s");
    seen("Tenant", "status.history[].pauseSeconds", seconds);
    ensure!(done["availability"]["downSeconds"].as_i64() >= Some(seconds), "{}", done["availability"]);
    seen("Tenant", "status.availability.downSeconds", seconds);
    says("Tenant", &done, &json!({"availability": {"month": "2027-03"}}))?;
    let backup = record["recoveryPoint"].as_str().context("no recovery point")?;
    ensure!(backup.contains("/backup/"), "{backup}");
    let seen = calls(bed, &domain);
    ensure!(seen.iter().any(|(_, version)| version == "18.1.0"), "no process of 18.1.0 was asked: {seen:?}");
    wait_until("the events of the update", SHOWS, || async {
        let (began, ended) =
            (events(bed, "major", "UpdateStarted").await?, events(bed, "major", "UpdateSucceeded").await?);
        // The one before had passed when the time was set.
        let mut missed = events(bed, "major", "WindowMissed").await?;
        missed.retain(|note| note.contains("2027-03-07T02:00:00Z") && note.ends_with("AgentsBehind"));
        if began.len() == 1 && ended.len() == 1 && missed.len() == 1 {
            return Ok(Some(()));
        }
        bail!("{began:?} {ended:?} {missed:?}")
    })
    .await?;
    bed.clock().set(Utc::now()).await?;
    Ok(())
}

fn calls(bed: &TestBed, domain: &str) -> Vec<(String, String)> {
    bed.world().calls(domain).into_iter().map(|call| (call.method, call.version)).collect()
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("RFC 3339")
}
