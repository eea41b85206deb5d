//! Effects on AWS as values. Each is idempotent: applied twice, or after a lost answer, it ends in the same state. One
//! can only come near to that: AWS makes a second backup of the same name when it is asked twice at once.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::facts::{LifecycleRule, Part};

/// Key of one table: attribute names and their DynamoDB types (`S` or `N`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Partition key: name and type.
    pub hash: (&'static str, &'static str),
    /// Sort key: name and type.
    pub range: (&'static str, &'static str),
}

/// A table to create: on demand, protected against deletion, tagged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// Table name.
    pub name: String,
    /// Primary key.
    pub key: Key,
    /// Global secondary index with projection ALL.
    pub index: Option<(&'static str, Key)>,
    /// View type of the stream.
    pub stream: Option<&'static str>,
    /// ARN of a customer's key; none = the one that AWS manages.
    pub kms_key: Option<String>,
    /// Tags, set in the same call.
    pub tags: BTreeMap<String, String>,
}

/// A role to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRole {
    /// Role name.
    pub name: String,
    /// IAM path, such as `/tenancy/eu1/`.
    pub path: String,
    /// Trust policy.
    pub trust: Value,
    /// ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Tags, set in the same call.
    pub tags: BTreeMap<String, String>,
}

/// One effect on AWS. `region` is where the call goes; IAM has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudStep {
    /// Create a table. Exists already = done.
    CreateTable {
        /// Where.
        region: String,
        /// What.
        table: NewTable,
    },
    /// Turn the stream of a table on.
    EnableStream {
        /// Where.
        region: String,
        /// Table name.
        table: String,
        /// View type.
        view: &'static str,
    },
    /// Turn the time to live of a table on. On already = done.
    EnableTimeToLive {
        /// Where.
        region: String,
        /// Table name.
        table: String,
        /// The attribute that holds the end of an item, in Unix seconds.
        attribute: &'static str,
    },
    /// Turn point-in-time recovery on or off.
    SetPointInTimeRecovery {
        /// Where.
        region: String,
        /// Table name.
        table: String,
        /// The wanted state.
        enabled: bool,
    },
    /// Protect a table against deletion.
    ProtectTable {
        /// Where.
        region: String,
        /// Table name.
        table: String,
    },
    /// Bill a table per request.
    BillTablePerRequest {
        /// Where.
        region: String,
        /// Table name.
        table: String,
    },
    /// Encrypt a table with another key.
    EncryptTable {
        /// Where.
        region: String,
        /// Table name.
        table: String,
        /// ARN of a customer's key; none = the one that AWS manages.
        key: Option<String>,
    },
    /// Back a table up. One of that name exists already = done; two calls that cross make two (see
    /// [`backup::step`](super::backup::step)).
    CreateBackup {
        /// Where.
        region: String,
        /// Table name.
        table: String,
        /// Name of the backup.
        name: String,
    },
    /// Delete a backup. Gone already = done.
    DeleteBackup {
        /// Where.
        region: String,
        /// ARN of the backup: it names one for ever, so that what was read of it cannot be out of date.
        arn: String,
    },
    /// Create a bucket. Owned by us already = done.
    CreateBucket {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
    },
    /// Set all tags of a bucket.
    TagBucket {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
        /// All tags it shall have.
        tags: BTreeMap<String, String>,
    },
    /// Turn versioning on.
    EnableVersioning {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
    },
    /// Turn all four public access blocks on.
    BlockPublicAccess {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
    },
    /// Encrypt new objects with a KMS key.
    EncryptBucket {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
        /// ARN of a customer's key; none = the one that AWS manages.
        key: Option<String>,
    },
    /// Make the account the owner of whatever is written, so that access control lists mean nothing.
    OwnObjects {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
    },
    /// Replace the rules by which objects end.
    SetLifecycle {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
        /// All rules it shall have.
        rules: Vec<LifecycleRule>,
    },
    /// Replace the bucket policy.
    SetBucketPolicy {
        /// Where.
        region: String,
        /// Bucket name.
        bucket: String,
        /// The whole policy.
        policy: Value,
    },
    /// Create a role. Exists already = done.
    CreateRole {
        /// What.
        role: NewRole,
    },
    /// Replace the trust policy of a role.
    SetTrust {
        /// Role name.
        role: String,
        /// The whole trust policy.
        trust: Value,
    },
    /// Replace one inline policy of a role.
    SetRolePolicy {
        /// Role name.
        role: String,
        /// Name of the inline policy.
        name: &'static str,
        /// The whole policy.
        policy: Value,
    },
    /// Remove an inline policy that should not be there.
    RemoveRolePolicy {
        /// Role name.
        role: String,
        /// Name of the inline policy.
        name: String,
    },
    /// Detach a managed policy that should not be there.
    DetachRolePolicy {
        /// Role name.
        role: String,
        /// ARN of the managed policy.
        arn: String,
    },
    /// Set the permissions boundary of a role.
    SetBoundary {
        /// Role name.
        role: String,
        /// ARN of the boundary policy.
        boundary: String,
    },
}

