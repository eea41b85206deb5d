//! The end of old recovery points: housekeeping, which is done while a tenant is settled and nothing else is done. It
//! holds back nothing, and makes no condition False.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use crds::tenant_status::TenantStatus;

use crate::clock::from_jiff;
use crate::cloud::backup::{KEEP, Source, expired};
use crate::cloud::step::CloudStep;
use crate::stage::Scope;

/// The recovery points to delete. None while the backups were not listed, which happens once a day.
pub fn steps(scope: &Scope<'_>, status: &TenantStatus) -> Vec<CloudStep> {
    let now = scope.observed.now;
    let source = Source::new(scope.installation, &scope.tenant, &scope.cloud);
    expired(&source, &scope.observed.updates.backups, KEEP, now, &in_use(status, now))
}

/// What status still leads a person to: the recovery point of a hop that runs, and those of hops that ended within the
/// retention. A hop may last, so that its recovery point is older than its end.
fn in_use(status: &TenantStatus, now: DateTime<Utc>) -> BTreeSet<String> {
    let running = status.update.iter().filter_map(|update| update.recovery_point.clone());
    let recent = status.history.iter().filter(|record| now - from_jiff(record.finished_at.0) < KEEP);
    running.chain(recent.filter_map(|record| record.recovery_point.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(finished: &str, arn: Option<&str>) -> Value {
        json!({"kind": "Major", "from": "17.5.2", "to": "18.1.0", "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": finished, "result": "Succeeded", "generation": 1, "pauseSeconds": 0, "recoveryPoint": arn})
    }

    #[test]
    fn what_status_leads_to_is_in_use_for_as_long_as_it_is_kept() {
        let status = |update: Value| -> TenantStatus {
            let history = [
                record("2026-06-30T00:00:00Z", Some("recent")),
                record("2026-06-29T00:00:00Z", None),
                record("2026-05-27T00:00:01Z", Some("last day")),
                record("2026-05-27T00:00:00Z", Some("over")),
            ];
            serde_json::from_value(json!({"conditions": [], "history": history, "update": update})).expect("a status")
        };
        let now = "2026-07-01T00:00:00Z".parse().expect("RFC 3339");
        let names = |status: &TenantStatus| in_use(status, now).into_iter().collect::<Vec<_>>();
        assert_eq!(names(&status(Value::Null)), ["last day", "recent"]);
        let halted = json!({"kind": "Major", "from": "17.5.2", "to": "18.1.0", "stage": "Auth",
            "startedAt": "2026-01-01T00:00:00Z", "stageSince": "2026-01-01T00:00:00Z", "downSecondsBefore": 0,
            "recoveryPoint": "running", "haltedAt": "2026-01-02T00:00:00Z"});
        assert_eq!(names(&status(halted)), ["last day", "recent", "running"], "however old it is");
    }
}
