//! The cloud adapter against the AWS emulator, which enforces access and takes time as AWS does: every step is
//! performed twice and read back; what is missing, foreign, denied, slow or lost is told apart.
//!
//! The emulator's address comes in `TEST_AWS_ENDPOINT`; without it there is nothing to test against.

#[path = "aws/account.rs"]
mod account;
#[path = "aws/backups.rs"]
mod backups;
#[path = "aws/failures.rs"]
mod failures;

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types as dynamodb;
use operator::cloud::Cloud;
use plan::cloud::facts::{BucketFacts, Encryption, RoleFacts, TableFacts, TableKey, TableStatus};
use plan::cloud::step::{CloudStep, Key, NewRole, NewTable};
use plan::cloud::wanted::{BucketWishes, OWNERSHIP};
use serde_json::{Value, json};

use account::{ACCOUNT, Account, REGION, name, region, tags};

const STATE_KEY: Key = Key { hash: ("HashKey", "S"), range: ("FullPath", "S") };
const EVENTS_KEY: Key = Key { hash: ("SessionID", "S"), range: ("EventIndex", "N") };
const TIME_KEY: Key = Key { hash: ("CreatedAtDate", "S"), range: ("CreatedAt", "N") };

fn state_table(name: &str) -> NewTable {
    let tags = tags(&[("tenant", "9f3a"), ("installation", "eu1")]);
    NewTable { name: name.to_owned(), key: STATE_KEY, index: None, stream: Some("NEW_IMAGE"), kms_key: None, tags }
}

fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

#[tokio::test]
async fn a_state_table_becomes_what_was_asked_for() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("state");
    assert_eq!(account.cloud.table(REGION, &table).await.expect("read"), None);

    account.twice(CloudStep::CreateTable { region: region(), table: state_table(&table) }).await;
    let mut expected = TableFacts {
        arn: table_arn(&table),
        status: TableStatus::Active,
        hash_key: "HashKey".to_owned(),
        range_key: Some("FullPath".to_owned()),
        indexes: vec![],
        stream: Some("NEW_IMAGE".to_owned()),
        ttl: None,
        point_in_time_recovery: false,
        on_demand: true,
        key: TableKey::Managed,
        deletion_protection: true,
        tags: tags(&[("tenant", "9f3a"), ("installation", "eu1")]),
    };
    assert_eq!(account.active(&table).await, expected);

    account.twice(CloudStep::EnableTimeToLive { region: region(), table: table.clone(), attribute: "Expires" }).await;
    account.twice(CloudStep::SetPointInTimeRecovery { region: region(), table: table.clone(), enabled: true }).await;
    expected.ttl = Some("Expires".to_owned());
    expected.point_in_time_recovery = true;
    assert_eq!(account.active(&table).await, expected);

    account.twice(CloudStep::SetPointInTimeRecovery { region: region(), table: table.clone(), enabled: false }).await;
    expected.point_in_time_recovery = false;
    assert_eq!(account.active(&table).await, expected);
}

#[tokio::test]
async fn an_events_table_has_its_index() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("events");
    let new = NewTable {
        name: table.clone(),
        key: EVENTS_KEY,
        index: Some(("timesearchV2", TIME_KEY)),
        stream: None,
        kms_key: None,
        tags: BTreeMap::new(),
    };
    account.twice(CloudStep::CreateTable { region: region(), table: new }).await;
    let facts = account.active(&table).await;
    assert_eq!((facts.hash_key.as_str(), facts.range_key.as_deref()), ("SessionID", Some("EventIndex")));
    assert_eq!((facts.indexes, facts.stream), (vec!["timesearchV2".to_owned()], None));

    let described = account.dynamodb.describe_table().table_name(&table).send().await.expect("describe");
    let described = described.table.expect("a table");
    let index = &described.global_secondary_indexes()[0];
    assert_eq!(index.projection().and_then(|all| all.projection_type()), Some(&dynamodb::ProjectionType::All));
    let keys = index.key_schema().iter().map(|key| (key.attribute_name(), key.key_type().as_str()));
    assert_eq!(keys.collect::<Vec<_>>(), [("CreatedAtDate", "HASH"), ("CreatedAt", "RANGE")]);
}

