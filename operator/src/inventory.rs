//! Readings of the tenants' inventories, outside the reconcile: a run asks for one and goes on; when it is there, the tenant
//! is run again. So an Auth that hangs holds no worker, and delays nobody but others that hang. Readings become rarer while
//! they show the same, and more frequent when an update is near.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use plan::agents::Inventory;
use plan::names::Identity;
use rand::Rng as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::teleport::{AuthTarget, Teleport, TeleportError};

/// Readings at the same time, first come, first served.
const AT_ONCE: usize = 16;
/// The same for tenants whose last reading failed: they may hang again, and wait for each other only.
const SUSPECTS_AT_ONCE: usize = 4;
/// The most by which the interval grows while nothing changes: twice as long, and twice again.
const DOUBLINGS: u32 = 2;
/// Near an update the interval is this much shorter, but no shorter than the least.
const CLOSER: i32 = 5;
const LEAST: TimeDelta = TimeDelta::seconds(10);
/// Directly before an update a reading of this age counts as one of now.
const NOW: TimeDelta = TimeDelta::seconds(5);
/// First and longest wait after a failure.
const FIRST_DELAY: TimeDelta = TimeDelta::seconds(5);
const LONGEST_DELAY: TimeDelta = TimeDelta::minutes(5);

/// How soon a new reading is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Nothing is near.
    #[default]
    Relaxed,
    /// A window is open or opens within the hour, or a hop runs.
    Close,
    /// The gate is about to be passed: at once.
    Now,
}

/// What a run asks for.
pub struct Ask<'a> {
    /// Whose inventory.
    pub tenant: &'a Identity,
    /// Where its Auth is.
    pub target: &'a AuthTarget,
    /// How soon.
    pub pace: Pace,
    /// No reading is to become older; none becomes older than two thirds of it while Auth answers.
    pub report_ttl: TimeDelta,
}

/// A reading that is to be made.
pub struct Request {
    tenant: Identity,
    target: AuthTarget,
    suspect: bool,
}

/// The last complete reading of each tenant, and when the next is due.
pub struct Readings {
    tenants: Mutex<HashMap<String, Schedule>>,
    requests: mpsc::UnboundedSender<Request>,
    interval: TimeDelta,
}

#[derive(Default)]
struct Schedule {
    reading: Option<Arc<Inventory>>,
    /// Everything that follows from the reading is written down; before that no other takes its place.
    settled: bool,
    running: bool,
    /// Readings in a row that showed the same as the one before.
    same: u32,
    /// Failures in a row, and the last of them.
    failures: u32,
    failed_at: DateTime<Utc>,
    /// Between 0.85 and 1: tenants that were read together are not read together again.
    haste: f64,
    pace: Pace,
    report_ttl: TimeDelta,
}

impl Schedule {
    /// When to read again; none while that is not up to the clock.
    fn due(&self, interval: TimeDelta) -> Option<DateTime<Utc>> {
        let Some(reading) = &self.reading else {
            return (!self.running).then(|| self.after_failure().unwrap_or(DateTime::<Utc>::MIN_UTC));
        };
        if self.running || !self.settled {
            return None;
        }
        Some(self.after_failure().unwrap_or_else(|| reading.read_at + self.period(interval)))
    }

    fn after_failure(&self) -> Option<DateTime<Utc>> {
        let doublings = self.failures.checked_sub(1)?.min(10);
        let longest = if self.pace == Pace::Now { LEAST } else { LONGEST_DELAY };
        Some(self.failed_at + scaled((FIRST_DELAY * (1 << doublings)).min(longest), self.haste))
    }

    fn period(&self, interval: TimeDelta) -> TimeDelta {
        let period = match self.pace {
            Pace::Relaxed => interval * (1 << self.same.min(DOUBLINGS)),
            Pace::Close => (interval / CLOSER).max(LEAST).min(interval),
            Pace::Now => NOW,
        };
        scaled(period.min(self.report_ttl * 2 / 3), self.haste)
    }
}

fn scaled(span: TimeDelta, factor: f64) -> TimeDelta {
    span.to_std().ok().and_then(|span| TimeDelta::from_std(span.mul_f64(factor)).ok()).unwrap_or(span)
}

