//! The real cloud: clients by region, time-outs, the bounds on concurrency, and which step goes to which service.
//! Credentials, endpoints and certificates come from the environment by the library's default chain.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use plan::cloud::backup::BackupFacts;
use plan::cloud::facts::{BucketFacts, RoleFacts, TableFacts};
use plan::cloud::step::CloudStep;
use tokio::sync::Semaphore;

use super::error::CloudError;
use super::in_creation::InCreation;
use super::{Cloud, backup, dynamodb, iam, lifecycle, s3};

/// A call with all its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// One attempt, so that the second one has time left.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
/// One more attempt covers a connection that was closed while idle; everything else is retried by whoever asked,
/// who also knows what the failed attempt may have left behind.
const ATTEMPTS: u32 = 2;
/// Calls in flight. More only moves the queue from here to AWS, where it is answered with throttling.
const CALLS_AT_ONCE: usize = 64;
/// The bound of AWS on tables with secondary indexes that are being created in one account.
const TABLES_IN_CREATION: usize = 250;
/// Under this name calls by a role that was taken stand in CloudTrail.
const SESSION: &str = "tenant-operator";
/// IAM is global; its requests are signed for this region.
const IAM_REGION: &str = "us-east-1";

/// One AWS account.
#[derive(Debug)]
pub struct Aws {
    account: String,
    config: SdkConfig,
    path_style: bool,
    calls: Semaphore,
    pub(super) in_creation: InCreation,
    pub(super) iam: aws_sdk_iam::Client,
    regions: Mutex<HashMap<String, Regional>>,
    /// Whether AWS manages a key, by its ARN: that never changes.
    managed: Mutex<HashMap<String, bool>>,
}

/// The clients of one region. Cloning one is cheap and shares its connections.
#[derive(Clone, Debug)]
struct Regional {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    kms: aws_sdk_kms::Client,
}

impl Aws {
    /// The account with this id, with credentials and endpoint from the environment; `role` is taken with them first. Its
    /// credentials last an hour and are renewed by the library.
    pub async fn new(account: &str, role: Option<&str>) -> Aws {
        Aws::with_config(account, config(role).await)
    }

    /// The account with this id, with credentials and endpoint from `config`; time-outs, retries and the name in
    /// the user agent are set here.
    pub fn with_config(account: impl Into<String>, config: SdkConfig) -> Aws {
        // A bucket's own host name resolves in AWS only. The library knows the override for S3 alone, so that the
        // variable has to be asked for.
        let path_style = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let config = config
            .into_builder()
            .app_name(AppName::new("tenant-operator").expect("only letters and a hyphen"))
            .timeout_config(timeouts())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .build();
        let iam = aws_sdk_iam::config::Builder::from(&config).region(Region::new(IAM_REGION)).build();
        Aws {
            account: account.into(),
            path_style,
            calls: Semaphore::new(CALLS_AT_ONCE),
            in_creation: InCreation::new(TABLES_IN_CREATION),
            iam: aws_sdk_iam::Client::from_conf(iam),
            regions: Mutex::default(),
            managed: Mutex::default(),
            config,
        }
    }

    /// The account that every bucket must belong to.
    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// DynamoDB of a region.
    pub fn dynamodb(&self, region: &str) -> aws_sdk_dynamodb::Client {
        self.regional(region).dynamodb
    }

    /// S3 of a region.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        self.regional(region).s3
    }

    /// Whether a key is one that AWS manages for the account, and no customer's. One that is gone, or of another account, is a
    /// customer's: those of AWS can always be looked at.
    pub(super) async fn is_managed(&self, region: &str, arn: &str) -> Result<bool, CloudError> {
        const ACTION: &str = "kms:DescribeKey";
        let known = || self.managed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(managed) = known().get(arn) {
            return Ok(*managed);
        }
        let call = self.regional(region).kms.describe_key().key_id(arn).send();
        let answer = match self.call(ACTION, arn, call).await {
            Err(error) if matches!(error.code(), Some("AccessDeniedException" | "NotFoundException")) => {
                return Ok(false);
            }
            answer => answer?,
        };
        let manager = answer.key_metadata.and_then(|key| key.key_manager);
        let manager = manager.ok_or_else(|| CloudError::Incomplete {
            action: ACTION,
            resource: arn.to_owned(),
            field: "KeyManager",
        })?;
        let managed = manager == aws_sdk_kms::types::KeyManagerType::Aws;
        known().insert(arn.to_owned(), managed);
        Ok(managed)
    }

    fn regional(&self, region: &str) -> Regional {
        let mut regions = self.regions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        regions.entry(region.to_owned()).or_insert_with(|| self.connect(region)).clone()
    }

    fn connect(&self, region: &str) -> Regional {
        let region = Region::new(region.to_owned());
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&self.config).region(region.clone()).build();
        let kms = aws_sdk_kms::config::Builder::from(&self.config).region(region.clone()).build();
        let s3 =
            aws_sdk_s3::config::Builder::from(&self.config).region(region).force_path_style(self.path_style).build();
        Regional {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            s3: aws_sdk_s3::Client::from_conf(s3),
            kms: aws_sdk_kms::Client::from_conf(kms),
        }
    }

    /// Makes one call when there is room for it.
    pub(super) async fn call<T, E>(
        &self,
        action: &'static str,
        resource: &str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let _room = self.calls.acquire().await.expect("this semaphore is never closed");
        call.await.map_err(|error| CloudError::call(action, resource, &error))
    }
}

