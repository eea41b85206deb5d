//! Recovery points: on-demand backups of a tenant's state table, taken in a major hop because a newer Auth cannot be
//! undone. Backups carry no tags: whose one is, its table and its name say. Nothing here reads or calls.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::step::CloudStep;
use super::wanted::CloudNames;
use crate::fact::Fact;
use crate::fleet::Installation;
use crate::mutant::mutant;
use crate::names::Identity;
use crate::version::Version;

/// How long a recovery point is kept: as long as point-in-time recovery reaches back, so that both ways back end
/// together and the storage of a tenant that is updated for years stays bounded.
pub const KEEP: TimeDelta = TimeDelta::days(35);

/// The start of the hop in a name, to the second: what a status keeps.
const STARTED: &str = "%Y%m%dT%H%M%SZ";

/// Whether a backup can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupStatus {
    /// Being written.
    Creating,
    /// Can be restored.
    Available,
    /// Gone, and still shown.
    Deleted,
}

/// Who made a backup, as DynamoDB tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// Somebody asked DynamoDB for it: the operator, or a person.
    User,
    /// DynamoDB itself, when a table with point-in-time recovery was deleted.
    System,
    /// The service AWS Backup, which alone may delete it.
    AwsBackup,
}

/// A backup of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Amazon resource name.
    pub arn: String,
    /// Its name, which several may share.
    pub name: String,
    /// ARN of the table it was taken of; a table made again under the same name has the same.
    pub table_arn: String,
    /// Whether it can be restored.
    pub status: BackupStatus,
    /// Who made it.
    pub kind: BackupKind,
    /// When it was asked for.
    pub created: DateTime<Utc>,
    /// Bytes, as AWS last counted them.
    pub size: Option<u64>,
}

/// A tenant's state table, with all by which a backup of it is known to be the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    region: String,
    table: String,
    table_arn: String,
    /// Installation and tenant id, as in every cloud name of the tenant.
    prefix: String,
}

/// How far the recovery point of a hop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupState {
    /// There is none: make it. The name must stand in status before.
    Create(Box<CloudStep>),
    /// It is being written: look again.
    Wait,
    /// It can be restored.
    Available {
        /// ARN of the backup.
        arn: String,
    },
    /// The backups could not be read, and what may be there is not made again.
    Unknown,
}

impl Source {
    /// The state table of a tenant.
    pub fn new(installation: &Installation, tenant: &Identity, names: &CloudNames) -> Source {
        Source {
            region: names.region.clone(),
            table: names.state_table.clone(),
            table_arn: names.table_arn(&names.state_table),
            prefix: format!("{}-{}", installation.id, tenant.id),
        }
    }

    /// Name of the recovery point of one hop: the same for every attempt of it, another for every other hop.
    pub fn name(&self, from: &Version, to: &Version, started: DateTime<Utc>) -> String {
        // Of what a version may hold, the plus sign alone is not allowed in the name of a backup.
        let version = |version: &Version| version.to_string().replace('+', "_");
        format!("{}-{}-to-{}-{}", self.prefix, version(from), version(to), started.format(STARTED))
    }

    /// Whether this is a backup of the table that somebody asked for.
    fn covers(&self, backup: &BackupFacts) -> bool {
        backup.kind == BackupKind::User && backup.table_arn == self.table_arn
    }

    /// Whether the operator gave this name. One that a person gave is not of that form.
    fn named(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
        let parts = rest.and_then(|rest| rest.rsplit_once('-'));
        let Some((versions, started)) = parts else { return false };
        let Some((from, to)) = versions.split_once("-to-") else { return false };
        let version = |text: &str| Version::parse(&text.replace('_', "+")).is_ok();
        version(from) && version(to) && NaiveDateTime::parse_from_str(started, STARTED).is_ok()
    }
}

/// What to do about the recovery point of this name. A creation whose answer was lost is found again by its name; when
/// two crossed, the older one counts, whichever is finished first, so that the choice never changes.
pub fn step(wanted: &str, source: &Source, facts: &Fact<Vec<BackupFacts>>) -> BackupState {
    let found = match facts {
        Fact::Unknown => return BackupState::Unknown,
        Fact::Absent => [].as_slice(),
        Fact::Known(_) if mutant!(BackupOnEveryRun) => [].as_slice(),
        Fact::Known(found) => found.as_slice(),
    };
    let named = found.iter().filter(|backup| backup.name == wanted && source.covers(backup));
    match named.filter(|backup| backup.status != BackupStatus::Deleted).min_by_key(|backup| age(backup)) {
        Some(BackupFacts { status: BackupStatus::Available, arn, .. }) => BackupState::Available { arn: arn.clone() },
        Some(_) => BackupState::Wait,
        None => BackupState::Create(Box::new(CloudStep::CreateBackup {
            region: source.region.clone(),
            table: source.table.clone(),
            name: wanted.to_owned(),
        })),
    }
}

/// The recovery points to delete: those older than `keep`, and of two with one name the younger. The newest stays
/// whatever its age, and so does the one of its name that counts: a tenant that was ever taken over a major can always
/// be taken back. `in_use` holds the ARNs that a running hop refers to.
pub fn expired(
    source: &Source,
    facts: &Fact<Vec<BackupFacts>>,
    keep: TimeDelta,
    now: DateTime<Utc>,
    in_use: &BTreeSet<String>,
) -> Vec<CloudStep> {
    let found = match facts {
        Fact::Unknown | Fact::Absent => return Vec::new(),
        Fact::Known(found) => found,
    };
    // One that is still being written, or gone, is neither deleted nor a reason to delete another.
    let mut ours: Vec<&BackupFacts> = found
        .iter()
        .filter(|backup| {
            backup.status == BackupStatus::Available && source.covers(backup) && source.named(&backup.name)
        })
        .collect();
    ours.sort_by_key(|backup| age(backup));
    let Some((newest, older)) = ours.split_last() else { return Vec::new() };
    let surplus = |position: usize| older[..position].iter().any(|twin| twin.name == older[position].name);
    let delete = older.iter().enumerate().filter(|(position, backup)| {
        let counts = !surplus(*position);
        let stays = counts && (backup.name == newest.name || now - backup.created < keep);
        !stays && !in_use.contains(&backup.arn)
    });
    delete
        .map(|(_, backup)| CloudStep::DeleteBackup { region: source.region.clone(), arn: backup.arn.clone() })
        .collect()
}

/// Number of the tenant's day, which begins at a time of its own: the lists of an account, of which AWS answers five a
/// second, are spread over the whole day, and a process that begins anew keeps to the same time.
pub fn day(tenant: &Identity, now: DateTime<Utc>) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    let begins = i64::from_str_radix(&tenant.id[..tenant.id.len().min(8)], 16).unwrap_or_default() % DAY;
    (now.timestamp() - begins).div_euclid(DAY)
}

/// Orders backups from the oldest on; the ARN decides where the time does not.
fn age(backup: &BackupFacts) -> (DateTime<Utc>, &str) {
    (backup.created, &backup.arn)
}

#[cfg(test)]
mod tests;
