//! What the API server says when it does not take an object, and what a person can do about it.

use kube::core::Status;
use plan::object::{Kind, Ref};

use crate::error::Error;

/// The failure to apply an object. What is refused for its content comes from the spec or the fleet policy: whatever the API server
/// could know of them, it has judged before.
pub fn explain(reference: &Ref, source: kube::Error) -> Error {
    let attempt = format!("apply {reference}");
    match &source {
        kube::Error::Api(status) if is_unknown_kind(status) && reference.kind == Kind::TLSRoute => Error::Refused {
            attempt,
            answer: "the cluster has no kind TLSRoute in version v1 of gateway.networking.k8s.io".to_owned(),
            remedy: "install the CRDs of the Gateway API in a release that has it, or create the Tenant with another exposure",
        },
        kube::Error::Api(status) if is_unknown_kind(status) && reference.kind == Kind::Certificate => Error::Refused {
            attempt,
            answer: "the cluster has no kind Certificate in version v1 of cert-manager.io".to_owned(),
            remedy: "install cert-manager, or choose another issuer in spec.certificates.web",
        },
        kube::Error::Api(status) if status.is_invalid() => {
            let answer = status.message.clone();
            Error::Refused { attempt, remedy: remedy(&answer), answer }
        }
        _ => Error::kube(attempt, source),
    }
}

/// Whether the API server does not know the kind at all: then it answers in plain text, and not that an object is not there.
pub fn is_unknown_kind(status: &Status) -> bool {
    status.code == 404 && !status.is_not_found()
}

fn remedy(answer: &str) -> &'static str {
    if answer.contains("port is already allocated") {
        "another Service has that node port (`kubectl get services -A` shows whose): delete it or give it another one, or delete the Tenant and create it again, which gets another block"
    } else if answer.contains("nodePort") && answer.contains("range") {
        "put the range of the API server into network.nodePorts of the fleet policy, and create the Tenant again with a port pool that lies in it"
    } else {
        "change the field of the spec or of the fleet policy that it comes from"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, chain};

    fn told(answer: &str, reason: &str, code: u16) -> (Class, String) {
        of(Kind::Service, answer, reason, code)
    }

    fn of(kind: Kind, answer: &str, reason: &str, code: u16) -> (Class, String) {
        let status = Status::failure(answer, reason).with_code(code);
        let error = explain(&Ref::new(kind, "acme"), kube::Error::Api(status.boxed()));
        (error.class(), chain(&error))
    }

    #[test]
    fn a_refusal_has_the_answer_and_the_remedy() {
        let invalid = "Service \"acme\" is invalid: spec.ports[1].nodePort: Invalid value: 11105: ";
        for (answer, remedy) in [
            ("provided port is not in the valid range. The range of valid ports is 30000-32767", "network.nodePorts"),
            ("provided port is already allocated", "kubectl get services -A"),
            ("may not change once set", "change the field"),
        ] {
            let (class, text) = told(&format!("{invalid}{answer}"), "Invalid", 422);
            assert_eq!(class, Class::Refused);
            for part in ["apply Service acme", answer, remedy] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert_eq!(told("exceeded quota", "Forbidden", 403).0, Class::Denied);
        // An API server that does not know the kind answers in plain text.
        let (class, text) = of(Kind::TLSRoute, "404 page not found", "Failed to parse error data", 404);
        assert!(class == Class::Refused && text.contains("install the CRDs of the Gateway API"), "{text}");
        let (class, text) = of(Kind::Certificate, "404 page not found", "Failed to parse error data", 404);
        assert!(class == Class::Refused && text.contains("install cert-manager"), "{text}");
    }
}
