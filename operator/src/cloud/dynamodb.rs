//! Tables: a complete read of one, and the steps that change one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types as sdk;
use plan::cloud::facts::{TableFacts, TableKey, TableStatus};
use plan::cloud::step::{Key, NewTable};

use super::aws::Aws;
use super::error::CloudError;

/// Reads a table with its time to live, backups and tags.
pub(super) async fn read(aws: &Aws, region: &str, name: &str) -> Result<Option<TableFacts>, CloudError> {
    let client = aws.dynamodb(region);
    let Some(table) = describe(aws, &client, name).await? else {
        aws.in_creation.leave(region, name);
        return Ok(None);
    };
    let incomplete =
        |field| CloudError::Incomplete { action: "dynamodb:DescribeTable", resource: format!("table {name}"), field };
    let arn = table.table_arn().ok_or_else(|| incomplete("TableArn"))?.to_owned();
    let status = match table.table_status().ok_or_else(|| incomplete("TableStatus"))? {
        sdk::TableStatus::Active => TableStatus::Active,
        sdk::TableStatus::Deleting => TableStatus::Deleting,
        sdk::TableStatus::InaccessibleEncryptionCredentials
        | sdk::TableStatus::Archiving
        | sdk::TableStatus::Archived => TableStatus::Inaccessible,
        _ => TableStatus::Changing,
    };
    if status != TableStatus::Changing {
        aws.in_creation.leave(region, name);
    }
    // While a table comes or goes, what belongs to it can already or still be missing, and nobody acts upon it.
    let (ttl, point_in_time_recovery, tags) = match status {
        TableStatus::Active => futures::try_join!(
            time_to_live(aws, &client, name),
            point_in_time_recovery(aws, &client, name),
            tags(aws, &client, name, &arn),
        )?,
        TableStatus::Changing | TableStatus::Deleting | TableStatus::Inaccessible => Default::default(),
    };
    let key = |wanted: sdk::KeyType| {
        let element = table.key_schema().iter().find(|element| *element.key_type() == wanted);
        element.map(|element| element.attribute_name().to_owned())
    };
    let indexes = table.global_secondary_indexes().iter().filter_map(|index| index.index_name().map(str::to_owned));
    Ok(Some(TableFacts {
        status,
        hash_key: key(sdk::KeyType::Hash).ok_or_else(|| incomplete("partition key"))?,
        range_key: key(sdk::KeyType::Range),
        indexes: indexes.collect::<BTreeSet<_>>().into_iter().collect(),
        stream: stream_view(&table),
        ttl,
        point_in_time_recovery,
        on_demand: billed_per_request(&table),
        key: key_of(aws, region, &table).await?,
        deletion_protection: table.deletion_protection_enabled() == Some(true),
        tags,
        arn,
    }))
}

/// Creates a table. One that exists is left as it is: its facts say whether it is the right one.
pub(super) async fn create(aws: &Aws, region: &str, table: &NewTable) -> Result<(), CloudError> {
    const ACTION: &str = "dynamodb:CreateTable";
    let NewTable { name, key, index, stream, kms_key, tags } = table;
    let resource = format!("table {name}");
    let request = |source| CloudError::Request { action: ACTION, resource: resource.clone(), source };
    let index_keys = index.iter().map(|(_, key)| key);
    let attributes: BTreeSet<_> =
        std::iter::once(key).chain(index_keys).flat_map(|key| [key.hash, key.range]).collect();
    let attributes = attributes.into_iter().map(attribute).collect::<Result<Vec<_>, _>>().map_err(request)?;
    let index = index.as_ref().map(|(name, key)| secondary_index(name, key)).transpose().map_err(request)?;
    let stream = stream.map(stream_specification).transpose().map_err(request)?;

    if !aws.in_creation.enter(region, name, Instant::now()) {
        return Err(CloudError::TooManyInCreation { table: name.clone(), limit: aws.in_creation.limit() });
    }
    let call = aws
        .dynamodb(region)
        .create_table()
        .table_name(name)
        .set_attribute_definitions(Some(attributes))
        .set_key_schema(Some(key_schema(key).map_err(request)?))
        .set_global_secondary_indexes(index.map(|index| vec![index]))
        .set_stream_specification(stream)
        .billing_mode(sdk::BillingMode::PayPerRequest)
        .deletion_protection_enabled(true)
        .sse_specification(sse_specification(kms_key.as_deref()))
        .set_tags(Some(sdk_tags(tags).map_err(request)?))
        .send();
    match aws.call(ACTION, &resource, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => {
            // A call without an answer may have created the table, so that only a refusal gives the place back.
            if error.code().is_some() {
                aws.in_creation.leave(region, name);
            }
            Err(error.of_key(kms_key.as_deref()))
        }
    }
}

