//! Buckets: a complete read of one, and the steps that change one. Every call but the one that creates a bucket names
//! the account that must own it, so that a bucket of the same name elsewhere is never read or changed.

use std::collections::BTreeMap;

use aws_sdk_s3::types as sdk;
use plan::cloud::facts::{BucketFacts, Encryption};
use serde_json::Value;

use super::aws::Aws;
use super::error::CloudError;
use super::lifecycle;

/// Reads a bucket with everything that the planner compares.
pub(super) async fn read(aws: &Aws, region: &str, bucket: &str) -> Result<Option<BucketFacts>, CloudError> {
    let head = aws.s3(region).head_bucket().bucket(bucket).expected_bucket_owner(aws.account()).send();
    match aws.call("s3:ListBucket", &resource(bucket), head).await {
        Ok(_) => {}
        Err(error) => match error.status() {
            Some(404) => return Ok(None),
            Some(301 | 307 | 403) => return Err(CloudError::Foreign { bucket: bucket.to_owned() }),
            _ => return Err(error),
        },
    }
    let (location, versioning, public_access_blocked, encryption, ownership, lifecycle, policy, tags) = futures::try_join!(
        location(aws, region, bucket),
        versioning(aws, region, bucket),
        public_access_blocked(aws, region, bucket),
        encryption(aws, region, bucket),
        ownership(aws, region, bucket),
        lifecycle::read(aws, region, bucket),
        policy(aws, region, bucket),
        tags(aws, region, bucket),
    )?;
    Ok(Some(BucketFacts {
        region: location,
        versioning,
        public_access_blocked,
        encryption,
        ownership,
        lifecycle,
        policy,
        tags,
    }))
}

/// Creates a bucket. Object ownership "bucket owner enforced" has been the default of new buckets since April 2023;
/// it is written out, since accounts can differ.
pub(super) async fn create(aws: &Aws, region: &str, bucket: &str) -> Result<(), CloudError> {
    // Outside us-east-1 the place must be named, and there it must not be.
    let place = (region != "us-east-1").then(|| {
        sdk::CreateBucketConfiguration::builder()
            .location_constraint(sdk::BucketLocationConstraint::from(region))
            .build()
    });
    let call = aws
        .s3(region)
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(place)
        .object_ownership(sdk::ObjectOwnership::BucketOwnerEnforced)
        .send();
    match aws.call("s3:CreateBucket", &resource(bucket), call).await {
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(error) if error.code() == Some("BucketAlreadyExists") => {
            Err(CloudError::Foreign { bucket: bucket.to_owned() })
        }
        answer => answer.map(drop),
    }
}

/// Sets all tags.
pub(super) async fn tag(
    aws: &Aws,
    region: &str,
    bucket: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), CloudError> {
    const ACTION: &str = "s3:PutBucketTagging";
    let request = |source| CloudError::Request { action: ACTION, resource: resource(bucket), source };
    let tags = tags.iter().map(|(key, value)| sdk::Tag::builder().key(key).value(value).build());
    let tags = tags.collect::<Result<Vec<_>, _>>().map_err(request)?;
    let tagging = sdk::Tagging::builder().set_tag_set(Some(tags)).build().map_err(request)?;
    let client = aws.s3(region);
    let call = client.put_bucket_tagging().bucket(bucket).expected_bucket_owner(aws.account()).tagging(tagging).send();
    aws.call(ACTION, &resource(bucket), call).await.map(drop)
}

/// Turns versioning on.
pub(super) async fn enable_versioning(aws: &Aws, region: &str, bucket: &str) -> Result<(), CloudError> {
    let versioning = sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Enabled).build();
    let call = aws
        .s3(region)
        .put_bucket_versioning()
        .bucket(bucket)
        .expected_bucket_owner(aws.account())
        .versioning_configuration(versioning)
        .send();
    aws.call("s3:PutBucketVersioning", &resource(bucket), call).await.map(drop)
}

/// Turns all four public access blocks on.
pub(super) async fn block_public_access(aws: &Aws, region: &str, bucket: &str) -> Result<(), CloudError> {
    let blocks = sdk::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let call = aws
        .s3(region)
        .put_public_access_block()
        .bucket(bucket)
        .expected_bucket_owner(aws.account())
        .public_access_block_configuration(blocks)
        .send();
    aws.call("s3:PutBucketPublicAccessBlock", &resource(bucket), call).await.map(drop)
}

/// Encrypts new objects with a KMS key, through a key of the bucket: one KMS call for many objects.
pub(super) async fn encrypt(aws: &Aws, region: &str, bucket: &str, key: Option<&str>) -> Result<(), CloudError> {
    const ACTION: &str = "s3:PutEncryptionConfiguration";
    let request = |source| CloudError::Request { action: ACTION, resource: resource(bucket), source };
    let default = sdk::ServerSideEncryptionByDefault::builder()
        .sse_algorithm(sdk::ServerSideEncryption::AwsKms)
        .set_kms_master_key_id(key.map(str::to_owned));
    let rule = sdk::ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(default.build().map_err(request)?)
        .bucket_key_enabled(true)
        .build();
    let encryption = sdk::ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(request)?;
    let call = aws
        .s3(region)
        .put_bucket_encryption()
        .bucket(bucket)
        .expected_bucket_owner(aws.account())
        .server_side_encryption_configuration(encryption)
        .send();
    aws.call(ACTION, &resource(bucket), call).await.map(drop)
}

