//! The window calculus against brute force: a clock on the wall that is read minute by minute. The oracle asks the
//! database only for the offset at an instant, never for an instant by its local reading, and has no notion of gaps,
//! overlaps, merging or searching. Every zone of the database, every change of its offset in the years below with the
//! days around it, and where a year has none, some days of it.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use crds::maintenance_window::MaintenanceWindowSpec;
use plan::window::{Interval, Schedule, tz_version};
use serde_json::{Value, json};

/// With Kwajalein's missing day in 1993, Apia's in 2011, and years in which offsets are whole minutes.
const YEARS: [i32; 7] = [1975, 1993, 2011, 2024, 2026, 2027, 2037];
const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
/// Read before the days that are compared: a window lasts a day at most, and the clock may go back by a day.
const LEAD: i64 = 2 * DAY + DAY / 2;
const NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[test]
fn every_zone_agrees_with_a_clock_that_is_read_minute_by_minute() {
    let totals = Totals::default();
    in_parallel(TZ_VARIANTS.len(), |index| {
        let zone = TZ_VARIANTS[index];
        for year in YEARS {
            for (number, day) in days_of_interest(zone, year).into_iter().enumerate() {
                let mut random = Random(((index as u64) << 32) ^ ((year as u64) << 8) ^ number as u64);
                compare(zone, day - 2 * DAY, day + 3 * DAY, MINUTE, &mut random, &totals);
            }
        }
    });
    totals.print("every zone");
    assert!(totals.spans.into_inner() > 4_000, "too few days were compared");
}

/// Before time zones each place had its own time, with odd seconds; then the clock is read second by second.
#[test]
fn local_mean_time_agrees_second_by_second() {
    let totals = Totals::default();
    let zones: Vec<Tz> = TZ_VARIANTS.iter().copied().step_by(19).collect();
    in_parallel(zones.len(), |index| {
        let Some(day) = (1840..1972).find_map(|year| changes(zones[index], year).first().copied()) else { return };
        let mut random = Random(index as u64);
        compare(zones[index], day - DAY / 2, day + 3 * DAY / 2, 1, &mut random, &totals);
    });
    totals.print("local mean time");
    assert!(totals.spans.into_inner() > 20, "too few zones were compared");
}

#[derive(Default)]
struct Totals {
    spans: AtomicUsize,
    short_or_long_days: AtomicUsize,
    intervals: AtomicUsize,
    questions: AtomicUsize,
}

impl Totals {
    fn print(&self, what: &str) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        println!(
            "{what}: time zone database {}, {} zones, {} spans of days ({} with a change of the offset), {} intervals, {} single questions compared",
            tz_version(),
            TZ_VARIANTS.len(),
            of(&self.spans),
            of(&self.short_or_long_days),
            of(&self.intervals),
            of(&self.questions),
        );
    }
}

fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    work(index);
                }
            });
        }
    });
}

