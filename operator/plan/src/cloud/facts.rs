//! What tables, buckets and roles look like when they were read, in the operator's words.

use std::collections::BTreeMap;

use serde_json::Value;

/// State of a table as DynamoDB names it; everything that is neither settled nor going away counts as changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableStatus {
    /// Can be used and changed.
    Active,
    /// Being created or updated: further changes are refused until it is active.
    Changing,
    /// Going away.
    Deleting,
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
    /// Whether AWS refuses to delete it.
    pub deletion_protection: bool,
    /// All tags.
    pub tags: BTreeMap<String, String>,
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
    /// Default encryption: `AES256` or `aws:kms`.
    pub encryption: Option<String>,
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
