//! Backups of a table: a complete list of those that somebody asked DynamoDB for, and the steps that make and delete one.

use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types as sdk;
use chrono::{DateTime, Utc};
use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus};

use super::aws::Aws;
use super::error::CloudError;

const LIST: &str = "dynamodb:ListBackups";

/// Lists the backups of a table, from the oldest on. A table that is gone still has its backups.
///
/// A summary says all that DescribeBackup does, so that nothing is described. AWS answers five lists a second.
pub(super) async fn list(aws: &Aws, region: &str, table: &str) -> Result<Vec<BackupFacts>, CloudError> {
    let client = aws.dynamodb(region);
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let list = client.list_backups().table_name(table).backup_type(sdk::BackupTypeFilter::User);
        let page = aws.call(LIST, &resource(table), list.set_exclusive_start_backup_arn(next).send()).await?;
        for summary in page.backup_summaries.unwrap_or_default() {
            found.push(facts(table, summary)?);
        }
        next = page.last_evaluated_backup_arn;
        if next.is_none() {
            break;
        }
    }
    found.sort_by(|one, other| (one.created, &one.arn).cmp(&(other.created, &other.arn)));
    Ok(found)
}

/// Backs a table up. AWS makes as many backups of one name as it is asked for, so it is looked for first, and asked for
/// once: an answer that is lost is for the next run to find out, not for the library to repeat.
pub(super) async fn create(aws: &Aws, region: &str, table: &str, name: &str) -> Result<(), CloudError> {
    let is_it = |backup: &BackupFacts| backup.name == name && backup.status != BackupStatus::Deleted;
    if list(aws, region, table).await?.iter().any(is_it) {
        return Ok(());
    }
    let once = Builder::new().retry_config(RetryConfig::disabled());
    let call = aws.dynamodb(region).create_backup().table_name(table).backup_name(name);
    let call = call.customize().config_override(once).send();
    aws.call("dynamodb:CreateBackup", &resource(table), call).await.map(drop)
}

/// Deletes a backup. One that is gone is what was wanted.
pub(super) async fn delete(aws: &Aws, region: &str, arn: &str) -> Result<(), CloudError> {
    let call = aws.dynamodb(region).delete_backup().backup_arn(arn).send();
    match aws.call("dynamodb:DeleteBackup", &format!("backup {arn}"), call).await {
        Err(error) if error.code() == Some("BackupNotFoundException") => Ok(()),
        answer => answer.map(drop),
    }
}

fn facts(table: &str, summary: sdk::BackupSummary) -> Result<BackupFacts, CloudError> {
    let incomplete = |field| CloudError::Incomplete { action: LIST, resource: resource(table), field };
    let created = summary.backup_creation_date_time.as_ref().and_then(time);
    Ok(BackupFacts {
        status: summary.backup_status.as_ref().and_then(status).ok_or_else(|| incomplete("BackupStatus"))?,
        kind: summary.backup_type.as_ref().and_then(kind).ok_or_else(|| incomplete("BackupType"))?,
        created: created.ok_or_else(|| incomplete("BackupCreationDateTime"))?,
        size: summary.backup_size_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        arn: summary.backup_arn.ok_or_else(|| incomplete("BackupArn"))?,
        name: summary.backup_name.ok_or_else(|| incomplete("BackupName"))?,
        table_arn: summary.table_arn.ok_or_else(|| incomplete("TableArn"))?,
    })
}

fn status(status: &sdk::BackupStatus) -> Option<BackupStatus> {
    match status {
        sdk::BackupStatus::Available => Some(BackupStatus::Available),
        sdk::BackupStatus::Deleted => Some(BackupStatus::Deleted),
        sdk::BackupStatus::Creating => Some(BackupStatus::Creating),
        _ => None,
    }
}

fn kind(kind: &sdk::BackupType) -> Option<BackupKind> {
    match kind {
        sdk::BackupType::User => Some(BackupKind::User),
        sdk::BackupType::System => Some(BackupKind::System),
        sdk::BackupType::AwsBackup => Some(BackupKind::AwsBackup),
        _ => None,
    }
}

fn time(time: &aws_sdk_dynamodb::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

fn resource(table: &str) -> String {
    format!("table {table}")
}
