//! The AWS resources of a tenant, read back as they are, and made again on another account of the same number.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::types as ddb;
use aws_sdk_s3::types as s3;
use crds::tenant_status::StorageNames;

use super::role::Role;
use crate::testbed::{REGION, TestBed};

/// Between two looks at a table that is being made: as often as the operator looks at first.
const LOOK: Duration = Duration::from_millis(200);
/// How long a table may take to be there.
const MADE: Duration = Duration::from_secs(60);

/// Clients of the emulator with one identity.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    pub(super) iam: aws_sdk_iam::Client,
}

macro_rules! config {
    ($service:ident, $endpoint:expr, $key:expr, $secret:expr, $token:expr) => {
        $service::Config::builder()
            .behavior_version($service::config::BehaviorVersion::latest())
            .region($service::config::Region::new(REGION))
            .endpoint_url($endpoint)
            .credentials_provider($service::config::Credentials::new($key, $secret, $token, None, "test bed"))
    };
}

impl Clients {
    /// Of the account's root, who may do everything.
    pub(super) fn root(bed: &TestBed) -> Clients {
        let root = bed.control_plane().aws_root();
        Clients::open(bed, root.access_key_id, root.secret_access_key, None)
    }

    /// Of somebody who has taken this role: what it may do is judged at every call, as it is of the operator.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub(super) async fn of_role(bed: &TestBed, role_arn: &str) -> anyhow::Result<Clients> {
        let root = bed.control_plane().aws_root();
        let endpoint = bed.cloud().endpoint();
        let config = config!(aws_sdk_sts, endpoint, root.access_key_id, root.secret_access_key, None).build();
        let taken = aws_sdk_sts::Client::from_conf(config).assume_role().role_arn(role_arn).role_session_name("bench");
        let taken = taken.send().await.with_context(|| format!("cannot take the role {role_arn}"))?;
        let taken = taken.credentials.context("a role was taken without credentials")?;
        Ok(Clients::open(bed, &taken.access_key_id, &taken.secret_access_key, Some(taken.session_token)))
    }

    fn open(bed: &TestBed, key: &str, secret: &str, token: Option<String>) -> Clients {
        let endpoint = bed.cloud().endpoint();
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(
                config!(aws_sdk_dynamodb, endpoint, key, secret, token.clone()).build(),
            ),
            s3: aws_sdk_s3::Client::from_conf(
                config!(aws_sdk_s3, endpoint, key, secret, token.clone()).force_path_style(true).build(),
            ),
            iam: aws_sdk_iam::Client::from_conf(config!(aws_sdk_iam, endpoint, key, secret, token).build()),
        }
    }
}

/// Everything of one tenant.
#[derive(Clone, Debug)]
pub(super) struct Account {
    tables: [Table; 2],
    bucket: Bucket,
    role: Role,
}

#[derive(Clone, Debug)]
struct Table {
    description: ddb::TableDescription,
    tags: Vec<ddb::Tag>,
    time_to_live: Option<String>,
    recovery: bool,
}

/// Without what new buckets have and the operator does not ask for either: blocked public access, and the owner of objects.
#[derive(Clone, Debug)]
struct Bucket {
    name: String,
    tags: Vec<s3::Tag>,
    versioning: Option<s3::BucketVersioningStatus>,
    encryption: s3::ServerSideEncryptionConfiguration,
    lifecycle: Vec<s3::LifecycleRule>,
    policy: String,
}

impl Account {
    /// Reads it.
    ///
    /// # Errors
    /// When something is missing.
    pub(super) async fn read(clients: &Clients, storage: &StorageNames) -> anyhow::Result<Account> {
        let role = storage.role_arn.rsplit('/').next().unwrap_or_default();
        let (state, events, bucket, role) = tokio::try_join!(
            Table::read(clients, &storage.state_table),
            Table::read(clients, &storage.events_table),
            Bucket::read(clients, &storage.bucket),
            Role::read(clients, role)
        )?;
        Ok(Account { tables: [state, events], bucket, role })
    }

    /// Makes it: tables, bucket and role at the same time.
    ///
    /// # Errors
    /// When AWS refuses something, or a table is not there in time.
    pub(super) async fn make(&self, clients: &Clients) -> anyhow::Result<()> {
        let [state, events] = &self.tables;
        tokio::try_join!(
            state.make(clients),
            events.make(clients),
            self.bucket.make(clients),
            self.role.make(clients)
        )?;
        Ok(())
    }
}

impl Table {
    async fn read(Clients { dynamodb, .. }: &Clients, name: &str) -> anyhow::Result<Table> {
        let what = || format!("cannot read the table {name}");
        let description = dynamodb.describe_table().table_name(name).send().await.with_context(what)?.table;
        let description = description.with_context(what)?;
        let arn = description.table_arn.clone().with_context(what)?;
        let tags = dynamodb.list_tags_of_resource().resource_arn(arn).send().await.with_context(what)?;
        let ends = dynamodb.describe_time_to_live().table_name(name).send().await.with_context(what)?;
        let ends = ends.time_to_live_description.and_then(|ends| ends.attribute_name);
        let backups = dynamodb.describe_continuous_backups().table_name(name).send().await.with_context(what)?;
        let recovery = backups.continuous_backups_description.and_then(|all| all.point_in_time_recovery_description);
        let recovery = recovery.and_then(|recovery| recovery.point_in_time_recovery_status);
        Ok(Table {
            description,
            tags: tags.tags.unwrap_or_default(),
            time_to_live: ends,
            recovery: recovery == Some(ddb::PointInTimeRecoveryStatus::Enabled),
        })
    }

