//! A hand that changes what the operator made in AWS: one attribute at a time, to another value that AWS takes.

use anyhow::Context;
use aws_sdk_dynamodb::types as ddb;
use aws_sdk_s3::types as s3;
use crds::tenant_status::StorageNames;
use serde_json::json;

use super::{Cloud, OPERATOR_ROLE};

/// Something that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Anybody with the right may delete the table.
    TableProtection,
    /// Nothing in it ends by itself.
    TimeToLive,
    /// No way back.
    PointInTimeRecovery,
    /// Capacity is provisioned.
    Billing,
    /// Another key.
    TableKey,
    /// Nobody learns of changes.
    Stream,
    /// Overwriting destroys.
    Versioning,
    /// It may be made public.
    PublicAccess,
    /// Other encryption.
    Encryption,
    /// Others own what they write.
    Ownership,
    /// Recordings go sooner.
    Lifecycle,
    /// TLS is not demanded.
    BucketPolicy,
    /// Somebody else may take the role.
    Trust,
    /// Nothing bounds the role's rights but its policies.
    Boundary,
    /// The role's rights are not those of the tenant.
    RolePolicy,
    /// The role has more rights.
    AnotherPolicy,
    /// The role has more rights, by a managed policy.
    AttachedPolicy,
}

/// All of them.
pub const DRIFTS: [Drift; 17] = [
    Drift::TableProtection,
    Drift::TimeToLive,
    Drift::PointInTimeRecovery,
    Drift::Billing,
    Drift::TableKey,
    Drift::Stream,
    Drift::Versioning,
    Drift::PublicAccess,
    Drift::Encryption,
    Drift::Ownership,
    Drift::Lifecycle,
    Drift::BucketPolicy,
    Drift::Trust,
    Drift::Boundary,
    Drift::RolePolicy,
    Drift::AnotherPolicy,
    Drift::AttachedPolicy,
];

