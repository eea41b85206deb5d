//! The stages of a tenant. Each looks at the facts, says what holds (verdicts) and what to do (steps); a stage that is
//! not settled withholds the steps of the later ones, but never their verdicts.

pub mod agents;
pub mod auth;
pub mod cloud;
pub mod deployment;
pub mod identity;
pub mod keys;
pub mod metrics;
pub mod proxy;
pub mod publish;
pub mod route;
pub mod update;

use chrono::TimeDelta;
use crds::{ConditionType, Reason};
use serde_json::Value;

use crate::cloud::CloudNames;
use crate::fact::Fact;
use crate::fleet::{Account, Installation};
use crate::names::Identity;
use crate::object::{Difference, Object, Ref, difference};
use crate::observed::Observed;
use crate::stage::deployment::Rollout;
use crate::step::Step;
use crate::trouble;
use crate::wanted::Wanted;

/// How often to look again at something that changes by itself and sends no event.
pub const POLL: TimeDelta = TimeDelta::seconds(1);
/// How often to look whether a person did what was asked for.
pub const RETRY: TimeDelta = TimeDelta::seconds(10);

/// What every stage looks at.
pub struct Scope<'a> {
    /// The facts.
    pub observed: &'a Observed,
    /// The spec, parsed.
    pub wanted: &'a Wanted,
    /// The fleet policy.
    pub installation: &'a Installation,
    /// Where the tenant's data is, or will be.
    pub account: &'a Account,
    /// Names in the cluster.
    pub tenant: Identity,
    /// Names in the cloud.
    pub cloud: CloudNames,
}

/// Answer to the question of one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    True,
    /// No.
    False,
    /// Cannot be told.
    Unknown,
}

/// One condition as the stage sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The question.
    pub condition: ConditionType,
    /// The answer.
    pub answer: Answer,
    /// In one word.
    pub reason: Reason,
    /// For people: what it is, and what to do.
    pub message: String,
}

/// Why only a person can help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// In one word.
    pub reason: Reason,
    /// What to do.
    pub message: String,
}

/// Outcome of one stage.
#[derive(Debug, Default)]
pub struct Stage {
    /// Conditions.
    pub verdicts: Vec<Verdict>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What it waits for, for people; empty and without steps means settled.
    pub waiting: Vec<String>,
    /// Set when only a person can help.
    pub stalled: Option<Stall>,
    /// Look again after this time at the latest.
    pub wake: Option<TimeDelta>,
    /// Look again then also while an earlier stage is open: an edge of the window, or a term of the hop that runs.
    pub term: Option<TimeDelta>,
    /// Objects that must be read by name before more can be said.
    pub needs: Vec<Ref>,
    /// Whether the pods are to be looked at: some should be ready for a while already.
    pub pods: bool,
    /// What could not be read. Nothing is concluded from it; it keeps the stage open.
    pub unread: Vec<String>,
}

impl Stage {
    /// Whether nothing is left to do or to wait for.
    pub fn is_settled(&self) -> bool {
        self.only_unread() && self.unread.is_empty()
    }

    /// Whether nothing but an answer that did not come keeps it open.
    pub fn only_unread(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty() && self.stalled.is_none() && self.needs.is_empty()
    }

    /// Whether nothing is left but to put objects back that are there and not as they should be.
    pub fn only_puts_back(&self, scope: &Scope<'_>) -> bool {
        let Stage { steps, waiting, stalled, needs, unread, .. } = self;
        let there = |object: &Object| scope.observed.objects.known(&object.reference).is_some();
        let puts_back = steps.iter().all(|step| matches!(step, Step::Apply(object) if there(object)));
        puts_back && waiting.is_empty() && stalled.is_none() && needs.is_empty() && unread.is_empty()
    }

    /// Adds a verdict.
    pub fn verdict(&mut self, condition: ConditionType, answer: Answer, reason: Reason, message: impl Into<String>) {
        self.verdicts.push(Verdict { condition, answer, reason, message: message.into() });
    }

    /// Waits for something that sends an event when it comes.
    pub fn waits(&mut self, what: impl Into<String>) {
        self.waiting.push(what.into());
    }

    /// Waits for something that must be asked for again.
    pub fn polls(&mut self, what: impl Into<String>) {
        self.waits(what);
        self.wakes_in(POLL);
    }

