//! What can go wrong with the cloud, and what each failure means for the next attempt.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use plan::names::TAG_INSTALLATION;

use crate::error::{Class, chain};

/// A read or a step that failed.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A call failed or was refused.
    #[error("{action} for {resource} failed")]
    Call {
        /// The IAM action of the call, such as `dynamodb:CreateTable`: what a policy has to allow.
        action: &'static str,
        /// Name or ARN of the resource.
        resource: String,
        /// What the service, or the way to it, answered.
        source: Refusal,
    },
    /// A customer's key cannot be used for it.
    #[error(
        "the KMS key {key} must exist in this account, be enabled, and be tagged {TAG_INSTALLATION} with the id of this installation"
    )]
    Key {
        /// ARN of the key.
        key: String,
        /// The call that needed it.
        source: Box<CloudError>,
    },
    /// The name of the bucket is taken, or the bucket cannot be shown to be ours.
    #[error(
        "bucket {bucket} is not ours: it belongs to another account, lies in another region, or s3:ListBucket is denied"
    )]
    Foreign {
        /// Bucket name.
        bucket: String,
    },
    /// An answer without a field that every such answer has.
    #[error("the answer to {action} for {resource} has no {field}")]
    Incomplete {
        /// The IAM action of the call.
        action: &'static str,
        /// Name of the resource.
        resource: String,
        /// What is missing.
        field: &'static str,
    },
    /// A request that the client library could not build.
    #[error("{action} for {resource} cannot be asked")]
    Request {
        /// The IAM action of the call.
        action: &'static str,
        /// Name of the resource.
        resource: String,
        /// Why.
        source: aws_sdk_dynamodb::error::BuildError,
    },
    /// As many tables of the account are in creation as AWS takes.
    #[error("{limit} tables are being created already; table {table} waits")]
    TooManyInCreation {
        /// Table name.
        table: String,
        /// How many at once.
        limit: usize,
    },
}

impl CloudError {
    /// Of a call that was not answered with success.
    pub fn call<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        CloudError::Call { action, resource: resource.to_owned(), source: Refusal::new(error) }
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            CloudError::Call { source, .. } => source.class,
            CloudError::Key { source, .. } => source.class(),
            CloudError::Foreign { .. } => Class::Denied,
            CloudError::Incomplete { .. } => Class::Transient,
            CloudError::Request { .. } => Class::Bug,
            CloudError::TooManyInCreation { .. } => Class::Throttled(Some(Duration::from_secs(5))),
        }
    }

    /// The same, told as a fault of the key where AWS says that it is one.
    pub(super) fn of_key(self, key: Option<&str>) -> CloudError {
        let says_so = matches!(&self, CloudError::Call { source, .. } if source.message.to_lowercase().contains("kms"));
        match key {
            Some(key) if says_so => CloudError::Key { key: key.to_owned(), source: Box::new(self) },
            _ => self,
        }
    }

    /// The error code of the service, when it answered with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            CloudError::Call { source, .. } => source.code.as_deref(),
            _ => None,
        }
    }

    /// The HTTP status of the answer, when there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            CloudError::Call { source, .. } => source.status,
            _ => None,
        }
    }
}

/// What came back instead of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Error code of the service; none when the call did not get that far.
    pub code: Option<String>,
    /// The words of the service or of the transport.
    pub message: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// What it means for the next attempt.
    pub class: Class,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.status) {
            (Some(code), _) if self.message.is_empty() => write!(formatter, "{code}"),
            (Some(code), _) => write!(formatter, "{code}: {}", self.message),
            (None, Some(status)) => write!(formatter, "HTTP {status}: {}", self.message),
            (None, None) => write!(formatter, "{}", self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// Sorts an error of any of the three services.
    fn new<E>(error: &SdkError<E, HttpResponse>) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let retry_after = response
            .and_then(|response| response.headers().get("retry-after"))
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().map(str::to_owned);
                let class = class_of_answer(code.as_deref(), status, retry_after);
                // Without a code the answer was not understood, and the library's own words say why.
                let words = service.err().message().map(str::to_owned);
                let message = words.or_else(|| code.is_none().then(|| chain(error))).unwrap_or_default();
                Refusal { code, message, status, class }
            }
            SdkError::TimeoutError(_) => Refusal::without_answer("no answer in time".to_owned(), status),
            SdkError::ResponseError(_) => {
                let class = class_of_answer(None, status, retry_after);
                Refusal { code: None, message: chain(error), status, class }
            }
            _ => Refusal::without_answer(chain(error), status),
        }
    }

    fn without_answer(message: String, status: Option<u16>) -> Refusal {
        Refusal { code: None, class: class_of_silence(&message), message, status }
    }
}

