//! When updates may start: weekly windows in a time zone, cut by exclusions, as intervals in UTC. Pure arithmetic: it
//! knows neither tenants nor the current time. The clock of the zone is the business of `calendar`; what Teleport's
//! agents can be told of it is in `publish`.

mod calendar;
pub mod publish;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use crds::maintenance_window::{Day, MaintenanceWindowSpec, WeeklyWindow};

use crate::clock::from_jiff;
use crate::duration;
use crate::wanted::Refusal;
use calendar::{Calendar, Weekly};

/// How far a search looks, in both directions. Windows come back every week, so only exclusions can make the wait
/// longer, and what is further away than a year and a month is "never" for everybody who plans with it. An interval
/// that is longer has no start or no end that anybody would want to know.
pub const HORIZON: TimeDelta = TimeDelta::days(400);
/// Longer than the longest wait between two starts of a weekly window: seven days, one day more where a zone moved
/// over the date line, and one more that a start can be moved to the end of such a gap.
const ROUND: TimeDelta = TimeDelta::days(10);
const SHORTEST: TimeDelta = TimeDelta::minutes(30);
const LONGEST: TimeDelta = TimeDelta::hours(24);

/// An interval in UTC, `start` inside and `end` outside of it. `DateTime::MIN_UTC` and `MAX_UTC` stand for a bound that
/// is further away than the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first instant of it.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
}

impl Interval {
    /// Whether the instant lies in it.
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        self.start <= instant && instant < self.end
    }

    /// Its start, unless that is further away than the horizon.
    pub fn known_start(&self) -> Option<DateTime<Utc>> {
        (self.start != DateTime::<Utc>::MIN_UTC).then_some(self.start)
    }

    /// Its end, unless that is further away than the horizon.
    pub fn known_end(&self) -> Option<DateTime<Utc>> {
        (self.end != DateTime::<Utc>::MAX_UTC).then_some(self.end)
    }
}

/// An interval in which no update starts, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// From when to when.
    pub interval: Interval,
    /// Why.
    pub reason: String,
}

/// The version of the IANA time zone database that the calculus uses, such as `2025b`.
pub fn tz_version() -> &'static str {
    chrono_tz::IANA_TZDB_VERSION
}

/// A maintenance window, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    calendar: Calendar,
    exclusions: Vec<Exclusion>,
    /// The same, merged and in order, so that two of them never touch.
    excluded: Vec<Interval>,
}

