//! One right, tried once. Every call either reads or cannot take effect: writes are on a key that no item has, under the
//! condition that it has one, or remove what is not there; settings are set to what they are; an upload is given up before a byte
//! of it was sent.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types as ddb;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use plan::cloud::CloudNames;
use plan::cloud::rights::{On, Right};
use plan::cloud::wanted::{EXPIRES, TIME_INDEX};

use super::outcome;
use super::session::Session;
use crate::cloud::CloudError;

/// No item has this key, and no object but one that the operator of this command allowed.
const KEY: &str = "tenant-operator/verify-isolation";
/// No stream has this shard.
const SHARD: &str = "shardId-00000000000000000000-00000000";
const NO_OBJECT: &str = "the bucket is empty: --write-object puts an empty object into it";
/// No table has this name, nor a stream of this time.
const NO_TABLE: &str = "no-tenants-table";
const NO_STREAM: &str = "2026-01-01T00:00:00.000";

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// AWS would do it.
    Allowed,
    /// AWS refuses it for want of a right.
    Denied,
    /// There is nothing to try it on.
    Untried,
    /// It cannot be told, and why.
    Unclear(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Allowed => formatter.write_str("allowed"),
            Outcome::Denied => formatter.write_str("denied"),
            Outcome::Untried => formatter.write_str("not tried"),
            Outcome::Unclear(why) => write!(formatter, "unclear: {why}"),
        }
    }
}

/// Resources to try things on.
#[derive(Clone, Debug)]
pub struct Target {
    state_table: String,
    events_table: String,
    stream: String,
    /// A place in the stream, as its owner was given it.
    iterator: String,
    bucket: Option<String>,
    /// One that is there. Of one that is not, S3 says "denied" to everybody who may not list the bucket, also to those who
    /// might read it.
    object: Option<Object>,
}

/// An object of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    key: String,
    version: String,
}

impl Target {
    /// Those of a tenant, looked up as itself.
    pub async fn of(names: &CloudNames, owner: &Session) -> Target {
        let (state_table, events_table) = (names.state_table.clone(), names.events_table.clone());
        let described = owner.dynamodb().describe_table().table_name(&names.state_table).send().await;
        let table = described.ok().and_then(|answer| answer.table);
        let stream = table.and_then(|table| table.latest_stream_arn).unwrap_or_else(|| no_stream(names, &state_table));
        let iterator = iterator(owner, &stream).await.unwrap_or_else(|| no_iterator(&stream));
        let object = object(owner, &names.bucket).await;
        Target { state_table, events_table, stream, iterator, bucket: Some(names.bucket.clone()), object }
    }

    /// Those of no tenant, where this one is: tables that are not there, since AWS decides on the right first; and an object
    /// of a bucket without versions, if one is given.
    pub fn nowhere(names: &CloudNames, object: Option<&(String, String)>) -> Target {
        let stream = no_stream(names, NO_TABLE);
        Target {
            state_table: NO_TABLE.into(),
            events_table: NO_TABLE.into(),
            iterator: no_iterator(&stream),
            stream,
            bucket: object.map(|(bucket, _)| bucket.clone()),
            object: object.map(|(_, key)| Object { key: key.clone(), version: "null".into() }),
        }
    }

    fn is_nowhere(&self) -> bool {
        self.state_table == NO_TABLE
    }
}

fn no_stream(names: &CloudNames, table: &str) -> String {
    format!("{}/stream/{NO_STREAM}", names.table_arn(table))
}

/// Iterators begin with the ARN of their stream, by which AWS decides on the right to read it.
fn no_iterator(stream: &str) -> String {
    format!("{stream}|1|none")
}

/// Any object of a bucket, as its owner sees it.
async fn object(owner: &Session, bucket: &str) -> Option<Object> {
    let listed = owner.s3().list_object_versions().bucket(bucket).max_keys(1).send().await.ok()?;
    let version = listed.versions?.into_iter().next()?;
    Some(Object { key: version.key?, version: version.version_id? })
}

/// Puts an empty object into a tenant's bucket, where there is none.
///
/// # Errors
/// When the tenant may not.
pub async fn ensure_object(owner: &Session, bucket: &str) -> Result<(), CloudError> {
    if object(owner, bucket).await.is_some() {
        return Ok(());
    }
    let put = owner.s3().put_object().bucket(bucket).key(KEY).send().await;
    put.map(drop).map_err(|error| CloudError::call("s3:PutObject", bucket, &error))
}

