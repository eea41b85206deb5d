//! Credentials of a pod: what its environment and its files say, never this machine's.

use std::path::PathBuf;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, ProvideCredentials, Region, SharedHttpClient};

use crate::config::storage::Storage;
use crate::process::Process;
use crate::rule::{Refusal, Rule};

/// Where the credentials come from, in the SDK's order: file keys, environment keys, web identity.
#[derive(Debug)]
pub(crate) enum Source {
    Keys(Credentials),
    WebIdentity(WebIdentity),
}

/// Trades the projected token for credentials, reading the file anew each time: the kubelet renews it.
#[derive(Debug)]
pub(crate) struct WebIdentity {
    role: String,
    session: String,
    token_file: PathBuf,
    sts: aws_sdk_sts::Client,
}

impl Source {
    pub(crate) fn of(process: &Process, storage: &Storage, http: SharedHttpClient) -> Result<Source, Refusal> {
        if let Some((key, secret)) = &storage.keys {
            return Ok(Source::Keys(Credentials::new(key, secret, None, None, "storage")));
        }
        if let (Some(key), Some(secret)) = (process.env("AWS_ACCESS_KEY_ID"), process.env("AWS_SECRET_ACCESS_KEY")) {
            let token = process.env("AWS_SESSION_TOKEN").map(str::to_owned);
            return Ok(Source::Keys(Credentials::new(key, secret, token, None, "environment")));
        }
        let (Some(role), Some(file)) = (process.env("AWS_ROLE_ARN"), process.env("AWS_WEB_IDENTITY_TOKEN_FILE")) else {
            return Err(
                Rule::NoCredentials.by("neither AWS_ACCESS_KEY_ID nor AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN")
            );
        };
        process.read(file).map_err(|error| Rule::TokenFile.by(format!("{file}: {error}")))?;
        let session = process.env("AWS_ROLE_SESSION_NAME").unwrap_or("teleport").to_owned();
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .timeout_config(super::aws::timeouts())
            .region(Region::new(storage.region.clone()))
            .endpoint_url(super::aws::endpoint(process, "STS", None)?)
            .http_client(http)
            .build();
        let sts = aws_sdk_sts::Client::from_conf(config);
        Ok(Source::WebIdentity(WebIdentity { role: role.to_owned(), session, token_file: process.path(file), sts }))
    }
}

impl WebIdentity {
    async fn assume(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        let token = std::fs::read_to_string(&self.token_file)?;
        let answer = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&self.role)
            .role_session_name(&self.session)
            .web_identity_token(token.trim())
            .send()
            .await
            .map_err(|error| format!("AssumeRoleWithWebIdentity: {}", super::aws::causes(&error)))?;
        let given = answer.credentials().ok_or("STS answered without credentials")?;
        Ok(Credentials::new(
            given.access_key_id(),
            given.secret_access_key(),
            Some(given.session_token().to_owned()),
            std::time::SystemTime::try_from(*given.expiration()).ok(),
            "web-identity",
        ))
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::{error::CredentialsError, future};
        match self {
            Source::Keys(keys) => future::ProvideCredentials::ready(Ok(keys.clone())),
            Source::WebIdentity(identity) => future::ProvideCredentials::new(async {
                identity.assume().await.map_err(CredentialsError::provider_error)
            }),
        }
    }
}