/// Reads an authority out of the state table (lib/backend/dynamo, lib/services/local: `/authorities/<type>/<cluster>`).
pub(super) async fn authority(
    aws: &Aws,
    region: &str,
    table: &str,
    kind: &str,
    domain: &str,
) -> Result<Option<Vec<u8>>, CloudError> {
    const ACTION: &str = "dynamodb:GetItem";
    let text = |text: String| sdk::AttributeValue::S(text);
    let call = aws
        .dynamodb(region)
        .get_item()
        .table_name(table)
        .key("HashKey", text("teleport".to_owned()))
        .key("FullPath", text(format!("teleport/authorities/{kind}/{domain}")))
        .consistent_read(true)
        .send();
    let answer = aws.call(ACTION, &format!("table {table}"), call).await?;
    let Some(item) = answer.item else { return Ok(None) };
    let value = item.get("Value").and_then(|value| value.as_b().ok());
    let field = "Value";
    let value = value.ok_or(CloudError::Incomplete { action: ACTION, resource: format!("table {table}"), field })?;
    Ok(Some(value.as_ref().to_vec()))
}

/// Turns the stream on.
pub(super) async fn enable_stream(aws: &Aws, region: &str, table: &str, view: &str) -> Result<(), CloudError> {
    let client = aws.dynamodb(region);
    let stream = stream_specification(view).map_err(|source| CloudError::Request {
        action: UPDATE,
        resource: format!("table {table}"),
        source,
    })?;
    let call = client.update_table().table_name(table).stream_specification(stream).send();
    let answer = aws.call(UPDATE, &format!("table {table}"), call).await;
    unless_so_already(aws, &client, table, answer, |table| stream_view(table).as_deref() == Some(view)).await
}

/// Protects the table against deletion.
pub(super) async fn protect(aws: &Aws, region: &str, table: &str) -> Result<(), CloudError> {
    let client = aws.dynamodb(region);
    let call = client.update_table().table_name(table).deletion_protection_enabled(true).send();
    let answer = aws.call(UPDATE, &format!("table {table}"), call).await;
    unless_so_already(aws, &client, table, answer, |table| table.deletion_protection_enabled() == Some(true)).await
}

/// Bills the table per request.
pub(super) async fn bill_per_request(aws: &Aws, region: &str, table: &str) -> Result<(), CloudError> {
    let client = aws.dynamodb(region);
    let call = client.update_table().table_name(table).billing_mode(sdk::BillingMode::PayPerRequest).send();
    let answer = aws.call(UPDATE, &format!("table {table}"), call).await;
    unless_so_already(aws, &client, table, answer, billed_per_request).await
}

