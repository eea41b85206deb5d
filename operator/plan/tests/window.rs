//! The nights on which clocks change, and what exclusions do, worked out by hand.

use chrono::{DateTime, TimeDelta, Utc};
use plan::window::{HORIZON, Interval, Schedule};
use serde_json::{Value, json};

fn schedule(spec: Value) -> Schedule {
    Schedule::parse(&serde_json::from_value(spec).expect("a spec")).expect("a valid window")
}

fn weekly(zone: &str, days: &[&str], start: &str, duration: &str) -> Schedule {
    schedule(json!({"timeZone": zone, "windows": [{"days": days, "start": start, "duration": duration}]}))
}

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.contains('T') { format!("{text}:00Z") } else { format!("{text}T00:00:00Z") };
    text.parse().expect("an instant")
}

fn told(interval: &Interval) -> String {
    let text = |instant: DateTime<Utc>| instant.format("%a %d %H:%M").to_string();
    format!("{} to {}", text(interval.start), text(interval.end))
}

fn next(schedule: &Schedule, instant: &str, count: usize) -> Vec<String> {
    schedule.upcoming(at(instant), count).iter().map(told).collect()
}

const EVERY_DAY: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[test]
fn a_start_in_the_hour_that_spring_skips_moves_to_the_end_of_the_gap() {
    for (zone, day, start, after, expected) in [
        // 02:00 to 03:00 does not exist; 03:00 EDT is 07:00 UTC.
        ("America/New_York", "Sun", "02:30", "2026-03-07", "Sun 08 07:00 to Sun 08 08:00"),
        ("America/New_York", "Sun", "02:00", "2026-03-07", "Sun 08 07:00 to Sun 08 08:00"),
        ("America/New_York", "Sun", "01:59", "2026-03-07", "Sun 08 06:59 to Sun 08 07:59"),
        ("America/New_York", "Sun", "03:00", "2026-03-07", "Sun 08 07:00 to Sun 08 08:00"),
        ("Europe/Berlin", "Sun", "02:30", "2026-03-28", "Sun 29 01:00 to Sun 29 02:00"),
        // The day itself begins with the gap: midnight does not exist, 01:00 is 04:00 UTC.
        ("America/Santiago", "Sun", "00:00", "2026-09-05", "Sun 06 04:00 to Sun 06 05:00"),
        // Half an hour: from 02:00 to 02:30, which is 15:30 UTC of Saturday.
        ("Australia/Lord_Howe", "Sun", "02:10", "2026-10-03", "Sat 03 15:30 to Sat 03 16:30"),
        // Two hours: from 01:00 to 03:00.
        ("Antarctica/Troll", "Sun", "01:30", "2026-03-28", "Sun 29 01:00 to Sun 29 02:00"),
        // A whole day: there was no Friday, and Saturday begins at 10:00 UTC.
        ("Pacific/Apia", "Fri", "02:00", "2011-12-29", "Fri 30 10:00 to Fri 30 11:00"),
        ("Pacific/Apia", "Fri", "22:00", "2011-12-29", "Fri 30 10:00 to Fri 30 11:00"),
        // There was no Saturday 21 August, and Sunday begins at 12:00 UTC.
        ("Pacific/Kwajalein", "Sat", "02:00", "1993-08-20", "Sat 21 12:00 to Sat 21 13:00"),
    ] {
        let window = weekly(zone, &[day], start, "1h");
        assert_eq!(next(&window, after, 1), [expected], "{zone} {start}");
    }
}

