//! The start-up sequence against tables and bucket: what Auth adopts, turns on or makes, and when it gives up.

use serde_json::json;

use crate::cloud::{Answer, Cloud, CloudError, ErrorKind, NewTable, Table, TableKind};
use crate::config::storage::Storage;
use crate::log::Log;
use crate::rule::{Refusal, Rule};

/// Prepares everything; returns the ARN of the state table's stream.
pub(super) async fn prepare(cloud: &dyn Cloud, storage: &Storage, log: &Log) -> Result<String, Refusal> {
    let state = NewTable { name: storage.table.clone(), kind: TableKind::State, provisioned: storage.provisioned };
    let described = adopt_or_create(cloud, &state, log).await?;
    if described.attributes.iter().any(|attribute| attribute == "Key") {
        return Err(Rule::UnsupportedSchema.by(format!("table {} has an attribute Key", storage.table)));
    }
    time_to_live(cloud, &storage.table).await?;
    let stream = stream(cloud, &storage.table).await?;
    continuous_backups(cloud, storage, &storage.table).await?;
    if let Some(events) = &storage.events {
        let table = NewTable { name: events.table.clone(), kind: TableKind::Events, provisioned: true };
        adopt_or_create(cloud, &table, log).await?;
        time_to_live(cloud, &events.table).await?;
        continuous_backups(cloud, storage, &events.table).await?;
    }
    bucket(cloud, storage, log).await?;
    Ok(stream)
}

/// A table that exists is adopted as it is: nothing but the next calls looks at its schema.
async fn adopt_or_create(cloud: &dyn Cloud, table: &NewTable, log: &Log) -> Result<Table, Refusal> {
    match cloud.describe_table(&table.name).await {
        Ok(described) => Ok(described),
        Err(error) if error.kind == ErrorKind::NotFound => {
            log.info("Table does not exist, creating it", json!({ "table": table.name }));
            cloud
                .create_table(table)
                .await
                .map_err(|error| Rule::CreateTable.by(format!("{}: {error}", table.name)))?;
            cloud.describe_table(&table.name).await.map_err(denied)
        }
        Err(error) => Err(denied(error)),
    }
}

fn denied(error: CloudError) -> Refusal {
    Rule::AccessDenied.by(error)
}

async fn time_to_live(cloud: &dyn Cloud, table: &str) -> Result<(), Refusal> {
    if cloud.time_to_live(table).await.map_err(denied)? {
        return Ok(());
    }
    cloud.enable_time_to_live(table).await.map_err(|error| Rule::TimeToLive.by(format!("{table}: {error}")))
}

async fn stream(cloud: &dyn Cloud, table: &str) -> Result<String, Refusal> {
    if let Some(arn) = cloud.describe_table(table).await.map_err(denied)?.stream {
        return Ok(arn);
    }
    let off = |error: CloudError| Rule::Stream.by(format!("{table}: {error}"));
    cloud.enable_stream(table).await.map_err(off)?;
    let arn = cloud.describe_table(table).await.map_err(off)?.stream;
    arn.ok_or_else(|| Rule::Stream.by(format!("{table}: still off")))
}

async fn continuous_backups(cloud: &dyn Cloud, storage: &Storage, table: &str) -> Result<(), Refusal> {
    if !storage.continuous_backups {
        return Ok(());
    }
    // Called on every start, even when they are on.
    cloud
        .enable_continuous_backups(table)
        .await
        .map_err(|error| Rule::ContinuousBackups.by(format!("{table}: {error}")))
}

async fn bucket(cloud: &dyn Cloud, storage: &Storage, log: &Log) -> Result<(), Refusal> {
    let Some(sessions) = &storage.sessions else { return Ok(()) };
    match cloud.head_bucket(&sessions.bucket).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => {
            log.info("Bucket does not exist, creating it", json!({ "bucket": sessions.bucket }));
            create_bucket(cloud, &sessions.bucket, sessions.sse)
                .await
                .map_err(|error| Rule::CreateBucket.by(format!("{}: {error}", sessions.bucket)))
        }
        // Recordings then fail later; the start does not.
        Err(error) => {
            log.error("Failed to ensure that the sessions bucket exists", &error);
            Ok(())
        }
    }
}

async fn create_bucket(cloud: &dyn Cloud, bucket: &str, sse: bool) -> Answer<()> {
    cloud.create_bucket(bucket).await?;
    cloud.enable_versioning(bucket).await?;
    if sse {
        cloud.enable_encryption(bucket).await?;
    }
    Ok(())
}
