//! Data under a key that the customer named, and recordings that end: as the account shows it, and as the tenant's role may use
//! it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_s3::types::ServerSideEncryption;
use crds::Tenant;
use crds::tenant_status::StorageNames;
use e2e::testbed::{TestBed, wait_until};
use operator::isolation::{Session, environment};
use plan::cloud::CloudNames;
use serde_json::{Value, json};

use super::cloud;
use super::covered::seen;
use super::manifest::{apply, apply_ready, id, tenant, with};

const NAME: &str = "keyed";
/// A reading of the cloud, and an update of each table.
const CHANGED: Duration = Duration::from_secs(60);

/// From the first moment on, changed, and taken back.
pub async fn by_the_customer(bed: &TestBed) -> anyhow::Result<()> {
    let (first, second) = (bed.cloud().create_key(true).await?, bed.cloud().create_key(true).await?);
    let under = |storage: Value| with(tenant(NAME, NAME, "keyed.example.com"), "storage", storage);
    let found = apply_ready(bed, &under(json!({"kmsKeyArn": first, "sessionRetentionDays": 30}))).await?;
    let tenant_id = id(&found)?;
    let read = cloud::tenant(bed, &tenant_id).await?;
    is_under(&read, Some(&first))?;
    seen("Tenant", "spec.storage.kmsKeyArn", read["state table"]["SSEDescription.KMSMasterKeyArn"].clone());
    let days = |part: &str| read["bucket"][format!("Lifecycle[recordings].{part}")].clone();
    ensure!(days("Expiration.Days") == "30", "recordings expire: {read:#}");
    seen("Tenant", "spec.storage.sessionRetentionDays", 30);
    ensure!(days("NoncurrentVersionExpiration.NoncurrentDays") == "30", "their versions expire: {read:#}");
    ensure!(read["bucket"]["Lifecycle[delete-markers].Expiration.ExpiredObjectDeleteMarker"] == "true", "{read:#}");
    may_use(&read, &[&first])?;
    used_by_the_role(bed, &found, &first, "first.tar").await?;

    apply(bed, &under(json!({"kmsKeyArn": second}))).await?;
    becomes(bed, &tenant_id, Some(&second)).await?;
    let changed = bed.await_condition(NAME, NAME, "Ready", "True", CHANGED).await?;
    used_by_the_role(bed, &changed, &second, "second.tar").await?;
    may_use(&cloud::tenant(bed, &tenant_id).await?, &[&first, &second])?;
    apply(bed, &tenant(NAME, NAME, "keyed.example.com")).await?;
    becomes(bed, &tenant_id, None).await?;
    let back = bed.await_condition(NAME, NAME, "Ready", "True", CHANGED).await?;
    may_use(&cloud::tenant(bed, &tenant_id).await?, &[&first, &second])?;
    let session = session(bed, &back).await?;
    for (recording, key) in [("first.tar", &first), ("second.tar", &second)] {
        plays(&session, &back, recording, key).await?;
    }
    Ok(())
}

async fn becomes(bed: &TestBed, tenant_id: &str, key: Option<&str>) -> anyhow::Result<()> {
    wait_until("all to be under the other key", CHANGED, || async {
        let read = cloud::tenant(bed, tenant_id).await?;
        let kept =
            read["bucket"].as_object().context("a bucket")?.keys().any(|key| key.starts_with("Lifecycle[recordings]"));
        ensure!(!kept, "recordings still end: {read:#}");
        is_under(&read, key).map(Some)
    })
    .await
}

/// Tables, bucket and the rights of the role name this key, or none.
fn is_under(read: &Value, key: Option<&str>) -> anyhow::Result<()> {
    for table in ["state table", "events table"] {
        let sse = |part: &str| read[table][format!("SSEDescription.{part}")].clone();
        let manager = if key.is_some() { "CUSTOMER" } else { "AWS" };
        ensure!(sse("KMSMasterKeyManager") == manager, "{table}: {}", read[table]);
        ensure!(sse("KMSMasterKeyArn") == json!(key), "{table}: {}", read[table]);
    }
    let default = "Encryption[0].ApplyServerSideEncryptionByDefault";
    ensure!(read["bucket"][format!("{default}.SSEAlgorithm")] == "aws:kms", "{}", read["bucket"]);
    ensure!(read["bucket"][format!("{default}.KMSMasterKeyID")] == json!(key), "{}", read["bucket"]);
    Ok(())
}

/// The role keeps its right to a key under which data may lie.
fn may_use(read: &Value, keys: &[&String]) -> anyhow::Result<()> {
    for sid in ["KeyIsSeen", "KeyOfTables", "KeyOfRecordings"] {
        let resource = read["role"][format!("Policy.tenant.Statement[{sid}].Resource")].as_str().unwrap_or_default();
        let named: Vec<&str> = resource.split(", ").collect();
        ensure!(named.len() == keys.len(), "{sid} is on {named:?}");
        ensure!(keys.iter().all(|key| named.contains(&key.as_str())), "{sid} is on {named:?}, and not on {keys:?}");
    }
    Ok(())
}

/// As Auth uploads and plays a recording: through S3, for its own bucket, and not otherwise.
async fn used_by_the_role(bed: &TestBed, found: &Tenant, key: &str, recording: &str) -> anyhow::Result<()> {
    let session = session(bed, found).await?;
    let put = session.s3().put_object().bucket(&storage(found)?.bucket).key(recording);
    let put = put.body(b"a recording".to_vec().into()).server_side_encryption(ServerSideEncryption::AwsKms);
    put.ssekms_key_id(key).send().await.context("the role cannot upload a recording under its key")?;
    plays(&session, found, recording, key).await?;
    let direct = aws_sdk_kms::Client::new(session.config());
    match direct.encrypt().key_id(key).plaintext(b"anything".to_vec().into()).send().await {
        Err(error)
            if error.as_service_error().and_then(|error| error.meta().code()) == Some("AccessDeniedException") =>
        {
            Ok(())
        }
        answer => bail!("the role uses the key without S3: {answer:?}"),
    }
}

async fn plays(session: &Session, found: &Tenant, recording: &str, key: &str) -> anyhow::Result<()> {
    let played = session.s3().get_object().bucket(&storage(found)?.bucket).key(recording).send().await;
    let played = played.with_context(|| format!("the role cannot play {recording}"))?;
    ensure!(played.ssekms_key_id() == Some(key), "{recording} is under {:?}", played.ssekms_key_id());
    Ok(())
}

async fn session(bed: &TestBed, found: &Tenant) -> anyhow::Result<Session> {
    let storage = storage(found)?;
    let account = format!("{NAME}-auth");
    let token = bed.kubectl(["-n", NAME, "create", "token", &account, "--audience=sts.amazonaws.com"]).await?;
    let config = environment(&storage.region).await.into_builder().endpoint_url(bed.cloud().endpoint()).build();
    Session::take(&config, &CloudNames::from(storage), &token).await
}

fn storage(found: &Tenant) -> anyhow::Result<&StorageNames> {
    found.status.as_ref().and_then(|status| status.storage.as_ref()).context("no storage")
}
