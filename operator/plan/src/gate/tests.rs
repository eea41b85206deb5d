//! Each blocker alone, all at once, and what skips which.

use std::sync::Arc;

use chrono::TimeDelta;
use crds::maintenance::{Exemption, Maintenance};
use crds::maintenance_window::MaintenanceWindowSpec;
use crds::update_status::HopKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::clock::to_jiff;
use crate::fact::Fact;
use crate::line::Place;
use crate::updates::WindowFact;
use crate::version::Version;
use crate::window::Schedule;

/// A Sunday, three in the morning in UTC.
fn now() -> DateTime<Utc> {
    at("2026-11-22T03:00:00Z")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("RFC 3339")
}

fn window(start: &str, exclusions: serde_json::Value) -> WindowFact {
    let spec: MaintenanceWindowSpec = serde_json::from_value(json!({
        "timeZone": "UTC", "windows": [{"days": ["Sun"], "start": start, "duration": "3h"}], "exclusions": exclusions,
    }))
    .expect("a window");
    let schedule = Arc::new(Schedule::parse(&spec).expect("a schedule"));
    WindowFact::Known { window: "ns/sunday".into(), schedule, limit: 10 }
}

/// Facts under which a major hop may start.
struct Facts {
    kind: HopKind,
    holds: Vec<Hold>,
    budget: Option<(i64, i64, DateTime<Utc>)>,
    paused: bool,
    unsettled: Option<&'static str>,
    freeze: Option<(DateTime<Utc>, &'static str)>,
    inventory: Inventory,
    window: WindowFact,
    skew: Fact<TimeDelta>,
    place: Place,
    maintenance: Maintenance,
    applied_now: Option<Time>,
}

fn open() -> Facts {
    Facts {
        kind: HopKind::Major,
        holds: Vec::new(),
        budget: Some((10, 2640, at("2026-12-01T00:00:00Z"))),
        paused: false,
        unsettled: None,
        freeze: None,
        inventory: complete(0, 0),
        window: window("02:00", json!([])),
        skew: Fact::Known(TimeDelta::seconds(-2)),
        place: Place::Free,
        maintenance: Maintenance::default(),
        applied_now: None,
    }
}

fn complete(behind: u64, unknown: u64) -> Inventory {
    let names =
        |count: u64, version: &str| (0..count.min(3)).map(|number| format!("node-{number} ({version})")).collect();
    Inventory::Complete {
        behind,
        first_behind: names(behind, "16.4.3"),
        unknown,
        first_unknown: names(unknown, "mystery"),
    }
}

fn ask(facts: &Facts) -> Answer {
    check(&Question {
        now: now(),
        kind: facts.kind,
        running_major: 17,
        holds: &facts.holds,
        budget: facts.budget,
        paused: facts.paused,
        unsettled: facts.unsettled,
        freeze: facts.freeze,
        inventory: &facts.inventory,
        window: &facts.window,
        skew: &facts.skew,
        place: Some(&facts.place),
        maintenance: &facts.maintenance,
        applied_now: facts.applied_now.as_ref(),
        claimed: &[],
    })
}

fn reasons(answer: &Answer) -> Vec<String> {
    answer.blockers.iter().map(|blocker| blocker.reason().to_string()).collect()
}

type Close = fn(&mut Facts);

/// Each row of the gate: what closes it, its word, whether a person must act, and the check that skips it.
const ROWS: [(Close, &str, bool, Option<Check>); 23] = [
    (|facts| facts.paused = true, "Paused", true, None),
    (|facts| facts.freeze = Some((at("2026-11-23T00:00:00Z"), "audit")), "Frozen", false, None),
    (|facts| facts.unsettled = Some("Proxy: pods to start"), "NotSettled", false, None),
    (|facts| facts.holds.push(Hold::VersionUnknown { version: Version::new(18, 1, 0) }), "VersionUnknown", true, None),
    (|facts| facts.holds.push(Hold::Downgrade { version: Version::new(16, 1, 0), major: 17 }), "Downgrade", true, None),
    (
        |facts| facts.holds.push(Hold::FailedHere { version: Version::new(18, 1, 0), at: now() }),
        "FailedBefore",
        true,
        None,
    ),
    (
        |facts| facts.inventory = Inventory::Missing { why: "it was never read".into() },
        "AgentReportMissing",
        true,
        Some(Check::Agents),
    ),
    (|facts| facts.inventory = Inventory::Stale { read_at: now() }, "AgentReportStale", true, Some(Check::Agents)),
    (
        |facts| facts.inventory = Inventory::Incomplete { until: now() },
        "AgentReportIncomplete",
        false,
        Some(Check::Agents),
    ),
    (|facts| facts.inventory = complete(5, 0), "AgentsBehind", true, Some(Check::Agents)),
    (|facts| facts.inventory = complete(0, 1), "AgentVersionUnknown", true, Some(Check::Agents)),
    (
        |facts| facts.window = WindowFact::Missing { window: "ns/default".into() },
        "WindowMissing",
        true,
        Some(Check::Window),
    ),
    (
        |facts| facts.window = WindowFact::Invalid { window: "ns/w".into(), fault: "no zone".into() },
        "WindowInvalid",
        true,
        Some(Check::Window),
    ),
    (
        |facts| facts.window = WindowFact::NotGranted { window: "other/w".into() },
        "WindowNotGranted",
        true,
        Some(Check::Window),
    ),
    (|facts| facts.skew = Fact::Known(TimeDelta::seconds(31)), "ClockSkewed", true, Some(Check::Window)),
    (|facts| facts.skew = Fact::Unknown, "ClockSkewed", true, Some(Check::Window)),
    (
        |facts| {
            facts.window = window(
                "02:00",
                json!([{"start": "2026-01-01T00:00:00Z", "end": "2036-01-01T00:00:00Z", "reason": "never"}]),
            )
        },
        "Excluded",
        true,
        Some(Check::Window),
    ),
    (
        |facts| facts.holds.push(Hold::SoakPending { version: Version::new(18, 1, 0), until: now() }),
        "SoakPending",
        false,
        Some(Check::Policy),
    ),
    (
        |facts| facts.holds.push(Hold::Halted { version: Version::new(18, 1, 0), after: 3 }),
        "ReleaseHalted",
        true,
        Some(Check::Policy),
    ),
    (|facts| facts.budget = Some((2641, 2640, at("2026-12-01T00:00:00Z"))), "BudgetSpent", false, Some(Check::Policy)),
    (|facts| facts.window = window("04:00", json!([])), "WindowClosed", false, Some(Check::Window)),
    (
        |facts| {
            facts.window = window(
                "02:00",
                json!([{"start": "2026-11-21T00:00:00Z", "end": "2026-11-23T00:00:00Z", "reason": "sale"}]),
            )
        },
        "Excluded",
        false,
        Some(Check::Window),
    ),
    (|facts| facts.place = Place::WindowFull { limit: 1 }, "ConcurrencyReached", false, Some(Check::Policy)),
];

#[test]
fn with_nothing_in_the_way_it_is_open() {
    assert_eq!(ask(&open()), Answer::default());
}

#[test]
fn each_row_closes_it_alone() {
    for (close, word, person, _) in ROWS {
        let mut facts = open();
        close(&mut facts);
        let answer = ask(&facts);
        assert_eq!(reasons(&answer), [word], "{:?}", answer.blockers);
        assert_eq!(answer.blockers[0].needs_person(), person, "{word}");
        assert!(answer.blockers[0].to_string().len() <= 512, "{word}");
    }
}

#[test]
fn each_row_is_skipped_by_its_own_check_and_by_no_other() {
    for (close, word, _, own) in ROWS {
        for check in [Check::Window, Check::Agents, Check::Policy] {
            let mut facts = open();
            close(&mut facts);
            facts.maintenance.exemption = Some(exemption(vec![check], "2026-11-23T00:00:00Z"));
            let answer = ask(&facts);
            assert_eq!(answer.is_open(), own == Some(check), "{word} under {check:?}: {:?}", answer.blockers);
            assert_eq!(answer.skipped, if own == Some(check) { vec![check] } else { Vec::new() }, "{word}");
        }
    }
}

fn exemption(checks: Vec<Check>, until: &str) -> Exemption {
    Exemption { checks, reason: "a test".into(), until: Time(to_jiff(at(until))) }
}

#[test]
fn an_override_ends() {
    let mut facts = open();
    facts.window = window("04:00", json!([]));
    facts.maintenance.exemption = Some(exemption(vec![Check::Window], "2026-11-22T03:00:00Z"));
    assert_eq!(reasons(&ask(&facts)), ["WindowClosed"]);
}

#[test]
fn all_at_once_are_told_first_what_a_person_must_do() {
    let mut facts = open();
    // Of those that exclude each other the first ones, agents that are both behind and unreadable, and a skewed clock.
    for (close, word, ..) in ROWS {
        if !["AgentReportMissing", "AgentReportStale", "AgentReportIncomplete"].contains(&word) {
            close(&mut facts);
        }
    }
    facts.inventory = complete(5, 2);
    let answer = ask(&facts);
    let words = reasons(&answer);
    let expected = [
        "Paused",
        "VersionUnknown",
        "Downgrade",
        "ReleaseHalted",
        "FailedBefore",
        "AgentsBehind",
        "AgentVersionUnknown",
        "ClockSkewed",
        "Frozen",
        "NotSettled",
        "SoakPending",
        "BudgetSpent",
        "Excluded",
        "ConcurrencyReached",
    ];
    assert_eq!(words, expected);
}

#[test]
fn agents_hold_back_no_patch() {
    for inventory in [complete(5, 5), Inventory::Missing { why: String::new() }, Inventory::Stale { read_at: now() }] {
        for kind in [HopKind::Patch, HopKind::Minor, HopKind::Template] {
            assert!(ask(&Facts { kind, inventory: inventory.clone(), ..open() }).is_open(), "{kind:?}");
        }
    }
}

#[test]
fn apply_now_skips_the_window_alone_once_and_for_a_day() {
    let asked = Time(to_jiff(at("2026-11-22T02:00:00Z")));
    let closed = || {
        let mut facts = open();
        facts.window = window("04:00", json!([]));
        facts.maintenance.apply_now = Some(asked.clone());
        facts
    };
    let answer = ask(&closed());
    assert!(answer.is_open());
    assert_eq!((answer.skipped, answer.applies_now), (vec![Check::Window], Some(asked.clone())));
    let used = Facts { applied_now: Some(asked.clone()), ..closed() };
    assert_eq!(reasons(&ask(&used)), ["WindowClosed"]);
    let behind = Facts { inventory: complete(1, 0), ..closed() };
    assert_eq!(reasons(&ask(&behind)), ["AgentsBehind"]);
    for (instant, word) in [("2026-11-21T03:00:00Z", "a day ago"), ("2026-11-22T03:00:01Z", "to come")] {
        let mut facts = closed();
        facts.maintenance.apply_now = Some(Time(to_jiff(at(instant))));
        assert_eq!(reasons(&ask(&facts)), ["WindowClosed"], "{word}");
    }
}

#[test]
fn an_apply_now_that_was_not_needed_is_not_used_up() {
    let mut facts = open();
    facts.maintenance.apply_now = Some(Time(to_jiff(now())));
    assert_eq!(ask(&facts), Answer::default());
}

#[test]
fn agents_are_named() {
    let answer = ask(&Facts { inventory: complete(5, 0), ..open() });
    let message = answer.blockers[0].to_string();
    assert!(
        message.starts_with(
            "5 of the required agents do not run major 17: node-0 (16.4.3), node-1 (16.4.3), node-2 (16.4.3) and 2 more"
        ),
        "{message}"
    );
}
