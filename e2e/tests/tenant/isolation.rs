//! Two tenants in one account: the role of one is no use on the data of the other. Every right of the documentation's table
//! is tried, and the trial itself is tried on roles that have a right too few or too many.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use e2e::testbed::{ISSUER, TestBed, operator_binary};
use operator::isolation::{Outcome, Session, Side, compare, environment};
use plan::cloud::CloudNames;
use plan::cloud::rights::{self, ALL, On, RIGHTS, Right};
use serde_json::{Value, json};
use tokio::process::Command;

use super::manifest::apply_ready;
use super::{agents, cloud, editions};

/// A bucket and a role that no tenant has.
const BUCKET: &str = "somebodys-photographs";
const OBJECT: &str = "2026/november.jpg";
const ROLE: &str = "isolation-on-trial";

/// `verify-isolation` says that it holds; and boto3, with a token as a thief of it would have it, finds the same.
pub async fn of_two_tenants(bed: &TestBed) -> anyhow::Result<()> {
    // They stand already when other scenarios have run.
    let own = apply_ready(bed, &agents::observed()).await?;
    let other = apply_ready(bed, &editions::long()).await?;
    let (own, other) = (storage(&own)?, storage(&other)?);
    bed.cloud().create_bucket(BUCKET).await?;

    bed.cloud().put_object(BUCKET, OBJECT).await?;
    let object = format!("{BUCKET}/{OBJECT}");
    let names = ["agents/agents".to_owned(), path(&editions::long())?];
    let output = Command::new(operator_binary()?)
        .args(["verify-isolation", &names[0], &names[1], "--write-object", "--unrelated-object", &object])
        .env("KUBECONFIG", bed.control_plane().kubeconfig())
        .env("AWS_ENDPOINT_URL", bed.cloud().endpoint())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run the operator")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    bed.say(&printed);
    ensure!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let rows = printed.lines().filter(|line| line.starts_with("dynamodb:") || line.starts_with("s3:")).count();
    ensure!(rows == 2 * RIGHTS.len(), "{rows} rights were tried:\n{printed}");
    ensure!(printed.matches("not tried").count() == 2 && printed.contains("isolation holds: 78 rights"), "{printed}");

    let token = token_of(bed, &agents::observed()).await?;
    let file = bed.control_plane().run_dir().path().join("stolen-token");
    std::fs::write(&file, &token).context("cannot write the token")?;
    let read = cloud::reading(bed, &own.role_arn, &file, &own.state_table).await?;
    ensure!(read == json!({"assumed": "allowed", "read": "allowed"}), "on its own table: {read}");
    let read = cloud::reading(bed, &own.role_arn, &file, &other.state_table).await?;
    ensure!(read == json!({"assumed": "allowed", "read": "AccessDeniedException"}), "on the other's table: {read}");
    let read = cloud::reading(bed, &other.role_arn, &file, &other.state_table).await?;
    ensure!(read == json!({"assumed": "AccessDenied"}), "as the other's role: {read}");

    on_trial(bed, &own, &other, &token).await?;
    bed.cloud().remove_bucket(BUCKET, OBJECT).await
}

