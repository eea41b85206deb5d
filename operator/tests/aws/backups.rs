//! Backups of a table: made once whatever becomes of the answer, listed to the end, deleted, and by whom.

use std::collections::BTreeSet;

use operator::cloud::Cloud;
use operator::error::{Class, chain};
use plan::Fact;
use plan::cloud::CloudNames;
use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus, KEEP, Source, expired};
use plan::cloud::rights;
use plan::cloud::step::CloudStep;
use plan::fleet::Installation;
use plan::names::{Identity, tenant_id};
use plan::version::Version;
use serde_json::{Value, json};

use super::account::{ACCOUNT, Account, REGION, class, eventually, name, region};
use super::{state_table, table_arn};

fn create(table: &str, name: &str) -> CloudStep {
    CloudStep::CreateBackup { region: region(), table: table.to_owned(), name: name.to_owned() }
}

fn delete(arn: &str) -> CloudStep {
    CloudStep::DeleteBackup { region: region(), arn: arn.to_owned() }
}

/// A table that is active.
async fn table(account: &Account, table: String) -> String {
    account.twice(CloudStep::CreateTable { region: region(), table: state_table(&table) }).await;
    account.active(&table).await;
    table
}

async fn backups(account: &Account, table: &str) -> Vec<BackupFacts> {
    account.cloud.backups(REGION, table).await.expect("list")
}

