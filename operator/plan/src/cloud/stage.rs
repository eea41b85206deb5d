//! From what the cloud looks like to the steps that make it as wanted. Nothing foreign is touched: a resource of our
//! name without our tags stops the tenant.

use super::facts::{BucketFacts, Encryption, RoleFacts, TableFacts, TableKey, TableStatus};
use super::rights;
use super::step::{CloudStep, NewRole, NewTable};
use super::wanted::{self, BucketWishes, CloudNames, EXPIRES, OWNERSHIP, POLICY, STREAM_VIEW};
use crate::fact::Fact;

use std::collections::{BTreeMap, BTreeSet};

/// Distance of one resource from what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Gap {
    /// What to do now.
    pub steps: Vec<CloudStep>,
    /// What is missing, for people; empty when nothing is.
    pub missing: Vec<String>,
    /// The resource is not ours: this text says how that was seen.
    pub foreign: Option<String>,
    /// The resource held data that cannot be made again, and is gone.
    pub lost: Option<String>,
    /// It could not be read.
    pub unread: bool,
}

impl Gap {
    /// Whether the resource is as wanted.
    pub fn is_closed(&self) -> bool {
        let Gap { steps, missing, foreign, lost, unread } = self;
        steps.is_empty() && missing.is_empty() && foreign.is_none() && lost.is_none() && !unread
    }

    fn needs(&mut self, missing: impl Into<String>, step: CloudStep) {
        self.missing.push(missing.into());
        self.steps.push(step);
    }

    fn waits(&mut self, missing: impl Into<String>) {
        self.missing.push(missing.into());
    }
}

/// Table: created whole in one call; what AWS cannot set in that call follows when it is active.
pub fn table(names: &CloudNames, wanted: &NewTable, point_in_time_recovery: bool, fact: &Fact<TableFacts>) -> Gap {
    let mut gap = Gap::default();
    let (region, name) = (&names.region, &wanted.name);
    let found = match fact {
        Fact::Unknown => return Gap { unread: true, ..gap },
        Fact::Absent => {
            gap.needs(
                format!("table {name} does not exist"),
                CloudStep::CreateTable { region: region.clone(), table: wanted.clone() },
            );
            return gap;
        }
        Fact::Known(found) => found,
    };
    if found.status == TableStatus::Inaccessible {
        gap.waits(format!(
            "table {name} cannot be used, since AWS cannot use its KMS key: enable the key, or cancel its deletion"
        ));
        return gap;
    }
    // A table in motion may not show its tags yet; nothing is concluded from it, and nothing done to it.
    if found.status != TableStatus::Active {
        gap.waits(format!("table {name} is being changed"));
        return gap;
    }
    if let Some(how) = foreign(&found.tags, &wanted.tags) {
        gap.foreign = Some(format!("table {name} {how}"));
        return gap;
    }
    if found.arn != names.table_arn(name) {
        gap.foreign = Some(format!("table {name} has the ARN {}", found.arn));
        return gap;
    }
    let keys = (found.hash_key.as_str(), found.range_key.as_deref());
    if keys != (wanted.key.hash.0, Some(wanted.key.range.0)) {
        gap.foreign = Some(format!("table {name} has another primary key"));
        return gap;
    }
    if let Some((index, _)) = &wanted.index
        && !found.indexes.iter().any(|name| name == index)
    {
        gap.foreign = Some(format!("table {name} has no index {index}"));
        return gap;
    }
    // What the table shows beside its description changes without putting it into an update.
    if found.ttl.as_deref() != Some(EXPIRES) {
        let (region, table) = (region.clone(), name.clone());
        gap.needs(
            format!("table {name} has no time to live"),
            CloudStep::EnableTimeToLive { region, table, attribute: EXPIRES },
        );
    }
    if found.point_in_time_recovery != point_in_time_recovery {
        let (region, table) = (region.clone(), name.clone());
        gap.needs(
            format!("point-in-time recovery of table {name} is not as specified"),
            CloudStep::SetPointInTimeRecovery { region, table, enabled: point_in_time_recovery },
        );
    }
    // Each of these puts the table into an update for a moment, so one at a time; the order is that of importance.
    let (region, table) = (region.clone(), name.clone());
    if !found.deletion_protection {
        gap.needs(format!("table {name} is not protected against deletion"), CloudStep::ProtectTable { region, table });
    } else if let Some(view) = wanted.stream.filter(|view| found.stream.as_deref() != Some(view)) {
        gap.needs(
            format!("table {name} has no stream of {STREAM_VIEW}"),
            CloudStep::EnableStream { region, table, view },
        );
    } else if !found.on_demand {
        gap.needs(format!("table {name} is not billed per request"), CloudStep::BillTablePerRequest { region, table });
    } else if found.key != wanted.kms_key.clone().map_or(TableKey::Managed, TableKey::Customer) {
        let key = wanted.kms_key.clone();
        gap.needs(
            format!("table {name} is encrypted with another key"),
            CloudStep::EncryptTable { region, table, key },
        );
    }
    gap
}

