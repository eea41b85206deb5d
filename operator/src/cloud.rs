//! The cloud behind one trait: complete reads of tables, backups, buckets and roles, and the steps that change them.
//! Nothing here decides what should exist; the planner compares facts and orders steps.

mod aws;
mod backup;
mod dynamodb;
mod error;
mod iam;
mod in_creation;
mod lifecycle;
#[cfg(test)]
pub mod memory;
mod s3;

use async_trait::async_trait;
use plan::cloud::backup::BackupFacts;
use plan::cloud::facts::{BucketFacts, RoleFacts, TableFacts};
use plan::cloud::step::CloudStep;

pub use aws::Aws;
pub(crate) use aws::{config, timeouts};
pub use error::{CloudError, Refusal};

/// One cloud account. A read that answers `Ok` is complete: what is not set is known not to be set.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// A table by its name. While it is being created its tags, time to live and backups can still read as unset.
    async fn table(&self, region: &str, name: &str) -> Result<Option<TableFacts>, CloudError>;

    /// A bucket of ours by its name. A bucket of somebody else is [`CloudError::Foreign`], not absent.
    async fn bucket(&self, region: &str, name: &str) -> Result<Option<BucketFacts>, CloudError>;

    /// A role by its name.
    async fn role(&self, name: &str) -> Result<Option<RoleFacts>, CloudError>;

    /// The authority of this type (`host`, `user`) as Teleport keeps it in its state table, in JSON.
    async fn authority(
        &self,
        region: &str,
        table: &str,
        kind: &str,
        domain: &str,
    ) -> Result<Option<Vec<u8>>, CloudError>;

    /// The backups of a table that somebody asked for, from the oldest on; also when the table is gone. AWS takes few of
    /// these calls (five a second in an account and region): ask while a hop needs the answer, or once a day.
    async fn backups(&self, region: &str, table: &str) -> Result<Vec<BackupFacts>, CloudError>;

    /// Performs one step. Performing it again changes nothing.
    async fn perform(&self, step: &CloudStep) -> Result<(), CloudError>;
}
