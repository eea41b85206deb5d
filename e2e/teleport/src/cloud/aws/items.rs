//! Items, keys and conditions of the state table as DynamoDB spells them.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types as ddb;

use crate::cloud::{Answer, CloudError, Condition, ErrorKind, Item};

/// The constant partition key of the state table.
pub(super) const HASH_KEY: &str = "teleport";

pub(super) fn string(text: &str) -> ddb::AttributeValue {
    ddb::AttributeValue::S(text.to_owned())
}

pub(super) fn number(value: i64) -> ddb::AttributeValue {
    ddb::AttributeValue::N(value.to_string())
}

pub(super) fn key(path: &str) -> HashMap<String, ddb::AttributeValue> {
    HashMap::from([("HashKey".to_owned(), string(HASH_KEY)), ("FullPath".to_owned(), string(path))])
}

pub(super) fn attributes(item: &Item) -> HashMap<String, ddb::AttributeValue> {
    let mut map = key(&item.path);
    map.insert("Value".to_owned(), ddb::AttributeValue::B(Blob::new(item.value.clone())));
    map.insert("Timestamp".to_owned(), number(chrono::Utc::now().timestamp()));
    map.insert("Revision".to_owned(), string(&item.revision));
    if let Some(expires) = item.expires {
        map.insert("Expires".to_owned(), number(expires));
    }
    map
}

pub(super) fn item(map: &HashMap<String, ddb::AttributeValue>) -> Option<Item> {
    Some(Item {
        path: map.get("FullPath")?.as_s().ok()?.clone(),
        value: map
            .get("Value")
            .and_then(|value| value.as_b().ok())
            .map(|blob| blob.as_ref().to_vec())
            .unwrap_or_default(),
        revision: map.get("Revision").and_then(|value| value.as_s().ok()).cloned().unwrap_or_default(),
        expires: map.get("Expires").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok()),
    })
}

/// Expression, names and values of a condition.
pub(super) struct Expression {
    pub(super) text: Option<&'static str>,
    pub(super) values: Vec<(&'static str, ddb::AttributeValue)>,
}

pub(super) fn expression(condition: Condition) -> Expression {
    match condition {
        Condition::Any => Expression { text: None, values: vec![] },
        Condition::Absent { now } => Expression {
            text: Some("attribute_not_exists(FullPath) OR Expires <= :now"),
            values: vec![(":now", number(now))],
        },
        Condition::Revision(revision) => {
            Expression { text: Some("Revision = :revision"), values: vec![(":revision", string(&revision))] }
        }
    }
}

pub(super) fn values(values: Vec<(&'static str, ddb::AttributeValue)>) -> Option<HashMap<String, ddb::AttributeValue>> {
    // An empty map is refused by DynamoDB.
    (!values.is_empty()).then(|| values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn built<T>(result: Result<T, aws_sdk_dynamodb::error::BuildError>) -> Answer<T> {
    result.map_err(|error| CloudError { kind: ErrorKind::Other, message: error.to_string() })
}
