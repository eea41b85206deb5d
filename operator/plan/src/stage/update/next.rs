//! What is due: a version that the feed allows or a person pinned, or a template that was held back; and what status says
//! of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crds::update_status::{BlockerStatus, HopKind, HopResult, MissedWindow, Next};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Given;
use crate::clock::{from_jiff, to_jiff};
use crate::course;
use crate::feed::Feed;
use crate::feed::hold::{self, Hold};
use crate::feed::target::{Goal, Question, Reach, Target, target};
use crate::gate::{Answer, Blocker};
use crate::stage::Scope;
use crate::version::{KNOWN_MAJORS, Version};

/// A change that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// What kind.
    pub kind: HopKind,
    /// Where it leads.
    pub to: Version,
    /// Where the way ends.
    pub goal: Version,
    /// How many hops lead there.
    pub hops: u64,
    /// Whether it brings what cannot wait.
    pub critical: bool,
    /// Since when the channel has allowed it.
    pub allowed_since: Option<DateTime<Utc>>,
    /// What the feed holds against it.
    pub holds: Vec<Hold>,
}

/// The version that is wanted next. Without a feed only what needs none can be told: that a pin is not in it.
pub fn version(scope: &Scope<'_>, running: &Version, reach: Reach) -> Option<Due> {
    let updates = &scope.observed.updates;
    let empty = Feed::default();
    let feed = updates.feed.as_deref().unwrap_or(&empty);
    let highest = course::highest(scope);
    let failed = failed(scope);
    let question = Question {
        feed,
        standing: &updates.standing,
        goal: &scope.wanted.goal,
        running,
        high_water: highest.as_ref(),
        majors: KNOWN_MAJORS,
        wave: scope.wanted.wave,
        failed: &failed,
        reach,
        now: scope.observed.now,
    };
    match target(&question) {
        Target::Settled => None,
        Target::Hop(hop) => Some(Due {
            kind: hop.kind,
            to: hop.to,
            goal: hop.goal,
            hops: hop.hops,
            critical: hop.critical,
            allowed_since: hop.due_since,
            holds: hop.holds,
        }),
        Target::Nowhere(nowhere) => {
            let goal = nowhere.goal.unwrap_or_else(|| running.clone());
            let kind = crate::version::change(running, &goal);
            Some(Due {
                kind,
                to: goal.clone(),
                goal,
                hops: 1,
                critical: false,
                allowed_since: None,
                holds: nowhere.holds,
            })
        }
    }
}

/// A template that was held back, as a change of its own.
pub fn template(given: &Given<'_>) -> Option<Due> {
    given.course.pending_template.then(|| Due {
        kind: HopKind::Template,
        to: given.running.clone(),
        goal: given.running.clone(),
        hops: 1,
        critical: false,
        allowed_since: None,
        holds: Vec::new(),
    })
}

/// Versions that failed here and are not tried again before the spec changes.
fn failed(scope: &Scope<'_>) -> BTreeMap<Version, DateTime<Utc>> {
    let generation = scope.observed.tenant.metadata.generation.unwrap_or_default();
    let history = scope.observed.tenant.status.iter().flat_map(|status| &status.history);
    history
        .filter(|record| record.result != HopResult::Succeeded && record.generation == generation)
        .filter(|record| record.kind != HopKind::Template)
        .filter_map(|record| Some((Version::parse(&record.to).ok()?, from_jiff(record.finished_at.0))))
        .collect()
}

/// A template that failed here is not tried again before the spec or the rendering changes.
pub fn template_failed(scope: &Scope<'_>) -> Option<DateTime<Utc>> {
    let generation = scope.observed.tenant.metadata.generation.unwrap_or_default();
    let last = scope.observed.tenant.status.as_ref()?.history.first()?;
    let failed = last.kind == HopKind::Template && last.result != HopResult::Succeeded && last.generation == generation;
    failed.then(|| from_jiff(last.finished_at.0))
}

