//! What the adapter makes of refusals, of silence, and of what is not there.

use std::net::TcpListener;

use operator::cloud::{Aws, Cloud, CloudError};
use operator::error::Class;
use plan::cloud::step::{CloudStep, NewRole};
use serde_json::json;

use super::account::{ACCOUNT, Account, REGION, class, name, region, tags};
use super::{state_table, table_arn, trust};

/// A user who may do nothing.
async fn nobody(account: &Account) -> Aws {
    let user = name("nobody");
    account.iam.create_user().user_name(&user).send().await.expect("create a user");
    let key = account.iam.create_access_key().user_name(&user).send().await.expect("create a key");
    let key = key.access_key.expect("a key");
    account.cloud_as(ACCOUNT, (&key.access_key_id, &key.secret_access_key)).await
}

#[tokio::test]
async fn what_is_denied_names_the_action_that_a_policy_must_allow() {
    let Some(account) = Account::of_the_test().await else { return };
    let nobody = nobody(&account).await;
    let (table, role, bucket) = (name("state"), name("role"), name("sessions"));
    let new_role = NewRole {
        name: role.clone(),
        path: "/".to_owned(),
        trust: trust("ec2.amazonaws.com"),
        boundary: None,
        tags: tags(&[]),
    };
    for (answer, action) in [
        (class(nobody.table(REGION, &table).await), "dynamodb:DescribeTable"),
        (class(nobody.role(&role).await), "iam:GetRole"),
        (
            class(nobody.perform(&CloudStep::CreateTable { region: region(), table: state_table(&table) }).await),
            "dynamodb:CreateTable",
        ),
        (class(nobody.perform(&CloudStep::CreateRole { role: new_role }).await), "iam:CreateRole"),
        (
            class(nobody.perform(&CloudStep::CreateBucket { region: region(), bucket: bucket.clone() }).await),
            "s3:CreateBucket",
        ),
        (
            class(nobody.perform(&CloudStep::SetTrust { role, trust: trust("ec2.amazonaws.com") }).await),
            "iam:UpdateAssumeRolePolicy",
        ),
    ] {
        let (class, text) = answer;
        assert_eq!(class, Class::Denied, "{text}");
        assert!(text.starts_with(action), "{text}");
    }
    // A HEAD has no words: denied and foreign look the same.
    account.twice(CloudStep::CreateBucket { region: region(), bucket: bucket.clone() }).await;
    let refused = nobody.bucket(REGION, &bucket).await;
    assert!(matches!(&refused, Err(CloudError::Foreign { bucket: named }) if *named == bucket), "{refused:?}");
    assert_eq!(class(refused).0, Class::Denied);
}

#[tokio::test]
async fn a_bucket_of_another_account_is_neither_read_nor_changed() {
    let Some(account) = Account::of_the_test().await else { return };
    let bucket = name("theirs");
    account.twice(CloudStep::CreateBucket { region: region(), bucket: bucket.clone() }).await;
    let stranger = account.cloud_of("999999999999").await;
    let read = stranger.bucket(REGION, &bucket).await;
    assert!(matches!(read, Err(CloudError::Foreign { .. })), "{read:?}");
    let named = || bucket.clone();
    for step in [
        CloudStep::TagBucket { region: region(), bucket: named(), tags: tags(&[("tenant", "9f3a")]) },
        CloudStep::EnableVersioning { region: region(), bucket: named() },
        CloudStep::BlockPublicAccess { region: region(), bucket: named() },
        CloudStep::EncryptBucket { region: region(), bucket: named(), key: None },
        CloudStep::OwnObjects { region: region(), bucket: named() },
        CloudStep::SetLifecycle { region: region(), bucket: named(), rules: Vec::new() },
        CloudStep::SetBucketPolicy {
            region: region(),
            bucket: named(),
            policy: json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                "Resource": format!("arn:aws:s3:::{bucket}/*"),
            }]}),
        },
    ] {
        let (class, text) = class(stranger.perform(&step).await);
        assert_eq!(class, Class::Denied, "{step}: {text}");
    }
    let facts = account.cloud.bucket(REGION, &bucket).await.expect("read").expect("it is there");
    assert!(!facts.versioning && facts.policy.is_none() && facts.tags.is_empty(), "{facts:?}");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed_yet() {
    let Some(account) = Account::of_the_test().await else { return };
    let (table, bucket, role) = (name("state"), name("sessions"), name("role"));
    for step in [
        CloudStep::EnableStream { region: region(), table: table.clone(), view: "NEW_IMAGE" },
        CloudStep::SetPointInTimeRecovery { region: region(), table: table.clone(), enabled: true },
        CloudStep::ProtectTable { region: region(), table: table.clone() },
        CloudStep::EnableVersioning { region: region(), bucket },
        CloudStep::SetTrust { role, trust: trust("ec2.amazonaws.com") },
    ] {
        let (class, text) = class(account.cloud.perform(&step).await);
        assert_eq!(class, Class::Transient, "{step}: {text}");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_nothing_half_done() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("lost");
    account.fault("dynamodb:CreateTable", &table_arn(&table), "lost", 1);
    // The library asks again by itself; the table is there by then, and that is what was wanted.
    let create = CloudStep::CreateTable { region: region(), table: state_table(&table) };
    account.cloud.perform(&create).await.expect("created by the first attempt, found by the second");
    assert_eq!(account.active(&table).await.tags, state_table(&table).tags);
}

#[tokio::test]
async fn a_throttled_call_asks_for_patience() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("busy");
    account.fault("dynamodb:DescribeTable", &table_arn(&table), "throttle", 2);
    let (class, text) = class(account.cloud.table(REGION, &table).await);
    assert!(matches!(class, Class::Throttled(_)), "{text}");
    assert_eq!(account.cloud.table(REGION, &table).await.expect("it is over"), None);
}

#[tokio::test]
async fn a_half_read_table_is_an_error_and_not_a_table_without_tags() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("half");
    account.twice(CloudStep::CreateTable { region: region(), table: state_table(&table) }).await;
    account.active(&table).await;
    account.fault("dynamodb:ListTagsOfResource", &table_arn(&table), "error", 2);
    let (class, text) = class(account.cloud.table(REGION, &table).await);
    assert_eq!(class, Class::Transient, "{text}");
    assert!(text.starts_with("dynamodb:ListTagsOfResource"), "{text}");
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let Some(account) = Account::of_the_test().await else { return };
    let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let elsewhere = Account { endpoint: format!("http://{address}"), ..account };
    let (class, text) = class(elsewhere.cloud_of(ACCOUNT).await.role(&name("role")).await);
    assert_eq!(class, Class::Transient, "{text}");
}

#[tokio::test]
async fn credentials_that_nobody_knows_are_denied() {
    let Some(account) = Account::of_the_test().await else { return };
    let stranger = account.cloud_as(ACCOUNT, ("AKIAUNKNOWNUNKNOWN00", "wrong")).await;
    let (class, text) = class(stranger.role(&name("role")).await);
    assert_eq!(class, Class::Denied, "{text}");
}