/// Makes the account the owner of whatever is written.
pub(super) async fn own_objects(aws: &Aws, region: &str, bucket: &str) -> Result<(), CloudError> {
    const ACTION: &str = "s3:PutBucketOwnershipControls";
    let request = |source| CloudError::Request { action: ACTION, resource: resource(bucket), source };
    let rule = sdk::OwnershipControlsRule::builder().object_ownership(sdk::ObjectOwnership::BucketOwnerEnforced);
    let controls = sdk::OwnershipControls::builder().rules(rule.build().map_err(request)?).build().map_err(request)?;
    let call = aws
        .s3(region)
        .put_bucket_ownership_controls()
        .bucket(bucket)
        .expected_bucket_owner(aws.account())
        .ownership_controls(controls)
        .send();
    aws.call(ACTION, &resource(bucket), call).await.map(drop)
}

/// Replaces the policy.
pub(super) async fn set_policy(aws: &Aws, region: &str, bucket: &str, policy: &Value) -> Result<(), CloudError> {
    let call = aws
        .s3(region)
        .put_bucket_policy()
        .bucket(bucket)
        .expected_bucket_owner(aws.account())
        .policy(policy.to_string())
        .send();
    aws.call("s3:PutBucketPolicy", &resource(bucket), call).await.map(drop)
}

pub(super) fn resource(bucket: &str) -> String {
    format!("bucket {bucket}")
}

/// What S3 answers with an error code when it was never set.
pub(super) fn unless_unset<T>(answer: Result<T, CloudError>, unset: &str) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(unset) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn location(aws: &Aws, region: &str, bucket: &str) -> Result<String, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_location().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketLocation", &resource(bucket), call).await?;
    // Two places have names older than the regions'.
    Ok(match answer.location_constraint().map(|place| place.as_str()) {
        None | Some("") => "us-east-1".to_owned(),
        Some("EU") => "eu-west-1".to_owned(),
        Some(region) => region.to_owned(),
    })
}

async fn versioning(aws: &Aws, region: &str, bucket: &str) -> Result<bool, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_versioning().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketVersioning", &resource(bucket), call).await?;
    Ok(answer.status() == Some(&sdk::BucketVersioningStatus::Enabled))
}

async fn public_access_blocked(aws: &Aws, region: &str, bucket: &str) -> Result<bool, CloudError> {
    let client = aws.s3(region);
    let call = client.get_public_access_block().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketPublicAccessBlock", &resource(bucket), call).await;
    let answer = unless_unset(answer, "NoSuchPublicAccessBlockConfiguration")?;
    Ok(answer.and_then(|answer| answer.public_access_block_configuration).is_some_and(|blocks| {
        [
            blocks.block_public_acls(),
            blocks.ignore_public_acls(),
            blocks.block_public_policy(),
            blocks.restrict_public_buckets(),
        ]
        .into_iter()
        .all(|block| block == Some(true))
    }))
}

async fn encryption(aws: &Aws, region: &str, bucket: &str) -> Result<Option<Encryption>, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_encryption().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetEncryptionConfiguration", &resource(bucket), call).await;
    let answer = unless_unset(answer, "ServerSideEncryptionConfigurationNotFoundError")?;
    let configuration = answer.and_then(|answer| answer.server_side_encryption_configuration);
    let rules = configuration.map(|configuration| configuration.rules).unwrap_or_default();
    let default = rules
        .into_iter()
        .find_map(|rule| Some((rule.bucket_key_enabled, rule.apply_server_side_encryption_by_default?)));
    Ok(default.map(|(bucket_key, default)| Encryption {
        algorithm: default.sse_algorithm.as_str().to_owned(),
        key: default.kms_master_key_id,
        bucket_key: bucket_key == Some(true),
    }))
}

async fn ownership(aws: &Aws, region: &str, bucket: &str) -> Result<Option<String>, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_ownership_controls().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketOwnershipControls", &resource(bucket), call).await;
    let answer = unless_unset(answer, "OwnershipControlsNotFoundError")?;
    let rules = answer.and_then(|answer| answer.ownership_controls).map(|controls| controls.rules).unwrap_or_default();
    Ok(rules.into_iter().next().map(|rule| rule.object_ownership.as_str().to_owned()))
}

async fn policy(aws: &Aws, region: &str, bucket: &str) -> Result<Option<Value>, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_policy().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketPolicy", &resource(bucket), call).await;
    let answer = unless_unset(answer, "NoSuchBucketPolicy")?;
    Ok(answer.and_then(|answer| answer.policy).map(super::iam::document))
}

async fn tags(aws: &Aws, region: &str, bucket: &str) -> Result<BTreeMap<String, String>, CloudError> {
    let client = aws.s3(region);
    let call = client.get_bucket_tagging().bucket(bucket).expected_bucket_owner(aws.account()).send();
    let answer = aws.call("s3:GetBucketTagging", &resource(bucket), call).await;
    let answer = unless_unset(answer, "NoSuchTagSet")?;
    let tags = answer.map(|answer| answer.tag_set).unwrap_or_default();
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}