impl CloudStep {
    /// One word for metrics: the kind of call.
    pub fn label(&self) -> &'static str {
        match self {
            CloudStep::CreateTable { .. } => "CreateTable",
            CloudStep::EnableStream { .. } => "EnableStream",
            CloudStep::EnableTimeToLive { .. } => "EnableTimeToLive",
            CloudStep::SetPointInTimeRecovery { .. } => "SetPointInTimeRecovery",
            CloudStep::ProtectTable { .. } => "ProtectTable",
            CloudStep::BillTablePerRequest { .. } => "BillTablePerRequest",
            CloudStep::EncryptTable { .. } => "EncryptTable",
            CloudStep::CreateBackup { .. } => "CreateBackup",
            CloudStep::DeleteBackup { .. } => "DeleteBackup",
            CloudStep::CreateBucket { .. } => "CreateBucket",
            CloudStep::TagBucket { .. } => "TagBucket",
            CloudStep::EnableVersioning { .. } => "EnableVersioning",
            CloudStep::BlockPublicAccess { .. } => "BlockPublicAccess",
            CloudStep::EncryptBucket { .. } => "EncryptBucket",
            CloudStep::OwnObjects { .. } => "OwnObjects",
            CloudStep::SetLifecycle { .. } => "SetLifecycle",
            CloudStep::SetBucketPolicy { .. } => "SetBucketPolicy",
            CloudStep::CreateRole { .. } => "CreateRole",
            CloudStep::SetTrust { .. } => "SetTrust",
            CloudStep::SetRolePolicy { .. } => "SetRolePolicy",
            CloudStep::RemoveRolePolicy { .. } => "RemoveRolePolicy",
            CloudStep::DetachRolePolicy { .. } => "DetachRolePolicy",
            CloudStep::SetBoundary { .. } => "SetBoundary",
        }
    }

    /// The parts that may look otherwise after it.
    pub fn parts(&self) -> &'static [Part] {
        match self {
            CloudStep::CreateTable { .. }
            | CloudStep::EnableStream { .. }
            | CloudStep::EnableTimeToLive { .. }
            | CloudStep::SetPointInTimeRecovery { .. }
            | CloudStep::ProtectTable { .. }
            | CloudStep::BillTablePerRequest { .. }
            | CloudStep::EncryptTable { .. } => &[Part::StateTable, Part::EventsTable],
            CloudStep::CreateBackup { .. } | CloudStep::DeleteBackup { .. } => &[],
            CloudStep::CreateBucket { .. }
            | CloudStep::TagBucket { .. }
            | CloudStep::EnableVersioning { .. }
            | CloudStep::BlockPublicAccess { .. }
            | CloudStep::EncryptBucket { .. }
            | CloudStep::OwnObjects { .. }
            | CloudStep::SetLifecycle { .. }
            | CloudStep::SetBucketPolicy { .. } => &[Part::Bucket],
            CloudStep::CreateRole { .. }
            | CloudStep::SetTrust { .. }
            | CloudStep::SetRolePolicy { .. }
            | CloudStep::RemoveRolePolicy { .. }
            | CloudStep::DetachRolePolicy { .. }
            | CloudStep::SetBoundary { .. } => &[Part::Role],
        }
    }

    /// The resource it changes.
    fn subject(&self) -> &str {
        match self {
            CloudStep::CreateTable { table, .. } => &table.name,
            CloudStep::EnableStream { table, .. }
            | CloudStep::EnableTimeToLive { table, .. }
            | CloudStep::SetPointInTimeRecovery { table, .. }
            | CloudStep::ProtectTable { table, .. }
            | CloudStep::BillTablePerRequest { table, .. }
            | CloudStep::EncryptTable { table, .. } => table,
            CloudStep::CreateBackup { name, .. } => name,
            CloudStep::DeleteBackup { arn, .. } => arn,
            CloudStep::CreateBucket { bucket, .. }
            | CloudStep::TagBucket { bucket, .. }
            | CloudStep::EnableVersioning { bucket, .. }
            | CloudStep::BlockPublicAccess { bucket, .. }
            | CloudStep::EncryptBucket { bucket, .. }
            | CloudStep::OwnObjects { bucket, .. }
            | CloudStep::SetLifecycle { bucket, .. }
            | CloudStep::SetBucketPolicy { bucket, .. } => bucket,
            CloudStep::CreateRole { role } => &role.name,
            CloudStep::SetTrust { role, .. }
            | CloudStep::SetRolePolicy { role, .. }
            | CloudStep::RemoveRolePolicy { role, .. }
            | CloudStep::DetachRolePolicy { role, .. }
            | CloudStep::SetBoundary { role, .. } => role,
        }
    }
}

impl fmt::Display for CloudStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.label(), self.subject())
    }
}
