//! The emulated cloud as its administrator sees it: it seeds what exists before an operator, and takes things away.

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_dynamodb::types::{AttributeValue, BackupStatus, BackupSummary, StreamSpecification};
use serde_json::{Value, json};

use crate::aws::RootCredentials;
use crate::testbed::{INSTALLATION, REGION};

/// Clients with the right to do everything.
#[derive(Clone, Debug)]
pub struct Cloud {
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) iam: aws_sdk_iam::Client,
    kms: aws_sdk_kms::Client,
    pub(super) route53: aws_sdk_route53::Client,
    endpoint: String,
}

impl Cloud {
    /// Clients for this endpoint.
    pub fn open(endpoint: &str, root: RootCredentials) -> Cloud {
        let RootCredentials { access_key_id, secret_access_key } = root;
        macro_rules! config {
            ($service:ident) => {
                $service::Config::builder()
                    .behavior_version($service::config::BehaviorVersion::latest())
                    .region($service::config::Region::new(REGION))
                    .endpoint_url(endpoint)
                    .credentials_provider($service::config::Credentials::new(
                        access_key_id,
                        secret_access_key,
                        None,
                        None,
                        "test bed",
                    ))
            };
        }
        Cloud {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(config!(aws_sdk_dynamodb).build()),
            s3: aws_sdk_s3::Client::from_conf(config!(aws_sdk_s3).force_path_style(true).build()),
            iam: aws_sdk_iam::Client::from_conf(config!(aws_sdk_iam).build()),
            kms: aws_sdk_kms::Client::from_conf(config!(aws_sdk_kms).build()),
            route53: aws_sdk_route53::Client::from_conf(config!(aws_sdk_route53).build()),
            endpoint: endpoint.to_owned(),
        }
    }