/// The table of the cluster state: once Auth was started on it, its absence is a loss that a new one would only hide.
pub fn state_table(names: &CloudNames, wanted: &NewTable, recovery: bool, fact: &Fact<TableFacts>, used: bool) -> Gap {
    let gap = table(names, wanted, recovery, fact);
    if used && *fact == Fact::Absent {
        return Gap { lost: Some(format!("table {}", wanted.name)), ..Gap::default() };
    }
    gap
}

/// Bucket: creating and tagging are two calls, so a bucket of our name, in our account, without any tag is one that a
/// crash left between them; the tenant id in its name makes it ours.
pub fn bucket(
    names: &CloudNames,
    tags: &BTreeMap<String, String>,
    wishes: &BucketWishes,
    fact: &Fact<BucketFacts>,
) -> Gap {
    let mut gap = Gap::default();
    let (region, bucket) = (names.region.clone(), names.bucket.clone());
    let found = match fact {
        Fact::Unknown => return Gap { unread: true, ..gap },
        Fact::Absent => {
            gap.needs(format!("bucket {bucket} does not exist"), CloudStep::CreateBucket { region, bucket });
            gap.steps.extend(of_new_bucket(names, tags, wishes));
            return gap;
        }
        Fact::Known(found) => found,
    };
    if found.region != names.region {
        gap.foreign = Some(format!("bucket {bucket} lies in {}", found.region));
        return gap;
    }
    let missing = |what: &str| format!("bucket {} {what}", names.bucket);
    if found.tags.is_empty() {
        gap.needs(
            missing("has no tags"),
            CloudStep::TagBucket { region: region.clone(), bucket: bucket.clone(), tags: tags.clone() },
        );
    } else if let Some(how) = foreign(&found.tags, tags) {
        gap.foreign = Some(missing(&how));
        return gap;
    }
    if !found.public_access_blocked {
        gap.needs(
            missing("does not block public access"),
            CloudStep::BlockPublicAccess { region: region.clone(), bucket: bucket.clone() },
        );
    }
    if !found.versioning {
        gap.needs(
            missing("is not versioned"),
            CloudStep::EnableVersioning { region: region.clone(), bucket: bucket.clone() },
        );
    }
    if found.encryption != Some(Encryption::with(wishes.kms_key.clone())) {
        let key = wishes.kms_key.clone();
        gap.needs(
            missing("is not encrypted with its KMS key"),
            CloudStep::EncryptBucket { region: region.clone(), bucket: bucket.clone(), key },
        );
    }
    if found.ownership.as_deref() != Some(OWNERSHIP) {
        gap.needs(
            missing("lets others own objects in it"),
            CloudStep::OwnObjects { region: region.clone(), bucket: bucket.clone() },
        );
    }
    let rules = wishes.lifecycle();
    let mut known = found.lifecycle.clone();
    known.sort();
    if known != rules {
        gap.needs(
            missing("keeps recordings for another time"),
            CloudStep::SetLifecycle { region: region.clone(), bucket: bucket.clone(), rules },
        );
    }
    let policy = wanted::bucket_policy(names);
    if found.policy.as_ref() != Some(&policy) {
        gap.needs(
            missing("has not the policy that demands TLS"),
            CloudStep::SetBucketPolicy { region, bucket, policy },
        );
    }
    gap
}

