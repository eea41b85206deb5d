//! What tenants' Teleport tells agents and users, as it was last read. It is read when a plan asks for it, kept while it
//! is as it should be, and a Teleport that does not answer is asked ever more rarely, since a run waits for the answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use plan::observed::Told;

use super::{Memory, about};

/// First and longest wait after a failure.
const FIRST_DELAY: TimeDelta = TimeDelta::seconds(5);
const LONGEST_DELAY: TimeDelta = TimeDelta::minutes(5);

/// One tenant's.
#[derive(Default)]
pub(super) struct Hearing {
    kept: Option<(Told, DateTime<Utc>)>,
    /// Failures in a row.
    failures: u32,
    /// After one of them: not before.
    not_before: Option<DateTime<Utc>>,
}

impl Memory {
    /// What was read, if that is recent enough.
    pub fn told(&self, uid: &str, now: DateTime<Utc>) -> Option<Told> {
        self.look(uid, |tenant| {
            let (told, good_until) = tenant.told.kept.as_ref()?;
            (now < *good_until).then(|| told.clone())
        })
    }

    /// Keeps a reading for `period`, give or take half of it: so many tenants are not read again at once.
    pub fn keep_told(&self, uid: &str, told: Told, now: DateTime<Utc>, period: Duration) {
        self.with(uid, |tenant| tenant.told.kept = Some((told, now + about(period))));
    }

    /// It is not as it was read, or not as it should be.
    pub fn forget_told(&self, uid: &str) {
        self.with(uid, |tenant| tenant.told.kept = None);
    }

    /// Whether the last failure was long enough ago.
    pub fn may_listen(&self, uid: &str, now: DateTime<Utc>) -> bool {
        self.look(uid, |tenant| tenant.told.not_before).is_none_or(|not_before| not_before <= now)
    }

    /// It could, or could not, be read.
    pub fn listened(&self, uid: &str, heard: bool, now: DateTime<Utc>) {
        self.with(uid, |tenant| {
            let hearing = &mut tenant.told;
            hearing.failures = if heard { 0 } else { hearing.failures.saturating_add(1) };
            let doublings = hearing.failures.checked_sub(1);
            hearing.not_before = doublings.map(|times| now + (FIRST_DELAY * (1 << times.min(10))).min(LONGEST_DELAY));
        });
    }

    /// When it is to be read again, as far as that lies ahead.
    pub fn told_due(&self, uid: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.look(uid, |tenant| {
            let Hearing { kept, not_before, .. } = &tenant.told;
            let due = kept.as_ref().map(|(_, good_until)| *good_until);
            due.into_iter().chain(*not_before).filter(|due| *due > now).min()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("in range")
    }

    #[test]
    fn a_reading_ages_and_can_be_forgotten() {
        let memory = Memory::default();
        assert_eq!((memory.told("u", at(0)), memory.told_due("u", at(0))), (None, None));
        memory.keep_told("u", Told::default(), at(0), Duration::from_secs(100));
        assert!(memory.told("u", at(49)).is_some() && memory.told("u", at(150)).is_none());
        let due = memory.told_due("u", at(0)).expect("a time");
        assert!(due >= at(50) && due <= at(150), "{due}");
        assert_eq!(memory.told_due("u", due), None, "it is due, and the run that comes then reads it");
        memory.forget_told("u");
        assert_eq!(memory.told("u", at(1)), None);
    }

    #[test]
    fn one_that_does_not_answer_is_asked_ever_more_rarely() {
        let memory = Memory::default();
        assert!(memory.may_listen("u", at(0)));
        let mut waits = Vec::new();
        for _ in 0..10 {
            memory.listened("u", false, at(0));
            assert!(!memory.may_listen("u", at(4)));
            waits.push((memory.told_due("u", at(0)).expect("a time") - at(0)).num_seconds());
        }
        assert_eq!((waits[0], waits[1], waits[9]), (5, 10, 300));
        memory.listened("u", true, at(0));
        assert!(memory.may_listen("u", at(0)) && memory.told_due("u", at(0)).is_none());
    }
}