fn offset(zone: Tz, instant: i64) -> i64 {
    let utc = DateTime::from_timestamp(instant, 0).expect("a sane instant").naive_utc();
    i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

/// Midnights in UTC before which, within a day, the offset changed.
fn changes(zone: Tz, year: i32) -> Vec<i64> {
    let midnight =
        |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a year").and_time(Default::default()).and_utc().timestamp();
    (midnight(year)..midnight(year + 1))
        .step_by(DAY as usize)
        .filter(|day| offset(zone, *day) != offset(zone, day + DAY))
        .collect()
}

fn days_of_interest(zone: Tz, year: i32) -> Vec<i64> {
    let mut days = changes(zone, year);
    if days.is_empty() {
        let seed =
            zone.name().bytes().fold(year as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let day = NaiveDate::from_yo_opt(year, 10 + (seed % 340) as u32).expect("a day");
        days.push(day.and_time(Default::default()).and_utc().timestamp());
    }
    days
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: i64) -> i64 {
        (self.next() % bound as u64) as i64
    }
}

/// What the user writes and what the oracle reads.
struct Window {
    spec: Value,
    /// By minute of the week from Sunday 00:00: for how many seconds a window that starts then is open.
    starts: Vec<i64>,
    exclusions: Vec<(i64, i64)>,
}

fn window(zone: Tz, from: i64, to: i64, random: &mut Random) -> Window {
    let mut starts = vec![0; 7 * 1440];
    let mut windows = Vec::new();
    for _ in 0..=random.below(3) {
        let days = 1 + random.below(127);
        // Most clocks change at night.
        let minute =
            if random.below(4) > 0 { (22 * 60 + 30 + random.below(6 * 60)) % 1440 } else { random.below(1440) };
        let minute = if random.below(2) == 0 { minute / 30 * 30 } else { minute };
        let length = if random.below(6) == 0 { 1440 } else { 30 + random.below(600) };
        let names: Vec<&str> = (0..7).filter(|day| days & (1 << day) != 0).map(|day| NAMES[day]).collect();
        for day in (0..7).filter(|day| days & (1 << day) != 0) {
            let start: &mut i64 = &mut starts[day * 1440 + minute as usize];
            *start = (*start).max(length * MINUTE);
        }
        windows.push(json!({"days": names, "start": format!("{:02}:{:02}", minute / 60, minute % 60), "duration": format!("{length}m")}));
    }
    let mut exclusions = Vec::new();
    for _ in 0..random.below(4) {
        let start = from - DAY + random.below((to - from + 2 * DAY) / MINUTE) * MINUTE;
        exclusions.push((start, start + (1 + random.below(1000)) * MINUTE));
    }
    let written: Vec<Value> = exclusions
        .iter()
        .map(|(start, end)| json!({"start": instant(*start).to_rfc3339(), "end": instant(*end).to_rfc3339(), "reason": "freeze"}))
        .collect();
    Window { spec: json!({"timeZone": zone.name(), "windows": windows, "exclusions": written}), starts, exclusions }
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a sane instant")
}

/// For each step from `from` to `to`: whether a window is open, and whether an exclusion covers it.
fn read_the_clock(zone: Tz, window: &Window, from: i64, to: i64, step: i64) -> Vec<(bool, bool)> {
    let mut open_until = i64::MIN;
    let mut highest = from - LEAD + offset(zone, from - LEAD);
    let mut found = Vec::new();
    for now in ((from - LEAD)..to).step_by(step as usize) {
        let reading = now + offset(zone, now);
        // Readings that the hands pass or leap over for the first time; what they show once more opens nothing.
        while highest < reading {
            highest += step;
            if highest % MINUTE == 0 {
                // The first of January 1970 was a Thursday.
                let minute_of_the_week = (highest / MINUTE + 4 * 1440).rem_euclid(7 * 1440);
                let length = window.starts[minute_of_the_week as usize];
                if length > 0 {
                    open_until = open_until.max(now + length);
                }
            }
        }
        if now >= from {
            found.push((now < open_until, window.exclusions.iter().any(|(start, end)| (*start..*end).contains(&now))));
        }
    }
    found
}

fn compare(zone: Tz, from: i64, to: i64, step: i64, random: &mut Random, totals: &Totals) {
    let window = window(zone, from, to, random);
    let spec: MaintenanceWindowSpec = serde_json::from_value(window.spec.clone()).expect("a spec");
    let schedule = Schedule::parse(&spec).expect("a valid window");
    let truth = read_the_clock(zone, &window, from, to, step);
    let open = |index: usize| truth[index].0 && !truth[index].1;
    let at = |index: usize| from + index as i64 * step;

    let mut wanted: Vec<(i64, i64)> = Vec::new();
    for index in (0..truth.len()).filter(|index| open(*index)) {
        match wanted.last_mut() {
            Some((_, end)) if *end == at(index) => *end += step,
            Some(_) | None => wanted.push((at(index), at(index) + step)),
        }
    }
    let clip = |interval: &Interval| (interval.start.timestamp().max(from), interval.end.timestamp().min(to));
    let coming = std::iter::successors(Some(instant(from)), |start| schedule.next_start_after(*start)).skip(1);
    let found: Vec<(i64, i64)> = schedule
        .open_at(instant(from))
        .into_iter()
        .chain(coming.take_while(|start| *start < instant(to)).filter_map(|start| schedule.open_at(start)))
        .map(|interval| clip(&interval))
        .collect();
    assert!(wanted == found, "{}", story(zone, &window, &wanted, &found));

    let mut instants: Vec<i64> = (0..8).map(|_| at(random.below(truth.len() as i64) as usize)).collect();
    for (start, end) in wanted.iter().take(4) {
        instants.extend([*start, start - step, *end, end - step]);
    }
    instants.retain(|instant| (from..to).contains(instant));
    for asked in &instants {
        let index = ((asked - from) / step) as usize;
        let asked = instant(*asked);
        let tell = |question: &str| format!("{question} at {asked}: {}", story(zone, &window, &wanted, &found));
        assert_eq!(schedule.open_at(asked).is_some(), open(index), "{}", tell("open_at"));
        let (would_be_open, excluded) = truth[index];
        assert_eq!(schedule.exclusion_at(asked).is_some(), would_be_open && excluded, "{}", tell("exclusion_at"));
        let next = wanted.iter().map(|(start, _)| instant(*start)).find(|start| *start > asked);
        match (next, schedule.next_start_after(asked)) {
            (Some(next), found) => assert_eq!(found, Some(next), "{}", tell("next_start_after")),
            (None, found) => assert!(found.is_none_or(|found| found >= instant(to)), "{}", tell("next_start_after")),
        }
        let boundary =
            (index + 1..truth.len()).find(|other| open(*other) != open(index)).map(|other| instant(at(other)));
        match (boundary, schedule.next_boundary(asked)) {
            (Some(boundary), found) => assert_eq!(found, Some(boundary), "{}", tell("next_boundary")),
            (None, found) => assert!(found.is_none_or(|found| found >= instant(to)), "{}", tell("next_boundary")),
        }
        // The end of an interval that reaches `to` is not seen.
        let last = wanted.iter().rfind(|(_, end)| *end < to && instant(*end) <= asked);
        match (last, schedule.last_ended(asked)) {
            (Some(last), found) => assert_eq!(found.as_ref().map(clip), Some(*last), "{}", tell("last_ended")),
            (None, found) => assert!(found.is_none_or(|found| found.end <= instant(from)), "{}", tell("last_ended")),
        }
    }
    totals.spans.fetch_add(1, Ordering::Relaxed);
    totals.intervals.fetch_add(wanted.len(), Ordering::Relaxed);
    totals.questions.fetch_add(5 * instants.len(), Ordering::Relaxed);
    if offset(zone, from) != offset(zone, to) {
        totals.short_or_long_days.fetch_add(1, Ordering::Relaxed);
    }
}

fn story(zone: Tz, window: &Window, wanted: &[(i64, i64)], found: &[(i64, i64)]) -> String {
    let mut text = format!("{zone}, {}\n", window.spec);
    for (name, intervals) in [("the clock says", wanted), ("the calculus says", found)] {
        let _ = writeln!(text, "{name}");
        for (start, end) in intervals {
            let local = |seconds: i64| instant(seconds).with_timezone(&zone);
            let day = local(*start).weekday();
            let _ = writeln!(text, "  {day} {} to {}, UTC {}", local(*start), local(*end), instant(*start));
        }
    }
    text
}