#[tokio::test]
async fn a_table_that_somebody_else_made_is_mended() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("plain");
    let attribute = dynamodb::AttributeDefinition::builder().attribute_name("HashKey").attribute_type("S".into());
    let key = dynamodb::KeySchemaElement::builder().attribute_name("HashKey").key_type(dynamodb::KeyType::Hash);
    let throughput = dynamodb::ProvisionedThroughput::builder().read_capacity_units(5).write_capacity_units(5);
    let create = account.dynamodb.create_table().table_name(&table);
    let create = create.attribute_definitions(attribute.build().expect("attribute"));
    let create = create.key_schema(key.build().expect("key")).billing_mode(dynamodb::BillingMode::Provisioned);
    create.provisioned_throughput(throughput.build().expect("throughput")).send().await.expect("create");

    let before = account.active(&table).await;
    assert_eq!((before.range_key, before.stream), (None, None));
    assert!(!before.on_demand && !before.deletion_protection && before.tags.is_empty());
    assert_eq!(before.key, TableKey::Owned);

    account.twice(CloudStep::BillTablePerRequest { region: region(), table: table.clone() }).await;
    account.twice(CloudStep::ProtectTable { region: region(), table: table.clone() }).await;
    account.twice(CloudStep::EnableStream { region: region(), table: table.clone(), view: "NEW_IMAGE" }).await;
    let after = account.active(&table).await;
    assert!(after.on_demand && after.deletion_protection);
    assert_eq!(after.stream.as_deref(), Some("NEW_IMAGE"));

    let own = account.key().await;
    for (key, found) in
        [(None, TableKey::Managed), (Some(own.clone()), TableKey::Customer(own)), (None, TableKey::Managed)]
    {
        account.twice(CloudStep::EncryptTable { region: region(), table: table.clone(), key }).await;
        assert_eq!(account.active(&table).await.key, found);
    }

    let other = CloudStep::EnableStream { region: region(), table: table.clone(), view: "KEYS_ONLY" };
    account.cloud.perform(&other).await.expect_err("a stream of another view is not the one that was asked for");
}

#[tokio::test]
async fn a_bucket_becomes_what_was_asked_for() {
    let Some(account) = Account::of_the_test().await else { return };
    for place in [REGION, "us-east-1"] {
        let bucket = name("sessions");
        let (region, named) = (|| place.to_owned(), || bucket.clone());
        assert_eq!(account.cloud.bucket(place, &bucket).await.expect("read"), None);
        account.twice(CloudStep::CreateBucket { region: region(), bucket: named() }).await;
        let fresh = account.cloud.bucket(place, &bucket).await.expect("read").expect("it was created");
        assert_eq!(fresh.region, place);
        let wishes = BucketWishes { kms_key: None, retention_days: 30 };
        assert_ne!(fresh.encryption, Some(Encryption::with(None)), "nobody asked for it yet");
        assert_eq!((fresh.ownership.as_deref(), fresh.lifecycle.as_slice()), (Some(OWNERSHIP), &[][..]));
        assert!(!fresh.versioning && fresh.policy.is_none() && fresh.tags.is_empty());

        let all = tags(&[("tenant", "9f3a"), ("installation", "eu1")]);
        let fewer = tags(&[("tenant", "9f3a")]);
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "TlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }]});
        account.twice(CloudStep::TagBucket { region: region(), bucket: named(), tags: all }).await;
        account.twice(CloudStep::TagBucket { region: region(), bucket: named(), tags: fewer.clone() }).await;
        account.twice(CloudStep::EnableVersioning { region: region(), bucket: named() }).await;
        account.twice(CloudStep::BlockPublicAccess { region: region(), bucket: named() }).await;
        account.twice(CloudStep::EncryptBucket { region: region(), bucket: named(), key: None }).await;
        account.twice(CloudStep::OwnObjects { region: region(), bucket: named() }).await;
        let for_ever = BucketWishes { retention_days: 0, ..wishes.clone() };
        for rules in [wishes.lifecycle(), for_ever.lifecycle(), wishes.lifecycle()] {
            let step = CloudStep::SetLifecycle { region: region(), bucket: named(), rules: rules.clone() };
            account.twice(step).await;
            let found = account.cloud.bucket(place, &bucket).await.expect("read").expect("it is there");
            assert_eq!(found.lifecycle, rules);
        }
        account.twice(CloudStep::SetBucketPolicy { region: region(), bucket: named(), policy: policy.clone() }).await;
        let expected = BucketFacts {
            region: region(),
            versioning: true,
            public_access_blocked: true,
            encryption: Some(Encryption::with(None)),
            ownership: Some(OWNERSHIP.to_owned()),
            lifecycle: wishes.lifecycle(),
            policy: Some(policy),
            tags: fewer,
        };
        assert_eq!(account.cloud.bucket(place, &bucket).await.expect("read"), Some(expected));
    }
}

