//! What the process remembers between runs. Only what delays when it is lost: readings with their age, and rows of
//! failures.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use plan::Plan;
use plan::cloud::backup::BackupFacts;
use plan::cloud::{CloudFacts, Part};
use plan::observed::{Failure, FailureKind, Source, StageName};
use rand::Rng as _;

use crate::error::Class;

pub mod cloud;
mod mended;
mod secrets;
mod told;

/// First and longest delay after a failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// What only a person can mend is tried again this often.
const DENIED_DELAY: Duration = Duration::from_secs(300);
/// Somebody is about to change what the cluster refuses, and no event tells of all that it may be.
const REFUSED_DELAY: Duration = Duration::from_secs(30);
/// The most by which a wait grows while nothing changes.
const LONGEST_FACTOR: u32 = 30;
/// How long a conflict waits at first, so that the watch has brought what we conflicted with.
const CONFLICT_DELAY: Duration = Duration::from_millis(50);

/// How often authorities are looked for while Auth is not believed.
const DISBELIEF: Duration = Duration::from_secs(10);

/// Memory of all tenants, by uid.
#[derive(Default)]
pub struct Memory {
    tenants: Mutex<HashMap<String, Tenant>>,
}

#[derive(Default)]
struct Tenant {
    cloud: Option<cloud::Reading>,
    secrets: Option<secrets::Kept>,
    backups: Option<Listing>,
    /// When the authorities in the state table are to be looked at, and when they last were since Auth was not believed.
    authorities: Option<Instant>,
    disbelieved: Option<Instant>,
    /// What agents and users are told.
    told: told::Hearing,
    /// That no vanished agents were ever written down was asked for once.
    vanished_absent: bool,
    failures: BTreeMap<(StageName, Source), Failure>,
    /// When objects were last put back without a word.
    mended: Option<DateTime<Utc>>,
    attempts: u32,
    /// What the last run did or waited for, and how often in a row it was the same.
    last: (String, u32),
}

/// The backups as they were listed once a day.
struct Listing {
    /// The day, as the tenant counts them.
    day: i64,
    /// What was found, until it is not needed any more.
    found: Option<Vec<BackupFacts>>,
}

/// What is known of a tenant's backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backups {
    /// Another day has begun: they are to be listed.
    Due,
    /// They were listed today.
    Listed(Vec<BackupFacts>),
    /// They were listed today, and what was found is of no more use; or this process has just begun.
    Done,
}

impl Memory {
    fn with<T>(&self, uid: &str, use_it: impl FnOnce(&mut Tenant) -> T) -> T {
        let mut tenants = self.tenants.lock().expect("no holder of this lock panics");
        use_it(tenants.entry(uid.to_owned()).or_default())
    }

    /// Looks without leaving a trace of a tenant that is not known.
    fn look<T>(&self, uid: &str, use_it: impl FnOnce(&Tenant) -> Option<T>) -> Option<T> {
        let tenants = self.tenants.lock().expect("no holder of this lock panics");
        tenants.get(uid).and_then(use_it)
    }

    /// The cloud as it was read, if that is recent enough and was for this generation of the spec; and what of it is to be read
    /// again.
    pub fn cloud(
        &self,
        uid: &str,
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Option<(CloudFacts, BTreeSet<Part>)> {
        self.look(uid, |tenant| tenant.cloud.as_ref()?.known(generation, now))
    }

    /// Keeps what was read of some parts. A reading of all of them is good for `period`, give or take half of it: so many tenants
    /// are not read again at once.
    pub fn keep_cloud(&self, uid: &str, reading: cloud::Read, period: Duration) {
        let period = about(period);
        self.with(uid, |tenant| cloud::Reading::keep(&mut tenant.cloud, reading, period));
    }

    /// These parts are not as they were read, or not as they should be.
    pub fn forget_cloud<'a>(&self, uid: &str, parts: impl IntoIterator<Item = &'a Part>) {
        self.with(uid, |tenant| {
            if let Some(reading) = &mut tenant.cloud {
                reading.forget(parts);
            }
        });
    }

    /// When the cloud is to be read again.
    pub fn cloud_due(&self, uid: &str) -> Option<DateTime<Utc>> {
        self.look(uid, |tenant| tenant.cloud.as_ref()?.due())
    }

    /// The backups on this day. The day on which a tenant is seen first passes without a list: else a process that begins
    /// would ask for those of all tenants at once.
    pub fn backups(&self, uid: &str, day: i64) -> Backups {
        self.with(uid, |tenant| {
            let listing = tenant.backups.get_or_insert(Listing { day, found: None });
            match &listing.found {
                _ if listing.day != day => Backups::Due,
                Some(found) => Backups::Listed(found.clone()),
                None => Backups::Done,
            }
        })
    }

    /// Keeps the list of a day until [`Memory::backups_done`].
    pub fn keep_backups(&self, uid: &str, day: i64, found: Vec<BackupFacts>) {
        self.with(uid, |tenant| tenant.backups = Some(Listing { day, found: Some(found) }));
    }