/// Credentials and endpoint from the environment; `role` is taken with them first. Its credentials last an hour and are renewed by
/// the library.
pub(crate) async fn config(role: Option<&str>) -> SdkConfig {
    let own = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
    let Some(role) = role else { return own };
    let taken = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&own).build().await;
    own.into_builder().credentials_provider(SharedCredentialsProvider::new(taken)).build()
}

/// Of every call.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

#[async_trait]
impl Cloud for Aws {
    async fn table(&self, region: &str, name: &str) -> Result<Option<TableFacts>, CloudError> {
        dynamodb::read(self, region, name).await
    }

    async fn bucket(&self, region: &str, name: &str) -> Result<Option<BucketFacts>, CloudError> {
        s3::read(self, region, name).await
    }

    async fn role(&self, name: &str) -> Result<Option<RoleFacts>, CloudError> {
        iam::read(self, name).await
    }

    async fn authority(
        &self,
        region: &str,
        table: &str,
        kind: &str,
        domain: &str,
    ) -> Result<Option<Vec<u8>>, CloudError> {
        dynamodb::authority(self, region, table, kind, domain).await
    }

    async fn backups(&self, region: &str, table: &str) -> Result<Vec<BackupFacts>, CloudError> {
        backup::list(self, region, table).await
    }

    async fn perform(&self, step: &CloudStep) -> Result<(), CloudError> {
        match step {
            CloudStep::CreateTable { region, table } => dynamodb::create(self, region, table).await,
            CloudStep::EnableStream { region, table, view } => dynamodb::enable_stream(self, region, table, view).await,
            CloudStep::EnableTimeToLive { region, table, attribute } => {
                dynamodb::enable_time_to_live(self, region, table, attribute).await
            }
            CloudStep::SetPointInTimeRecovery { region, table, enabled } => {
                dynamodb::set_point_in_time_recovery(self, region, table, *enabled).await
            }
            CloudStep::ProtectTable { region, table } => dynamodb::protect(self, region, table).await,
            CloudStep::BillTablePerRequest { region, table } => dynamodb::bill_per_request(self, region, table).await,
            CloudStep::EncryptTable { region, table, key } => {
                dynamodb::encrypt(self, region, table, key.as_deref()).await
            }
            CloudStep::CreateBackup { region, table, name } => backup::create(self, region, table, name).await,
            CloudStep::DeleteBackup { region, arn } => backup::delete(self, region, arn).await,
            CloudStep::CreateBucket { region, bucket } => s3::create(self, region, bucket).await,
            CloudStep::TagBucket { region, bucket, tags } => s3::tag(self, region, bucket, tags).await,
            CloudStep::EnableVersioning { region, bucket } => s3::enable_versioning(self, region, bucket).await,
            CloudStep::BlockPublicAccess { region, bucket } => s3::block_public_access(self, region, bucket).await,
            CloudStep::EncryptBucket { region, bucket, key } => s3::encrypt(self, region, bucket, key.as_deref()).await,
            CloudStep::OwnObjects { region, bucket } => s3::own_objects(self, region, bucket).await,
            CloudStep::SetLifecycle { region, bucket, rules } => lifecycle::set(self, region, bucket, rules).await,
            CloudStep::SetBucketPolicy { region, bucket, policy } => s3::set_policy(self, region, bucket, policy).await,
            CloudStep::CreateRole { role } => iam::create(self, role).await,
            CloudStep::SetTrust { role, trust } => iam::set_trust(self, role, trust).await,
            CloudStep::SetRolePolicy { role, name, policy } => iam::set_policy(self, role, name, policy).await,
            CloudStep::RemoveRolePolicy { role, name } => iam::remove_policy(self, role, name).await,
            CloudStep::DetachRolePolicy { role, arn } => iam::detach_policy(self, role, arn).await,
            CloudStep::SetBoundary { role, boundary } => iam::set_boundary(self, role, boundary).await,
        }
    }
}
