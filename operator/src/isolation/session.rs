//! Acting as a tenant's Auth: a token of its ServiceAccount, exchanged for credentials of its role as the pod does it.

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use plan::cloud::CloudNames;

use super::{Outcome, outcome};
use crate::cloud::{Aws, CloudError, timeouts};

/// Audience of the token, as the trust policy of the role asks for it.
const AUDIENCE: &str = "sts.amazonaws.com";
/// The least that the API server takes: the token is used at once.
const TOKEN_SECONDS: i64 = 600;
/// As CloudTrail shows it.
const SESSION: &str = "verify-isolation";

/// Calls as one tenant's Auth.
#[derive(Debug)]
pub struct Session {
    aws: Aws,
    sts: aws_sdk_sts::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    region: String,
    token: String,
    config: SdkConfig,
}

/// Endpoints of the environment in this region, and no credentials.
pub async fn environment(region: &str) -> SdkConfig {
    let region = Region::new(region.to_owned());
    let defaults = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts());
    defaults.region(region).no_credentials().load().await
}

/// A short-lived token of a ServiceAccount.
pub async fn token(client: &Client, namespace: &str, account: &str) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec {
        audiences: Some(vec![AUDIENCE.to_owned()]),
        expiration_seconds: Some(TOKEN_SECONDS),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let made = made.with_context(|| format!("cannot make a token of ServiceAccount {namespace}/{account}"))?;
    made.status.and_then(|status| status.token).context("the API server made no token")
}

impl Session {
    /// Takes the tenant's role with a token of its Auth.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn take(config: &SdkConfig, names: &CloudNames, token: &str) -> anyhow::Result<Session> {
        let sts = aws_sdk_sts::Client::new(config);
        let taken = assume(&sts, &names.role_arn, token).await?;
        let given = taken.credentials.context("AWS gave no credentials")?;
        let credentials =
            Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, SESSION);
        let config = config.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        Ok(Session {
            streams: aws_sdk_dynamodbstreams::Client::new(&config),
            aws: Aws::with_config(&names.account, config.clone()),
            config,
            sts,
            region: names.region.clone(),
            token: token.to_owned(),
        })
    }

    /// DynamoDB as this tenant.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.aws.dynamodb(&self.region)
    }

    /// S3 as this tenant.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        self.aws.s3(&self.region)
    }

    /// For clients of other services.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(super) fn streams(&self) -> &aws_sdk_dynamodbstreams::Client {
        &self.streams
    }

    /// Tries to take a role with this tenant's token.
    pub(super) async fn taking(&self, role: &str) -> Outcome {
        outcome("sts:AssumeRoleWithWebIdentity", assume(&self.sts, role, &self.token).await)
    }
}

async fn assume(
    sts: &aws_sdk_sts::Client,
    role: &str,
    token: &str,
) -> Result<aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput, CloudError> {
    let call = sts.assume_role_with_web_identity().role_arn(role).role_session_name(SESSION).web_identity_token(token);
    call.send().await.map_err(|error| CloudError::call("sts:AssumeRoleWithWebIdentity", role, &error))
}