    /// A backup of the list is gone.
    pub fn forget_backup(&self, uid: &str, arn: &str) {
        self.with(uid, |tenant| {
            if let Some(found) = tenant.backups.as_mut().and_then(|listing| listing.found.as_mut()) {
                found.retain(|backup| backup.arn != arn);
            }
        });
    }

    /// Nothing is left to be done about the list.
    pub fn backups_done(&self, uid: &str) {
        self.with(uid, |tenant| {
            if let Some(listing) = &mut tenant.backups {
                listing.found = None;
            }
        });
    }

    /// Whether the memory of vanished agents was asked for and not there.
    pub fn vanished_is_absent(&self, uid: &str) -> bool {
        self.look(uid, |tenant| tenant.vanished_absent.then_some(())).is_some()
    }

    /// Whether it is there.
    pub fn set_vanished_absent(&self, uid: &str, absent: bool) {
        self.with(uid, |tenant| tenant.vanished_absent = absent);
    }

    /// Rows of failures that are not broken.
    pub fn failures(&self, uid: &str) -> BTreeMap<(StageName, Source), Failure> {
        self.look(uid, |tenant| Some(tenant.failures.clone())).unwrap_or_default()
    }

    /// A stage failed; answers whether that is news. A conflict is no failure: looking again mends it.
    pub fn failed(
        &self,
        uid: &str,
        row: (StageName, Source),
        class: Class,
        message: String,
        now: DateTime<Utc>,
    ) -> bool {
        let kind = match class {
            Class::Conflict => return false,
            Class::Transient | Class::Throttled(_) => FailureKind::Passing,
            Class::Denied => FailureKind::Denied,
            Class::Refused => FailureKind::Refused,
            Class::Invalid | Class::Bug => FailureKind::Defect,
        };
        self.with(uid, |tenant| {
            let before = tenant.failures.get(&row);
            let since = before.map_or(now, |failure| failure.since);
            let news = before.is_none_or(|failure| failure.message != message);
            tenant.failures.insert(row, Failure { since, kind, message });
            news
        })
    }

    /// A stage did what it should.
    pub fn succeeded(&self, uid: &str, row: (StageName, Source)) {
        let mut tenants = self.tenants.lock().expect("no holder of this lock panics");
        if let Some(tenant) = tenants.get_mut(uid) {
            tenant.failures.remove(&row);
        }
    }

    /// Whether the authorities in the state table are to be looked at now: each `period`, give or take half of it, and
    /// within seconds while Auth is not believed. A tenant that is seen first was looked at by the process before.
    pub fn authorities_due(&self, uid: &str, now: Instant, disbelieved: bool, period: Duration) -> bool {
        let next = now + about(period).to_std().unwrap_or(period);
        self.with(uid, |tenant| {
            let at = *tenant.authorities.get_or_insert(next);
            let hurry =
                disbelieved && tenant.disbelieved.is_none_or(|last| now.saturating_duration_since(last) >= DISBELIEF);
            if hurry {
                tenant.disbelieved = Some(now);
            }
            if hurry || now >= at {
                tenant.authorities = Some(next);
            }
            hurry || now >= at
        })
    }

    /// What an earlier spec asked for in vain is asked for no more: of stages before the one that is open nothing is left to do,
    /// nor of any when all are settled, but for what the plan still does beside them.
    pub fn steps_done(&self, uid: &str, plan: &Plan) {
        let wanted = |stage: &StageName| {
            let beside = plan.steps.iter().any(|(of, _)| of == stage);
            beside || plan.open.is_some_and(|open| *stage >= open)
        };
        let mut tenants = self.tenants.lock().expect("no holder of this lock panics");
        if let Some(tenant) = tenants.get_mut(uid) {
            tenant.failures.retain(|(stage, source), _| *source != Source::Step || wanted(stage));
        }
    }

    /// How much longer to wait than the first time before doing or asking the same again: a run that changes nothing must
    /// not be repeated at full speed, whatever it is that it does in vain.
    pub fn patience(&self, uid: &str, same: String) -> u32 {
        self.with(uid, |tenant| {
            let (last, times) = &mut tenant.last;
            *times = if *last == same { times.saturating_add(1) } else { 0 };
            *last = same;
            (1 << (*times / 4).min(6)).min(LONGEST_FACTOR)
        })
    }

    /// A run ended without a failure.
    pub fn reset_attempts(&self, uid: &str) {
        self.with(uid, |tenant| tenant.attempts = 0);
    }

