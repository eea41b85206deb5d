//! Recovery points end: once a day the operator looks for those that are older than they are kept, and deletes nothing
//! that it did not make.

use anyhow::{Context, bail, ensure};
use chrono::{TimeDelta, Utc};
use e2e::testbed::{INSTALLATION, TestBed, wait_until};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use super::super::cloud;
use super::setting::{SHOWS, always, with_window};

/// Two recovery points of former hops and a backup that a person made, two days and then six weeks later.
pub async fn ends(bed: &TestBed) -> anyhow::Result<()> {
    with_window(bed, "keep", "18.1.0", &always("keep", "default")).await?;
    let status = bed.status("keep", "keep").await?;
    let table = status["storage"]["stateTable"].as_str().context("no state table")?;
    let id = status["tenantID"].as_str().context("no tenant id")?;
    let old = format!("{INSTALLATION}-{id}-16.4.3-to-17.5.2-20260101T000000Z");
    let newest = format!("{INSTALLATION}-{id}-17.5.2-to-18.1.0-20260201T000000Z");
    let foreign = format!("{INSTALLATION}-{id}-before-surgery");
    // One after the other: the newest is the one that was asked for last.
    for (count, name) in (1..).zip([&foreign, &old, &newest]) {
        bed.cloud().create_backup(table, name).await?;
        wait_until("the backup to be available", SHOWS, || async {
            let found = bed.cloud().backups(table).await?;
            if found.len() == count { Ok(Some(())) } else { bail!("{found:?}") }
        })
        .await?;
    }
    // A list names no table to AWS, so those of all tenants are counted.
    let tenants = Api::<crds::Tenant>::all(bed.client()).list(&ListParams::default()).await?.items.len();
    let since = Utc::now();
    let count = |operation: &str| {
        let calls = cloud::calls(bed, since)?;
        let allowed = |call: &&Value| call["operation"] == operation && call["outcome"] == "allowed";
        anyhow::Ok(calls.iter().filter(allowed).count())
    };

    bed.clock().advance(TimeDelta::days(2)).await?;
    wait_until("all backups to be listed", SHOWS, || async {
        let listed = count("ListBackups")?;
        if listed == tenants { Ok(Some(())) } else { bail!("{listed} lists for {tenants} tenants") }
    })
    .await?;
    ensure!(count("DeleteBackup")? == 0, "a backup of today was deleted");
    bed.clock().advance(TimeDelta::days(40)).await?;
    wait_until("the old recovery point to be deleted", SHOWS, || async {
        let found = bed.cloud().backups(table).await?;
        if found == [newest.clone(), foreign.clone()] { Ok(Some(())) } else { bail!("{found:?}") }
    })
    .await?;
    wait_until("everybody to be looked at", SHOWS, || async {
        let listed = count("ListBackups")?;
        if listed == 2 * tenants { Ok(Some(())) } else { bail!("{listed} lists for {tenants} tenants") }
    })
    .await?;
    ensure!(count("DeleteBackup")? == 1, "{} backups were deleted", count("DeleteBackup")?);
    bed.await_condition("keep", "keep", "Ready", "True", SHOWS).await?;
    ensure!(count("ListBackups")? == 2 * tenants, "backups were listed again on the same day");
    bed.clock().set(Utc::now()).await.map(drop)
}
