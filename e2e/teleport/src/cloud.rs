//! The storage calls that an Auth process makes, in its own words: the seam between Teleport's rules and AWS.
//! `aws` is the real one; `memory` (tests) breaks on request, one call at a time.

pub(crate) mod aws;
pub(crate) mod credentials;
#[cfg(any(test, feature = "memory"))]
#[cfg_attr(not(test), allow(dead_code, reason = "only the tests of this crate look into it and break it"))]
pub(crate) mod memory;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::storage::Storage;
use crate::process::Process;
use crate::rule::Refusal;

/// Makes the calls of one process under its own credentials.
pub(crate) trait Connect: Send + Sync {
    fn connect(&self, process: &Process, storage: &Storage) -> Result<Arc<dyn Cloud>, Refusal>;
}

/// What DescribeTable tells that a start looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) attributes: Vec<String>,
    /// ARN of the stream if it is on.
    pub(crate) stream: Option<String>,
}

/// A table that Teleport makes itself when it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewTable {
    pub(crate) name: String,
    pub(crate) kind: TableKind,
    pub(crate) provisioned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableKind {
    State,
    Events,
}

/// One item of the state table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) value: Vec<u8>,
    pub(crate) revision: String,
    /// Unix seconds.
    pub(crate) expires: Option<i64>,
}

/// What must hold for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Any,
    /// Not there, or there and expired at this unix second.
    Absent {
        now: i64,
    },
    Revision(String),
}

/// One audit event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) session: String,
    pub(crate) kind: String,
    /// `YYYY-MM-DD`, the index' hash key.
    pub(crate) date: String,
    /// Unix seconds.
    pub(crate) at: i64,
    pub(crate) expires: i64,
    pub(crate) cluster: String,
}

/// What records of a stream shard say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    /// `FullPath` of what changed.
    pub(crate) paths: Vec<String>,
    /// Absent at the end of a closed shard.
    pub(crate) next: Option<String>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    NotFound,
    Denied,
    /// The condition of a write did not hold.
    Condition,
    /// The iterator of a stream expired or its data is trimmed: open it again.
    Expired,
    Other,
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CloudError {}

pub(crate) type Answer<T> = Result<T, CloudError>;

/// DynamoDB, its streams and S3 as one process sees them.
#[async_trait]
pub(crate) trait Cloud: Send + Sync {
    async fn describe_table(&self, table: &str) -> Answer<Table>;
    /// Makes the table and waits until it is usable.
    async fn create_table(&self, table: &NewTable) -> Answer<()>;
    async fn time_to_live(&self, table: &str) -> Answer<bool>;
    async fn enable_time_to_live(&self, table: &str) -> Answer<()>;
    async fn enable_stream(&self, table: &str) -> Answer<()>;
    async fn enable_continuous_backups(&self, table: &str) -> Answer<()>;

    async fn get(&self, table: &str, path: &str) -> Answer<Option<Item>>;
    async fn list(&self, table: &str, prefix: &str) -> Answer<Vec<Item>>;
    async fn put(&self, table: &str, item: &Item, condition: Condition) -> Answer<()>;
    /// Writes all items, each only if absent, all or none, while the guard still has its revision.
    async fn put_all(&self, table: &str, guard: (&str, &str), items: &[Item]) -> Answer<()>;
    /// Moves the expiry of an item that still has this revision.
    async fn keep_alive(&self, table: &str, path: &str, revision: &str, expires: i64) -> Answer<()>;
    async fn delete(&self, table: &str, path: &str, condition: Condition) -> Answer<()>;

    async fn shards(&self, stream: &str) -> Answer<Vec<String>>;
    async fn iterator(&self, stream: &str, shard: &str) -> Answer<String>;
    async fn records(&self, iterator: &str) -> Answer<Records>;

    async fn emit(&self, table: &str, event: &Event) -> Answer<()>;
    /// Number of events of a day, by the time index.
    async fn search(&self, table: &str, date: &str) -> Answer<usize>;

    async fn head_bucket(&self, bucket: &str) -> Answer<()>;
    async fn create_bucket(&self, bucket: &str) -> Answer<()>;
    async fn enable_versioning(&self, bucket: &str) -> Answer<()>;
    async fn enable_encryption(&self, bucket: &str) -> Answer<()>;
    /// Half-finished uploads, which Auth completes.
    async fn uploads(&self, bucket: &str, prefix: &str) -> Answer<usize>;
}
