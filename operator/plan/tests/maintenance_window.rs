//! The status of a MaintenanceWindow: what it shows, when it changes, and that nothing in it ticks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crds::maintenance_window::{MaintenanceWindow, MaintenanceWindowStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use plan::maintenance_window::{Counts, allows, capacity, status};
use plan::window::Schedule;
use serde_json::{Value, json};

fn window(spec: Value) -> MaintenanceWindow {
    let mut full = json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
    });
    full.as_object_mut().expect("a map").extend(spec.as_object().expect("a map").clone());
    serde_json::from_value(json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow",
        "metadata": {"name": "sunday-night", "namespace": "platform", "generation": 3},
        "spec": full,
    }))
    .expect("a window")
}

fn at(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().expect("an instant")
}

const COUNTS: Counts = Counts { tenants: 120, due: 40, updating: 4, missed: 0 };

fn look(window: &MaintenanceWindow, now: &str, fits: Option<i64>) -> (MaintenanceWindowStatus, Option<TimeDelta>) {
    status(window, &Schedule::parse(&window.spec), at(now), COUNTS, fits)
}

fn condition<'a>(status: &'a MaintenanceWindowStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).expect(kind)
}

fn verdict(status: &MaintenanceWindowStatus, kind: &str) -> String {
    let condition = condition(status, kind);
    format!("{}/{}", condition.status, condition.reason)
}

#[test]
fn a_closed_window_shows_the_next_three_and_wakes_when_it_opens() {
    let (status, wake) = look(&window(json!({})), "2026-06-06T12:00", Some(180));
    assert_eq!(
        serde_json::to_value(&MaintenanceWindowStatus { conditions: Vec::new(), ..status.clone() })
            .expect("serializes"),
        json!({
            "observedGeneration": 3, "open": false, "tenants": 120, "due": 40, "capacity": 180, "updating": 4, "missed": 0,
            "next": [
                {"start": "2026-06-07T02:00:00Z", "end": "2026-06-07T05:00:00Z"},
                {"start": "2026-06-14T02:00:00Z", "end": "2026-06-14T05:00:00Z"},
                {"start": "2026-06-21T02:00:00Z", "end": "2026-06-21T05:00:00Z"},
            ],
        })
    );
    assert_eq!(wake, Some(TimeDelta::hours(14)));
    assert_eq!(verdict(&status, "Ready"), "True/AsSpecified");
    assert_eq!(verdict(&status, "Undersized"), "False/CapacitySuffices");
}

#[test]
fn an_open_window_shows_the_interval_that_runs_and_wakes_when_it_closes() {
    let (status, wake) = look(&window(json!({})), "2026-06-07T02:00", Some(180));
    assert_eq!(status.open, Some(true));
    let current = status.current.expect("it runs");
    assert_eq!(current.start.as_deref(), Some("2026-06-07T02:00:00Z"));
    assert_eq!(current.end.as_deref(), Some("2026-06-07T05:00:00Z"));
    assert_eq!(status.next[0].start.as_deref(), Some("2026-06-14T02:00:00Z"));
    assert_eq!(wake, Some(TimeDelta::hours(3)));
}

#[test]
fn between_two_boundaries_nothing_changes() {
    let mut window = window(json!({
        "timeZone": "Europe/Berlin",
        "exclusions": [{"start": "2026-10-25T02:00:00Z", "end": "2026-10-25T02:30:00Z", "reason": "board meeting"}],
    }));
    let mut now = at("2026-10-20T00:00");
    let mut boundary = now;
    let mut writes = 0;
    while now < at("2026-11-10T00:00") {
        let (status, wake) = status(&window, &Schedule::parse(&window.spec), now, COUNTS, None);
        if window.status.as_ref() != Some(&status) {
            assert_eq!(now, boundary, "the status changes in the middle");
            window.status = Some(status);
            writes += 1;
        }
        boundary = now + wake.expect("it wakes");
        now += TimeDelta::minutes(10);
    }
    // The first look; two intervals on the first Sunday, one on each of the two others; each opens and closes.
    assert_eq!(writes, 1 + 2 * (2 + 1 + 1));
}