impl Readings {
    /// None so far; what is asked for comes out of the receiver.
    pub fn new(interval: Duration) -> (Readings, mpsc::UnboundedReceiver<Request>) {
        let (requests, requested) = mpsc::unbounded_channel();
        let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::days(1));
        (Readings { tenants: Mutex::default(), requests, interval }, requested)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Schedule>> {
        self.tenants.lock().expect("no holder of this lock panics")
    }

    /// The last complete reading.
    pub fn reading(&self, uid: &str) -> Option<Arc<Inventory>> {
        self.lock().get(uid)?.reading.clone()
    }

    /// When the next one is to be asked for.
    pub fn due(&self, uid: &str) -> Option<DateTime<Utc>> {
        self.lock().get(uid)?.due(self.interval)
    }

    /// Has a reading made if it is due. There is never more than one of a tenant on its way.
    pub fn ask(&self, ask: &Ask<'_>, now: DateTime<Utc>) {
        let mut tenants = self.lock();
        let schedule = tenants.entry(ask.tenant.uid.clone()).or_default();
        (schedule.pace, schedule.report_ttl) = (ask.pace, ask.report_ttl);
        if schedule.due(self.interval).is_some_and(|due| due <= now) {
            schedule.running = true;
            let suspect = schedule.failures > 0;
            let request = Request { tenant: ask.tenant.clone(), target: ask.target.clone(), suspect };
            // The receiver lives as long as the controllers.
            let _ = self.requests.send(request);
        }
    }

    /// Everything that follows from this reading is written down.
    pub fn settle(&self, uid: &str, read_at: DateTime<Utc>) {
        if let Some(schedule) = self.lock().get_mut(uid) {
            schedule.settled |= schedule.reading.as_ref().is_some_and(|reading| reading.read_at == read_at);
        }
    }

    /// Only these tenants are left.
    pub fn retain(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn ended(&self, uid: &str, outcome: Result<Inventory, ()>, now: DateTime<Utc>) {
        // The tenant may have gone meanwhile.
        let mut tenants = self.lock();
        let Some(schedule) = tenants.get_mut(uid) else { return };
        schedule.running = false;
        schedule.haste = rand::rng().random_range(0.85..1.0);
        match outcome {
            Ok(reading) => {
                let same = schedule.reading.as_ref().is_some_and(|before| before.shows_the_same(&reading));
                schedule.same = if same { schedule.same.saturating_add(1) } else { 0 };
                schedule.failures = 0;
                schedule.settled = false;
                schedule.reading = Some(Arc::new(reading));
            }
            Err(()) => {
                schedule.failures = schedule.failures.saturating_add(1);
                schedule.failed_at = now;
            }
        }
    }
}

/// Makes readings until nobody can ask for one any more, and tells of each how it ended.
pub async fn work(
    readings: &Readings,
    mut requests: mpsc::UnboundedReceiver<Request>,
    teleport: Arc<dyn Teleport>,
    tell: impl Fn(&Identity, Result<(), TeleportError>),
) {
    let (lanes, suspects) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(SUSPECTS_AT_ONCE)));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(Request { tenant, target, suspect }) = request else { return };
                let (lane, teleport) = (Arc::clone(if suspect { &suspects } else { &lanes }), Arc::clone(&teleport));
                running.spawn(async move {
                    let _turn = lane.acquire().await.expect("the lanes are never closed");
                    let outcome = teleport.inventory(&target, crate::clock::now()).await;
                    (tenant, outcome)
                });
            }
            Some(ended) = running.join_next() => {
                // One that died takes the process with it, as any task does.
                let Ok((tenant, outcome)) = ended else { return };
                let told = match outcome {
                    Ok(reading) => {
                        readings.ended(&tenant.uid, Ok(reading), crate::clock::now());
                        Ok(())
                    }
                    Err(error) => {
                        readings.ended(&tenant.uid, Err(()), crate::clock::now());
                        Err(error)
                    }
                };
                tell(&tenant, told);
            }
        }
    }
}

#[cfg(test)]
mod tests;
