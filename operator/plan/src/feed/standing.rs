//! How the fleet has fared with each release, derived anew from the histories of all tenants: nothing is remembered
//! elsewhere, so a restart forgets nothing. Built in one pass; a query looks at one wave of one channel alone.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use crds::tenant_status::HopKind;

use super::hold::WaveWait;
use super::{Release, Waves};
use crate::version::Version;

/// The waves, each of which follows the one before. More would make a release older than its successor on arrival.
pub const WAVES: std::ops::RangeInclusive<u8> = 1..=3;

/// What one tenant has to say. Leave tenants out that take no updates at all (paused, hibernated, being removed): a wave
/// would wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its wave, 1 to 3.
    pub wave: u8,
    /// The channel that it follows; none while it pins a version.
    pub channel: Option<String>,
    /// What it runs.
    pub version: Option<Version>,
    /// Its hops that ended, in any order.
    pub attempts: Vec<Attempt>,
}

/// A hop that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it led.
    pub to: Version,
    /// What it changed. Template changes say nothing about a release and are passed over.
    pub kind: HopKind,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
}

/// How a hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The tenant runs the version.
    Succeeded,
    /// It went back, or stands still in the middle.
    Failed,
}

/// How the fleet has fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// For each version the tenants whose last attempt failed: when it did, in order.
    failures: BTreeMap<Version, Vec<DateTime<Utc>>>,
    /// The waves of each channel.
    channels: BTreeMap<String, [Wave; 3]>,
}

/// The tenants of one wave in one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wave {
    /// How many run each version.
    running: BTreeMap<Version, usize>,
    /// For each version the tenants that came through, in the order of time.
    successes: BTreeMap<Version, Vec<Success>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Success {
    at: DateTime<Utc>,
    kind: HopKind,
    /// What the tenant runs now, if that is an older version again.
    runs_older: Option<Version>,
}

/// A release as a tenant of a channel asks about it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The release.
    pub version: &'a Version,
    /// What it would change for the tenant that asks.
    pub kind: HopKind,
    /// When its soak ends: the first wave begins, and `maxWait` counts from here.
    pub allowed_at: DateTime<Utc>,
}

/// Whether a wave may take a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveState {
    /// It may, from this instant on.
    Open(DateTime<Utc>),
    /// Not yet.
    Pending {
        /// What it waits for.
        why: WaveWait,
        /// When it may at the latest.
        latest: DateTime<Utc>,
    },
}

/// How far a wave has come with a release.
enum Through {
    /// Nobody in it is due for the release.
    Nobody,
    /// Too few have succeeded.
    Not,
    /// Enough had succeeded at this instant.
    Since(DateTime<Utc>),
}