    /// A run failed: how long to wait. Exponential with full jitter; the other side's own word goes first.
    pub fn delay(&self, uid: &str, class: Class) -> Duration {
        match class {
            Class::Conflict => {
                let times = self.with(uid, |tenant| {
                    tenant.attempts = tenant.attempts.saturating_add(1);
                    tenant.attempts
                });
                return CONFLICT_DELAY.saturating_mul(1 << times.saturating_sub(1).min(7));
            }
            Class::Denied | Class::Bug | Class::Invalid => return DENIED_DELAY,
            Class::Refused => return REFUSED_DELAY,
            Class::Throttled(Some(asked)) => return asked.min(LONGEST_DELAY),
            Class::Transient | Class::Throttled(None) => {}
        }
        let attempts = self.with(uid, |tenant| {
            tenant.attempts = tenant.attempts.saturating_add(1);
            tenant.attempts
        });
        let longest = FIRST_DELAY.saturating_mul(1 << attempts.min(9)).min(LONGEST_DELAY);
        FIRST_DELAY.min(longest) + longest.mul_f64(rand::rng().random_range(0.0..0.5))
    }

    /// Only these tenants are left.
    pub fn retain(&self, uids: &HashSet<String>) {
        let now = Instant::now();
        self.tenants.lock().expect("no holder of this lock panics").retain(|uid, tenant| {
            // Keys stay in memory no longer than they are of use.
            tenant.secrets.take_if(|kept| !kept.is_young(now));
            uids.contains(uid)
        });
    }
}

/// A period, give or take half of it.
fn about(period: Duration) -> TimeDelta {
    TimeDelta::from_std(period.mul_f64(rand::rng().random_range(0.5..1.5))).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use plan::cloud::backup::{BackupKind, BackupStatus};

    use super::*;

    const CLOUD: (StageName, Source) = (StageName::Cloud, Source::Read);

    #[test]
    fn what_is_repeated_in_vain_becomes_rarer_until_something_changes() {
        let memory = Memory::default();
        let factors: Vec<u32> = (0..40).map(|_| memory.patience("u", "same".into())).collect();
        assert_eq!((factors[0], factors[3]), (1, 1));
        assert!(factors.windows(2).all(|pair| pair[0] <= pair[1]) && factors[39] == LONGEST_FACTOR, "{factors:?}");
        assert_eq!(memory.patience("u", "other".into()), 1);
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("in range")
    }

    #[test]
    fn backups_are_listed_once_a_day_and_not_when_the_process_begins() {
        let memory = Memory::default();
        let backup = |arn: &str| BackupFacts {
            arn: arn.to_owned(),
            name: "name".to_owned(),
            table_arn: "table".to_owned(),
            status: BackupStatus::Available,
            kind: BackupKind::User,
            created: at(0),
            size: None,
        };
        assert_eq!(memory.backups("u", 7), Backups::Done);
        assert_eq!(memory.backups("u", 8), Backups::Due);
        assert_eq!(memory.backups("u", 8), Backups::Due, "a list that failed is tried again");
        memory.keep_backups("u", 8, vec![backup("one"), backup("two")]);
        memory.forget_backup("u", "one");
        assert_eq!(memory.backups("u", 8), Backups::Listed(vec![backup("two")]));
        memory.backups_done("u");
        assert_eq!(memory.backups("u", 8), Backups::Done);
        assert_eq!(memory.backups("u", 9), Backups::Due);
    }

    #[test]
    fn a_row_of_failures_keeps_its_beginning_until_a_success() {
        let memory = Memory::default();
        memory.failed("u", CLOUD, Class::Transient, "first".into(), at(1));
        memory.failed("u", CLOUD, Class::Transient, "second".into(), at(9));
        let failures = memory.failures("u");
        assert_eq!((failures[&CLOUD].since, failures[&CLOUD].message.as_str()), (at(1), "second"));
        memory.succeeded("u", CLOUD);
        assert!(memory.failures("u").is_empty());
    }

    #[test]
    fn a_step_that_failed_counts_while_it_is_wanted() {
        use plan::acme::AcmeStep;
        use plan::step::Step;
        let memory = Memory::default();
        let rows = [StageName::Cloud, StageName::Auth, StageName::Certificates].map(|stage| (stage, Source::Step));
        let left = |plan: &Plan| {
            for row in rows {
                memory.failed("u", row, Class::Denied, "no".into(), at(1));
            }
            memory.steps_done("u", plan);
            memory.failures("u").into_keys().map(|(stage, _)| stage).collect::<Vec<_>>()
        };
        let open = Plan { open: Some(StageName::Auth), ..Plan::default() };
        assert_eq!(left(&open), [StageName::Auth, StageName::Certificates]);
        assert_eq!(left(&Plan::default()), []);
        let renews =
            Plan { steps: vec![(StageName::Certificates, Step::Acme(AcmeStep::CreateKey))], ..Plan::default() };
        assert_eq!(left(&renews), [StageName::Certificates], "a settled tenant whose renewal fails");
    }

    #[test]
    fn delays_grow_and_are_bounded() {
        let memory = Memory::default();
        for _ in 0..40 {
            let delay = memory.delay("u", Class::Transient);
            assert!(delay >= FIRST_DELAY && delay <= LONGEST_DELAY, "{delay:?}");
        }
        assert_eq!(memory.delay("other", Class::Conflict), CONFLICT_DELAY);
        assert!(memory.delay("u", Class::Conflict) <= CONFLICT_DELAY * 128);
    }
}