/// Encrypts the table with another key.
pub(super) async fn encrypt(aws: &Aws, region: &str, table: &str, key: Option<&str>) -> Result<(), CloudError> {
    let wanted = key.map_or(TableKey::Managed, |arn| TableKey::Customer(arn.to_owned()));
    let client = aws.dynamodb(region);
    let call = client.update_table().table_name(table).sse_specification(sse_specification(key)).send();
    let answer = aws.call(UPDATE, &format!("table {table}"), call).await;
    // It cannot be said of a description alone whose key it names.
    match answer {
        Err(error) if matches!(error.code(), Some("ValidationException" | "ResourceInUseException")) => {
            let found = describe(aws, &client, table).await?;
            let found = match &found {
                Some(found) => Some(key_of(aws, region, found).await?),
                None => None,
            };
            if found == Some(wanted) { Ok(()) } else { Err(error.of_key(key)) }
        }
        answer => answer.map(drop).map_err(|error| error.of_key(key)),
    }
}

/// Turns the time to live on. AWS refuses to turn on what is on, with words that say which attribute it is on for;
/// what it is on for is asked, not read from the words.
pub(super) async fn enable_time_to_live(aws: &Aws, region: &str, table: &str, name: &str) -> Result<(), CloudError> {
    const ACTION: &str = "dynamodb:UpdateTimeToLive";
    let resource = format!("table {table}");
    let client = aws.dynamodb(region);
    let specification = sdk::TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(name)
        .build()
        .map_err(|source| CloudError::Request { action: ACTION, resource: resource.clone(), source })?;
    let call = client.update_time_to_live().table_name(table).time_to_live_specification(specification).send();
    match aws.call(ACTION, &resource, call).await {
        Err(error) if error.code() == Some("ValidationException") => {
            let on = time_to_live(aws, &client, table).await?;
            if on.as_deref() == Some(name) { Ok(()) } else { Err(error) }
        }
        answer => answer.map(drop),
    }
}

/// Turns point-in-time recovery on or off.
pub(super) async fn set_point_in_time_recovery(
    aws: &Aws,
    region: &str,
    table: &str,
    enabled: bool,
) -> Result<(), CloudError> {
    const ACTION: &str = "dynamodb:UpdateContinuousBackups";
    let resource = format!("table {table}");
    let specification = sdk::PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(enabled)
        .build()
        .map_err(|source| CloudError::Request { action: ACTION, resource: resource.clone(), source })?;
    let client = aws.dynamodb(region);
    let call =
        client.update_continuous_backups().table_name(table).point_in_time_recovery_specification(specification).send();
    aws.call(ACTION, &resource, call).await.map(drop)
}

const UPDATE: &str = "dynamodb:UpdateTable";

/// AWS refuses some changes that change nothing. A refusal counts as done when the table is as wanted; it stands
/// when the table is not.
async fn unless_so_already<T>(
    aws: &Aws,
    client: &Client,
    name: &str,
    answer: Result<T, CloudError>,
    as_wanted: impl Fn(&sdk::TableDescription) -> bool,
) -> Result<(), CloudError> {
    match answer {
        Err(error) if matches!(error.code(), Some("ValidationException" | "ResourceInUseException")) => {
            let table = describe(aws, client, name).await?;
            if table.is_some_and(|table| as_wanted(&table)) { Ok(()) } else { Err(error) }
        }
        answer => answer.map(drop),
    }
}

