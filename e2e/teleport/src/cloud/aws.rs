//! The real calls, by the AWS SDK. Who makes them and where to is in `connect`, the form of items in `items`.

mod connect;
mod items;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types as ddb;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use aws_sdk_s3::types as s3;

pub(crate) use connect::Aws;
pub(super) use connect::{endpoint, timeouts};

use super::{Answer, Cloud, CloudError, Condition, ErrorKind, Event, Item, NewTable, Records, Table, TableKind};
use items::{HASH_KEY, attributes, built, expression, item, key, number, string, values};

/// How long a table that is being made may take.
const TABLE_DEADLINE: Duration = Duration::from_secs(600);

struct Calls {
    table: aws_sdk_dynamodb::Client,
    events: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    bucket: aws_sdk_s3::Client,
    bucket_region: String,
    events_table: String,
}

/// An error with all its causes, without the debugging that the SDK adds.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn failed<E, R>(call: &str, error: SdkError<E, R>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let text = causes(&error);
    let kind = match code.as_str() {
        "ResourceNotFoundException" | "NotFound" | "NoSuchBucket" | "404" => ErrorKind::NotFound,
        "AccessDeniedException" | "AccessDenied" | "Forbidden" | "403" => ErrorKind::Denied,
        "ConditionalCheckFailedException" | "TransactionCanceledException" => ErrorKind::Condition,
        "ExpiredIteratorException" | "TrimmedDataAccessException" => ErrorKind::Expired,
        _ if text.contains("AccessDenied") => ErrorKind::Denied,
        _ => ErrorKind::Other,
    };
    let text = match error.message() {
        Some(message) => format!("{call}: {code}: {message}"),
        None => format!("{call}: {code} {text}"),
    };
    CloudError { kind, message: text }
}

impl Calls {
    fn client(&self, table: &str) -> &aws_sdk_dynamodb::Client {
        if table == self.events_table { &self.events } else { &self.table }
    }

