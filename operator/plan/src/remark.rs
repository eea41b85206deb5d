//! What a person should know and nobody acts upon. Each is a condition that exists only while it is True, and that makes
//! no other one False: the tenant is as its spec asks.

use crds::tenant_status::TenantStatus;
use crds::{ConditionType, Reason};

use crate::consent;
use crate::feed::Remark;
use crate::observed::{Observed, Source, StageName};
use crate::report::{clear, lasts, reason_of, set};
use crate::stage::{Answer, Scope, Stage, Verdict};
use crate::version::Version;

/// Tells that the release which runs is not in the feed any more. A feed without any release lists nothing, so that
/// nothing was taken from it.
pub fn release(observed: &Observed, running: &Version, status: &mut TenantStatus) {
    let feed = observed.updates.feed.as_ref().ok().filter(|feed| !feed.releases.is_empty());
    let remark = feed.and_then(|feed| feed.remark(running));
    let told = remark.map(|remark| {
        let reason = match remark {
            Remark::NotListed(_) => Reason::ReleaseNotListed,
            Remark::Withdrawn(_) => Reason::ReleaseWithdrawn,
        };
        (reason, remark.to_string())
    });
    tell(observed, ConditionType::ReleaseUnlisted, told, status);
}

/// Tells that the fleet policy as it is written now is not the one in force.
pub fn policy(observed: &Observed, status: &mut TenantStatus) {
    let told = observed.updates.policy_fault.as_ref().map(|fault| {
        let message =
            format!("the fleet policy as it is written cannot be used, and the last good one is in force: {fault}");
        (Reason::FleetPolicyInvalid, message)
    });
    tell(observed, ConditionType::PolicyStale, told, status);
}

/// Tells of annotations that the fleet policy does not allow.
pub fn annotations(scope: &Scope<'_>, status: &mut TenantStatus) {
    let (_, refused) = consent::annotations(scope.wanted, scope.installation);
    let told = refused.map(|message| (Reason::AnnotationNotAllowed, message));
    tell(scope.observed, ConditionType::AnnotationsRefused, told, status);
}

/// Tells what keeps scrapers from reading the metrics.
pub fn metrics(scope: &Scope<'_>, stage: &Stage, status: &mut TenantStatus) {
    let failure = scope.observed.failures.get(&(StageName::Metrics, Source::Step));
    let failure = failure.filter(|failure| lasts(scope.observed, failure));
    let told = stage.stalled.as_ref().map(|stall| (stall.reason, stall.message.clone()));
    let told = told.or_else(|| failure.map(|failure| (reason_of(failure), failure.message.clone())));
    tell(scope.observed, ConditionType::MetricsUnreadable, told, status);
}

fn tell(observed: &Observed, condition: ConditionType, told: Option<(Reason, String)>, status: &mut TenantStatus) {
    match told {
        Some((reason, message)) => {
            let verdict = Verdict { condition, answer: Answer::True, reason, message };
            set(&mut status.conditions, observed, verdict);
        }
        None => clear(&mut status.conditions, condition),
    }
}