    async fn make(&self, Clients { dynamodb, .. }: &Clients) -> anyhow::Result<()> {
        let Table { description, tags, time_to_live, recovery } = self;
        let name = description.table_name().context("a table without a name")?;
        let what = || format!("cannot make the table {name}");
        let indexes = description.global_secondary_indexes().iter().map(|index| {
            ddb::GlobalSecondaryIndex::builder()
                .set_index_name(index.index_name.clone())
                .set_key_schema(index.key_schema.clone())
                .set_projection(index.projection.clone())
                .build()
        });
        let indexes = indexes.collect::<Result<Vec<_>, _>>().with_context(what)?;
        let encryption = ddb::SseSpecification::builder().enabled(true).sse_type(ddb::SseType::Kms).build();
        let create = dynamodb
            .create_table()
            .table_name(name)
            .set_attribute_definitions(description.attribute_definitions.clone())
            .set_key_schema(description.key_schema.clone())
            .set_global_secondary_indexes(Some(indexes).filter(|indexes| !indexes.is_empty()))
            .set_stream_specification(description.stream_specification.clone())
            .billing_mode(ddb::BillingMode::PayPerRequest)
            .deletion_protection_enabled(description.deletion_protection_enabled == Some(true))
            .sse_specification(encryption)
            .set_tags(Some(tags.clone()));
        create.send().await.with_context(what)?;
        tokio::time::timeout(MADE, active(dynamodb, name)).await.with_context(what)?.with_context(what)?;
        if let Some(attribute) = time_to_live {
            let ends = ddb::TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build()?;
            let call = dynamodb.update_time_to_live().table_name(name).time_to_live_specification(ends);
            call.send().await.with_context(what)?;
        }
        if *recovery {
            let on = ddb::PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build()?;
            let call = dynamodb.update_continuous_backups().table_name(name).point_in_time_recovery_specification(on);
            call.send().await.with_context(what)?;
        }
        Ok(())
    }
}

/// Looks until the table can be used.
async fn active(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(LOOK).await;
        let found = dynamodb.describe_table().table_name(name).send().await?;
        match found.table.and_then(|table| table.table_status) {
            Some(ddb::TableStatus::Active) => return Ok(()),
            Some(ddb::TableStatus::Creating) => {}
            other => bail!("it is {other:?}"),
        }
    }
}

impl Bucket {
    async fn read(Clients { s3, .. }: &Clients, name: &str) -> anyhow::Result<Bucket> {
        let what = || format!("cannot read the bucket {name}");
        let encryption = s3.get_bucket_encryption().bucket(name).send().await.with_context(what)?;
        let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(name).send().await.with_context(what)?;
        let policy = s3.get_bucket_policy().bucket(name).send().await.with_context(what)?;
        Ok(Bucket {
            name: name.to_owned(),
            tags: s3.get_bucket_tagging().bucket(name).send().await.with_context(what)?.tag_set,
            versioning: s3.get_bucket_versioning().bucket(name).send().await.with_context(what)?.status,
            encryption: encryption.server_side_encryption_configuration.with_context(what)?,
            lifecycle: lifecycle.rules.unwrap_or_default(),
            policy: policy.policy.with_context(what)?,
        })
    }

    async fn make(&self, Clients { s3: client, .. }: &Clients) -> anyhow::Result<()> {
        let name = &self.name;
        let what = || format!("cannot make the bucket {name}");
        let place = s3::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
        let create = client.create_bucket().bucket(name).create_bucket_configuration(place);
        let create = create.object_ownership(s3::ObjectOwnership::BucketOwnerEnforced);
        create.send().await.with_context(what)?;
        let tags = s3::Tagging::builder().set_tag_set(Some(self.tags.clone())).build()?;
        client.put_bucket_tagging().bucket(name).tagging(tags).send().await.with_context(what)?;
        let versioning = s3::VersioningConfiguration::builder().set_status(self.versioning.clone()).build();
        let call = client.put_bucket_versioning().bucket(name).versioning_configuration(versioning);
        call.send().await.with_context(what)?;
        let call = client.put_bucket_encryption().bucket(name);
        call.server_side_encryption_configuration(self.encryption.clone()).send().await.with_context(what)?;
        let rules = s3::BucketLifecycleConfiguration::builder().set_rules(Some(self.lifecycle.clone())).build()?;
        let call = client.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(rules);
        call.send().await.with_context(what)?;
        client.put_bucket_policy().bucket(name).policy(&self.policy).send().await.with_context(what)?;
        Ok(())
    }
}
