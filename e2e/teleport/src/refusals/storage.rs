//! Tables, bucket, credentials, licence and the version guard.

use serde_json::json;

use super::fixture::{CLUSTER, Good};
use super::{Case, case, expect_refusals};
use crate::rule::Rule;

pub(super) const CASES: &[Case] = &[
    case(Rule::StorageType, "a local file", |good| good.set("teleport.storage.type", json!("sqlite"))),
    case(Rule::TableName, "no table", |good| good.remove("teleport.storage.table_name")),
    case(Rule::StorageValue, "a duration for whole nanoseconds", |good| {
        good.set("teleport.storage.retry_period", json!("5s"))
    }),
    case(Rule::StorageValue, "a word for a flag", |good| {
        good.set("teleport.storage.continuous_backups", json!("true"))
    }),
    case(Rule::StorageValue, "another billing mode", |good| {
        good.set("teleport.storage.billing_mode", json!("on_demand"))
    }),
    case(Rule::StorageValue, "a retention that is no duration", |good| {
        good.set("teleport.storage.retention_period", json!("year"))
    }),
    case(Rule::Region, "no region", |good| good.remove("teleport.storage.region")),
    case(Rule::AuditUri, "another scheme", |good| {
        good.set("teleport.storage.audit_events_uri", json!(["mysql://events"]))
    }),
    case(Rule::SessionsUriMissing, "events without sessions", |good| {
        good.remove("teleport.storage.audit_sessions_uri")
    }),
    case(Rule::SessionsUri, "another scheme", |good| {
        good.set("teleport.storage.audit_sessions_uri", json!("gs://bucket"))
    }),
    case(Rule::AccessDenied, "DescribeTable", |good| good.memory.deny("DescribeTable")),
    case(Rule::AccessDenied, "DescribeTable of the events table", |good| good.memory.deny("DescribeTable events")),
    case(Rule::AccessDenied, "DescribeTimeToLive", |good| good.memory.deny("DescribeTimeToLive")),
    case(Rule::CreateTable, "no table and no permission", |good| {
        good.memory.drop_table("state");
        good.memory.deny("CreateTable");
    }),
    case(Rule::UnsupportedSchema, "an attribute Key", |good| {
        good.memory.table("state", |table| table.keys.push("Key"))
    }),
    case(Rule::KeySchema, "another key schema", |good| {
        good.memory.table("state", |table| table.keys = vec!["SessionID", "EventIndex"])
    }),
    case(Rule::KeySchema, "PutItem", |good| good.memory.deny("PutItem state")),
    case(Rule::KeySchema, "TransactWriteItems", |good| good.memory.deny("TransactWriteItems")),
    case(Rule::TimeToLive, "off, and no permission", |good| {
        good.memory.table("state", |table| table.ttl = false);
        good.memory.deny("UpdateTimeToLive");
    }),
    case(Rule::Stream, "off, and no permission", |good| {
        good.memory.table("state", |table| table.stream = false);
        good.memory.deny("UpdateTable");
    }),
    case(Rule::ContinuousBackups, "no permission though they are on", |good| {
        good.memory.deny("UpdateContinuousBackups")
    }),
    case(Rule::CreateBucket, "no bucket and no permission", |good| {
        good.memory.drop_bucket();
        good.memory.deny("CreateBucket");
    }),
    case(Rule::LicenseMissing, "no license file", |good| good.files.clear()),
    case(Rule::LicenseFormat, "not PEM", |good| {
        good.files.insert("/var/lib/license/license.pem".to_owned(), "license".to_owned());
    }),
    case(Rule::MajorSkipped, "16 ran last", |good| record_version(good, "16.5.18")),
    case(Rule::MajorDowngrade, "19 ran last", |good| record_version(good, "19.0.0")),
    case(Rule::CaBundle, "AWS_CA_BUNDLE", |good| {
        pod_credentials(good);
        good.env("AWS_CA_BUNDLE", "/etc/ssl/ca.pem");
    }),
    case(Rule::NoCredentials, "no keys and no role", |good| {
        pod_credentials(good);
        good.env.remove("AWS_ROLE_ARN");
    }),
    case(Rule::TokenFile, "no token file", |good| {
        pod_credentials(good);
        good.files.remove("/var/run/secrets/token");
    }),
];

/// What the process then waits for never comes.
pub(super) const NEVER_READY: &[Case] = &[
    case(Rule::StreamUnreadable, "GetRecords", |good| good.memory.deny("GetRecords")),
    case(Rule::StreamUnreadable, "DescribeStream", |good| good.memory.deny("DescribeStream")),
    case(Rule::StreamUnreadable, "GetShardIterator", |good| good.memory.deny("GetShardIterator")),
];