impl Cloud {
    /// Changes one thing of a tenant's.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn drift(&self, drift: Drift, storage: &StorageNames) -> anyhow::Result<()> {
        let changed = match drift {
            Drift::TableProtection
            | Drift::TimeToLive
            | Drift::PointInTimeRecovery
            | Drift::Billing
            | Drift::TableKey
            | Drift::Stream => self.drift_of_tables(drift, storage).await,
            Drift::Versioning
            | Drift::PublicAccess
            | Drift::Encryption
            | Drift::Ownership
            | Drift::Lifecycle
            | Drift::BucketPolicy => self.drift_of_bucket(drift, &storage.bucket).await,
            Drift::Trust | Drift::Boundary | Drift::RolePolicy | Drift::AnotherPolicy | Drift::AttachedPolicy => {
                self.drift_of_role(drift, storage).await
            }
        };
        changed.with_context(|| format!("cannot change {drift:?}"))
    }

    /// Of both, but for the stream, which one has.
    async fn drift_of_tables(&self, drift: Drift, storage: &StorageNames) -> anyhow::Result<()> {
        self.drift_of_table(drift, &storage.state_table).await?;
        if drift == Drift::Stream {
            return Ok(());
        }
        self.drift_of_table(drift, &storage.events_table).await
    }

    async fn drift_of_table(&self, drift: Drift, table: &str) -> anyhow::Result<()> {
        let update = self.dynamodb.update_table().table_name(table);
        match drift {
            Drift::TimeToLive => {
                let off = ddb::TimeToLiveSpecification::builder().enabled(false).attribute_name("Expires").build()?;
                self.dynamodb.update_time_to_live().table_name(table).time_to_live_specification(off).send().await?;
            }
            Drift::PointInTimeRecovery => {
                let off =
                    ddb::PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(false).build()?;
                let call = self.dynamodb.update_continuous_backups().table_name(table);
                call.point_in_time_recovery_specification(off).send().await?;
            }
            Drift::TableKey => {
                let other = self.create_key(true).await?;
                let other =
                    ddb::SseSpecification::builder().enabled(true).sse_type(ddb::SseType::Kms).kms_master_key_id(other);
                update.sse_specification(other.build()).send().await?;
            }
            Drift::Stream => self.disable_stream(table).await?,
            Drift::Billing => {
                let capacity =
                    ddb::ProvisionedThroughput::builder().read_capacity_units(5).write_capacity_units(5).build()?;
                let update = update.billing_mode(ddb::BillingMode::Provisioned).provisioned_throughput(capacity);
                update.send().await?;
            }
            _ => {
                update.deletion_protection_enabled(false).send().await?;
            }
        }
        self.await_table(table).await
    }

    /// A table in an update takes no other.
    async fn await_table(&self, table: &str) -> anyhow::Result<()> {
        super::wait_until("the table to be active", std::time::Duration::from_secs(10), || async {
            let found = self.dynamodb.describe_table().table_name(table).send().await?;
            let status = found.table.and_then(|table| table.table_status);
            Ok((status == Some(ddb::TableStatus::Active)).then_some(()))
        })
        .await
    }

    async fn drift_of_bucket(&self, drift: Drift, bucket: &str) -> anyhow::Result<()> {
        match drift {
            Drift::Versioning => {
                let off = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Suspended).build();
                self.s3.put_bucket_versioning().bucket(bucket).versioning_configuration(off).send().await?;
            }
            Drift::PublicAccess => {
                let some = s3::PublicAccessBlockConfiguration::builder()
                    .block_public_acls(true)
                    .ignore_public_acls(true)
                    .block_public_policy(false)
                    .restrict_public_buckets(true)
                    .build();
                let call = self.s3.put_public_access_block().bucket(bucket);
                call.public_access_block_configuration(some).send().await?;
            }
            Drift::Encryption => {
                let other =
                    s3::ServerSideEncryptionByDefault::builder().sse_algorithm(s3::ServerSideEncryption::Aes256);
                let rule =
                    s3::ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(other.build()?);
                let rules = s3::ServerSideEncryptionConfiguration::builder().rules(rule.build()).build()?;
                let call = self.s3.put_bucket_encryption().bucket(bucket);
                call.server_side_encryption_configuration(rules).send().await?;
            }
            Drift::Ownership => {
                let rule =
                    s3::OwnershipControlsRule::builder().object_ownership(s3::ObjectOwnership::BucketOwnerPreferred);
                let controls = s3::OwnershipControls::builder().rules(rule.build()?).build()?;
                let call = self.s3.put_bucket_ownership_controls().bucket(bucket);
                call.ownership_controls(controls).send().await?;
            }
            Drift::Lifecycle => {
                let soon = s3::LifecycleExpiration::builder().days(1).build();
                let rule = s3::LifecycleRule::builder()
                    .id("soon")
                    .status(s3::ExpirationStatus::Enabled)
                    .filter(s3::LifecycleRuleFilter::builder().prefix("").build())
                    .expiration(soon);
                let rules = s3::BucketLifecycleConfiguration::builder().rules(rule.build()?).build()?;
                let call = self.s3.put_bucket_lifecycle_configuration().bucket(bucket);
                call.lifecycle_configuration(rules).send().await?;
            }
            _ => self.remove_bucket_policy(bucket).await?,
        }
        Ok(())
    }

    async fn drift_of_role(&self, drift: Drift, storage: &StorageNames) -> anyhow::Result<()> {
        let role = storage.role_arn.rsplit('/').next().unwrap_or_default();
        let everything = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
        }]});
        match drift {
            Drift::Trust => {
                let account = &storage.account;
                let other = json!({"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"AWS": format!("arn:aws:iam::{account}:role/{OPERATOR_ROLE}")},
                    "Action": "sts:AssumeRole",
                }]});
                let call = self.iam.update_assume_role_policy().role_name(role);
                call.policy_document(other.to_string()).send().await?;
            }
            Drift::Boundary => {
                self.iam.delete_role_permissions_boundary().role_name(role).send().await?;
            }
            Drift::RolePolicy => self.remove_role_policy(role, "tenant").await?,
            Drift::AnotherPolicy => self.put_role_policy(role, "more", &everything.to_string()).await?,
            _ => {
                let arn = self.create_policy(&format!("{role}-more"), &everything.to_string()).await?;
                self.iam.attach_role_policy().role_name(role).policy_arn(arn).send().await?;
            }
        }
        Ok(())
    }
}