/// A role that lacks one right after the other shows exactly that one as refused; and one whose rights reach everywhere,
/// one statement after the other, shows exactly those as broken.
async fn on_trial(bed: &TestBed, own: &CloudNames, other: &CloudNames, token: &str) -> anyhow::Result<()> {
    let provider = format!("arn:aws:iam::{}:oidc-provider/{ISSUER}", own.account);
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{ISSUER}:aud"): "sts.amazonaws.com"}},
    }]});
    let role_arn =
        bed.cloud().create_role(ROLE, &trust, &rights::role_policy(own, &BTreeSet::new()).to_string()).await?;
    let config = environment(&own.region).await.into_builder().endpoint_url(bed.cloud().endpoint()).build();
    let side = async |name: &str, names: CloudNames, token: &str| {
        let session = Session::take(&config, &names, token).await?;
        anyhow::Ok(Side { name: name.into(), names, session })
    };
    let own = side("own", CloudNames { role_arn, ..own.clone() }, token).await?;
    let other = side("other", other.clone(), &token_of(bed, &editions::long()).await?).await?;
    let give = async |policy: &Value| bed.cloud().put_role_policy(ROLE, "operator", &policy.to_string()).await;

    for missing in &RIGHTS {
        give(&rights::policy(&own.names, RIGHTS.iter().filter(|right| *right != missing))).await?;
        let report = compare(&own, &other, None).await;
        let rows = report.rows.iter().filter(|row| row.own != Outcome::Allowed);
        let refused: Vec<(&str, &str)> = rows.map(|row| (row.action, row.on)).collect();
        let expected = RIGHTS.iter().filter(|right| needs(right, missing));
        let expected: Vec<(&str, &str)> = expected.map(|right| (right.action, right.on.text())).collect();
        ensure!(refused == expected, "without {missing:?} refused are {refused:?}");
    }
    for wide in ALL {
        let mut policy = rights::role_policy(&own.names, &BTreeSet::new());
        let statements = policy["Statement"].as_array_mut().context("statements")?;
        let reached = statements.iter_mut().find(|statement| statement["Sid"] == wide.sid());
        reached.context("a statement for each")?["Resource"] = json!("*");
        give(&policy).await?;
        let report = compare(&own, &other, Some(&(BUCKET.into(), OBJECT.into()))).await;
        let broken: Vec<(&str, &str)> = report.broken().iter().map(|row| (row.action, row.on)).collect();
        let reaches = |on: On| on == wide || wide_too(wide, on);
        let expected = RIGHTS.iter().filter(|right| reaches(right.on) && granted(wide, right.action));
        let expected: Vec<(&str, &str)> = expected.map(|right| (right.action, right.on.text())).collect();
        ensure!(broken == expected, "with {wide:?} everywhere broken are {broken:?}, not {expected:?}:\n{report}");
    }
    bed.cloud().remove_role(ROLE).await
}

/// Whether a right cannot be seen to work without another: an object to read is found in a list of versions, and an upload that was
/// begun for the trial has to be given up.
fn needs(right: &Right, missing: &Right) -> bool {
    let also: &[&str] = match missing.action {
        "s3:ListBucketVersions" => &["s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion"],
        "s3:AbortMultipartUpload" => &["s3:PutObject"],
        _ => &[],
    };
    right == missing || also.contains(&right.action)
}

/// `*` is every resource: a right to one table everywhere is one to any other.
fn wide_too(wide: On, on: On) -> bool {
    let dynamodb = |on| matches!(on, On::StateTable | On::StateStream | On::EventsTable | On::EventsIndex);
    dynamodb(wide) == dynamodb(on)
}

fn granted(on: On, action: &str) -> bool {
    RIGHTS.iter().any(|right| right.on == on && right.action == action)
}

/// As Auth of a tenant has it.
async fn token_of(bed: &TestBed, manifest: &Value) -> anyhow::Result<String> {
    let path = path(manifest)?;
    let (namespace, name) = path.split_once('/').context("a namespace")?;
    let account = format!("{name}-auth");
    bed.kubectl(["-n", namespace, "create", "token", &account, "--audience=sts.amazonaws.com"]).await
}

fn storage(tenant: &crds::Tenant) -> anyhow::Result<CloudNames> {
    let storage = tenant.status.as_ref().and_then(|status| status.storage.as_ref());
    storage.map(CloudNames::from).context("no storage")
}

fn path(manifest: &Value) -> anyhow::Result<String> {
    let part = |name: &str| manifest["metadata"][name].as_str().map(str::to_owned).context("a manifest");
    Ok(format!("{}/{}", part("namespace")?, part("name")?))
}
