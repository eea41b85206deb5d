//! `teleport.storage` as the DynamoDB backend reads it: unknown keys are ignored, known ones have strict types.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::duration;
use crate::process::Process;
use crate::rule::{Refusal, Rule};

/// Where a cluster keeps its data.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) region: String,
    pub(crate) table: String,
    pub(crate) continuous_backups: bool,
    /// The first audit log, if it is a DynamoDB table; the one that is queried.
    pub(crate) events: Option<Events>,
    pub(crate) sessions: Option<Sessions>,
    /// `access_key` and `secret_key` of the file.
    pub(crate) keys: Option<(String, String)>,
    pub(crate) retention_days: u64,
    pub(crate) provisioned: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Events {
    pub(crate) table: String,
    pub(crate) endpoint: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    pub(crate) bucket: String,
    pub(crate) path: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) sse: bool,
}

const BOOLEANS: &[&str] = &["continuous_backups", "auto_scaling"];
/// Plain integers; the two durations are whole nanoseconds.
const INTEGERS: &[&str] = &[
    "retry_period",
    "poll_stream_period",
    "buffer_size",
    "read_capacity_units",
    "write_capacity_units",
    "read_min_capacity",
    "read_max_capacity",
    "write_min_capacity",
    "write_max_capacity",
];
const NUMBERS: &[&str] = &["read_target_value", "write_target_value"];
const STRINGS: &[&str] = &["region", "access_key", "secret_key", "table_name", "billing_mode"];

pub(super) fn settle(storage: &BTreeMap<String, Value>, process: &Process) -> Result<Storage, Refusal> {
    let text = |key: &str| storage.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("type") != Some("dynamodb") {
        return Err(Rule::StorageType.by(format!("{:?}", storage.get("type"))));
    }
    for (key, value) in storage {
        let name = key.as_str();
        let fits = (!BOOLEANS.contains(&name) || value.is_boolean())
            && (!INTEGERS.contains(&name) || value.is_i64())
            && (!NUMBERS.contains(&name) || value.is_number())
            && (!STRINGS.contains(&name) || value.is_string());
        if !fits && !value.is_null() {
            return Err(Rule::StorageValue.by(format!("storage.{key}: {value}")));
        }
    }
    let provisioned = match text("billing_mode") {
        None | Some("pay_per_request") => false,
        Some("provisioned") => true,
        Some(other) => return Err(Rule::StorageValue.by(format!("storage.billing_mode: {other}"))),
    };
    let events = events(storage.get("audit_events_uri"))?;
    let sessions = match text("audit_sessions_uri") {
        Some(uri) => Some(sessions(uri)?),
        None if storage.get("audit_events_uri").is_some_and(|uri| !uri.is_null()) => {
            return Err(Rule::SessionsUriMissing.by("storage"));
        }
        None => None,
    };
    let retention = match storage.get("retention_period") {
        None | Some(Value::Null) => 0,
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            duration::parse(&text).ok_or_else(|| Rule::StorageValue.by(format!("retention_period: {text}")))?.as_secs()
        }
    };
    let region = text("region").or(process.env("AWS_REGION")).or(process.env("AWS_DEFAULT_REGION"));
    Ok(Storage {
        region: region.ok_or_else(|| Rule::Region.by("storage.region"))?.to_owned(),
        table: text("table_name").ok_or_else(|| Rule::TableName.by("storage"))?.to_owned(),
        continuous_backups: storage.get("continuous_backups").and_then(Value::as_bool).unwrap_or_default(),
        events,
        sessions,
        keys: text("access_key").zip(text("secret_key")).map(|(key, secret)| (key.to_owned(), secret.to_owned())),
        // 0 means the default, not "no expiry".
        retention_days: if retention == 0 { 365 } else { (retention / 86_400).max(1) },
        provisioned,
    })
}

fn events(value: Option<&Value>) -> Result<Option<Events>, Refusal> {
    let uris: Vec<&str> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(uri)) => vec![uri],
        Some(Value::Array(uris)) => {
            let texts: Option<Vec<&str>> = uris.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| Rule::AuditUri.by("not a list of strings"))?
        }
        Some(other) => return Err(Rule::AuditUri.by(other)),
    };
    let mut first = None;
    for (index, uri) in uris.iter().enumerate() {
        match uri.split_once("://") {
            Some(("dynamodb", rest)) => {
                let (table, query) = rest.split_once('?').unwrap_or((rest, ""));
                if table.is_empty() {
                    return Err(Rule::AuditUri.by(uri));
                }
                let events = Events { table: table.to_owned(), endpoint: parameters(query).remove("endpoint") };
                if index == 0 {
                    first = Some(events);
                }
            }
            Some(("stdout" | "file" | "athena" | "postgres" | "firestore", _)) => {}
            _ => return Err(Rule::AuditUri.by(uri)),
        }
    }
    Ok(first)
}

fn sessions(uri: &str) -> Result<Sessions, Refusal> {
    let bad = || Rule::SessionsUri.by(uri);
    let rest = uri.strip_prefix("s3://").ok_or_else(bad)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, path) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(bad());
    }
    let mut query = parameters(query);
    let insecure = query.remove("insecure").as_deref() == Some("true");
    let scheme = if insecure { "http" } else { "https" };
    let endpoint = query.remove("endpoint");
    Ok(Sessions {
        bucket: bucket.to_owned(),
        path: path.trim_matches('/').to_owned(),
        region: query.remove("region"),
        endpoint: endpoint.map(|host| if host.contains("://") { host } else { format!("{scheme}://{host}") }),
        sse: query.remove("disablesse").as_deref() != Some("true"),
    })
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}
