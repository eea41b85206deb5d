//! The rules of the election as a machine without clock, network or tasks: it is told the time and the answers, and
//! says what to do next.
//!
//! Why two never lead at once. A leader counts its time from the moment it *sent* its last successful renewal and
//! stops after `renew_deadline`. A candidate counts from the moment it *saw* the record change, which is later than
//! the renewal was sent, and takes over after `lease`, which is longer, by a write that fails if the record changed
//! meanwhile. Each uses only its own monotonic clock; time stamps in the record are for people. Clocks may run at
//! different speeds as long as they differ by less than `lease` and `renew_deadline` do.
//!
//! A record that is missing proves nothing: the leader may not have noticed yet. Whoever makes it anew holds it for
//! one `lease` before leading. A record without a holder was released, or comes with the installation and was never
//! held: that one can be taken at once.

use std::time::{Duration, Instant};

/// The durations of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A candidate takes over when the record has not changed for this long.
    pub lease: Duration,
    /// A leader that could not renew for this long has lost. Shorter than `lease`.
    pub renew_deadline: Duration,
    /// How often a leader renews.
    pub retry: Duration,
    /// How often a candidate looks.
    pub look: Duration,
    /// The bound of one call. Shorter than `renew_deadline`, so that a renewal can fail and be tried again.
    pub call: Duration,
}

/// A holder may have been configured with a longer lease than ours, and is believed up to this.
const LONGEST_LEASE: Duration = Duration::from_secs(60);
/// The API server drops a request that it could not carry out for this long (`--request-timeout`), so that a record
/// that we asked for does not come into being later.
const LATEST_CREATION: Duration = Duration::from_secs(60);

/// The record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Changes with every write.
    pub version: String,
    /// Who holds it; nobody when empty.
    pub holder: String,
    /// The lease that the holder works with.
    pub lease: Duration,
    /// How often the holder has changed.
    pub transitions: i32,
}

/// One call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Read the record.
    Look,
    /// Make the record, held by us. Fails when it exists.
    Create,
    /// Become the holder. Fails when the record is no longer at `version`.
    Take {
        /// The version that was seen.
        version: String,
        /// The count of holders to write.
        transitions: i32,
    },
    /// Stay the holder. Fails when the record is no longer at `version`.
    Renew {
        /// The version of our last write.
        version: String,
    },
    /// Hold it no longer. Fails when the record is no longer at `version`.
    Release {
        /// The version of our last write.
        version: String,
    },
}

impl Call {
    /// One word for logs.
    pub fn label(&self) -> &'static str {
        match self {
            Call::Look => "Look",
            Call::Create => "Create",
            Call::Take { .. } => "Take",
            Call::Renew { .. } => "Renew",
            Call::Release { .. } => "Release",
        }
    }
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The record was read.
    Found(Record),
    /// There is no record.
    Missing,
    /// The record was written and is now at this version.
    Written(String),
    /// The record is not as the call expected.
    Conflict,
    /// Anything else, a lost answer included: the call may have been carried out or not, or may still be.
    Failed(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this moment.
    Wait(Instant),
    /// This call, now.
    Call(Call),
    /// Begin to lead. Said once.
    Leading,
    /// The lead is lost, for this reason. Said from then on.
    Lost(String),
}

/// One participant.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    role: Role,
    /// The next call, when it is already known what it must be.
    planned: Option<Call>,
    /// When to make the next call.
    next_at: Instant,
    /// Until then a record that is ours may be one that we made, and must not be led from at once.
    may_be_new_until: Option<Instant>,
}

#[derive(Debug)]
enum Role {
    /// The version that was last seen, and when it was first seen.
    Candidate {
        seen: Option<(String, Instant)>,
    },
    /// Holds the record; leads from `leads_at` on.
    Holder {
        version: String,
        renewed: Instant,
        leads_at: Instant,
        leads: bool,
    },
    Lost(String),
}

impl Election {
    /// A candidate under a name that no other process ever had.
    pub fn new(me: String, timing: Timing, now: Instant) -> Election {
        assert!(
            timing.call < timing.renew_deadline && timing.renew_deadline < timing.lease,
            "a leader must be able to fail once, and must stop before anybody takes over"
        );
        Election {
            me,
            timing,
            role: Role::Candidate { seen: None },
            planned: None,
            next_at: now,
            may_be_new_until: None,
        }
    }

    /// Our name.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// The durations.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Until when this process leads if it hears nothing more; in the past when it does not lead.
    pub fn leads_until(&self) -> Instant {
        match &self.role {
            Role::Holder { renewed, leads: true, .. } => *renewed + self.timing.renew_deadline,
            Role::Holder { renewed, .. } => *renewed,
            Role::Candidate { .. } | Role::Lost(_) => self.next_at,
        }
    }

    /// Whether this process may act now.
    #[cfg(test)]
    pub fn leads(&self, now: Instant) -> bool {
        matches!(&self.role, Role::Holder { leads: true, .. }) && now < self.leads_until()
    }

