//! An account on the emulator for one test: its root, clients to look with, and how to wait for what takes time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use operator::cloud::{Aws, Cloud, CloudError};
use operator::error::{Class, chain};
use plan::cloud::facts::{TableFacts, TableStatus};
use plan::cloud::step::CloudStep;
use serde_json::{Value, json};

pub const REGION: &str = "eu-central-1";
/// The account of the emulator.
pub const ACCOUNT: &str = "123456789012";
/// The root of the account; the emulator lets it do everything.
const ROOT: (&str, &str) = ("ROOTROOTROOTROOTROOT", "root-secret");
/// The emulator takes fractions of a second; a machine that does other work, some more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The account as root, and as the adapter sees it.
pub struct Account {
    pub endpoint: String,
    pub cloud: Aws,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub iam: aws_sdk_iam::Client,
    pub kms: aws_sdk_kms::Client,
}

impl Account {
    /// None, with a line that says so, when no emulator is given.
    pub async fn of_the_test() -> Option<Account> {
        let Ok(endpoint) = std::env::var("TEST_AWS_ENDPOINT") else {
            println!("skipped: TEST_AWS_ENDPOINT names no emulator");
            return None;
        };
        let config = config(&endpoint, ROOT).await;
        Some(Account {
            cloud: Aws::with_config(ACCOUNT, config.clone()),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            kms: aws_sdk_kms::Client::new(&config),
            endpoint,
        })
    }

    /// The adapter under the credentials of somebody else.
    pub async fn cloud_as(&self, account: &str, key: (&str, &str)) -> Aws {
        Aws::with_config(account, config(&self.endpoint, key).await)
    }

    /// The adapter as root, but in the belief to work for another account.
    pub async fn cloud_of(&self, account: &str) -> Aws {
        self.cloud_as(account, ROOT).await
    }

    /// Performs a step twice, each time until nothing is in motion any more.
    pub async fn twice(&self, step: CloudStep) {
        for _ in 0..2 {
            eventually(async || match self.cloud.perform(&step).await {
                Ok(()) => Ok(()),
                Err(error) if error.class() == Class::Transient => Err(chain(&error)),
                Err(error) => panic!("{step}: {}", chain(&error)),
            })
            .await;
        }
    }

    /// The facts of a table when it is active and no change of it is under way.
    pub async fn active(&self, table: &str) -> TableFacts {
        eventually(async || {
            let facts = self.cloud.table(REGION, table).await.expect("read").expect("it was created");
            if facts.status == TableStatus::Active { Ok(facts) } else { Err(format!("{table} is {:?}", facts.status)) }
        })
        .await
    }

    /// A managed policy that allows something harmless; its ARN.
    pub async fn managed_policy(&self) -> String {
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
        ]});
        let call = self.iam.create_policy().policy_name(name("managed")).policy_document(document.to_string());
        let policy = call.send().await.expect("create a policy").policy.expect("a policy");
        policy.arn.expect("its ARN")
    }

    /// A key of the account; its ARN.
    pub async fn key(&self) -> String {
        let key = self.kms.create_key().send().await.expect("create a key").key_metadata.expect("a key");
        key.arn.expect("its ARN")
    }

    /// Lets coming calls fail: `service:Operation` on resources that match.
    pub fn fault(&self, operation: &str, resource: &str, kind: &str, times: u32) {
        let fault = json!([{"match": operation, "resource": resource, "kind": kind, "times": times}]);
        self.control("POST", "/testbed/faults", &fault);
    }

    /// Lets coming calls of one caller fail: a call that names no resource cannot be told from others by it.
    pub fn fault_of(&self, principal: &str, operation: &str, kind: &str, times: u32) {
        let fault = json!([{"match": operation, "principal": principal, "kind": kind, "times": times}]);
        self.control("POST", "/testbed/faults", &fault);
    }

    /// A user with one policy: the adapter under its credentials, and its ARN.
    pub async fn user(&self, policy: &Value) -> (Aws, String) {
        let user = name("user");
        let made = self.iam.create_user().user_name(&user).send().await.expect("create a user").user.expect("a user");
        let put = self.iam.put_user_policy().user_name(&user).policy_name("inline");
        put.policy_document(policy.to_string()).send().await.expect("give it a policy");
        let key = self.iam.create_access_key().user_name(&user).send().await.expect("create a key");
        let key = key.access_key.expect("a key");
        (self.cloud_as(ACCOUNT, (&key.access_key_id, &key.secret_access_key)).await, made.arn)
    }

    fn control(&self, method: &str, path: &str, body: &Value) {
        let address = self.endpoint.strip_prefix("http://").expect("the emulator speaks plain HTTP");
        let mut stream = TcpStream::connect(address.trim_end_matches('/')).expect("connect to the emulator");
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

async fn config(endpoint: &str, (key, secret): (&str, &str)) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .load()
        .await
}

/// Asks until there is an answer, for a bounded time; what stands in its way is said in the end.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        let obstacle = match ask().await {
            Ok(answer) => return answer,
            Err(obstacle) => obstacle,
        };
        assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} still: {obstacle}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A name that no other test and no earlier run has used.
pub fn name(what: &str) -> String {
    format!("test-{what}-{:016x}", rand::random::<u64>())
}

/// The region of most tests.
pub fn region() -> String {
    REGION.to_owned()
}

/// Tags from pairs.
pub fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The class of an answer that must be a refusal, with its text for the message of an assertion.
pub fn class<T: std::fmt::Debug>(answer: Result<T, CloudError>) -> (Class, String) {
    let error = answer.expect_err("it must be refused");
    (error.class(), chain(&error))
}
