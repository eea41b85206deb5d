//! Refusals as gRPC statuses, by Teleport's mapping of its error kinds.

use tonic::Status;

use crate::cloud::CloudError;
use crate::rule::{Refusal, Rule};

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let text = refusal.to_string();
        match refusal.rule {
            Rule::Absent => Status::not_found(text),
            Rule::Exists => Status::already_exists(text),
            // "Compare failed".
            Rule::Revision | Rule::Nonce => Status::failed_precondition(text),
            Rule::KeySchema | Rule::AccessDenied => Status::unavailable(text),
            Rule::ClientNotAllowed | Rule::JoinToken | Rule::JoinTokenRole | Rule::ProxyTooOld => {
                Status::permission_denied(text)
            }
            _ => Status::invalid_argument(text),
        }
    }
}

impl From<CloudError> for Status {
    fn from(error: CloudError) -> Status {
        Status::unavailable(error.to_string())
    }
}