    /// URL of the emulator.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What a platform team makes before it installs the operator: the cluster's OIDC provider and the operator's role.
    /// Answers the ARN of the role.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_operator(
        &self,
        issuer: &str,
        role: &str,
        subject: &str,
        policy: &str,
    ) -> anyhow::Result<String> {
        let provider = self
            .iam
            .create_open_id_connect_provider()
            .url(format!("https://{issuer}"))
            .client_id_list("sts.amazonaws.com")
            .thumbprint_list("0".repeat(40))
            .send()
            .await
            .context("cannot register the cluster's OIDC provider")?;
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": provider.open_id_connect_provider_arn()},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {
                format!("{issuer}:sub"): subject,
                format!("{issuer}:aud"): "sts.amazonaws.com",
            }},
        }]});
        self.create_role(role, &trust, policy).await
    }

    /// A managed policy. Answers its ARN.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_policy(&self, name: &str, policy: &str) -> anyhow::Result<String> {
        let made = self.iam.create_policy().policy_name(name).policy_document(policy).send().await;
        let made = made.with_context(|| format!("cannot create the policy {name}"))?;
        made.policy.and_then(|policy| policy.arn).context("a policy was created without being described")
    }

    /// A role with one inline policy, `operator`. Answers its ARN.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_role(&self, role: &str, trust: &Value, policy: &str) -> anyhow::Result<String> {
        let create = self.iam.create_role().role_name(role).assume_role_policy_document(trust.to_string());
        let created = create.send().await.with_context(|| format!("cannot create the role {role}"))?;
        self.put_role_policy(role, "operator", policy).await?;
        Ok(created.role().context("a role was created without being described")?.arn().to_owned())
    }

    /// Gives a role an inline policy.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put_role_policy(&self, role: &str, name: &str, policy: &str) -> anyhow::Result<()> {
        let put = self.iam.put_role_policy().role_name(role).policy_name(name).policy_document(policy);
        put.send().await.with_context(|| format!("cannot give {role} its policy"))?;
        Ok(())
    }

    /// Removes a role that [`create_role`](Self::create_role) made.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn remove_role(&self, role: &str) -> anyhow::Result<()> {
        self.remove_role_policy(role, "operator").await?;
        self.iam
            .delete_role()
            .role_name(role)
            .send()
            .await
            .with_context(|| format!("cannot remove the role {role}"))?;
        Ok(())
    }

    /// A key whose policy leaves all to IAM, as keys have it that nobody gave another. Its owner may consent to its use by tenants.
    /// Answers its ARN.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_key(&self, consents: bool) -> anyhow::Result<String> {
        let tag =
            aws_sdk_kms::types::Tag::builder().tag_key("tenancy.dev/installation").tag_value(INSTALLATION).build()?;
        let create = self.kms.create_key().set_tags(consents.then(|| vec![tag]));
        let created = create.send().await.context("cannot create a key")?;
        created.key_metadata.and_then(|key| key.arn).context("a key was created without being described")
    }

    /// An empty bucket as AWS makes one.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
        let create = self.s3.create_bucket().bucket(bucket).create_bucket_configuration(place);
        create.send().await.with_context(|| format!("cannot create the bucket {bucket}"))?;
        Ok(())
    }

    /// Puts an empty object into a bucket.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put_object(&self, bucket: &str, key: &str) -> anyhow::Result<()> {
        self.s3.put_object().bucket(bucket).key(key).send().await.with_context(|| format!("cannot write {key}"))?;
        Ok(())
    }

    /// Removes a bucket with its only object.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn remove_bucket(&self, bucket: &str, key: &str) -> anyhow::Result<()> {
        self.s3.delete_object().bucket(bucket).key(key).send().await.with_context(|| format!("cannot remove {key}"))?;
        let removed = self.s3.delete_bucket().bucket(bucket).send().await;
        removed.with_context(|| format!("cannot remove the bucket {bucket}"))?;
        Ok(())
    }

    /// Takes the policy of a bucket away.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn remove_bucket_policy(&self, bucket: &str) -> anyhow::Result<()> {
        self.s3.delete_bucket_policy().bucket(bucket).send().await.context("cannot remove the bucket policy")?;
        Ok(())
    }

    /// Turns the stream of a table off.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn disable_stream(&self, table: &str) -> anyhow::Result<()> {
        let off = StreamSpecification::builder().stream_enabled(false).build().context("a stream specification")?;
        self.dynamodb
            .update_table()
            .table_name(table)
            .stream_specification(off)
            .send()
            .await
            .context("cannot turn the stream off")?;
        Ok(())
    }

    /// Backs a table up, as a person does.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn create_backup(&self, table: &str, name: &str) -> anyhow::Result<()> {
        let call = self.dynamodb.create_backup().table_name(table).backup_name(name);
        call.send().await.with_context(|| format!("cannot back {table} up as {name}"))?;
        Ok(())
    }

    /// The names of the backups of a table that can be restored, sorted.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn backups(&self, table: &str) -> anyhow::Result<Vec<String>> {
        let found = self.dynamodb.list_backups().table_name(table).send().await.context("cannot list backups")?;
        let available = |found: &&BackupSummary| found.backup_status() == Some(&BackupStatus::Available);
        let found = found.backup_summaries().iter().filter(available);
        let mut names: Vec<String> = found.filter_map(|backup| backup.backup_name().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// One item of a state table, as it is stored.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn item(&self, table: &str, path: &str) -> anyhow::Result<Option<HashMap<String, AttributeValue>>> {
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let found = self
            .dynamodb
            .get_item()
            .table_name(table)
            .key("HashKey", key("teleport"))
            .key("FullPath", key(path))
            .consistent_read(true)
            .send()
            .await
            .with_context(|| format!("cannot read {path}"))?;
        Ok(found.item)
    }

    /// Replaces an item of a state table.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put_item(&self, table: &str, item: HashMap<String, AttributeValue>) -> anyhow::Result<()> {
        let put = self.dynamodb.put_item().table_name(table).set_item(Some(item));
        put.send().await.context("cannot write an item")?;
        Ok(())
    }

    /// Takes an inline policy of a role away.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn remove_role_policy(&self, role: &str, policy: &str) -> anyhow::Result<()> {
        self.iam
            .delete_role_policy()
            .role_name(role)
            .policy_name(policy)
            .send()
            .await
            .context("cannot remove the role's policy")?;
        Ok(())
    }
}