/// What follows the creation of a bucket at once, without reading before that it has none of it. Whether it has all is read
/// afterwards, and so is what AWS gives to every new bucket by itself.
fn of_new_bucket(
    names: &CloudNames,
    tags: &BTreeMap<String, String>,
    wishes: &BucketWishes,
) -> impl Iterator<Item = CloudStep> {
    let (region, bucket) = (|| names.region.clone(), || names.bucket.clone());
    let (tags, key, rules) = (tags.clone(), wishes.kms_key.clone(), wishes.lifecycle());
    [
        CloudStep::TagBucket { region: region(), bucket: bucket(), tags },
        CloudStep::EnableVersioning { region: region(), bucket: bucket() },
        CloudStep::EncryptBucket { region: region(), bucket: bucket(), key },
        CloudStep::SetLifecycle { region: region(), bucket: bucket(), rules },
        CloudStep::SetBucketPolicy { region: region(), bucket: bucket(), policy: wanted::bucket_policy(names) },
    ]
    .into_iter()
}

/// Role: exactly one inline policy, nothing attached, the trust and the boundary as wanted. A key that it once had a right to stays
/// in the policy: recordings and points in time are under it.
pub fn role(names: &CloudNames, wanted: &NewRole, kms_key: Option<&str>, fact: &Fact<RoleFacts>) -> Gap {
    let mut gap = Gap::default();
    let role = names.role.clone();
    let mut keys: BTreeSet<String> = kms_key.into_iter().map(str::to_owned).collect();
    if let Some(former) = fact.known().and_then(|found| found.policies.get(POLICY)) {
        keys.extend(rights::keys_of(former));
    }
    let policy = rights::role_policy(names, &keys);
    let found = match fact {
        Fact::Unknown => return Gap { unread: true, ..gap },
        Fact::Absent => {
            gap.needs(format!("role {role} does not exist"), CloudStep::CreateRole { role: wanted.clone() });
            gap.steps.push(CloudStep::SetRolePolicy { role, name: POLICY, policy });
            return gap;
        }
        Fact::Known(found) => found,
    };
    if let Some(how) = foreign(&found.tags, &wanted.tags) {
        gap.foreign = Some(format!("role {role} {how}"));
        return gap;
    }
    if found.arn != names.role_arn {
        gap.foreign = Some(format!("role {role} has the ARN {}", found.arn));
        return gap;
    }
    if found.trust != wanted.trust {
        gap.needs(
            format!("role {role} trusts somebody else"),
            CloudStep::SetTrust { role: role.clone(), trust: wanted.trust.clone() },
        );
    }
    if let Some(boundary) = wanted.boundary.as_ref().filter(|boundary| found.boundary.as_ref() != Some(boundary)) {
        gap.needs(
            format!("role {role} has not the boundary of the fleet policy"),
            CloudStep::SetBoundary { role: role.clone(), boundary: boundary.clone() },
        );
    }
    if found.policies.get(POLICY) != Some(&policy) {
        gap.needs(
            format!("role {role} has not the tenant's policy"),
            CloudStep::SetRolePolicy { role: role.clone(), name: POLICY, policy },
        );
    }
    for name in found.policies.keys().filter(|name| *name != POLICY) {
        gap.needs(
            format!("role {role} has the policy {name}, which nobody asked for"),
            CloudStep::RemoveRolePolicy { role: role.clone(), name: name.clone() },
        );
    }
    for arn in &found.attached {
        gap.needs(
            format!("role {role} has {arn} attached, which nobody asked for"),
            CloudStep::DetachRolePolicy { role: role.clone(), arn: arn.clone() },
        );
    }
    gap
}

/// How the tags show that a resource is not ours.
fn foreign(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Option<String> {
    wanted.iter().find(|(key, value)| found.get(*key) != Some(value)).map(|(key, value)| match found.get(key) {
        Some(other) => format!("is tagged {key}={other}, not {value}"),
        None => format!("is not tagged {key}={value}"),
    })
}
