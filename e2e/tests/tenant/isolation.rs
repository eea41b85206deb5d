//! Two tenants in one account: the role of one is no use on the data of the other.

use anyhow::{Context, ensure};
use e2e::testbed::{INSTALLATION, TestBed};
use serde_json::json;

use super::manifest::{apply_ready, id};
use super::{agents, cloud, editions};

/// With a real token of the one's Auth, as a thief of it would try.
pub async fn of_two_tenants(bed: &TestBed) -> anyhow::Result<()> {
    // They stand already when other scenarios have run.
    let own = apply_ready(bed, &agents::observed()).await?;
    let foreign = apply_ready(bed, &editions::long()).await?;
    let token = bed.kubectl(["-n", "agents", "create", "token", "agents-auth", "--audience=sts.amazonaws.com"]).await?;
    let file = bed.control_plane().run_dir().path().join("stolen-token");
    std::fs::write(&file, token).context("cannot write the token")?;
    let storage =
        |tenant: &crds::Tenant| tenant.status.as_ref().and_then(|status| status.storage.clone()).context("no storage");
    let (own_storage, foreign_storage) = (storage(&own)?, storage(&foreign)?);

    let read = cloud::reading(bed, &own_storage.role_arn, &file, &own_storage.state_table).await?;
    ensure!(read == json!({"assumed": "allowed", "read": "allowed"}), "on its own table: {read}");
    let read = cloud::reading(bed, &own_storage.role_arn, &file, &foreign_storage.state_table).await?;
    ensure!(read == json!({"assumed": "allowed", "read": "AccessDeniedException"}), "on the other's table: {read}");
    let read = cloud::reading(bed, &foreign_storage.role_arn, &file, &foreign_storage.state_table).await?;
    ensure!(read == json!({"assumed": "AccessDenied"}), "as the other's role: {read}");
    ensure!(
        foreign_storage.state_table == format!("{INSTALLATION}-{}-state", id(&foreign)?),
        "another table was tried"
    );
    Ok(())
}