    async fn wait_active(&self, table: &str) -> Answer<()> {
        let deadline = tokio::time::Instant::now() + TABLE_DEADLINE;
        loop {
            let answer = self.client(table).describe_table().table_name(table).send().await;
            let answer = answer.map_err(|error| failed("DescribeTable", error))?;
            let status = answer.table().and_then(|table| table.table_status());
            if status == Some(&ddb::TableStatus::Active) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(CloudError {
                    kind: ErrorKind::Other,
                    message: format!("table {table} is still {status:?}"),
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[async_trait]
impl Cloud for Calls {
    async fn describe_table(&self, table: &str) -> Answer<Table> {
        let answer = self.client(table).describe_table().table_name(table).send().await;
        let answer = answer.map_err(|error| failed("DescribeTable", error))?;
        let described = answer.table();
        let on = described.and_then(|table| table.stream_specification()).is_some_and(|stream| stream.stream_enabled());
        Ok(Table {
            attributes: described
                .map_or(&[][..], |table| table.attribute_definitions())
                .iter()
                .map(|a| a.attribute_name().to_owned())
                .collect(),
            stream: described.and_then(|table| table.latest_stream_arn()).filter(|_| on).map(str::to_owned),
        })
    }

    async fn create_table(&self, table: &NewTable) -> Answer<()> {
        use ddb::ScalarAttributeType::{N, S};
        use ddb::{
            AttributeDefinition, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProvisionedThroughput,
        };
        let attribute =
            |name: &str, kind| built(AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build());
        let element = |name: &str, kind| built(KeySchemaElement::builder().attribute_name(name).key_type(kind).build());
        let throughput =
            || built(ProvisionedThroughput::builder().read_capacity_units(10).write_capacity_units(10).build());
        let mut call = self.client(&table.name).create_table().table_name(&table.name);
        call = match table.kind {
            TableKind::State => call
                .attribute_definitions(attribute("HashKey", S)?)
                .attribute_definitions(attribute("FullPath", S)?)
                .key_schema(element("HashKey", KeyType::Hash)?)
                .key_schema(element("FullPath", KeyType::Range)?),
            TableKind::Events => {
                let index = GlobalSecondaryIndex::builder()
                    .index_name("timesearchV2")
                    .key_schema(element("CreatedAtDate", KeyType::Hash)?)
                    .key_schema(element("CreatedAt", KeyType::Range)?)
                    .projection(Projection::builder().projection_type(ddb::ProjectionType::All).build())
                    .provisioned_throughput(throughput()?);
                call.attribute_definitions(attribute("SessionID", S)?)
                    .attribute_definitions(attribute("EventIndex", N)?)
                    .attribute_definitions(attribute("CreatedAtDate", S)?)
                    .attribute_definitions(attribute("CreatedAt", N)?)
                    .key_schema(element("SessionID", KeyType::Hash)?)
                    .key_schema(element("EventIndex", KeyType::Range)?)
                    .global_secondary_indexes(built(index.build())?)
            }
        };
        call = if table.provisioned {
            call.provisioned_throughput(throughput()?)
        } else {
            call.billing_mode(ddb::BillingMode::PayPerRequest)
        };
        call.send().await.map_err(|error| failed("CreateTable", error))?;
        self.wait_active(&table.name).await
    }

    async fn time_to_live(&self, table: &str) -> Answer<bool> {
        let answer = self.client(table).describe_time_to_live().table_name(table).send().await;
        let answer = answer.map_err(|error| failed("DescribeTimeToLive", error))?;
        let status = answer.time_to_live_description().and_then(|ttl| ttl.time_to_live_status());
        Ok(matches!(status, Some(ddb::TimeToLiveStatus::Enabled | ddb::TimeToLiveStatus::Enabling)))
    }

    async fn enable_time_to_live(&self, table: &str) -> Answer<()> {
        let wanted = built(ddb::TimeToLiveSpecification::builder().attribute_name("Expires").enabled(true).build())?;
        let call = self.client(table).update_time_to_live().table_name(table).time_to_live_specification(wanted);
        call.send().await.map(drop).map_err(|error| failed("UpdateTimeToLive", error))
    }

    async fn enable_stream(&self, table: &str) -> Answer<()> {
        let wanted =
            ddb::StreamSpecification::builder().stream_enabled(true).stream_view_type(ddb::StreamViewType::NewImage);
        let call = self.table.update_table().table_name(table).stream_specification(built(wanted.build())?);
        call.send().await.map_err(|error| failed("UpdateTable", error))?;
        self.wait_active(table).await
    }

    async fn enable_continuous_backups(&self, table: &str) -> Answer<()> {
        let wanted = ddb::PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
        let call = self.client(table).update_continuous_backups().table_name(table);
        let call = call.point_in_time_recovery_specification(built(wanted.build())?);
        call.send().await.map(drop).map_err(|error| failed("UpdateContinuousBackups", error))
    }

    async fn get(&self, table: &str, path: &str) -> Answer<Option<Item>> {
        let call = self.table.get_item().table_name(table).set_key(Some(key(path))).consistent_read(true);
        let answer = call.send().await.map_err(|error| failed("GetItem", error))?;
        Ok(answer.item().and_then(item))
    }

    async fn list(&self, table: &str, prefix: &str) -> Answer<Vec<Item>> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let call = self
                .table
                .query()
                .table_name(table)
                .consistent_read(true)
                .key_condition_expression("HashKey = :hash AND begins_with(FullPath, :prefix)")
                .expression_attribute_values(":hash", string(HASH_KEY))
                .expression_attribute_values(":prefix", string(prefix))
                .set_exclusive_start_key(from);
            let answer = call.send().await.map_err(|error| failed("Query", error))?;
            items.extend(answer.items().iter().filter_map(item));
            from = answer.last_evaluated_key().cloned();
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    async fn put(&self, table: &str, item: &Item, condition: Condition) -> Answer<()> {
        let expression = expression(condition);
        let call = self
            .table
            .put_item()
            .table_name(table)
            .set_item(Some(attributes(item)))
            .set_condition_expression(expression.text.map(str::to_owned))
            .set_expression_attribute_values(values(expression.values));
        call.send().await.map(drop).map_err(|error| failed("PutItem", error))
    }

    async fn put_all(&self, table: &str, guard: (&str, &str), items: &[Item]) -> Answer<()> {
        let check = ddb::ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key(guard.0)))
            .condition_expression("Revision = :revision")
            .expression_attribute_values(":revision", string(guard.1));
        let mut call = self
            .table
            .transact_write_items()
            .transact_items(ddb::TransactWriteItem::builder().condition_check(built(check.build())?).build());
        for item in items {
            let put = ddb::Put::builder()
                .table_name(table)
                .set_item(Some(attributes(item)))
                .condition_expression("attribute_not_exists(FullPath)");
            call = call.transact_items(ddb::TransactWriteItem::builder().put(built(put.build())?).build());
        }
        call.send().await.map(drop).map_err(|error| failed("TransactWriteItems", error))
    }

    async fn keep_alive(&self, table: &str, path: &str, revision: &str, expires: i64) -> Answer<()> {
        let call = self
            .table
            .update_item()
            .table_name(table)
            .set_key(Some(key(path)))
            .update_expression("SET Expires = :expires")
            .condition_expression("Revision = :revision")
            .expression_attribute_values(":expires", number(expires))
            .expression_attribute_values(":revision", string(revision));
        call.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }

    async fn delete(&self, table: &str, path: &str, condition: Condition) -> Answer<()> {
        let expression = expression(condition);
        let call = self
            .table
            .delete_item()
            .table_name(table)
            .set_key(Some(key(path)))
            .set_condition_expression(expression.text.map(str::to_owned))
            .set_expression_attribute_values(values(expression.values));
        call.send().await.map(drop).map_err(|error| failed("DeleteItem", error))
    }

    async fn shards(&self, stream: &str) -> Answer<Vec<String>> {
        let answer = self.streams.describe_stream().stream_arn(stream).send().await;
        let answer = answer.map_err(|error| failed("DescribeStream", error))?;
        let shards = answer.stream_description().map_or(&[][..], |stream| stream.shards());
        Ok(shards.iter().filter_map(|shard| shard.shard_id()).map(str::to_owned).collect())
    }

    async fn iterator(&self, stream: &str, shard: &str) -> Answer<String> {
        let call = self.streams.get_shard_iterator().stream_arn(stream).shard_id(shard);
        let answer = call.shard_iterator_type(ShardIteratorType::Latest).send().await;
        let answer = answer.map_err(|error| failed("GetShardIterator", error))?;
        Ok(answer.shard_iterator().unwrap_or_default().to_owned())
    }

    async fn records(&self, iterator: &str) -> Answer<Records> {
        let answer = self.streams.get_records().shard_iterator(iterator).send().await;
        let answer = answer.map_err(|error| failed("GetRecords", error))?;
        let keys = answer.records().iter().filter_map(|record| record.dynamodb()?.keys()?.get("FullPath")?.as_s().ok());
        Ok(Records { paths: keys.cloned().collect(), next: answer.next_shard_iterator().map(str::to_owned) })
    }

    async fn emit(&self, table: &str, event: &Event) -> Answer<()> {
        let fields = HashMap::from([
            ("event".to_owned(), string(&event.kind)),
            ("cluster_name".to_owned(), string(&event.cluster)),
        ]);
        let call = self
            .events
            .put_item()
            .table_name(table)
            .item("SessionID", string(&event.session))
            .item("EventIndex", number(0))
            .item("EventType", string(&event.kind))
            .item("EventNamespace", string("default"))
            .item("CreatedAtDate", string(&event.date))
            .item("CreatedAt", number(event.at))
            .item("Expires", number(event.expires))
            .item("FieldsMap", ddb::AttributeValue::M(fields))
            .condition_expression("attribute_not_exists(SessionID) AND attribute_not_exists(EventIndex)");
        call.send().await.map(drop).map_err(|error| failed("PutItem", error))
    }

    async fn search(&self, table: &str, date: &str) -> Answer<usize> {
        let call = self
            .events
            .query()
            .table_name(table)
            .index_name("timesearchV2")
            .key_condition_expression("CreatedAtDate = :date AND CreatedAt BETWEEN :from AND :to")
            .expression_attribute_values(":date", string(date))
            .expression_attribute_values(":from", number(0))
            .expression_attribute_values(":to", number(i64::from(u32::MAX)))
            .limit(10);
        let answer = call.send().await.map_err(|error| failed("Query", error))?;
        Ok(usize::try_from(answer.count()).unwrap_or_default())
    }

    async fn head_bucket(&self, bucket: &str) -> Answer<()> {
        let answer = self.bucket.head_bucket().bucket(bucket).send().await;
        answer.map(drop).map_err(|error| {
            // HEAD has no body, so the status is all there is.
            let status = error.raw_response().map(|response| response.status().as_u16());
            let mut failed = failed("HeadBucket", error);
            match status {
                Some(404) => failed.kind = ErrorKind::NotFound,
                Some(403) => failed.kind = ErrorKind::Denied,
                _ => {}
            }
            failed
        })
    }

    async fn create_bucket(&self, bucket: &str) -> Answer<()> {
        let place = s3::CreateBucketConfiguration::builder()
            .location_constraint(s3::BucketLocationConstraint::from(self.bucket_region.as_str()))
            .build();
        let call = self.bucket.create_bucket().bucket(bucket).acl(s3::BucketCannedAcl::Private);
        let call = call.set_create_bucket_configuration((self.bucket_region != "us-east-1").then_some(place));
        call.send().await.map(drop).map_err(|error| failed("CreateBucket", error))
    }

    async fn enable_versioning(&self, bucket: &str) -> Answer<()> {
        let wanted = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Enabled).build();
        let call = self.bucket.put_bucket_versioning().bucket(bucket).versioning_configuration(wanted);
        call.send().await.map(drop).map_err(|error| failed("PutBucketVersioning", error))
    }

    async fn enable_encryption(&self, bucket: &str) -> Answer<()> {
        let other =
            |error: aws_sdk_s3::error::BuildError| CloudError { kind: ErrorKind::Other, message: error.to_string() };
        let by_default = s3::ServerSideEncryptionByDefault::builder().sse_algorithm(s3::ServerSideEncryption::AwsKms);
        let rule = s3::ServerSideEncryptionRule::builder();
        let rule = rule.apply_server_side_encryption_by_default(by_default.build().map_err(other)?).build();
        let wanted = s3::ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(other)?;
        let call = self.bucket.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(wanted);
        call.send().await.map(drop).map_err(|error| failed("PutBucketEncryption", error))
    }

    async fn uploads(&self, bucket: &str, prefix: &str) -> Answer<usize> {
        let call = self.bucket.list_multipart_uploads().bucket(bucket).prefix(prefix);
        let answer = call.send().await.map_err(|error| failed("ListMultipartUploads", error))?;
        Ok(answer.uploads().len())
    }
}
