//! What of a window Teleport's agents can be told. Teleport knows whole hours of UTC that come back every week, so a
//! window is rounded to the safe side: never before its start, never into an exclusion, and never so early that the week
//! before would be meant too.

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Timelike, Utc, Weekday};

use super::{Interval, Schedule};

const HOUR: TimeDelta = TimeDelta::hours(1);
const DAY: TimeDelta = TimeDelta::days(1);
const WEEK: TimeDelta = TimeDelta::weeks(1);
/// More than the windows of a week, so that one that holds a whole hour is found before the first is rounded.
const CANDIDATES: usize = 24;

/// One hour of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedWindow {
    /// The day, in UTC.
    pub weekday: Weekday,
    /// The hour, in UTC: 0 to 23.
    pub utc_hour: u32,
    /// Whether it begins when the interval begins.
    pub exact: bool,
    /// Whether it ends within the interval. If not, agents may be updated after the end of the interval.
    pub inside: bool,
    /// When that hour is over: then it must be worked out anew.
    pub valid_until: DateTime<Utc>,
}

/// The hour that agents may be told now: of the interval that runs or comes next the first whole hour of UTC, at its
/// start or after it. Of the next intervals the first counts that holds a whole hour; if none does, the hour after the
/// start of the first that is followed by no exclusion. It stays the same until `valid_until` as long as the schedule does.
///
/// None: nothing may be published, since no interval comes within the horizon, or not within a week; see `held_until`.
/// What was published before must be taken back then, or it would be followed in a week that is excluded.
pub fn published(schedule: &Schedule, now: DateTime<Utc>) -> Option<PublishedWindow> {
    let hour = hour(schedule, now)?;
    (publishable_from(&hour) <= now).then(|| PublishedWindow {
        weekday: hour.start.weekday(),
        utc_hour: hour.start.hour(),
        exact: hour.exact,
        inside: hour.inside,
        valid_until: hour.start + HOUR,
    })
}

/// While nothing may be published, when that changes. None: something may, or no interval comes within the horizon.
pub fn held_until(schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    hour(schedule, now).map(|hour| publishable_from(&hour)).filter(|from| *from > now)
}

struct Hour {
    start: DateTime<Utc>,
    exact: bool,
    inside: bool,
}

/// The same hour of the week before must be over.
fn publishable_from(hour: &Hour) -> DateTime<Utc> {
    hour.start - WEEK + HOUR
}

fn hour(schedule: &Schedule, now: DateTime<Utc>) -> Option<Hour> {
    // An hour that is not over yet may belong to an interval that is: it begins less than an hour after its start.
    let ended = schedule.last_ended(now).filter(|ended| ended.end + HOUR * 2 > now);
    let begun: Vec<Interval> = ended.into_iter().chain(schedule.open_at(now)).collect();
    let hours = |most| {
        let coming = schedule.upcoming(now, most);
        begun.iter().chain(&coming).filter_map(|interval| hour_of(interval, now)).collect::<Vec<Hour>>()
    };
    // The next interval is nearly always enough.
    let inside = |most| hours(most).into_iter().find(|hour| hour.inside);
    inside(1).or_else(|| inside(CANDIDATES)).or_else(|| {
        let untouched = |hour: &Hour| !schedule.excludes_any_of(Interval { start: hour.start, end: hour.start + HOUR });
        hours(CANDIDATES).into_iter().find(untouched)
    })
}

/// The first hour of an interval that is not over. One that lasts longer than a day has one on each of its days.
fn hour_of(interval: &Interval, now: DateTime<Utc>) -> Option<Hour> {
    let mut start = match interval.known_start() {
        Some(start) => ceiling(start, HOUR)?,
        None => now.duration_trunc(DAY).ok()?,
    };
    let first = start;
    while start + HOUR <= now {
        start += DAY;
    }
    let inside = start + HOUR <= interval.end;
    (start == first || inside).then_some(Hour { start, exact: start == interval.start, inside })
}

fn ceiling(instant: DateTime<Utc>, unit: TimeDelta) -> Option<DateTime<Utc>> {
    let floor = instant.duration_trunc(unit).ok()?;
    Some(if floor == instant { instant } else { floor + unit })
}
