//! What tables, buckets and roles look like when they were read, in the operator's words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fact::Fact;

/// State of a table as DynamoDB names it; everything that is neither settled nor going away counts as changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableStatus {
    /// Can be used and changed.
    Active,
    /// Being created or updated: further changes are refused until it is active.
    Changing,
    /// Going away.
    Deleting,
    /// Its key cannot be used; AWS archives it after a while.
    Inaccessible,
}

/// With which key a table is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKey {
    /// One of AWS that no account sees: what a table has when nothing else is asked for.
    Owned,
    /// The one that AWS manages for the account.
    Managed,
    /// One of a customer, by its ARN.
    Customer(String),
}

/// A DynamoDB table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Amazon resource name.
    pub arn: String,
    /// Whether it can be changed now.
    pub status: TableStatus,
    /// Name of the partition key.
    pub hash_key: String,
    /// Name of the sort key.
    pub range_key: Option<String>,
    /// Names of the global secondary indexes, sorted.
    pub indexes: Vec<String>,
    /// View type of the stream while it is on, such as `NEW_IMAGE`.
    pub stream: Option<String>,
    /// The attribute of the time to live while it is on or being turned on.
    pub ttl: Option<String>,
    /// Whether it can be restored to any point of the last 35 days.
    pub point_in_time_recovery: bool,
    /// Whether it is billed per request.
    pub on_demand: bool,
    /// What it is encrypted with.
    pub key: TableKey,
    /// Whether AWS refuses to delete it.
    pub deletion_protection: bool,
    /// All tags.
    pub tags: BTreeMap<String, String>,
}

/// How new objects of a bucket are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// ARN of a customer's key; none = the one that AWS manages.
    pub key: Option<String>,
    /// Whether one call to KMS serves many objects.
    pub bucket_key: bool,
}

impl Encryption {
    /// As the operator has it: with a customer's key, or the one that AWS manages.
    pub fn with(key: Option<String>) -> Encryption {
        Encryption { algorithm: "aws:kms".into(), key, bucket_key: true }
    }
}

/// A rule by which objects end. All are of the whole bucket, and enabled; one that is not, or that does anything else, is
/// [`Other`](LifecycleRule::Other).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifecycleRule {
    /// Uploads that were begun and not completed end after this many days.
    AbortUploads {
        /// Days after they were begun.
        days: i32,
    },
    /// Objects go from view after some days, and versions that are not the latest one end.
    Expire {
        /// Days after an object was written.
        days: i32,
        /// Days after a version was overwritten or went from view.
        noncurrent_days: i32,
    },
    /// A marker of a deletion ends with the last version that it hides.
    DropMarkers,
    /// Something else, by its id.
    Other(String),
}

/// An S3 bucket that belongs to our account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketFacts {
    /// The region it lies in.
    pub region: String,
    /// Whether versioning is enabled.
    pub versioning: bool,
    /// Whether all four public access blocks are on.
    pub public_access_blocked: bool,
    /// Default encryption.
    pub encryption: Option<Encryption>,
    /// Object ownership, such as `BucketOwnerEnforced`.
    pub ownership: Option<String>,
    /// How objects end.
    pub lifecycle: Vec<LifecycleRule>,
    /// The bucket policy, parsed.
    pub policy: Option<Value>,
    /// All tags; empty also when none were ever set.
    pub tags: BTreeMap<String, String>,
}

/// An IAM role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// Amazon resource name.
    pub arn: String,
    /// The trust policy, parsed.
    pub trust: Value,
    /// ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Inline policies by name, parsed.
    pub policies: BTreeMap<String, Value>,
    /// ARNs of attached managed policies, sorted.
    pub attached: Vec<String>,
    /// All tags.
    pub tags: BTreeMap<String, String>,
}

/// What was read of the tenant's cloud resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFacts {
    /// Table of the cluster state.
    pub state_table: Fact<TableFacts>,
    /// Table of the audit events.
    pub events_table: Fact<TableFacts>,
    /// Bucket of the session recordings.
    pub bucket: Fact<BucketFacts>,
    /// The role of Auth.
    pub role: Fact<RoleFacts>,
}

impl CloudFacts {
    /// Nothing could be asked.
    pub fn unknown() -> CloudFacts {
        CloudFacts {
            state_table: Fact::Unknown,
            events_table: Fact::Unknown,
            bucket: Fact::Unknown,
            role: Fact::Unknown,
        }
    }

    /// Puts what `newer` knows of some parts in the place of what was known.
    pub fn replace(&mut self, parts: &BTreeSet<Part>, newer: CloudFacts) {
        let CloudFacts { state_table, events_table, bucket, role } = newer;
        for part in parts {
            match part {
                Part::StateTable => self.state_table = state_table.clone(),
                Part::EventsTable => self.events_table = events_table.clone(),
                Part::Bucket => self.bucket = bucket.clone(),
                Part::Role => self.role = role.clone(),
            }
        }
    }
}

/// A resource of a tenant in the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Table of the cluster state.
    StateTable,
    /// Table of the audit events.
    EventsTable,
    /// Bucket of the session recordings.
    Bucket,
    /// The role of Auth.
    Role,
}

/// All parts.
pub fn all_parts() -> BTreeSet<Part> {
    BTreeSet::from([Part::StateTable, Part::EventsTable, Part::Bucket, Part::Role])
}