/// The backup of this name, once it can be restored.
async fn available(account: &Account, table: &str, name: &str) -> BackupFacts {
    eventually(async || {
        let found = backups(account, table).await;
        let of_name: Vec<_> = found.into_iter().filter(|backup| backup.name == name).collect();
        match of_name.as_slice() {
            [one] if one.status == BackupStatus::Available => Ok(one.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_backup_is_made_once_and_becomes_available() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = table(&account, name("state")).await;
    assert_eq!(backups(&account, &table).await, []);

    let step = create(&table, "17.5.2-to-18.1.0");
    account.cloud.perform(&step).await.expect("create");
    let made = backups(&account, &table).await;
    // How far it is depends on how fast this machine is.
    assert_eq!(made.len(), 1, "{made:?}");
    assert_ne!(made[0].status, BackupStatus::Deleted);
    account.twice(step).await;
    let found = available(&account, &table, "17.5.2-to-18.1.0").await;
    let expected = BackupFacts {
        arn: found.arn.clone(),
        name: "17.5.2-to-18.1.0".to_owned(),
        table_arn: table_arn(&table),
        status: BackupStatus::Available,
        kind: BackupKind::User,
        created: made[0].created,
        size: found.size,
    };
    assert_eq!(found, expected);
    assert!(found.arn.starts_with(&format!("{}/backup/", table_arn(&table))), "{}", found.arn);

    account.twice(create(&table, "18.1.0-to-19.0.0")).await;
    account.twice(delete(&found.arn)).await;
    let left: Vec<_> = backups(&account, &table).await.into_iter().map(|backup| backup.name).collect();
    assert_eq!(left, ["18.1.0-to-19.0.0"]);
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_is_of_one_table() {
    let Some(account) = Account::of_the_test().await else { return };
    let (table, other) = (table(&account, name("state")).await, table(&account, name("state")).await);
    for _ in 0..101 {
        let call = account.dynamodb.create_backup().table_name(&table).backup_name("same-name");
        call.send().await.expect("create");
    }
    account.cloud.perform(&create(&other, "other")).await.expect("create");
    let found = backups(&account, &table).await;
    assert_eq!(found.len(), 101);
    assert!(found.iter().all(|backup| backup.table_arn == table_arn(&table)));
    assert!(found.is_sorted_by_key(|backup| backup.created), "from the oldest on");
}

#[tokio::test]
async fn the_backups_outlive_their_table_and_what_aws_leaves_of_it_is_not_one_of_them() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = table(&account, name("state")).await;
    account.twice(CloudStep::SetPointInTimeRecovery { region: region(), table: table.clone(), enabled: true }).await;
    account.twice(create(&table, "before")).await;
    available(&account, &table, "before").await;
    let unprotect = account.dynamodb.update_table().table_name(&table).deletion_protection_enabled(false);
    unprotect.send().await.expect("unprotect");
    account.active(&table).await;
    account.dynamodb.delete_table().table_name(&table).send().await.expect("delete");
    eventually(async || match account.cloud.table(REGION, &table).await {
        Ok(None) => Ok(()),
        Ok(Some(facts)) => Err(format!("{facts:?}")),
        // It went between two of the calls.
        Err(error) if error.class() == Class::Transient => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    })
    .await;
    let all = account.dynamodb.list_backups().table_name(&table).backup_type("ALL".into()).send().await.expect("list");
    assert_eq!(all.backup_summaries().len(), 2, "AWS left one of its own");
    let names: Vec<_> = backups(&account, &table).await.into_iter().map(|backup| backup.name).collect();
    assert_eq!(names, ["before"]);
}

#[tokio::test]
async fn there_is_no_backup_of_what_is_not_there() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = name("none");
    assert_eq!(backups(&account, &table).await, []);
    let (class_of_create, text) = class(account.cloud.perform(&create(&table, "before")).await);
    assert_eq!(class_of_create, Class::Transient, "{text}");
    assert!(text.starts_with("dynamodb:CreateBackup"), "{text}");
    let gone = format!("{}/backup/01700000000000-0a1b2c3d", table_arn(&table));
    account.cloud.perform(&delete(&gone)).await.expect("gone is what was wanted");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_backup() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = table(&account, name("state")).await;
    account.fault("dynamodb:CreateBackup", &table_arn(&table), "lost", 1);
    // It must not be asked again before somebody looked: AWS would make another one.
    let (class_of_loss, text) = class(account.cloud.perform(&create(&table, "before")).await);
    assert_eq!(class_of_loss, Class::Transient, "{text}");
    account.twice(create(&table, "before")).await;
    let arn = available(&account, &table, "before").await.arn;
    account.fault("dynamodb:DeleteBackup", &arn, "lost", 1);
    account.cloud.perform(&delete(&arn)).await.expect("deleted by the first attempt, missed by the second");
    assert_eq!(backups(&account, &table).await, []);
}

#[tokio::test]
async fn throttling_asks_for_patience_and_makes_nothing() {
    let Some(account) = Account::of_the_test().await else { return };
    let table = table(&account, name("state")).await;
    account.fault("dynamodb:CreateBackup", &table_arn(&table), "throttle", 1);
    let (class_of_create, text) = class(account.cloud.perform(&create(&table, "before")).await);
    assert!(matches!(class_of_create, Class::Throttled(_)), "{text}");
    assert_eq!(backups(&account, &table).await, []);

    let all = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"},
    ]});
    let (cloud, principal) = account.user(&all).await;
    // The library asks twice.
    account.fault_of(&principal, "dynamodb:ListBackups", "throttle", 2);
    let (class_of_list, text) = class(cloud.backups(REGION, &table).await);
    assert!(matches!(class_of_list, Class::Throttled(_)), "{text}");
    assert!(text.starts_with("dynamodb:ListBackups"), "{text}");
    // Without the list it is not known whether there is one.
    account.fault_of(&principal, "dynamodb:ListBackups", "error", 2);
    let (class_of_create, text) = class(cloud.perform(&create(&table, "before")).await);
    assert_eq!(class_of_create, Class::Transient, "{text}");
    assert_eq!(backups(&account, &table).await, []);
}

/// What the chart tells a platform team to grant the operator of the installation `eu1`.
fn operators_policy() -> Value {
    let policy = include_str!("../../../charts/tenant-operator/files/operator-policy.json")
        .replace("${ACCOUNT}", ACCOUNT)
        .replace("${INSTALLATION}", "eu1")
        .replace("${ROLE_PATH}", "/tenancy/eu1/");
    serde_json::from_str(&policy).expect("JSON")
}

/// The state and the events table of a tenant of an installation, made by root.
async fn tables_of(account: &Account, installation: &str) -> (String, String) {
    let prefix = format!("{installation}-{:016x}", rand::random::<u64>());
    (table(account, format!("{prefix}-state")).await, table(account, format!("{prefix}-events")).await)
}