    /// Looks again after this time at the latest.
    pub fn wakes_in(&mut self, delay: TimeDelta) {
        self.wake = Some(self.wake.map_or(delay, |wake| wake.min(delay)));
    }

    /// Only a person can help. The first reason stands. What a person does sends no event, so it is looked for again
    /// after `retry`.
    pub fn stalls(&mut self, reason: Reason, message: impl Into<String>, retry: TimeDelta) {
        self.stalled.get_or_insert_with(|| Stall { reason, message: message.into() });
        self.wakes_in(retry);
    }

    /// The answer did not come: the condition cannot be told.
    pub fn unread(&mut self, condition: ConditionType, what: &str) {
        self.verdict(condition, Answer::Unknown, Reason::Retrying, what);
        self.unread.push(what.to_owned());
        self.wakes_in(POLL);
    }

    /// Waits for the pods of a Deployment; says why, as soon as that takes longer than it should.
    pub fn waits_for_pods(&mut self, scope: &Scope<'_>, reference: &Ref, live: Option<&Value>) {
        let rollout = live.map(Rollout::of).unwrap_or_default();
        let mut text = format!("{reference}: {} of {} pods ready", rollout.ready, rollout.wanted);
        if let Some(why) = self.trouble(scope, reference, live) {
            text.push_str(&format!(" ({why})"));
        }
        self.waits(text);
        // No event comes when it begins to be late, nor when what keeps a pod from coming up is another thing than before.
        let late = live.is_some_and(|live| trouble::is_late(live, scope.observed.wall));
        self.wakes_in(if late { trouble::AGAIN } else { trouble::PATIENCE });
    }

    /// Why pods of a Deployment do not come up, if it should be ready by now and that is known.
    pub fn trouble(&mut self, scope: &Scope<'_>, reference: &Ref, live: Option<&Value>) -> Option<String> {
        let live = live.filter(|live| trouble::is_late(live, scope.observed.wall))?;
        if let Some(refused) = trouble::of_deployment(live) {
            return Some(refused);
        }
        let Fact::Known(troubles) = &scope.observed.troubles else {
            self.pods = true;
            return None;
        };
        let own = format!("{}-", reference.name);
        let found = troubles.iter().find(|trouble| trouble.pod.starts_with(&own))?;
        Some(format!("pod {}: {}", found.pod, found.why))
    }

    /// Adds what another one does and waits for.
    pub fn join(&mut self, other: Stage) {
        let Stage { verdicts, steps, waiting, stalled, wake, term, needs, pods, unread } = other;
        self.verdicts.extend(verdicts);
        self.steps.extend(steps);
        self.waiting.extend(waiting);
        self.stalled = self.stalled.take().or(stalled);
        self.wake = self.wake.into_iter().chain(wake).min();
        self.term = self.term.into_iter().chain(term).min();
        self.needs.extend(needs);
        self.pods |= pods;
        self.unread.extend(unread);
    }

    /// Brings an object to what it should be; answers whether it is.
    pub fn ensure(&mut self, scope: &Scope<'_>, object: &Object) -> bool {
        let Some(live) = scope.observed.objects.read(&object.reference) else {
            self.needs.push(object.reference.clone());
            return false;
        };
        match difference(object, live, &scope.tenant.uid) {
            Difference::Same => return true,
            Difference::Missing | Difference::At(_) => self.steps.push(Step::Apply(Box::new(object.clone()))),
            Difference::Foreign(how) => self.stalls(
                Reason::NameTaken,
                format!("{how}: delete or rename it, or create the Tenant under another name"),
                RETRY,
            ),
            Difference::Terminating => self.polls(format!("{} is being deleted", object.reference)),
            Difference::Unknown => self.unread.push(format!("{} could not be read", object.reference)),
        }
        false
    }

    /// What it does or waits for, in one line.
    pub fn progress(&self) -> String {
        let doing = self.steps.iter().map(ToString::to_string);
        let reading = self.needs.iter().map(|reference| format!("read {reference}"));
        let unread = self.unread.iter().cloned();
        let mut parts: Vec<String> = self.waiting.iter().cloned().chain(doing).chain(reading).chain(unread).collect();
        parts.dedup();
        parts.truncate(4);
        parts.join("; ")
    }
}