fn trust(service: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"},
    ]})
}

fn allow(action: &str) -> Value {
    // What percent-encoding could spoil: a plus, a percent sign, a blank, a letter outside ASCII.
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "One", "Effect": "Allow", "Action": action, "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/of": "a+b 100% \u{e9}"}},
    }]})
}

#[tokio::test]
async fn a_role_becomes_what_was_asked_for() {
    let Some(account) = Account::of_the_test().await else { return };
    let role = name("role");
    assert_eq!(account.cloud.role(&role).await.expect("read"), None);
    let boundary = account.managed_policy().await;
    let new = NewRole {
        name: role.clone(),
        path: "/tenancy/eu1/".to_owned(),
        trust: trust("ec2.amazonaws.com"),
        boundary: Some(boundary.clone()),
        tags: tags(&[("tenant", "9f3a")]),
    };
    account.twice(CloudStep::CreateRole { role: new }).await;
    let mut expected = RoleFacts {
        arn: format!("arn:aws:iam::{ACCOUNT}:role/tenancy/eu1/{role}"),
        trust: trust("ec2.amazonaws.com"),
        boundary: Some(boundary),
        policies: BTreeMap::new(),
        attached: vec![],
        tags: tags(&[("tenant", "9f3a")]),
    };
    assert_eq!(account.cloud.role(&role).await.expect("read"), Some(expected.clone()));

    let named = || role.clone();
    let (attached, other_boundary) = (account.managed_policy().await, account.managed_policy().await);
    account.iam.attach_role_policy().role_name(&role).policy_arn(&attached).send().await.expect("attach");
    account.twice(CloudStep::SetTrust { role: named(), trust: trust("lambda.amazonaws.com") }).await;
    account.twice(CloudStep::SetRolePolicy { role: named(), name: "tenant", policy: allow("s3:GetObject") }).await;
    account.twice(CloudStep::SetRolePolicy { role: named(), name: "tenant", policy: allow("s3:PutObject") }).await;
    account.twice(CloudStep::SetRolePolicy { role: named(), name: "stray", policy: allow("s3:*") }).await;
    account.twice(CloudStep::SetBoundary { role: named(), boundary: other_boundary.clone() }).await;
    expected.trust = trust("lambda.amazonaws.com");
    expected.policies = [("tenant".to_owned(), allow("s3:PutObject")), ("stray".to_owned(), allow("s3:*"))].into();
    expected.boundary = Some(other_boundary);
    expected.attached = vec![attached.clone()];
    assert_eq!(account.cloud.role(&role).await.expect("read"), Some(expected.clone()));

    account.twice(CloudStep::RemoveRolePolicy { role: named(), name: "stray".to_owned() }).await;
    account.twice(CloudStep::DetachRolePolicy { role: named(), arn: attached }).await;
    expected.policies.remove("stray");
    expected.attached.clear();
    assert_eq!(account.cloud.role(&role).await.expect("read"), Some(expected));
}

#[tokio::test]
async fn a_role_with_more_than_a_page_of_everything_is_read_whole() {
    let Some(account) = Account::of_the_test().await else { return };
    let role = name("wide");
    let new = NewRole {
        name: role.clone(),
        path: "/".to_owned(),
        trust: trust("ec2.amazonaws.com"),
        boundary: None,
        tags: (0..50).map(|number| (format!("key-{number:02}"), "value".to_owned())).collect(),
    };
    account.twice(CloudStep::CreateRole { role: new.clone() }).await;
    for number in 0..12 {
        let call = account.iam.put_role_policy().role_name(&role).policy_name(format!("policy-{number:02}"));
        call.policy_document(allow("s3:GetObject").to_string()).send().await.expect("put");
    }
    let facts = account.cloud.role(&role).await.expect("read").expect("it was created");
    assert_eq!((facts.tags, facts.policies.len()), (new.tags, 12));
}