#[test]
fn of_the_hour_that_autumn_repeats_the_first_one_counts() {
    for (zone, day, start, after, expected) in [
        // 01:30 EDT is 05:30 UTC, 01:30 EST would be 06:30.
        ("America/New_York", "Sun", "01:30", "2026-10-31", "Sun 01 05:30 to Sun 01 06:30"),
        ("America/New_York", "Sun", "02:00", "2026-10-31", "Sun 01 07:00 to Sun 01 08:00"),
        ("Europe/Berlin", "Sun", "02:30", "2026-10-24", "Sun 25 00:30 to Sun 25 01:30"),
        // Saturday 23:30 comes twice, at 02:30 and 03:30 UTC of Sunday.
        ("America/Santiago", "Sat", "23:30", "2026-04-05", "Sun 05 02:30 to Sun 05 03:30"),
        ("Australia/Lord_Howe", "Sun", "01:40", "2026-04-04", "Sat 04 14:40 to Sat 04 15:40"),
    ] {
        let window = weekly(zone, &[day], start, "1h");
        assert_eq!(next(&window, after, 1), [expected], "{zone} {start}");
    }
}

#[test]
fn the_length_of_a_window_is_elapsed_time() {
    let window = weekly("America/New_York", &["Sat"], "23:00", "6h");
    assert_eq!(next(&window, "2026-03-07", 1), ["Sun 08 04:00 to Sun 08 10:00"], "until 06:00 by the clock");
    assert_eq!(next(&window, "2026-10-31", 1), ["Sun 01 03:00 to Sun 01 09:00"], "until 04:00 by the clock");
}

#[test]
fn a_window_of_24_hours_leaves_out_the_25th() {
    let window = weekly("Europe/Berlin", &EVERY_DAY, "00:00", "24h");
    let year = window.open_at(at("2026-07-01")).expect("open");
    assert_eq!(told(&year), "Sun 26 23:00 to Sun 25 22:00", "from one last Sunday of October to the next");
    assert_eq!(window.next_start_after(at("2026-07-01")), Some(at("2026-10-25T23:00")));
}

#[test]
fn a_window_that_never_closes_has_no_bounds() {
    let window = weekly("UTC", &EVERY_DAY, "00:00", "24h");
    let open = window.open_at(at("2026-07-01T12:34")).expect("open");
    assert_eq!((open.known_start(), open.known_end()), (None, None));
    assert_eq!(window.next_start_after(at("2026-07-01")), None);
    assert_eq!(window.next_boundary(at("2026-07-01")), None);
    assert_eq!(window.last_ended(at("2026-07-01")), None);
}

#[test]
fn windows_that_overlap_or_touch_are_one() {
    let window = schedule(json!({"timeZone": "Asia/Kathmandu", "windows": [
        {"days": ["Mon"], "start": "22:00", "duration": "3h"},
        {"days": ["Tue"], "start": "00:30", "duration": "1h"},
        {"days": ["Tue"], "start": "01:30", "duration": "30m"},
        {"days": ["Tue"], "start": "02:01", "duration": "30m"},
    ]}));
    assert_eq!(
        next(&window, "2026-06-01", 3),
        ["Mon 01 16:15 to Mon 01 20:15", "Mon 01 20:16 to Mon 01 20:46", "Mon 08 16:15 to Mon 08 20:15"]
    );
    assert_eq!(
        window.open_at(at("2026-06-01T19:00")).as_ref().map(told).as_deref(),
        Some("Mon 01 16:15 to Mon 01 20:15")
    );
    assert_eq!(window.open_at(at("2026-06-01T20:15")), None);
    assert_eq!(
        window.last_ended(at("2026-06-01T20:15")).as_ref().map(told).as_deref(),
        Some("Mon 01 16:15 to Mon 01 20:15")
    );
}

/// Sundays from 02:00 to 05:00 UTC with four exclusions.
fn cut() -> Schedule {
    schedule(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
        "exclusions": [
            {"start": "2026-06-07T03:00:00Z", "end": "2026-06-07T04:00:00Z", "reason": "board meeting"},
            {"start": "2026-06-14T04:30:00Z", "end": "2026-06-15T00:00:00Z", "reason": "move"},
            {"start": "2026-06-20T00:00:00Z", "end": "2026-06-28T04:00:00+02:00", "reason": "fair"},
            {"start": "2026-06-21T04:00:00Z", "end": "2026-06-21T04:10:00Z", "reason": "lunch"},
        ],
    }))
}

