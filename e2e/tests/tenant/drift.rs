//! A hand in the account: each attribute of the documentation is changed, found within the drift period, and put back. Not the tags:
//! by those the operator knows what is its own.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{DRIFTS, TestBed, wait_until};
use serde_json::json;

use super::cloud;
use super::history::History;
use super::manifest::{apply_ready, edit, id, tenant};

/// Several readings of the cloud, and an update of a table for each of its attributes.
const MENDED: Duration = Duration::from_secs(90);

/// Everything at once: what remains wrong would be found by no second reading.
pub async fn is_mended(bed: &TestBed) -> anyhow::Result<()> {
    let found = apply_ready(bed, &tenant("drift", "drift", "drift.example.com")).await?;
    let (tenant_id, storage) = (id(&found)?, found.status.and_then(|status| status.storage).context("no storage")?);
    let before = cloud::tenant(bed, &tenant_id).await?;
    let history = History::begin(bed, "drift", "drift").await?;
    // Meanwhile nobody mends: a table takes one change at a time.
    edit(bed, "drift", "drift", json!({"paused": true})).await?;
    history.saw("Ready=True/Paused", MENDED).await?;
    let mut read = before.clone();
    for drift in DRIFTS {
        bed.cloud().drift(drift, &storage).await?;
        let now = cloud::tenant(bed, &tenant_id).await?;
        ensure!(now != read, "nobody sees that {drift:?} was changed");
        read = now;
    }
    edit(bed, "drift", "drift", json!({"paused": false})).await?;
    history.saw("StorageReady=False/InProgress", MENDED).await?;
    history.saw("CredentialsReady=False/InProgress", MENDED).await?;
    wait_until("the account to be as before", MENDED, || async {
        let after = cloud::tenant(bed, &tenant_id).await?;
        if after == before { Ok(Some(())) } else { bail!("it was\n{before:#}\nand is\n{after:#}") }
    })
    .await?;
    bed.await_condition("drift", "drift", "Ready", "True", MENDED).await.map(drop)
}
