//! One leader among the operator's replicas, by a Lease. At most one process leads at any moment; losing the lease has
//! to end the process, since work that already runs cannot be called back.
//!
//! `election` decides and touches nothing, `lease` talks to the API server and decides nothing, and this file joins
//! the two with the clock.

mod election;
mod lease;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use election::{Election, Next};

pub use election::{Answer, Call, Record, Timing};
pub use lease::{KubeLease, client, identity};

/// The record that candidates compete for.
#[async_trait]
pub trait LeaseRecord: Send + Sync + 'static {
    /// Makes one call, once: no retries below this.
    async fn call(&self, me: &str, call: &Call, timing: &Timing) -> Answer;
}

/// Waits until this process leads. Dropping the future gives up.
pub async fn acquire(record: Arc<dyn LeaseRecord>, me: String, timing: Timing) -> Leadership {
    let mut election = Election::new(me, timing, Instant::now());
    loop {
        match election.next(Instant::now()) {
            Next::Wait(until) => tokio::time::sleep_until(until.into()).await,
            Next::Call(call) => make(record.as_ref(), &mut election, call).await,
            Next::Leading => return Leadership::begin(record, election),
            Next::Lost(_) => unreachable!("only a leader can lose"),
        }
    }
}

/// Makes a call with the bound that the election gives it and tells the election how it went.
async fn make(record: &dyn LeaseRecord, election: &mut Election, call: Call) {
    let sent = Instant::now();
    let bound = election.answer_until(sent);
    let call_made = record.call(election.me(), &call, election.timing());
    let answer = match tokio::time::timeout_at(bound.into(), call_made).await {
        Ok(answer) => answer,
        Err(_) => Answer::Failed(format!("no answer within {:?}", bound - sent)),
    };
    if let Answer::Failed(reason) = &answer {
        tracing::warn!(call = call.label(), reason, "leader lease call failed");
    }
    election.answered(&call, answer, sent, Instant::now());
}

/// The lead, renewed in the background until it is released or lost. Dropped without a release it is no longer renewed
/// and runs out.
#[derive(Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
    renewal: JoinHandle<Election>,
    stop: CancellationToken,
    lost: CancellationToken,
    record: Arc<dyn LeaseRecord>,
}

impl std::fmt::Debug for dyn LeaseRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LeaseRecord")
    }
}

#[derive(Debug)]
struct Shared {
    /// Until when this process may act without having heard more.
    until: Mutex<Instant>,
    why: Mutex<Option<String>>,
}

impl Leadership {
    fn begin(record: Arc<dyn LeaseRecord>, election: Election) -> Leadership {
        let shared = Arc::new(Shared { until: Mutex::new(election.leads_until()), why: Mutex::new(None) });
        let (stop, lost) = (CancellationToken::new(), CancellationToken::new());
        let renewal =
            tokio::spawn(renew(Arc::clone(&record), election, Arc::clone(&shared), stop.clone(), lost.clone()));
        Leadership { shared, renewal, stop, lost, record }
    }

    /// Whether this process may act right now. Judged by the clock, so that it is right even in a process that was
    /// stopped for a while and whose tasks have not run since.
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled() && Instant::now() < *locked(&self.shared.until)
    }

    /// Ends when the lead is lost, with the reason. The process must end then.
    pub async fn lost(&self) -> String {
        self.lost.cancelled().await;
        locked(&self.shared.why).clone().unwrap_or_else(|| "the renewal of the lease ended unexpectedly".to_owned())
    }

    /// Gives the lead up for the next one to take at once. To be called when all work has ended.
    pub async fn release(mut self) {
        self.stop.cancel();
        let Ok(mut election) = (&mut self.renewal).await else { return };
        if let Some(call) = election.release(Instant::now()) {
            make(self.record.as_ref(), &mut election, call).await;
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn renew(
    record: Arc<dyn LeaseRecord>,
    mut election: Election,
    shared: Arc<Shared>,
    stop: CancellationToken,
    lost: CancellationToken,
) -> Election {
    // A panic in here is a loss too.
    let on_panic = lost.drop_guard();
    loop {
        match election.next(Instant::now()) {
            Next::Wait(until) => tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = stop.cancelled() => break,
            },
            // Not interrupted by a stop: a release needs to know what the last call did to the record.
            Next::Call(call) => {
                make(record.as_ref(), &mut election, call).await;
                *locked(&shared.until) = election.leads_until();
            }
            Next::Leading => unreachable!("a leader is told when to renew"),
            Next::Lost(why) => {
                *locked(&shared.why) = Some(why);
                return election;
            }
        }
    }
    on_panic.disarm();
    election
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            lease: Duration::from_secs(9),
            renew_deadline: Duration::from_secs(6),
            retry: Duration::from_millis(1500),
            look: Duration::from_secs(1),
            call: Duration::from_secs(2),
        }
    }
}