impl Standing {
    /// Sums up what the tenants have to say; their order does not matter.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Standing {
        let mut standing = Standing::default();
        for record in records {
            standing.take(record);
        }
        standing.failures.values_mut().for_each(|failures| failures.sort_unstable());
        for wave in standing.channels.values_mut().flatten() {
            wave.successes.values_mut().for_each(|successes| successes.sort_unstable());
        }
        standing
    }

    fn take(&mut self, record: Record) {
        let Record { wave, channel, version: running, attempts } = record;
        // A tenant speaks once for each version: its last word on failure, its first on success. With several attempts
        // at one instant failure is the last word.
        let mut last: BTreeMap<&Version, (DateTime<Utc>, Outcome)> = BTreeMap::new();
        let mut first: BTreeMap<&Version, (DateTime<Utc>, HopKind)> = BTreeMap::new();
        for attempt in attempts.iter().filter(|attempt| attempt.kind != HopKind::Template) {
            let Attempt { to, kind, outcome, finished_at } = attempt;
            let word = (*finished_at, *outcome);
            last.entry(to).and_modify(|known| *known = word.max(*known)).or_insert(word);
            if *outcome == Outcome::Succeeded {
                let success = (*finished_at, *kind);
                first.entry(to).and_modify(|known| *known = success.min(*known)).or_insert(success);
            }
        }
        for (version, (at, outcome)) in last {
            if outcome == Outcome::Failed {
                self.failures.entry(version.clone()).or_default().push(at);
            }
        }
        let Some(channel) = channel else { return };
        let group = &mut self.channels.entry(channel).or_default()[place(wave)];
        for (version, (at, kind)) in first {
            let runs_older = running.clone().filter(|running| running < version);
            group.successes.entry(version.clone()).or_default().push(Success { at, kind, runs_older });
        }
        if let Some(running) = running {
            *group.running.entry(running).or_default() += 1;
        }
    }

    /// On how many tenants the release has failed, once that is enough to halt it for all.
    pub fn halted(&self, release: &Release, waves: &Waves) -> Option<usize> {
        let failures = self.failures.get(&release.version)?;
        let counts = |at: &DateTime<Utc>| release.resumed_at.is_none_or(|resumed| *at >= resumed);
        let failed = failures.len() - failures.partition_point(|at| !counts(at));
        (failed >= waves.halt_after_failures).then_some(failed)
    }

    /// Whether a wave may take the release. Wave 1 begins when the soak ends; each later one when 90 % of the due tenants
    /// of the wave before have come through and `soak` has passed since, all of them after `maxWait`.
    pub fn wave(&self, arrival: &Arrival<'_>, wave: u8, waves: &Waves, now: DateTime<Utc>) -> WaveState {
        let latest = arrival.allowed_at + waves.max_wait;
        let mut opens = arrival.allowed_at;
        let mut waits_for = None;
        for earlier in *WAVES.start()..wave.min(*WAVES.end()) {
            match self.through(arrival, earlier) {
                Through::Nobody => {}
                Through::Since(success) => {
                    opens = opens.max(success + waves.soak);
                    waits_for = Some(WaveWait::Soak { wave: earlier });
                }
                Through::Not if now >= latest => return WaveState::Open(latest),
                Through::Not => return WaveState::Pending { why: WaveWait::Earlier { wave: earlier }, latest },
            }
        }
        let opens = opens.min(latest);
        match waits_for {
            Some(why) if now < opens => WaveState::Pending { why, latest: opens },
            _ => WaveState::Open(opens),
        }
    }

    /// A tenant is due when the release would be a change of this kind or a smaller one for it. Others do not count: with
    /// a patch nobody waits for tenants that first need a new major, which their agents may hold back for months.
    fn through(&self, arrival: &Arrival<'_>, wave: u8) -> Through {
        let Some(group) = self.channels.get(arrival.channel).map(|waves| &waves[place(wave)]) else {
            return Through::Nobody;
        };
        let older = older(arrival.version, arrival.kind);
        let lower: usize = group.running.range(older.clone()).map(|(_, tenants)| tenants).sum();
        let kind = arrival.kind;
        let successes = || {
            let all = group.successes.get(arrival.version).into_iter().flatten();
            all.filter(move |success| success.kind <= kind)
        };
        let twice = |success: &&Success| success.runs_older.as_ref().is_some_and(|version| older.contains(version));
        let due = lower + successes().filter(|success| !twice(success)).count();
        if due == 0 {
            return Through::Nobody;
        }
        // Nine tenths, rounded up: of a wave of fewer than ten all must have come through.
        let needed = (due * 9).div_ceil(10);
        match successes().nth(needed - 1) {
            Some(success) => Through::Since(success.at),
            None => Through::Not,
        }
    }
}

fn place(wave: u8) -> usize {
    usize::from(wave.clamp(*WAVES.start(), *WAVES.end()) - WAVES.start())
}

/// The versions for which this one is a change of the kind, or a smaller one.
fn older(version: &Version, kind: HopKind) -> Range<Version> {
    let lowest = match kind {
        HopKind::Template => version.clone(),
        HopKind::Patch => Version::new(version.major, version.minor, 0),
        HopKind::Minor => Version::new(version.major, 0, 0),
        HopKind::Major => Version::new(0, 0, 0),
    };
    lowest..version.clone()
}

#[cfg(test)]
mod tests;
