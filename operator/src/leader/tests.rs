//! The rules one by one, and the tasks around them against a record in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use super::election::Record;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A record in memory with a switch that makes calls hang.
#[derive(Default)]
struct Memory {
    record: Mutex<Option<Record>>,
    hangs: AtomicBool,
    log: Mutex<Vec<String>>,
}

impl Memory {
    fn released() -> Arc<Memory> {
        let record = Record { version: "0".to_owned(), holder: String::new(), lease: SECOND, transitions: 3 };
        Arc::new(Memory { record: Mutex::new(Some(record)), ..Memory::default() })
    }

    fn holder(&self) -> String {
        locked(&self.record).as_ref().map(|record| record.holder.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl LeaseRecord for Memory {
    async fn call(&self, me: &str, call: &Call, _: &Timing) -> Answer {
        locked(&self.log).push(format!("{me} {}", call.label()));
        if self.hangs.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let mut record = locked(&self.record);
        let Some(record) = record.as_mut() else { return Answer::Missing };
        let (base, holder) = match call {
            Call::Look => return Answer::Found(record.clone()),
            Call::Create => return Answer::Conflict,
            Call::Take { version, .. } => (version, me.to_owned()),
            Call::Renew { version } => (version, record.holder.clone()),
            Call::Release { version } => (version, String::new()),
        };
        if record.version != *base {
            return Answer::Conflict;
        }
        record.holder = holder;
        record.version.push('+');
        Answer::Written(record.version.clone())
    }
}

/// A hundredth of the real durations: the tests wait for facts, and these only bound how long.
fn quick() -> Timing {
    let Timing { lease, renew_deadline, retry, look, call } = Timing::default();
    Timing {
        lease: lease / 20,
        renew_deadline: renew_deadline / 20,
        retry: retry / 20,
        look: look / 20,
        call: call / 20,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(20 * SECOND, future).await.expect("it should not take 20 s")
}

#[tokio::test]
async fn a_released_lease_is_taken_held_and_handed_on() {
    let record = Memory::released();
    let first = soon(acquire(record.clone(), "a".to_owned(), quick())).await;
    assert!(first.is_held());
    assert_eq!(record.holder(), "a");
    let mut second = Box::pin(acquire(record.clone(), "b".to_owned(), quick()));
    // Longer than a lease: renewal keeps the other out.
    assert!(tokio::time::timeout(quick().lease * 3, &mut second).await.is_err(), "the first one leads");
    assert!(first.is_held());
    first.release().await;
    assert_eq!(record.holder(), "");
    assert!(soon(second).await.is_held());
    assert_eq!(record.holder(), "b");
}

#[tokio::test]
async fn a_leader_that_hears_nothing_loses_before_another_leads() {
    let record = Memory::released();
    let leadership = soon(acquire(record.clone(), "a".to_owned(), quick())).await;
    record.hangs.store(true, Ordering::SeqCst);
    let why = soon(leadership.lost()).await;
    assert!(why.starts_with("the lease could not be renewed for"), "{why}");
    assert!(!leadership.is_held());
    let renewals = locked(&record.log).iter().filter(|line| line.as_str() == "a Renew").count();
    assert!(renewals >= 2, "one call that hangs must not use up the whole deadline: {renewals}");
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_or_deleted_loses() {
    for (change, reason) in [(Some("somebody"), "taken by \"somebody\""), (None, "deleted")] {
        let record = Memory::released();
        let leadership = soon(acquire(record.clone(), "a".to_owned(), quick())).await;
        *locked(&record.record) = change.map(|holder| Record {
            version: "other".to_owned(),
            holder: holder.to_owned(),
            lease: SECOND,
            transitions: 9,
        });
        let why = soon(leadership.lost()).await;
        assert!(why.contains(reason), "{why}");
        assert!(!leadership.is_held());
        leadership.release().await;
        assert_eq!(record.holder(), change.unwrap_or_default(), "what is not ours is not released");
    }
}

fn election(now: Instant) -> Election {
    Election::new("me".to_owned(), Timing::default(), now)
}

fn found(version: &str, holder: &str) -> Answer {
    let (version, holder) = (version.to_owned(), holder.to_owned());
    Answer::Found(Record { version, holder, lease: 9 * SECOND, transitions: 4 })
}

/// Lets the machine look at `now` and answers it so.
fn looks(election: &mut Election, now: Instant, answer: Answer) -> Next {
    assert_eq!(election.next(now), Next::Call(Call::Look));
    election.answered(&Call::Look, answer, now, now);
    election.next(now)
}

#[test]
fn a_candidate_counts_from_the_last_change_that_it_saw() {
    let start = Instant::now();
    let mut election = election(start);
    let at = |tenths: u32| start + SECOND / 10 * tenths;
    assert!(matches!(looks(&mut election, at(0), found("1", "other")), Next::Wait(_)));
    assert!(matches!(looks(&mut election, at(80), found("2", "other")), Next::Wait(_)), "it was renewed");
    assert!(matches!(looks(&mut election, at(169), found("2", "other")), Next::Wait(_)), "8.9 s since");
    let take = Call::Take { version: "2".to_owned(), transitions: 5 };
    assert_eq!(looks(&mut election, at(179), found("2", "other")), Next::Call(take.clone()), "9.9 s since");
    election.answered(&take, Answer::Conflict, at(179), at(179));
    assert!(matches!(election.next(at(179)), Next::Wait(_)), "it was renewed in the last moment");
}

#[test]
fn a_holder_with_a_longer_lease_is_waited_for() {
    let start = Instant::now();
    let mut election = election(start);
    let slow = || {
        Answer::Found(Record {
            version: "1".to_owned(),
            holder: "other".to_owned(),
            lease: 15 * SECOND,
            transitions: 0,
        })
    };
    assert!(matches!(looks(&mut election, start, slow()), Next::Wait(_)));
    assert!(matches!(looks(&mut election, start + 14 * SECOND, slow()), Next::Wait(_)));
    assert!(matches!(looks(&mut election, start + 15 * SECOND, slow()), Next::Call(Call::Take { .. })));
}

#[test]
fn who_makes_the_record_waits_for_a_leader_that_has_not_noticed() {
    let start = Instant::now();
    let mut election = election(start);
    assert_eq!(looks(&mut election, start, Answer::Missing), Next::Call(Call::Create));
    election.answered(&Call::Create, Answer::Written("1".to_owned()), start, start);
    let mut now = start;
    let mut renewals = 0;
    while now < start + 9 * SECOND {
        match election.next(now) {
            Next::Wait(until) => now = until,
            Next::Call(call @ Call::Renew { .. }) => {
                renewals += 1;
                election.answered(&call, Answer::Written(renewals.to_string()), now, now);
            }
            other => panic!("{other:?} before the time"),
        }
        assert!(!election.leads(now));
    }
    assert_eq!(election.next(now), Next::Leading);
    assert!(election.leads(now) && renewals >= 5, "{renewals}");
}

#[test]
fn a_leader_counts_from_when_it_sent_the_renewal() {
    let start = Instant::now();
    let mut election = election(start);
    let take = Call::Take { version: "1".to_owned(), transitions: 5 };
    assert_eq!(looks(&mut election, start, found("1", "")), Next::Call(take.clone()));
    election.answered(&take, Answer::Written("2".to_owned()), start, start + SECOND);
    assert_eq!(election.next(start + SECOND), Next::Leading);
    assert!(election.leads(start + SECOND * 59 / 10));
    let (sent, came) = (start + 2 * SECOND, start + 4 * SECOND);
    let renew = Call::Renew { version: "2".to_owned() };
    assert_eq!(election.next(sent), Next::Call(renew.clone()));
    election.answered(&renew, Answer::Written("3".to_owned()), sent, came);
    assert!(election.leads(sent + SECOND * 59 / 10));
    assert!(!election.leads(sent + 6 * SECOND), "six seconds from sending, not from the answer");
    assert!(matches!(election.next(sent + 6 * SECOND), Next::Lost(_)));
}

#[test]
fn a_lost_answer_to_a_take_over_is_found_out() {
    let start = Instant::now();
    let mut election = election(start);
    let take = Call::Take { version: "1".to_owned(), transitions: 5 };
    assert_eq!(looks(&mut election, start, found("1", "")), Next::Call(take.clone()));
    election.answered(&take, Answer::Failed("lost".to_owned()), start, start + 2 * SECOND);
    let later = start + 3 * SECOND;
    let again = Call::Take { version: "2".to_owned(), transitions: 4 };
    assert_eq!(looks(&mut election, later, found("2", "me")), Next::Call(again.clone()), "renewed before it leads");
    election.answered(&again, Answer::Written("3".to_owned()), later, later);
    assert_eq!(election.next(later), Next::Leading);
}

#[test]
fn a_conflict_that_is_not_about_the_holder_is_survived() {
    let start = Instant::now();
    let mut election = election(start);
    let take = Call::Take { version: "1".to_owned(), transitions: 5 };
    assert_eq!(looks(&mut election, start, found("1", "")), Next::Call(take.clone()));
    election.answered(&take, Answer::Written("2".to_owned()), start, start);
    assert_eq!(election.next(start), Next::Leading);
    let later = start + 2 * SECOND;
    let renew = |version: &str| Call::Renew { version: version.to_owned() };
    assert_eq!(election.next(later), Next::Call(renew("2")));
    election.answered(&renew("2"), Answer::Conflict, later, later);
    assert_eq!(looks(&mut election, later, found("7", "me")), Next::Call(renew("7")));
    election.answered(&renew("7"), Answer::Written("8".to_owned()), later, later);
    assert!(election.leads(later + 5 * SECOND));
}