/// What status says of it.
pub fn status(scope: &Scope<'_>, due: &Due, answer: &Answer) -> Next {
    let now = scope.observed.now;
    let before = scope.observed.tenant.status.as_ref().and_then(|status| status.next.as_ref());
    let goal = due.goal.to_string();
    let same = before.filter(|before| before.goal.as_ref().unwrap_or(&before.to) == &goal && before.kind == due.kind);
    // The feed does not know since when a pin or a template has been wanted: since it was first seen.
    let allowed = !due.holds.iter().any(|hold| !matches!(hold, Hold::FailedHere { .. }));
    let since = due.allowed_since.or_else(|| {
        let seen = same.and_then(|before| before.due_since.as_ref()).map(|since| from_jiff(since.0));
        allowed.then(|| seen.unwrap_or(now))
    });
    let (missed, last_missed) = missed(scope, same);
    Next {
        kind: due.kind,
        to: due.to.to_string(),
        goal: (due.goal != due.to).then_some(goal),
        hops: i32::try_from(due.hops).unwrap_or(i32::MAX),
        due_since: since.map(|since| Time(to_jiff(since))),
        not_before: not_before(scope, due, answer).map(|instant| Time(to_jiff(instant))),
        actionable: answer.blockers.iter().any(Blocker::needs_person),
        blockers: answer.blockers.iter().map(Blocker::status).collect(),
        missed,
        last_missed,
    }
}

/// The first instant at which time alone holds nothing back any more; none while it may start now.
fn not_before(scope: &Scope<'_>, due: &Due, answer: &Answer) -> Option<DateTime<Utc>> {
    let now = scope.observed.now;
    let passes = answer.blockers.iter().filter_map(Blocker::passes_at).max()?;
    let earliest = hold::until(&due.holds).into_iter().chain([passes]).max()?.max(now);
    let window = answer.blockers.iter().any(|blocker| {
        matches!(blocker, Blocker::WindowClosed { .. } | Blocker::Excluded { .. } | Blocker::NeverOpen { .. })
    });
    let Some(schedule) = scope.observed.updates.window.schedule().filter(|_| window) else { return Some(earliest) };
    match schedule.open_at(earliest) {
        Some(_) => Some(earliest),
        None => schedule.next_start_after(earliest),
    }
}

/// Windows that passed from beginning to end while the change was due and none was started, counted once each: the last
/// one counted stands in status.
fn missed(scope: &Scope<'_>, before: Option<&Next>) -> (i32, Option<MissedWindow>) {
    let Some(before) = before else { return (0, None) };
    let so_far = (before.missed, before.last_missed.clone());
    let ended = scope.observed.updates.window.schedule().and_then(|schedule| schedule.last_ended(scope.observed.now));
    let Some(start) = ended.as_ref().and_then(|ended| ended.known_start()) else { return so_far };
    let Some(end) = ended.as_ref().and_then(|ended| ended.known_end()) else { return so_far };
    let due = before.due_since.as_ref().is_some_and(|since| from_jiff(since.0) <= start);
    let counted = before.last_missed.as_ref().is_some_and(|missed| from_jiff(missed.start.0) >= start);
    let history = scope.observed.tenant.status.iter().flat_map(|status| &status.history);
    let started = history.into_iter().any(|record| (start..end).contains(&from_jiff(record.started_at.0)));
    if !due || counted || started {
        return so_far;
    }
    let missed = MissedWindow { start: Time(to_jiff(start)), reason: obstacle(&before.blockers) };
    (before.missed.saturating_add(1), Some(missed))
}

/// What was in the way last, windows apart.
fn obstacle(blockers: &[BlockerStatus]) -> String {
    let other = blockers.iter().find(|blocker| !["WindowClosed", "Excluded"].contains(&blocker.reason.as_str()));
    other.or(blockers.first()).map_or_else(|| "NotSettled".to_owned(), |blocker| blocker.reason.clone())
}

/// When to look again: at the next edge of the window, or when something passes.
pub fn wake(scope: &Scope<'_>, answer: &Answer) -> Option<TimeDelta> {
    let now = scope.observed.now;
    let edge = scope.observed.updates.window.schedule().and_then(|schedule| schedule.next_boundary(now));
    let passes = answer.blockers.iter().filter_map(Blocker::passes_at);
    passes.chain(edge).filter(|instant| *instant > now).min().map(|instant| instant - now)
}

/// Whether the tenant follows a channel.
pub fn follows(scope: &Scope<'_>) -> bool {
    matches!(scope.wanted.goal, Goal::Channel(_))
}
