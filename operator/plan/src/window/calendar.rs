//! Weekly windows by the clock of a time zone. Only the days around an instant are expanded; exclusions are unknown here.

use chrono::{DateTime, Datelike, Days, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc, WeekdaySet};
use chrono_tz::Tz;

use super::{Interval, merge};

/// More than any zone was ever away from UTC.
const FARTHEST_OFFSET: TimeDelta = TimeDelta::hours(26);

/// Windows without exclusions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    pub zone: Tz,
    pub weekly: Vec<Weekly>,
}

/// A window that comes back every week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weekly {
    /// The local days on which it starts.
    pub days: WeekdaySet,
    /// By the local clock.
    pub start: NaiveTime,
    /// Elapsed time.
    pub length: TimeDelta,
}

impl Calendar {
    /// All windows that reach into `[from, to)`, merged. One that lies wholly inside is complete; one that touches a
    /// bound may go on beyond it.
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Interval> {
        let local_date = |instant: DateTime<Utc>| instant.with_timezone(&self.zone).date_naive();
        // A window begins up to a day before it reaches in, and a zone that moves over the date line skips or repeats a
        // whole day.
        let (first, last) = (local_date(from) - Days::new(2), local_date(to) + Days::new(1));
        let mut found = Vec::new();
        for date in first.iter_days().take_while(|date| *date <= last) {
            for weekly in self.weekly.iter().filter(|weekly| weekly.days.contains(date.weekday())) {
                let start = self.instant(date.and_time(weekly.start));
                let interval = Interval { start, end: start + weekly.length };
                if interval.start < to && interval.end > from {
                    found.push(interval);
                }
            }
        }
        merge(found)
    }

    /// Whether a window is open.
    pub fn is_open(&self, instant: DateTime<Utc>) -> bool {
        let moment = TimeDelta::nanoseconds(1);
        self.between(instant, instant + moment).iter().any(|window| window.contains(instant))
    }

    /// The merged window around an instant, complete within `reach`: what touches a bound of `reach` may go on there.
    pub fn around(&self, instant: DateTime<Utc>, reach: Interval) -> Option<Interval> {
        let mut span = TimeDelta::days(2);
        loop {
            let (from, to) = ((instant - span).max(reach.start), (instant + span).min(reach.end));
            let window = self.between(from, to).into_iter().find(|window| window.contains(instant))?;
            if (window.start > from || from == reach.start) && (window.end < to || to == reach.end) {
                return Some(window);
            }
            span = span * 4;
        }
    }

    /// The first instant at which the local clock shows this reading or a later one. So the first of two counts when the
    /// clock goes back over it, and the end of the gap when the clock leaps over it.
    fn instant(&self, reading: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&reading).earliest() {
            Some(instant) => instant.to_utc(),
            None => self.end_of_gap(reading),
        }
    }

    /// Bisects for the second at which the clock leaps over the reading.
    fn end_of_gap(&self, reading: NaiveDateTime) -> DateTime<Utc> {
        let middle = reading.and_utc();
        let (mut before, mut after) = (middle - FARTHEST_OFFSET, middle + FARTHEST_OFFSET);
        while after - before > TimeDelta::seconds(1) {
            let probe = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if probe.with_timezone(&self.zone).naive_local() < reading {
                before = probe;
            } else {
                after = probe;
            }
        }
        after
    }
}