#[tokio::test]
async fn the_policy_of_the_chart_lets_the_operator_back_up_its_state_tables_alone() {
    let Some(account) = Account::of_the_test().await else { return };
    let (operator, _) = account.user(&operators_policy()).await;
    let (state, events) = tables_of(&account, "eu1").await;
    let (foreign, _) = tables_of(&account, "eu2").await;

    operator.perform(&create(&state, "before")).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(operator.backups(REGION, &state).await.expect("list").len(), 1);
    let arn = available(&account, &state, "before").await.arn;
    operator.perform(&delete(&arn)).await.unwrap_or_else(|error| panic!("{}", chain(&error)));

    for table in [&events, &foreign] {
        let (denied, text) = class(operator.perform(&create(table, "before")).await);
        assert_eq!(denied, Class::Denied, "{table}: {text}");
        assert!(text.starts_with("dynamodb:CreateBackup"), "{text}");
        account.twice(create(table, "before")).await;
        let arn = available(&account, table, "before").await.arn;
        let (denied, text) = class(operator.perform(&delete(&arn)).await);
        assert_eq!(denied, Class::Denied, "{table}: {text}");
        assert!(text.starts_with("dynamodb:DeleteBackup"), "{text}");
    }
}

#[tokio::test]
async fn with_the_rights_of_the_chart_what_expired_goes_and_what_the_operator_did_not_make_stays() {
    let Some(account) = Account::of_the_test().await else { return };
    let policy = "id: eu1\naws: {accounts: [{id: \"123456789012\", regions: [us-west-2], oidcProvider: o.example.com, rolePath: /t/}]}\nimages: {enterprise: example.com/e, community: example.com/c}\n";
    let installation = Installation::parse(policy).expect("a good policy");
    let uid = format!("{:032x}", rand::random::<u128>());
    let tenant = Identity { slug: "acme".into(), namespace: "acme".into(), id: tenant_id(&uid), uid };
    let names = CloudNames::new(&installation, &installation.aws.accounts[0], &tenant, REGION);
    let table = table(&account, names.state_table.clone()).await;
    let source = Source::new(&installation, &tenant, &names);
    let name = |from: &str, to: &str, started: &str| {
        let version = |text: &str| Version::parse(text).expect("a version");
        source.name(&version(from), &version(to), started.parse().expect("RFC 3339"))
    };
    let old = name("16.4.3", "17.5.2", "2026-01-01T00:00:00Z");
    let newest = name("17.5.2", "18.1.0", "2026-02-01T00:00:00Z");
    let foreign = format!("eu1-{}-before-surgery", tenant.id);
    for name in [&old, &foreign, &newest] {
        account.twice(create(&table, name)).await;
        available(&account, &table, name).await;
    }
    let (operator, _) = account.user(&operators_policy()).await;
    let found = operator.backups(REGION, &table).await.expect("list");
    let last = found.iter().map(|backup| backup.created).max().expect("three of them");
    let steps = |at| expired(&source, &Fact::Known(found.clone()), KEEP, at, &BTreeSet::new());
    assert!(steps(last).is_empty(), "{:?}", steps(last));
    for step in steps(last + KEEP) {
        operator.perform(&step).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    let left: Vec<_> = backups(&account, &table).await.into_iter().map(|backup| backup.name).collect();
    assert_eq!(left, [foreign, newest]);
}

#[tokio::test]
async fn the_role_of_a_tenant_gets_at_no_backup_of_its_own_state() {
    let Some(account) = Account::of_the_test().await else { return };
    let (state, events) = tables_of(&account, "eu1").await;
    let names = CloudNames {
        account: ACCOUNT.to_owned(),
        region: region(),
        state_table: state.clone(),
        events_table: events,
        bucket: "unused-recordings".to_owned(),
        role: "unused".to_owned(),
        role_arn: format!("arn:aws:iam::{ACCOUNT}:role/unused"),
    };
    let (tenant, _) = account.user(&rights::role_policy(&names, &Default::default())).await;
    account.twice(create(&state, "before")).await;
    let arn = available(&account, &state, "before").await.arn;
    for answer in [
        class(tenant.backups(REGION, &state).await),
        class(tenant.perform(&create(&state, "mine")).await),
        class(tenant.perform(&delete(&arn)).await),
    ] {
        assert_eq!(answer.0, Class::Denied, "{}", answer.1);
    }
    assert_eq!(backups(&account, &state).await.len(), 1);
}