async fn describe(aws: &Aws, client: &Client, name: &str) -> Result<Option<sdk::TableDescription>, CloudError> {
    let call = client.describe_table().table_name(name).send();
    match aws.call("dynamodb:DescribeTable", &format!("table {name}"), call).await {
        Ok(answer) => answer.table.map(Some).ok_or_else(|| CloudError::Incomplete {
            action: "dynamodb:DescribeTable",
            resource: format!("table {name}"),
            field: "Table",
        }),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn time_to_live(aws: &Aws, client: &Client, name: &str) -> Result<Option<String>, CloudError> {
    let call = client.describe_time_to_live().table_name(name).send();
    let answer = aws.call("dynamodb:DescribeTimeToLive", &format!("table {name}"), call).await?;
    let on = |status: &sdk::TimeToLiveStatus| {
        matches!(status, sdk::TimeToLiveStatus::Enabled | sdk::TimeToLiveStatus::Enabling)
    };
    let description = answer.time_to_live_description;
    Ok(description.filter(|ttl| ttl.time_to_live_status().is_some_and(on)).and_then(|ttl| ttl.attribute_name))
}

async fn point_in_time_recovery(aws: &Aws, client: &Client, name: &str) -> Result<bool, CloudError> {
    let call = client.describe_continuous_backups().table_name(name).send();
    let answer = aws.call("dynamodb:DescribeContinuousBackups", &format!("table {name}"), call).await?;
    let recovery = answer.continuous_backups_description.and_then(|backups| backups.point_in_time_recovery_description);
    let status = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
    Ok(status == Some(sdk::PointInTimeRecoveryStatus::Enabled))
}

async fn tags(aws: &Aws, client: &Client, name: &str, arn: &str) -> Result<BTreeMap<String, String>, CloudError> {
    let mut tags = BTreeMap::new();
    let mut next = None;
    loop {
        let call = client.list_tags_of_resource().resource_arn(arn).set_next_token(next).send();
        let page = aws.call("dynamodb:ListTagsOfResource", &format!("table {name}"), call).await?;
        tags.extend(page.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
        next = page.next_token;
        if next.is_none() {
            return Ok(tags);
        }
    }
}

fn is_not_found(error: &CloudError) -> bool {
    matches!(error.code(), Some("ResourceNotFoundException" | "TableNotFoundException"))
}

/// Without a description the key is one of AWS that no account sees.
async fn key_of(aws: &Aws, region: &str, table: &sdk::TableDescription) -> Result<TableKey, CloudError> {
    let on = |sse: &&sdk::SseDescription| {
        matches!(sse.status(), Some(sdk::SseStatus::Enabled | sdk::SseStatus::Enabling | sdk::SseStatus::Updating))
    };
    let Some(arn) = table.sse_description().filter(on).and_then(|sse| sse.kms_master_key_arn()) else {
        return Ok(TableKey::Owned);
    };
    Ok(if aws.is_managed(region, arn).await? { TableKey::Managed } else { TableKey::Customer(arn.to_owned()) })
}

fn sse_specification(key: Option<&str>) -> sdk::SseSpecification {
    let specification = sdk::SseSpecification::builder().enabled(true).sse_type(sdk::SseType::Kms);
    specification.set_kms_master_key_id(key.map(str::to_owned)).build()
}

fn stream_view(table: &sdk::TableDescription) -> Option<String> {
    let stream = table.stream_specification().filter(|stream| stream.stream_enabled())?;
    stream.stream_view_type().map(|view| view.as_str().to_owned())
}

fn billed_per_request(table: &sdk::TableDescription) -> bool {
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    mode == Some(&sdk::BillingMode::PayPerRequest)
}

fn attribute((name, kind): (&str, &str)) -> Result<sdk::AttributeDefinition, BuildError> {
    sdk::AttributeDefinition::builder().attribute_name(name).attribute_type(kind.into()).build()
}

fn key_schema(key: &Key) -> Result<Vec<sdk::KeySchemaElement>, BuildError> {
    [(key.hash, sdk::KeyType::Hash), (key.range, sdk::KeyType::Range)]
        .into_iter()
        .map(|((name, _), kind)| sdk::KeySchemaElement::builder().attribute_name(name).key_type(kind).build())
        .collect()
}

fn secondary_index(name: &str, key: &Key) -> Result<sdk::GlobalSecondaryIndex, BuildError> {
    sdk::GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key_schema(key)?))
        .projection(sdk::Projection::builder().projection_type(sdk::ProjectionType::All).build())
        .build()
}

fn stream_specification(view: &str) -> Result<sdk::StreamSpecification, BuildError> {
    sdk::StreamSpecification::builder().stream_enabled(true).stream_view_type(view.into()).build()
}

fn sdk_tags(tags: &BTreeMap<String, String>) -> Result<Vec<sdk::Tag>, BuildError> {
    tags.iter().map(|(key, value)| sdk::Tag::builder().key(key).value(value).build()).collect()
}