/// Sorts an answer by its code, and by its status where there is no code (answers to HEAD have no body).
fn class_of_answer(code: Option<&str>, status: Option<u16>, retry_after: Option<Duration>) -> Class {
    match code.unwrap_or_default() {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "LimitExceeded"
        | "LimitExceededException"
        | "SlowDown" => Class::Throttled(retry_after),
        // Still in motion, not there yet, or gone since it was read. Not a conflict: looking again at once would
        // only find the same.
        "ResourceInUseException"
        | "TableInUseException"
        | "BackupInUseException"
        | "OperationAborted"
        | "ResourceNotFoundException"
        | "TableNotFoundException"
        | "BackupNotFoundException"
        | "NoSuchBucket"
        | "NoSuchEntity"
        | "ContinuousBackupsUnavailableException"
        | "EntityTemporarilyUnmodifiable" => Class::Transient,
        "ConcurrentModification" | "ConcurrentModificationException" => Class::Conflict,
        // Fresh credentials come by themselves; a clock that is off does not hold a person's attention for ever.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "RequestTimeTooSkewed" | "RequestTimeout" => {
            Class::Transient
        }
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "UnauthorizedAccess"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "TooManyBuckets"
        | "ServiceQuotaExceededException" => Class::Denied,
        "ValidationException"
        | "ValidationError"
        | "MalformedPolicy"
        | "MalformedPolicyDocument"
        | "MalformedPolicyDocumentException"
        | "InvalidInput"
        | "InvalidArgument"
        | "InvalidRequest"
        | "InvalidParameterValue"
        | "InvalidBucketName"
        | "InvalidTag"
        | "IllegalLocationConstraintException"
        | "MalformedXML"
        | "PolicyNotAttachable"
        | "UnmodifiableEntity"
        | "UnmodifiableEntityException" => Class::Invalid,
        _ => match status {
            Some(429 | 503) => Class::Throttled(retry_after),
            Some(401 | 403) => Class::Denied,
            Some(400..=499) if code.is_some() => Class::Invalid,
            // Server errors, and answers to HEAD whose reason is unknown.
            _ => Class::Transient,
        },
    }
}

/// Sorts a call that never got an answer. Credentials that are refused or not to be had need a person; the library
/// reports them only as text.
fn class_of_silence(message: &str) -> Class {
    let credentials =
        ["AccessDenied", "InvalidIdentityToken", "credential provider was not enabled", "no providers in chain"];
    if credentials.iter().any(|sign| message.contains(sign)) { Class::Denied } else { Class::Transient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_class() {
        let patience = Some(Duration::from_secs(7));
        for (code, status, class) in [
            (Some("ThrottlingException"), 400, Class::Throttled(patience)),
            (Some("ProvisionedThroughputExceededException"), 400, Class::Throttled(patience)),
            (Some("SlowDown"), 503, Class::Throttled(patience)),
            (Some("LimitExceededException"), 400, Class::Throttled(patience)),
            (None, 503, Class::Throttled(patience)),
            (Some("ResourceInUseException"), 400, Class::Transient),
            (Some("TableInUseException"), 400, Class::Transient),
            (Some("BackupInUseException"), 400, Class::Transient),
            (Some("ContinuousBackupsUnavailableException"), 400, Class::Transient),
            (Some("NoSuchEntity"), 404, Class::Transient),
            (Some("InternalServerError"), 500, Class::Transient),
            (None, 500, Class::Transient),
            (None, 400, Class::Transient),
            (Some("ExpiredTokenException"), 400, Class::Transient),
            (Some("ConcurrentModification"), 409, Class::Conflict),
            (Some("AccessDeniedException"), 400, Class::Denied),
            (Some("AccessDenied"), 403, Class::Denied),
            (Some("SomethingNew"), 403, Class::Denied),
            (Some("ValidationException"), 400, Class::Invalid),
            (Some("MalformedPolicyDocument"), 400, Class::Invalid),
            (Some("SomethingNew"), 400, Class::Invalid),
        ] {
            assert_eq!(class_of_answer(code, Some(status), patience), class, "{code:?} {status}");
        }
    }

    #[test]
    fn silence_is_transient_unless_the_credentials_are_the_reason() {
        assert_eq!(class_of_silence("dispatch failure: io error: connection refused"), Class::Transient);
        assert_eq!(class_of_silence("dispatch failure: service error: AccessDenied: not authorized"), Class::Denied);
    }

    #[test]
    fn a_denied_call_names_the_action_and_the_reason() {
        let source = Refusal {
            code: Some("AccessDenied".to_owned()),
            message: "not authorized".to_owned(),
            status: Some(403),
            class: Class::Denied,
        };
        let error = CloudError::Call { action: "iam:CreateRole", resource: "role r".to_owned(), source };
        assert_eq!(chain(&error), "iam:CreateRole for role r failed: AccessDenied: not authorized");
    }
}