async fn iterator(owner: &Session, stream: &str) -> Option<String> {
    let described = owner.streams().describe_stream().stream_arn(stream).send().await.ok()?;
    let shard = described.stream_description?.shards?.into_iter().next()?.shard_id?;
    let call = owner.streams().get_shard_iterator().stream_arn(stream).shard_id(shard);
    call.shard_iterator_type(ShardIteratorType::Latest).send().await.ok()?.shard_iterator
}

/// Tries one right on a target.
pub async fn of(session: &Session, right: &Right, target: &Target) -> Outcome {
    match right.on {
        On::StateTable => table(session, right, &target.state_table, &STATE).await,
        On::EventsTable => table(session, right, &target.events_table, &EVENTS).await,
        On::EventsIndex => index(session, right, &target.events_table).await,
        On::StateStream => stream(session, right, target).await,
        On::Bucket | On::Objects => match &target.bucket {
            None => Outcome::Untried,
            Some(bucket) if right.on == On::Bucket => of_bucket(session, right, bucket).await,
            Some(bucket) => of_objects(session, right, bucket, target.object.as_ref()).await,
        },
    }
}

/// Primary key of a table: names, and whether the second is a number.
struct Layout {
    hash: &'static str,
    range: &'static str,
    number: bool,
}

const STATE: Layout = Layout { hash: "HashKey", range: "FullPath", number: false };
const EVENTS: Layout = Layout { hash: "SessionID", range: "EventIndex", number: true };

impl Layout {
    fn key(&self) -> HashMap<String, ddb::AttributeValue> {
        let range = if self.number { ddb::AttributeValue::N("0".into()) } else { ddb::AttributeValue::S(KEY.into()) };
        HashMap::from([(self.hash.to_owned(), ddb::AttributeValue::S(KEY.into())), (self.range.to_owned(), range)])
    }

    /// Never true of a key that no item has.
    fn exists(&self) -> String {
        format!("attribute_exists({})", self.hash)
    }

    fn query(&self, call: QueryFluentBuilder) -> QueryFluentBuilder {
        call.key_condition_expression("#hash = :key")
            .expression_attribute_names("#hash", self.hash)
            .expression_attribute_values(":key", ddb::AttributeValue::S(KEY.into()))
            .limit(1)
    }
}

macro_rules! tried {
    ($right:expr, $on:expr, $call:expr) => {
        outcome(
            $right.action,
            $call.send().await.map(drop).map_err(|error| CloudError::call($right.action, $on, &error)),
        )
    };
}

async fn table(session: &Session, right: &Right, name: &str, layout: &Layout) -> Outcome {
    let client = session.dynamodb();
    let unmade = |error: aws_sdk_dynamodb::error::BuildError| Outcome::Unclear(error.to_string());
    match right.action {
        "dynamodb:BatchWriteItem" => {
            let deletion = match ddb::DeleteRequest::builder().set_key(Some(layout.key())).build() {
                Ok(deletion) => ddb::WriteRequest::builder().delete_request(deletion).build(),
                Err(error) => return unmade(error),
            };
            tried!(right, name, client.batch_write_item().request_items(name, vec![deletion]))
        }
        "dynamodb:ConditionCheckItem" => {
            let check = ddb::ConditionCheck::builder()
                .table_name(name)
                .set_key(Some(layout.key()))
                .condition_expression(layout.exists());
            let check = match check.build() {
                Ok(check) => ddb::TransactWriteItem::builder().condition_check(check).build(),
                Err(error) => return unmade(error),
            };
            tried!(right, name, client.transact_write_items().transact_items(check))
        }
        "dynamodb:DeleteItem" => tried!(
            right,
            name,
            client.delete_item().table_name(name).set_key(Some(layout.key())).condition_expression(layout.exists())
        ),
        "dynamodb:PutItem" => tried!(
            right,
            name,
            client.put_item().table_name(name).set_item(Some(layout.key())).condition_expression(layout.exists())
        ),
        "dynamodb:UpdateItem" => tried!(
            right,
            name,
            client
                .update_item()
                .table_name(name)
                .set_key(Some(layout.key()))
                .update_expression("REMOVE Revision")
                .condition_expression(layout.exists())
        ),
        "dynamodb:GetItem" => tried!(right, name, client.get_item().table_name(name).set_key(Some(layout.key()))),
        "dynamodb:Query" => tried!(right, name, layout.query(client.query().table_name(name))),
        "dynamodb:Scan" => tried!(right, name, client.scan().table_name(name).limit(1)),
        "dynamodb:DescribeTable" => tried!(right, name, client.describe_table().table_name(name)),
        "dynamodb:DescribeTimeToLive" => tried!(right, name, client.describe_time_to_live().table_name(name)),
        // As the operator keeps it.
        "dynamodb:UpdateTable" => {
            tried!(right, name, client.update_table().table_name(name).billing_mode(ddb::BillingMode::PayPerRequest))
        }
        "dynamodb:UpdateTimeToLive" => {
            match ddb::TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES).build() {
                Ok(as_it_is) => tried!(
                    right,
                    name,
                    client.update_time_to_live().table_name(name).time_to_live_specification(as_it_is)
                ),
                Err(error) => unmade(error),
            }
        }
        _ => unknown(right),
    }
}

