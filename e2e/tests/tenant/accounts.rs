//! AWS accounts: a new tenant goes into the first one with its region and room, none is taken out of the one where it is,
//! and the operator calls by the role that an account names.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::Utc;
use e2e::testbed::{ACCOUNT, OPERATOR_ROLE, REGION, TestBed, aws_policy};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::manifest::{READY, apply, apply_ready, condition, id, tenant};
use super::{cloud, fleet};

const TAKEN: Duration = Duration::from_secs(20);
const PROVISIONER: &str = "tenancy-provisioner";

/// Fills the account, makes room, takes it back; then calls by another role.
pub async fn are_filled_in_order(bed: &TestBed) -> anyhow::Result<()> {
    fleet::for_a_while(bed, async |good| fill(bed, good).await).await
}

async fn fill(bed: &TestBed, good: &str) -> anyhow::Result<()> {
    apply_ready(bed, &tenant("roomless", "resident", "resident.example.com")).await?;
    let all = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?;
    let held =
        all.iter().filter(|tenant| tenant.status.as_ref().is_some_and(|status| status.storage.is_some())).count();
    let with_room = |room: usize| {
        fleet::with_accounts(good, |accounts| {
            accounts[0]["maxTenants"] = json!(room);
            // The first in the list, but of another region.
            let mut elsewhere = accounts[0].clone();
            elsewhere["id"] = json!("210987654321");
            elsewhere["regions"] = json!([cloud::ABROAD]);
            elsewhere["maxTenants"] = json!(1000);
            accounts.insert(0, elsewhere);
        })
    };
    fleet::write(bed, &with_room(held)?).await?;
    apply(bed, &tenant("roomless", "roomless", "roomless.example.com")).await?;
    let stalled = bed.await_condition("roomless", "roomless", "Stalled", "True", TAKEN).await?;
    let (_, reason, message) = condition(&stalled, "Stalled")?;
    ensure!(reason == "AccountsFull", "Stalled for {reason}: {message}");
    for part in [REGION, &format!("{ACCOUNT} holds {held} of {held}"), "raise maxTenants"] {
        ensure!(message.contains(part), "the remedy does not name {part:?}: {message}");
    }
    ensure!(stalled.status.is_some_and(|status| status.storage.is_none()), "an account is recorded all the same");

    fleet::write(bed, &with_room(held + 1)?).await?;
    let made = bed.await_condition("roomless", "roomless", "Ready", "True", READY).await?;
    let recorded = made.status.and_then(|status| status.storage).context("no account is recorded")?;
    ensure!(recorded.account == ACCOUNT, "it is in {}", recorded.account);

    let before = fleet::ready(bed).await?;
    fleet::write(bed, &with_room(1)?).await?;
    fleet::looked_at_again(bed, before.len()).await?;
    let after = fleet::ready(bed).await?;
    ensure!(before == after, "those that were there first are no longer Ready: {before:?}, {after:?}");
    bed.kubectl(["-n", "roomless", "delete", "tenant", "roomless", "--timeout=60s"]).await?;
    by_another_role(bed, good).await
}

/// The operator's own role may do nothing more in the account than take the one that the policy names.
async fn by_another_role(bed: &TestBed, good: &str) -> anyhow::Result<()> {
    let own = format!("arn:aws:iam::{ACCOUNT}:role/{OPERATOR_ROLE}");
    let statement = |of: Value| json!({"Version": "2012-10-17", "Statement": [of]});
    let trust = statement(json!({"Effect": "Allow", "Principal": {"AWS": own}, "Action": "sts:AssumeRole"}));
    let provisioner = bed.cloud().create_role(PROVISIONER, &trust, &aws_policy("operator-policy.json")?).await?;
    let taking = statement(json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": provisioner}));
    bed.cloud().put_role_policy(OPERATOR_ROLE, "taking", &taking.to_string()).await?;
    fleet::write(bed, &fleet::with_accounts(good, |accounts| accounts[0]["assumeRoleArn"] = json!(provisioner))?)
        .await?;
    let since = Utc::now();
    let made = apply_ready(bed, &tenant("assumed", "assumed", "assumed.example.com")).await?;
    let id = id(&made)?;
    let others: Vec<Value> = cloud::calls(bed, since)?.into_iter().filter(|call| cloud::concerns(call, &id)).collect();
    ensure!(others.is_empty(), "not by the role of the account: {others:?}");
    let theirs = cloud::calls_of(bed, PROVISIONER, since)?;
    let tables = theirs.iter().filter(|call| cloud::concerns(call, &id) && call["operation"] == "CreateTable");
    ensure!(tables.count() == 2, "the tables are not made by {PROVISIONER}: {theirs:?}");
    bed.kubectl(["-n", "assumed", "delete", "tenant", "assumed", "--timeout=60s"]).await.map(drop)
}
