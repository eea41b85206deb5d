//! What cert-manager says of a Certificate and of a request for one, in their status.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::keys::CertificateFacts;
use crate::object::{self, Ref};

/// Bound of what is repeated of it.
const TEXT: usize = 500;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Of a Certificate.
pub(super) struct Said<'a> {
    live: &'a Value,
}

impl<'a> Said<'a> {
    pub(super) fn by(live: &'a Value) -> Said<'a> {
        Said { live }
    }

    /// A condition, if it is of the Certificate as it is now.
    pub(super) fn condition(&self, type_: &str) -> Option<Condition> {
        condition(self.live, type_)
    }

    /// What the last attempt failed of. It is tried again, and until then this stands.
    pub(super) fn failed(&self) -> Option<String> {
        let issuing = self.condition("Issuing").filter(|issuing| issuing.status == "False")?;
        Some(format!("{}: {}", issuing.reason, issuing.message))
    }

    /// How often a certificate was issued; a request has the number of the next one.
    pub(super) fn revision(&self) -> i64 {
        self.live["status"]["revision"].as_i64().unwrap_or(0)
    }

    /// When it is renewed; none where it never is.
    pub(super) fn renewal(&self) -> Option<DateTime<Utc>> {
        self.time("renewalTime")
    }

    /// Whether this is the certificate that the status is about.
    pub(super) fn speaks_of(&self, certificate: &CertificateFacts) -> bool {
        self.time("notBefore") == Some(certificate.not_before) && self.time("notAfter") == Some(certificate.not_after)
    }

    fn time(&self, field: &str) -> Option<DateTime<Utc>> {
        self.live["status"][field].as_str()?.parse().ok()
    }
}

/// Of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// Why there is no certificate yet.
    pub(super) said: Option<String>,
    /// Whether that is for a person to mend.
    pub(super) person: bool,
}

impl Request {
    pub(super) fn of(reference: &Ref, live: &Value) -> Request {
        let holds = |type_| condition(live, type_).filter(|found| found.status == "True");
        let told = |found: &Condition| format!("{reference}: {}: {}", found.reason, found.message);
        if let Some(found) = holds("Denied").or_else(|| holds("InvalidRequest")) {
            return Request { said: Some(told(&found)), person: true };
        }
        if holds("Approved").is_none() {
            let said = format!("{reference} is not approved yet, which its approver does");
            return Request { said: Some(said), person: false };
        }
        let Some(found) = condition(live, "Ready").filter(|found| found.status != "True") else {
            return Request::default();
        };
        // Of an issuer that is not there, or not ready, a request says Pending too.
        let issuer = ["Referenced ", "Missing issuer"].iter().any(|start| found.message.starts_with(start));
        Request { said: Some(told(&found)), person: issuer || found.reason == "Failed" }
    }
}

fn condition(live: &Value, type_: &str) -> Option<Condition> {
    let generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
    let found = object::condition(&live["status"]["conditions"], type_, generation)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().chars().take(TEXT).collect::<String>();
    Some(Condition { status: text("status"), reason: text("reason"), message: text("message") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Kind;

    fn request(conditions: &Value) -> Request {
        let reference = Ref::new(Kind::CertificateRequest, "acme-web-1");
        Request::of(&reference, &json!({"metadata": {"generation": 1}, "status": {"conditions": conditions}}))
    }

    #[test]
    fn a_request_tells_why_it_waits_and_for_whom() {
        let of = |type_: &str, status: &str, reason: &str, message: &str| json!({"type": type_, "status": status, "reason": reason, "message": message});
        let approved = || of("Approved", "True", "cert-manager.io", "approved");
        let ready = |reason: &str, message: &str| json!([approved(), of("Ready", "False", reason, message)]);
        for (conditions, person, part) in [
            (json!([]), false, "is not approved yet"),
            (json!([of("Denied", "True", "Policy", "not this name")]), true, "Policy: not this name"),
            (json!([approved(), of("InvalidRequest", "True", "Spec", "no")]), true, "Spec: no"),
            (ready("Pending", "Referenced \"Issuer\" not found: public"), true, "not found: public"),
            (ready("Pending", "Referenced issuer does not have a Ready status condition"), true, "Ready status"),
            (ready("Pending", "Waiting on certificate issuance from order"), false, "from order"),
            (ready("Failed", "the authority says no"), true, "Failed: the authority says no"),
        ] {
            let found = request(&conditions);
            let said = found.said.expect("it says something");
            assert!(said.starts_with("CertificateRequest acme-web-1") && said.contains(part), "{said}");
            assert_eq!(found.person, person, "{said}");
        }
        assert_eq!(request(&json!([approved()])), Request::default());
    }

    #[test]
    fn what_is_said_of_an_older_generation_does_not_count() {
        let live = |seen: i64| {
            let issuing = json!({"type": "Issuing", "status": "False", "reason": "Failed", "message": "no", "observedGeneration": seen});
            json!({"metadata": {"generation": 2}, "status": {"conditions": [issuing]}})
        };
        assert_eq!(Said::by(&live(1)).failed(), None);
        assert_eq!(Said::by(&live(2)).failed(), Some("Failed: no".to_owned()));
        assert_eq!(Said::by(&Value::Null).revision(), 0);
    }
}