#[test]
fn a_window_that_cannot_be_evaluated_says_why_and_waits_for_an_edit() {
    let (status, wake) = look(&window(json!({"timeZone": "Mars/Olympus"})), "2026-06-07T02:00", Some(1));
    assert_eq!((status.open, status.observed_generation, wake), (Some(false), Some(3), None));
    assert!(status.next.is_empty());
    assert_eq!(verdict(&status, "Ready"), "False/WindowInvalid");
    assert!(condition(&status, "Ready").message.starts_with("spec.timeZone: "), "{:?}", status.conditions);
    assert_eq!(verdict(&status, "Undersized"), "Unknown/WindowInvalid");
}

#[test]
fn a_window_whose_exclusions_cover_everything_says_so_and_looks_again_each_day() {
    let frozen = window(json!({
        "exclusions": [{"start": "2026-01-01T00:00:00Z", "end": "2036-01-01T00:00:00Z", "reason": "frozen"}],
    }));
    let (status, wake) = look(&frozen, "2026-06-07T02:00", None);
    assert_eq!(verdict(&status, "Ready"), "False/NeverOpens");
    assert!(condition(&status, "Ready").message.contains("spec.exclusions"));
    assert_eq!(wake, Some(TimeDelta::hours(24)));
}

#[test]
fn a_window_that_never_closes_has_neither_start_nor_end() {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let always = window(json!({"windows": [{"days": days, "start": "00:00", "duration": "24h"}]}));
    let (status, wake) = look(&always, "2026-06-07T02:00", None);
    assert_eq!(serde_json::to_value(&status.current).expect("serializes"), json!({}));
    assert_eq!((status.open, wake), (Some(true), Some(TimeDelta::hours(24))));
    assert_eq!(verdict(&status, "Ready"), "True/AsSpecified");
}

#[test]
fn undersized_compares_what_is_due_with_what_fits() {
    for (due, fits, expected) in [
        (40, Some(40), "False/CapacitySuffices"),
        (41, Some(40), "True/CapacityExceeded"),
        (0, None, "False/CapacitySuffices"),
        (1, None, "Unknown/CapacityUnknown"),
    ] {
        let window = window(json!({}));
        let counts = Counts { due, ..COUNTS };
        let (status, _) = status(&window, &Schedule::parse(&window.spec), at("2026-06-06T12:00"), counts, fits);
        assert_eq!(verdict(&status, "Undersized"), expected, "{due} of {fits:?}");
    }
}

#[test]
fn a_transition_time_moves_only_with_the_status_of_its_condition() {
    let mut window = window(json!({}));
    window.status = Some(look(&window, "2026-06-06T12:00", Some(100)).0);
    let time = |status: &MaintenanceWindowStatus| condition(status, "Undersized").last_transition_time.0.to_string();
    let (same, _) = look(&window, "2026-06-07T02:00", Some(90));
    assert_eq!(time(&same), "2026-06-06T12:00:00Z", "another message is no transition");
    let (other, _) = look(&window, "2026-06-07T02:00", Some(30));
    assert_eq!(time(&other), "2026-06-07T02:00:00Z");
    assert_eq!(condition(&other, "Ready").last_transition_time.0.to_string(), "2026-06-06T12:00:00Z");
}

#[test]
fn capacity_is_what_can_start_until_the_window_closes() {
    let schedule = |spec| Schedule::parse(&window(spec).spec).expect("a valid window");
    let (now, hop) = (at("2026-06-06T12:00"), |minutes| Some(TimeDelta::minutes(minutes)));
    assert_eq!(capacity(&schedule(json!({})), now, hop(10), 10), Some(180));
    assert_eq!(capacity(&schedule(json!({})), now, hop(170), 10), Some(20), "the second may start at the end");
    assert_eq!(capacity(&schedule(json!({})), now, None, 10), None, "nothing was measured");
    assert_eq!(capacity(&schedule(json!({})), now, hop(0), 10), None);
}

#[test]
fn tenants_of_other_namespaces_need_a_grant() {
    let labels = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned())]);
    let closed = window(json!({}));
    assert!(allows(&closed, "platform", None));
    assert!(!allows(&closed, "payments", Some(&labels("payments"))));
    let everyone = window(json!({"allowedNamespaces": {}}));
    assert!(allows(&everyone, "payments", None));
    let some = window(json!({"allowedNamespaces": {"matchLabels": {"team": "payments"}}}));
    assert!(allows(&some, "payments", Some(&labels("payments"))));
    assert!(!allows(&some, "payments", Some(&labels("search"))));
    assert!(!allows(&some, "payments", None), "labels that are not known grant nothing");
    assert!(allows(&some, "platform", None));
}
