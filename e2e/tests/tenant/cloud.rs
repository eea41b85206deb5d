//! The account as another client reads it: boto3, with the rights of the account's root.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use e2e::cache::Cache;
use e2e::testbed::{INSTALLATION, OPERATOR_ROLE, REGION, TestBed};
use e2e::venv::{Venv, sources};
use serde_json::Value;

/// A region that the fleet policy does not have at first.
pub const ABROAD: &str = "eu-central-1";

/// Everything about a tenant's tables, bucket and role, flat.
pub async fn tenant(bed: &TestBed, tenant_id: &str) -> anyhow::Result<Value> {
    read(bed, &["tenant", INSTALLATION, tenant_id]).await
}

/// The names of all tables, buckets and roles of the account, in the regions of all scenarios.
pub async fn holdings(bed: &TestBed) -> anyhow::Result<Value> {
    read(bed, &["holdings", REGION, ABROAD]).await
}

/// Whether the holder of the token in this file may read a table as this role.
pub async fn reading(bed: &TestBed, role_arn: &str, token: &Path, table: &str) -> anyhow::Result<Value> {
    let token = token.to_str().context("the path is no text")?;
    read(bed, &["reading", "--role", role_arn, "--token", token, "--table", table]).await
}

/// What the operator asked of the account since a moment, refusals included, in order.
pub fn calls(bed: &TestBed, since: DateTime<Utc>) -> anyhow::Result<Vec<Value>> {
    calls_of(bed, OPERATOR_ROLE, since)
}

/// What sessions of a role asked of it.
pub fn calls_of(bed: &TestBed, role: &str, since: DateTime<Utc>) -> anyhow::Result<Vec<Value>> {
    let of_role = |call: &Value| {
        let seconds = call["time"].as_f64().unwrap_or_default();
        let at = DateTime::from_timestamp_millis((seconds * 1000.0) as i64).unwrap_or_default();
        let principal = call["principal_arn"].as_str().unwrap_or_default();
        at >= since && principal.contains(&format!("assumed-role/{role}/"))
    };
    Ok(log(bed)?.into_iter().filter(of_role).collect())
}

/// All calls of anybody, in order.
pub fn log(bed: &TestBed) -> anyhow::Result<Vec<Value>> {
    let log = bed.control_plane().aws().calls();
    let text = std::fs::read_to_string(log).context("cannot read the emulator's log")?;
    // Its last line may be half written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Whether a call is about a resource whose ARN has this part.
pub fn concerns(call: &Value, part: &str) -> bool {
    call["resources"].as_array().into_iter().flatten().any(|arn| arn.as_str().is_some_and(|arn| arn.contains(part)))
}

async fn read(bed: &TestBed, arguments: &[&str]) -> anyhow::Result<Value> {
    let venv = Venv::ensure(&Cache::from_env()?).await?;
    let root = bed.control_plane().aws_root();
    let output = tokio::process::Command::new(venv.python())
        .arg(sources().join("read_tenant.py"))
        .args(["--endpoint", bed.cloud().endpoint(), "--region", REGION])
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", root.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", root.secret_access_key)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run Python")?;
    ensure!(output.status.success(), "read_tenant.py {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read_tenant.py prints no JSON")
}
