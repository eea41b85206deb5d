//! Objects of a settled tenant that somebody has changed by hand are put back without a word: a status that tells of each
//! hand that is corrected within a second would only make those who wait for Ready start, by three writes instead of one.
//! What does not come of it, what it costs users, and what is changed again is told.

use chrono::TimeDelta;
use crds::ConditionType;

use crate::observed::{Source, StageName};
use crate::stage::Scope;

/// What is changed again so soon after it was put back is told: somebody else may want it so.
const QUIET: TimeDelta = TimeDelta::minutes(10);

/// Whether nothing is said of a stage in which nothing is left but to put objects back.
pub(crate) fn is_quiet(scope: &Scope<'_>, stage: StageName) -> bool {
    let observed = scope.observed;
    let Some(before) = &observed.tenant.status else { return false };
    let name = ConditionType::Ready.to_string();
    let ready = before.conditions.iter().any(|found| found.type_ == name && found.status == "True");
    let settled = ready && before.observed_generation == observed.tenant.metadata.generation;
    let again = observed.mended.is_some_and(|last| observed.now - last < QUIET);
    let failed = observed.failures.contains_key(&(stage, Source::Step));
    settled && before.update.is_none() && !scope.wanted.paused && !failed && !again
}
