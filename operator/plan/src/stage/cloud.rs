//! Second stage: tables, bucket and role.

use std::collections::BTreeSet;

use crds::{ConditionType, Reason};

use super::{Answer, RETRY, Scope, Stage};
use crate::cloud::wanted::BucketWishes;
use crate::cloud::{Gap, Part, stage as gaps, wanted};
use crate::step::Step;

/// What the later stages and the next reading go by.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// The resources on which something is done or awaited: the others need not be read again for it.
    pub open: BTreeSet<Part>,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>) -> Outcome {
    let mut stage = Stage::default();
    let Scope { installation, account, tenant, cloud, .. } = scope;
    let facts = &scope.observed.cloud;
    let tags = wanted::tags(installation, tenant);
    let recovery = scope.wanted.point_in_time_recovery;
    let used = scope.observed.tenant.status.as_ref().is_some_and(|status| status.auth_high_water.is_some());
    let key = scope.wanted.pod_inputs.kms_key_arn.as_deref();
    let wishes = BucketWishes { kms_key: key.map(str::to_owned), retention_days: scope.wanted.session_retention_days };
    let state = wanted::state_table(cloud, key, tags.clone());
    let storage = [
        gaps::state_table(cloud, &state, recovery, &facts.state_table, used),
        gaps::table(cloud, &wanted::events_table(cloud, key, tags.clone()), recovery, &facts.events_table),
        gaps::bucket(cloud, &tags, &wishes, &facts.bucket),
    ];
    let role = [gaps::role(cloud, &wanted::role(installation, account, tenant, cloud), key, &facts.role)];
    let all = storage.iter().chain(&role).zip([Part::StateTable, Part::EventsTable, Part::Bucket, Part::Role]);
    let open = all.filter(|(gap, _)| !gap.is_closed()).map(|(_, part)| part).collect();
    // The role first: it has the right to a key before anything lies under that.
    judge(ConditionType::CredentialsReady, "the role and its policy are as specified", role, &mut stage);
    judge(ConditionType::StorageReady, "both tables and the bucket are as specified", storage, &mut stage);
    Outcome { stage, open }
}

fn judge<const N: usize>(condition: ConditionType, settled: &str, parts: [Gap; N], stage: &mut Stage) {
    let text = |of: fn(&Gap) -> Option<String>| parts.iter().filter_map(of).collect::<Vec<_>>().join("; ");
    let (foreign, lost) = (text(|gap| gap.foreign.clone()), text(|gap| gap.lost.clone()));
    let missing: Vec<String> = parts.iter().flat_map(|gap| gap.missing.clone()).collect();
    if !lost.is_empty() {
        let message = format!(
            "{lost} is gone, and Auth was started on it: an empty one would hide the loss. Restore it from a backup under the same name, with its tags"
        );
        stage.verdict(condition, Answer::False, Reason::StorageLost, &message);
        stage.stalls(Reason::StorageLost, message, RETRY);
    } else if !foreign.is_empty() {
        let message = format!("{foreign}: the operator touches nothing that it did not make. Remove or rename it");
        stage.verdict(condition, Answer::False, Reason::NameTaken, &message);
        stage.stalls(Reason::NameTaken, message, RETRY);
    } else if !missing.is_empty() {
        stage.verdict(condition, Answer::False, Reason::InProgress, missing.join("; "));
        stage.polls(missing.join("; "));
    } else if parts.iter().any(|gap| gap.unread) {
        stage.unread(condition, "the cloud could not be read");
    } else {
        stage.verdict(condition, Answer::True, Reason::AsSpecified, settled);
    }
    stage.steps.extend(parts.into_iter().flat_map(|gap| gap.steps).map(Step::Cloud));
}