    /// By when a call that is sent now must be answered to be of use.
    pub fn answer_until(&self, sent: Instant) -> Instant {
        let bound = sent + self.timing.call;
        match &self.role {
            Role::Holder { renewed, .. } => bound.min(*renewed + self.timing.renew_deadline).max(sent),
            Role::Candidate { .. } | Role::Lost(_) => bound,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        match &mut self.role {
            Role::Lost(why) => return Next::Lost(why.clone()),
            Role::Holder { renewed, leads, .. } if now >= *renewed + self.timing.renew_deadline => {
                let why = format!("the lease could not be renewed for {:?}", self.timing.renew_deadline);
                let led = *leads;
                self.fall(led, why, now);
                return self.next(now);
            }
            Role::Holder { leads_at, leads, .. } if !*leads && now >= *leads_at => {
                *leads = true;
                return Next::Leading;
            }
            Role::Holder { .. } | Role::Candidate { .. } => {}
        }
        if let Some(call) = self.planned.take() {
            return Next::Call(call);
        }
        if now < self.next_at {
            return Next::Wait(self.wake_at());
        }
        Next::Call(match &self.role {
            Role::Holder { version, .. } => Call::Renew { version: version.clone() },
            Role::Candidate { .. } | Role::Lost(_) => Call::Look,
        })
    }

    /// The next moment at which something is due without an answer.
    fn wake_at(&self) -> Instant {
        match &self.role {
            Role::Holder { renewed, leads_at, leads, .. } => {
                let due = self.next_at.min(*renewed + self.timing.renew_deadline);
                if *leads { due } else { due.min(*leads_at) }
            }
            Role::Candidate { .. } | Role::Lost(_) => self.next_at,
        }
    }

    /// How a call went that was sent at `sent`; `now` is when its answer came.
    pub fn answered(&mut self, call: &Call, answer: Answer, sent: Instant, now: Instant) {
        match self.role {
            Role::Candidate { .. } => self.candidate_answered(call, answer, sent, now),
            Role::Holder { .. } => self.holder_answered(call, answer, sent, now),
            Role::Lost(_) => {}
        }
    }

    fn candidate_answered(&mut self, call: &Call, answer: Answer, sent: Instant, now: Instant) {
        let Role::Candidate { seen } = &mut self.role else { return };
        self.next_at = now + self.timing.look;
        match (call, answer) {
            (Call::Look, Answer::Missing) => {
                *seen = None;
                self.may_be_new_until = Some(now + LATEST_CREATION);
                self.planned = Some(Call::Create);
            }
            (Call::Look, Answer::Found(record)) if record.holder == self.me => {
                // An earlier write of ours arrived after all. How long ago is unknown, so that it is renewed first.
                self.planned = Some(Call::Take { version: record.version, transitions: record.transitions });
            }
            (Call::Look, Answer::Found(record)) => {
                let patience = self.timing.lease.max(record.lease.min(LONGEST_LEASE));
                let unchanged = seen.as_ref().filter(|(version, _)| *version == record.version);
                let expired = unchanged.is_some_and(|(_, since)| now.saturating_duration_since(*since) >= patience);
                if unchanged.is_none() {
                    *seen = Some((record.version.clone(), now));
                }
                if expired || record.holder.is_empty() {
                    let transitions = record.transitions.saturating_add(1);
                    self.planned = Some(Call::Take { version: record.version, transitions });
                }
            }
            (Call::Create | Call::Take { .. }, Answer::Written(version)) => {
                let may_be_new = self.may_be_new_until.is_some_and(|until| now < until);
                let leads_at = if may_be_new { now + self.timing.lease } else { now };
                self.role = Role::Holder { version, renewed: sent, leads_at, leads: false };
                self.next_at = sent + self.timing.retry;
            }
            _ => {}
        }
    }

    fn holder_answered(&mut self, call: &Call, answer: Answer, sent: Instant, now: Instant) {
        let Role::Holder { version, renewed, leads, .. } = &mut self.role else { return };
        let leads = *leads;
        self.next_at = now.max(sent + self.timing.retry);
        match (call, answer) {
            (Call::Renew { .. }, Answer::Written(written)) => {
                *version = written;
                *renewed = sent;
            }
            (Call::Renew { .. }, Answer::Conflict | Answer::Missing) => self.planned = Some(Call::Look),
            (Call::Look, Answer::Found(record)) if record.holder == self.me => {
                // A renewal whose answer was lost, or a write to something else than the holder.
                *version = record.version.clone();
                self.planned = Some(Call::Renew { version: record.version });
            }
            (Call::Look, Answer::Found(record)) => {
                self.fall(leads, format!("the lease was taken by {:?}", record.holder), now);
            }
            (Call::Look, Answer::Missing) => self.fall(leads, "the lease was deleted".to_owned(), now),
            _ => {}
        }
    }

    /// Who led has lost for good; who only held the record may try again.
    fn fall(&mut self, led: bool, why: String, now: Instant) {
        self.role = if led { Role::Lost(why) } else { Role::Candidate { seen: None } };
        self.planned = None;
        self.next_at = now;
    }

    /// Stops to lead; the call, when there is one, tells the others.
    pub fn release(&mut self, now: Instant) -> Option<Call> {
        let version = match &self.role {
            Role::Holder { version, .. } => Some(version.clone()),
            Role::Candidate { .. } | Role::Lost(_) => None,
        };
        self.fall(true, "the lease was released".to_owned(), now);
        version.map(|version| Call::Release { version })
    }
}
