//! Service-account tokens for pods: real ones from the API server, bound to the pod, renewed in time.

use std::time::{Duration, Instant};

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// The API's default for `expirationSeconds`.
const LIFETIME: i64 = 3600;
/// A token is renewed at the latest after a day, whatever its lifetime.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a token is asked for with. The audience `None` is the API server's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenKey {
    pub(super) audience: Option<String>,
    pub(super) lifetime: i64,
}

/// A token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) value: String,
    renew: Instant,
    expiry: Instant,
}

impl TokenKey {
    pub(super) fn new(audience: Option<String>, lifetime: Option<i64>) -> TokenKey {
        TokenKey { audience: audience.filter(|audience| !audience.is_empty()), lifetime: lifetime.unwrap_or(LIFETIME) }
    }
}

impl Token {
    /// Its lifetime is real time, since whoever checks it goes by the clock. A kubelet renews at 80 % of it.
    fn new(value: String, issued: Instant, lifetime: Duration) -> Token {
        Token { value, renew: issued + lifetime.mul_f64(0.8).min(LONGEST), expiry: issued + lifetime }
    }

    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.renew
    }

    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.expiry
    }
}

/// Asks for a token that dies with the pod.
pub(super) async fn request(client: &Client, pod: &Pod, key: &TokenKey) -> anyhow::Result<Token> {
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(key.audience.iter().cloned().collect()),
            expiration_seconds: Some(key.lifetime),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let issued = Instant::now();
    let api = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let answer = api.create_token_request(account, &PostParams::default(), &request).await?;
    let status = answer.status.unwrap_or_default();
    let (value, expiry) = status.token.zip(status.expiration_timestamp).context("the API server gave no token")?;
    let lifetime =
        Duration::try_from(expiry.0.duration_since(Timestamp::now())).context("the token has expired already")?;
    Ok(Token::new(value, issued, lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let age = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let token = |age_seconds, lifetime| Token::new("t".into(), age(age_seconds), Duration::from_secs(lifetime));
        let states = |token: Token| (token.is_fresh(), token.is_valid());
        assert_eq!(states(token(470, 600)), (true, true));
        assert_eq!(states(token(490, 600)), (false, true));
        assert_eq!(states(token(610, 600)), (false, false));
    }

    #[test]
    fn the_default_audience_is_the_api_servers() {
        assert_eq!(TokenKey::new(Some(String::new()), None), TokenKey { audience: None, lifetime: 3600 });
    }
}