impl Schedule {
    /// Parses the spec of a MaintenanceWindow.
    ///
    /// # Errors
    /// Every field that cannot be carried out. The API server refuses most of them first. What it cannot know is which
    /// zones the operator's own database holds: such a zone is the refusal of `spec.timeZone`.
    pub fn parse(spec: &MaintenanceWindowSpec) -> Result<Schedule, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let zone = match spec.time_zone.parse::<Tz>() {
            Ok(zone) => Some(zone),
            Err(_) => {
                let remedy = format!(
                    "the operator's time zone database, version {}, has no zone {:?}: write it as in the database, such as America/New_York, or use an operator with a newer one",
                    tz_version(),
                    spec.time_zone
                );
                refusals.push(Refusal { field: "spec.timeZone", remedy });
                None
            }
        };
        let mut weekly = Vec::new();
        for (index, window) in spec.windows.iter().enumerate() {
            match parse_window(window) {
                Ok(parsed) => weekly.push(parsed),
                Err(fault) => {
                    refusals.push(Refusal { field: "spec.windows", remedy: format!("window {}: {fault}", index + 1) });
                }
            }
        }
        if spec.windows.is_empty() {
            refusals.push(Refusal { field: "spec.windows", remedy: "name at least one window".into() });
        }
        let mut exclusions = Vec::new();
        for (index, exclusion) in spec.exclusions.iter().enumerate() {
            let interval = Interval { start: from_jiff(exclusion.start.0), end: from_jiff(exclusion.end.0) };
            if interval.start < interval.end {
                exclusions.push(Exclusion { interval, reason: exclusion.reason.clone() });
            } else {
                let remedy = format!("exclusion {}: its end must lie after its start", index + 1);
                refusals.push(Refusal { field: "spec.exclusions", remedy });
            }
        }
        match zone {
            Some(zone) if refusals.is_empty() => {
                let excluded = merge(exclusions.iter().map(|exclusion| exclusion.interval).collect());
                Ok(Schedule { calendar: Calendar { zone, weekly }, exclusions, excluded })
            }
            Some(_) | None => Err(refusals),
        }
    }

    /// The IANA name of the zone.
    pub fn zone(&self) -> &'static str {
        self.calendar.zone.name()
    }

    /// The interval that contains the instant: as long as it can be, windows merged and exclusions taken out.
    pub fn open_at(&self, instant: DateTime<Utc>) -> Option<Interval> {
        if self.exclusion_around(instant).is_some() {
            return None;
        }
        let before = self.excluded.iter().map(|excluded| excluded.end).filter(|end| *end <= instant).max();
        let after = self.excluded.iter().map(|excluded| excluded.start).filter(|start| *start > instant).min();
        let reach = Interval {
            start: before.unwrap_or(DateTime::<Utc>::MIN_UTC).max(instant - HORIZON),
            end: after.unwrap_or(DateTime::<Utc>::MAX_UTC).min(instant + HORIZON),
        };
        let window = self.calendar.around(instant, reach)?;
        Some(Interval {
            start: if window.start > reach.start {
                window.start
            } else {
                before.filter(|before| *before == reach.start).unwrap_or(DateTime::<Utc>::MIN_UTC)
            },
            end: if window.end < reach.end {
                window.end
            } else {
                after.filter(|after| *after == reach.end).unwrap_or(DateTime::<Utc>::MAX_UTC)
            },
        })
    }

    /// When it opens after the instant, later than now when it is open. None: not within the horizon, since exclusions
    /// cover everything or the interval that runs has no end in sight.
    pub fn next_start_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.start_between(instant, instant + HORIZON)
    }

    /// The next intervals that start after the instant, within the horizon, at most `most` of them.
    pub fn upcoming(&self, instant: DateTime<Utc>, most: usize) -> Vec<Interval> {
        let mut found: Vec<Interval> = Vec::new();
        while found.len() < most {
            let from = found.last().map_or(instant, |last| last.start);
            let next = self.start_between(from, instant + HORIZON).and_then(|start| self.open_at(start));
            match next {
                Some(next) => found.push(next),
                None => break,
            }
        }
        found
    }

    /// The latest interval that ended at the instant or before it, within the horizon.
    pub fn last_ended(&self, instant: DateTime<Utc>) -> Option<Interval> {
        let mut until = match self.open_at(instant) {
            Some(running) => running.known_start()?,
            None => instant,
        };
        // Each turn that finds nothing passes one exclusion.
        while until > instant - HORIZON {
            if let Some(excluded) = self.excluded.iter().find(|found| found.start < until && until <= found.end) {
                until = excluded.start;
                continue;
            }
            let end = self.calendar.between(until - ROUND, until).last().map(|window| window.end.min(until))?;
            match self.excluded.iter().find(|found| found.start < end && end <= found.end) {
                Some(excluded) => until = excluded.start,
                None => return self.open_at(end - TimeDelta::nanoseconds(1)),
            }
        }
        None
    }

    /// The exclusion that keeps it closed at the instant: only when it would be open without. Of several the one that
    /// ends last.
    pub fn exclusion_at(&self, instant: DateTime<Utc>) -> Option<&Exclusion> {
        let exclusion = self
            .exclusions
            .iter()
            .filter(|exclusion| exclusion.interval.contains(instant))
            .max_by_key(|exclusion| exclusion.interval.end)?;
        self.calendar.is_open(instant).then_some(exclusion)
    }

    /// The next instant at which `open_at` changes: the end of the interval that runs, or else the next start. None: not
    /// within the horizon.
    pub fn next_boundary(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.open_at(instant) {
            Some(running) => running.known_end(),
            None => self.next_start_after(instant),
        }
    }

    fn exclusion_around(&self, instant: DateTime<Utc>) -> Option<&Interval> {
        self.excluded.iter().find(|excluded| excluded.contains(instant))
    }

    /// The first start after `instant` and before `limit`.
    fn start_between(&self, instant: DateTime<Utc>, limit: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = match self.open_at(instant) {
            Some(running) => running.known_end()?,
            None => instant,
        };
        // Each turn that finds nothing passes one exclusion.
        while from < limit {
            if let Some(excluded) = self.exclusion_around(from) {
                from = excluded.end;
                continue;
            }
            let start = self.calendar.between(from, from + ROUND).first().map(|window| window.start.max(from))?;
            match self.exclusion_around(start) {
                Some(excluded) => from = excluded.end,
                None => return (start < limit).then_some(start),
            }
        }
        None
    }

    /// Whether an exclusion lies in the interval, at least in part.
    fn excludes_any_of(&self, interval: Interval) -> bool {
        self.excluded.iter().any(|excluded| excluded.start < interval.end && interval.start < excluded.end)
    }
}

fn parse_window(window: &WeeklyWindow) -> Result<Weekly, String> {
    if window.days.is_empty() {
        return Err("name at least one day".into());
    }
    let start = NaiveTime::parse_from_str(&window.start, "%H:%M")
        .map_err(|_| format!("the start {:?} is no time of the 24-hour clock: write it as \"02:00\"", window.start))?;
    let length = duration::parse(&window.duration)
        .filter(|length| (SHORTEST..=LONGEST).contains(length))
        .ok_or_else(|| format!("the duration {:?} is not between 30m and 24h: write it as 3h", window.duration))?;
    Ok(Weekly { days: window.days.iter().copied().map(weekday).collect(), start, length })
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Sun => Weekday::Sun,
        Day::Mon => Weekday::Mon,
        Day::Tue => Weekday::Tue,
        Day::Wed => Weekday::Wed,
        Day::Thu => Weekday::Thu,
        Day::Fri => Weekday::Fri,
        Day::Sat => Weekday::Sat,
    }
}

/// In order, those that overlap or touch made one.
fn merge(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for interval in intervals {
        match merged.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            Some(_) | None => merged.push(interval),
        }
    }
    merged
}