#[test]
fn exclusions_cut_windows_and_cover_them() {
    assert_eq!(
        next(&cut(), "2026-06-01", 5),
        [
            "Sun 07 02:00 to Sun 07 03:00",
            "Sun 07 04:00 to Sun 07 05:00",
            "Sun 14 02:00 to Sun 14 04:30",
            "Sun 28 02:00 to Sun 28 05:00",
            "Sun 05 02:00 to Sun 05 05:00"
        ]
    );
    assert_eq!(cut().next_start_after(at("2026-06-07T02:00")), Some(at("2026-06-07T04:00")));
    assert_eq!(cut().next_boundary(at("2026-06-07T02:00")), Some(at("2026-06-07T03:00")));
    assert_eq!(cut().next_boundary(at("2026-06-07T03:00")), Some(at("2026-06-07T04:00")));
    assert_eq!(
        cut().last_ended(at("2026-06-28T01:00")).as_ref().map(told).as_deref(),
        Some("Sun 14 02:00 to Sun 14 04:30")
    );
    assert_eq!(
        cut().last_ended(at("2026-06-07T04:30")).as_ref().map(told).as_deref(),
        Some("Sun 07 02:00 to Sun 07 03:00")
    );
}

#[test]
fn an_exclusion_is_named_only_while_it_keeps_a_window_closed() {
    let reason = |instant: &str| cut().exclusion_at(at(instant)).map(|exclusion| exclusion.reason.clone());
    assert_eq!(reason("2026-06-07T03:00").as_deref(), Some("board meeting"));
    assert_eq!(reason("2026-06-07T02:59"), None, "open");
    assert_eq!(reason("2026-06-07T04:00"), None, "open again");
    assert_eq!(reason("2026-06-14T05:00"), None, "closed anyway");
    assert_eq!(reason("2026-06-21T04:05").as_deref(), Some("fair"), "the one that ends last");
}

#[test]
fn what_exclusions_cover_beyond_the_horizon_never_opens() {
    let frozen = |end: DateTime<Utc>| {
        schedule(json!({
            "timeZone": "UTC",
            "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
            "exclusions": [{"start": "2026-01-01T00:00:00Z", "end": end.to_rfc3339(), "reason": "freeze"}],
        }))
    };
    let now = at("2026-06-01");
    assert_eq!(frozen(now + HORIZON).next_start_after(now), None);
    assert_eq!(frozen(now + HORIZON).upcoming(now, 3), []);
    assert_eq!(frozen(now + HORIZON).next_boundary(now), None);
    let start = frozen(now + HORIZON - TimeDelta::days(8)).next_start_after(now);
    assert!(start.is_some_and(|start| start < now + HORIZON), "{start:?}");
}

#[test]
fn a_zone_that_only_the_api_server_knows_is_refused_with_the_version_of_the_database() {
    let spec = json!({"timeZone": "Mars/Olympus", "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}]});
    let refusals = Schedule::parse(&serde_json::from_value(spec).expect("a spec")).expect_err("unknown");
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].field, "spec.timeZone");
    assert!(refusals[0].remedy.contains(plan::window::tz_version()), "{}", refusals[0]);
    assert!(refusals[0].remedy.contains("Mars/Olympus"), "{}", refusals[0]);
}

#[test]
fn everything_that_cannot_be_carried_out_is_named_at_once() {
    let spec = json!({
        "timeZone": "UTC",
        "windows": [
            {"days": ["Sun"], "start": "24:00", "duration": "3h"},
            {"days": [], "start": "02:00", "duration": "3h"},
            {"days": ["Sun"], "start": "02:00", "duration": "29m"},
            {"days": ["Sun"], "start": "02:00", "duration": "24h1s"},
        ],
        "exclusions": [{"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z", "reason": "empty"}],
    });
    let refusals = Schedule::parse(&serde_json::from_value(spec).expect("a spec")).expect_err("five faults");
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    for (text, expected) in texts.iter().zip([
        "window 1: the start",
        "window 2: name",
        "window 3: the duration",
        "window 4: the duration",
        "exclusion 1:",
    ]) {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(texts.len(), 5, "{texts:?}");
}