fn record_version(good: &Good, version: &str) {
    let info = json!({ "kind": "backend_info", "version": "v1", "metadata": { "name": "backend-info" }, "spec": { "teleport_version": version } });
    let item = crate::cloud::Item {
        path: "teleport/backend_info".to_owned(),
        value: info.to_string().into_bytes(),
        revision: "r".to_owned(),
        expires: None,
    };
    good.memory.table("state", |table| table.items.insert(item.path.clone(), item));
}

/// The real connector instead of the account in memory: it reads the environment, and nobody listens at its endpoint.
fn pod_credentials(good: &mut Good) {
    good.real_cloud = true;
    good.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    good.env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/acme");
    good.env("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token");
    good.files.insert("/var/run/secrets/token".to_owned(), "token".to_owned());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_cannot_be_used_ends_the_start() {
    expect_refusals(CASES, Good::auth).await;
}

#[tokio::test]
async fn an_auth_that_cannot_read_its_stream_is_never_ready() {
    for case in NEVER_READY {
        let mut broken = Good::auth();
        (case.breaks)(&mut broken);
        let running = broken.start();
        running.says(case.rule.text(), 0).await;
        running.readiness(400).await;
        assert_eq!(running.stopped().await.0, 0, "{}", case.name);
    }
}

#[tokio::test]
async fn tables_made_beforehand_are_adopted_and_nothing_is_changed() {
    let good = Good::auth();
    let memory = good.memory.clone();
    let running = good.start();
    running.readiness(200).await;
    running.says("Auth service is ready", 0).await;
    let calls = memory.calls();
    for unwanted in ["CreateTable", "UpdateTable", "UpdateTimeToLive", "CreateBucket"] {
        assert!(!calls.iter().any(|call| call == unwanted), "{unwanted}");
    }
    assert_eq!(calls.iter().filter(|call| *call == "UpdateContinuousBackups").count(), 2, "on every start");
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn what_is_missing_is_made_when_it_may_be() {
    let good = Good::auth();
    let memory = good.memory.clone();
    memory.drop_table("state");
    memory.drop_table("events");
    memory.drop_bucket();
    let running = good.start();
    running.readiness(200).await;
    assert!(memory.table("state", |table| table.ttl && table.stream && table.backups));
    assert!(memory.table("events", |table| table.ttl && !table.stream && table.backups));
    assert!(memory.has_bucket());
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn trouble_with_bucket_and_audit_index_is_logged_and_the_start_goes_on() {
    let good = Good::auth();
    good.memory.deny("HeadBucket");
    good.memory.table("events", |table| table.indexed = false);
    let running = good.start();
    running.readiness(200).await;
    running.says("Failed to ensure that the sessions bucket exists", 0).await;
    running.says("Failed to query audit events", 0).await;
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn continuous_backups_off_needs_no_permission() {
    let mut good = Good::auth();
    good.memory.deny("UpdateContinuousBackups");
    good.set("teleport.storage.continuous_backups", json!(false));
    let running = good.start();
    running.readiness(200).await;
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn community_needs_no_license() {
    let mut good = Good::auth();
    good.image = "r/teleport-distroless:18.1.0".to_owned();
    good.files.clear();
    let running = good.start();
    running.readiness(200).await;
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn the_version_guard_can_be_bypassed() {
    let mut good = Good::auth();
    record_version(&good, "16.5.18");
    good.env("TELEPORT_UNSTABLE_SKIP_VERSION_UPGRADE_CHECK", "yes");
    let memory = good.memory.clone();
    let running = good.start();
    running.readiness(200).await;
    let recorded =
        memory.table("state", |table| String::from_utf8(table.items["teleport/backend_info"].value.clone()).unwrap());
    assert!(recorded.contains("18.1.0"), "{recorded}");
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn a_changed_cluster_name_is_logged_and_the_stored_one_stays() {
    let good = Good::auth();
    let mut renamed = good.sibling();
    let first = good.start();
    first.readiness(200).await;
    assert_eq!(first.stopped().await.0, 0);
    renamed.set("auth_service.cluster_name", json!("other.example.com"));
    let second = renamed.start();
    second.readiness(200).await;
    second.says("Cannot rename the cluster", 0).await;
    second.says(&format!("\"cluster\":\"{CLUSTER}\""), 0).await;
    assert_eq!(second.stopped().await.0, 0);
}

/// Another Auth holds the init lock and does not come back: SIGTERM ends the wait.
#[tokio::test]
async fn a_start_that_waits_for_the_init_lock_can_be_stopped() {
    let good = Good::auth();
    let path = format!("teleport/.locks/{CLUSTER}");
    let expires = Some(chrono::Utc::now().timestamp() + 3600);
    let lock = crate::cloud::Item { path: path.clone(), value: b"{}".to_vec(), revision: "r".to_owned(), expires };
    good.memory.table("state", |table| table.items.insert(path, lock));
    let running = good.start();
    running.readiness(400).await;
    assert_eq!(running.stopped().await.0, 0);
}
