//! What Teleport's agents are told of a window: whole hours of UTC, on the safe side, without churn.

use chrono::{DateTime, TimeDelta, Utc};
use plan::window::Schedule;
use plan::window::publish::{held_until, published};
use serde_json::{Value, json};

fn schedule(spec: Value) -> Schedule {
    Schedule::parse(&serde_json::from_value(spec).expect("a spec")).expect("a valid window")
}

fn weekly(zone: &str, day: &str, start: &str, duration: &str) -> Schedule {
    schedule(json!({"timeZone": zone, "windows": [{"days": [day], "start": start, "duration": duration}]}))
}

fn at(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().expect("an instant")
}

fn told(schedule: &Schedule, now: &str) -> String {
    let now = at(now);
    match (published(schedule, now), held_until(schedule, now)) {
        (Some(window), None) => format!(
            "{} {}{}{} until {}",
            window.weekday,
            window.utc_hour,
            if window.exact { " exact" } else { "" },
            if window.inside { " inside" } else { "" },
            window.valid_until.format("%d %H:%M")
        ),
        (None, Some(until)) => format!("held until {}", until.format("%d %H:%M")),
        (None, None) => "never".into(),
        (Some(_), Some(_)) => panic!("published and held at once"),
    }
}

#[test]
fn a_window_that_begins_with_an_hour_of_utc_is_told_exactly() {
    let window = weekly("UTC", "Sun", "02:00", "3h");
    assert_eq!(told(&window, "2026-06-03T12:00"), "Sun 2 exact inside until 07 03:00");
    assert_eq!(told(&window, "2026-06-07T02:59"), "Sun 2 exact inside until 07 03:00");
    assert_eq!(told(&window, "2026-06-07T03:00"), "Sun 2 exact inside until 14 03:00", "the next week says the same");
}

#[test]
fn half_hours_and_days_of_other_zones_are_rounded_to_the_next_hour_of_utc() {
    // 02:00 in India is 20:30 of the day before in UTC.
    assert_eq!(told(&weekly("Asia/Kolkata", "Sun", "02:00", "3h"), "2026-06-03T12:00"), "Sat 21 inside until 06 22:00");
    // 02:00 in New York is 06:00 in summer and 07:00 in winter.
    let window = weekly("America/New_York", "Sun", "02:00", "3h");
    assert_eq!(told(&window, "2026-10-22T12:00"), "Sun 6 exact inside until 25 07:00");
    assert_eq!(told(&window, "2026-10-28T12:00"), "Sun 7 exact inside until 01 08:00");
}

#[test]
fn a_window_without_a_whole_hour_is_never_told_earlier_than_it_opens() {
    let window = weekly("UTC", "Sun", "02:15", "30m");
    assert_eq!(told(&window, "2026-06-03T12:00"), "Sun 3 until 07 04:00");
    assert_eq!(told(&window, "2026-06-07T03:30"), "Sun 3 until 07 04:00", "the hour runs though the window has ended");
    assert_eq!(told(&window, "2026-06-07T04:00"), "Sun 3 until 14 04:00");
}

#[test]
fn of_several_windows_the_first_that_holds_a_whole_hour_is_told() {
    let window = schedule(json!({"timeZone": "UTC", "windows": [
        {"days": ["Mon"], "start": "02:15", "duration": "30m"},
        {"days": ["Thu"], "start": "02:15", "duration": "2h"},
    ]}));
    assert_eq!(told(&window, "2026-06-01T02:20"), "Thu 3 inside until 04 04:00");
}

#[test]
fn nothing_is_told_while_the_same_hour_of_an_excluded_week_would_be_meant() {
    let window = schedule(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
        "exclusions": [{"start": "2026-06-13T00:00:00Z", "end": "2026-06-15T00:00:00Z", "reason": "move"}],
    }));
    assert_eq!(told(&window, "2026-06-07T02:30"), "Sun 2 exact inside until 07 03:00");
    assert_eq!(told(&window, "2026-06-07T03:00"), "held until 14 03:00");
    assert_eq!(told(&window, "2026-06-14T02:30"), "held until 14 03:00");
    assert_eq!(told(&window, "2026-06-14T03:00"), "Sun 2 exact inside until 21 03:00");
}

#[test]
fn the_hour_after_a_window_is_not_told_when_it_is_excluded() {
    let window = schedule(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun"], "start": "02:15", "duration": "30m"}],
        "exclusions": [{"start": "2026-06-07T03:30:00Z", "end": "2026-06-07T06:00:00Z", "reason": "board meeting"}],
    }));
    assert_eq!(told(&window, "2026-06-06T12:00"), "held until 07 04:00");
}

#[test]
fn a_window_that_never_closes_is_told_day_by_day() {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let always = schedule(json!({"timeZone": "UTC", "windows": [{"days": days, "start": "00:00", "duration": "24h"}]}));
    assert_eq!(told(&always, "2026-06-01T00:30"), "Mon 0 inside until 01 01:00");
    assert_eq!(told(&always, "2026-06-01T01:00"), "Tue 0 inside until 02 01:00");
    assert_eq!(told(&always, "2026-06-02T00:00"), "Tue 0 inside until 02 01:00");
}

#[test]
fn a_window_that_never_opens_is_not_told() {
    let never = schedule(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
        "exclusions": [{"start": "2026-01-01T00:00:00Z", "end": "2036-01-01T00:00:00Z", "reason": "frozen"}],
    }));
    assert_eq!(told(&never, "2026-06-01T00:00"), "never");
}

#[test]
fn what_is_told_stays_until_it_says() {
    for (zone, start, duration) in [
        ("UTC", "02:00", "3h"),
        ("Asia/Kathmandu", "02:10", "90m"),
        ("Australia/Lord_Howe", "01:45", "30m"),
        ("America/New_York", "02:30", "24h"),
        ("Pacific/Chatham", "23:50", "1h"),
    ] {
        let window = schedule(json!({
            "timeZone": zone,
            "windows": [
                {"days": ["Sun", "Wed"], "start": start, "duration": duration},
                {"days": ["Fri"], "start": "12:20", "duration": "30m"},
            ],
            "exclusions": [{"start": "2026-10-07T03:00:00Z", "end": "2026-10-13T08:20:00Z", "reason": "freeze"}],
        }));
        let mut now = at("2026-09-20T00:00");
        let mut stands = None;
        let mut changes = 0;
        while now < at("2026-11-05T00:00") {
            let told = published(&window, now);
            if told != stands {
                let in_time =
                    stands.is_none_or(|before: plan::window::publish::PublishedWindow| before.valid_until <= now);
                assert!(in_time, "{zone}: {stands:?} became {told:?} at {now}");
                changes += 1;
                stands = told;
            }
            let opens = told.map(|told| told.valid_until - TimeDelta::hours(1));
            if let Some(opens) = opens {
                assert!(
                    window.last_ended(opens).is_some_and(|ended| ended.end > opens - TimeDelta::hours(2))
                        || window.open_at(opens).is_some(),
                    "{zone}: {told:?} at {now} follows no start"
                );
            }
            now += TimeDelta::minutes(30);
        }
        assert!(changes > 5, "{zone}: told {changes} times only");
    }
}