async fn index(session: &Session, right: &Right, name: &str) -> Outcome {
    const BY_TIME: Layout = Layout { hash: "CreatedAtDate", range: "CreatedAt", number: true };
    let call = session.dynamodb().query().table_name(name).index_name(TIME_INDEX);
    match right.action {
        "dynamodb:Query" => tried!(right, name, BY_TIME.query(call)),
        _ => unknown(right),
    }
}

async fn stream(session: &Session, right: &Right, target: &Target) -> Outcome {
    let (client, arn) = (session.streams(), &target.stream);
    match right.action {
        "dynamodb:DescribeStream" => tried!(right, arn, client.describe_stream().stream_arn(arn)),
        "dynamodb:GetShardIterator" => {
            let call = client.get_shard_iterator().stream_arn(arn).shard_id(SHARD);
            tried!(right, arn, call.shard_iterator_type(ShardIteratorType::Latest))
        }
        // An iterator that is none can be refused before anybody's right is looked at.
        "dynamodb:GetRecords" if target.is_nowhere() => Outcome::Untried,
        "dynamodb:GetRecords" => {
            tried!(right, arn, client.get_records().shard_iterator(&target.iterator).limit(1))
        }
        _ => unknown(right),
    }
}

async fn of_bucket(session: &Session, right: &Right, bucket: &str) -> Outcome {
    let client = session.s3();
    match right.action {
        "s3:GetBucketVersioning" => tried!(right, bucket, client.get_bucket_versioning().bucket(bucket)),
        "s3:GetEncryptionConfiguration" => tried!(right, bucket, client.get_bucket_encryption().bucket(bucket)),
        "s3:ListBucket" => tried!(right, bucket, client.list_objects_v2().bucket(bucket).max_keys(1)),
        "s3:ListBucketMultipartUploads" => {
            tried!(right, bucket, client.list_multipart_uploads().bucket(bucket).max_uploads(1))
        }
        "s3:ListBucketVersions" => tried!(right, bucket, client.list_object_versions().bucket(bucket).max_keys(1)),
        _ => unknown(right),
    }
}

async fn of_objects(session: &Session, right: &Right, bucket: &str, object: Option<&Object>) -> Outcome {
    /// No upload has this id.
    const NO_UPLOAD: &str = "none";
    let client = session.s3();
    if right.action.starts_with("s3:GetObject") {
        let Some(Object { key, version }) = object else { return Outcome::Unclear(NO_OBJECT.into()) };
        return match right.action {
            "s3:GetObject" => tried!(right, bucket, client.get_object().bucket(bucket).key(key)),
            "s3:GetObjectRetention" => tried!(right, bucket, client.get_object_retention().bucket(bucket).key(key)),
            "s3:GetObjectVersion" => {
                tried!(right, bucket, client.get_object().bucket(bucket).key(key).version_id(version))
            }
            _ => unknown(right),
        };
    }
    match right.action {
        "s3:AbortMultipartUpload" => {
            tried!(right, bucket, client.abort_multipart_upload().bucket(bucket).key(KEY).upload_id(NO_UPLOAD))
        }
        "s3:ListMultipartUploadParts" => {
            tried!(right, bucket, client.list_parts().bucket(bucket).key(KEY).upload_id(NO_UPLOAD))
        }
        "s3:PutObject" => {
            let begun = client.create_multipart_upload().bucket(bucket).key(KEY).send().await;
            if let Some(upload) = begun.as_ref().ok().and_then(|answer| answer.upload_id()) {
                let abort = client.abort_multipart_upload().bucket(bucket).key(KEY).upload_id(upload).send().await;
                if let Err(error) = abort {
                    let error = CloudError::call("s3:AbortMultipartUpload", bucket, &error);
                    return Outcome::Unclear(format!("upload {upload} stays behind: {}", crate::error::chain(&error)));
                }
            }
            outcome(right.action, begun.map(drop).map_err(|error| CloudError::call(right.action, bucket, &error)))
        }
        _ => unknown(right),
    }
}

fn unknown(right: &Right) -> Outcome {
    Outcome::Unclear(format!("nobody has said how {} is tried", right.action))
}
