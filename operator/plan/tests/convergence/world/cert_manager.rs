//! cert-manager: its controllers for Certificates, an issuer that may be missing, and the Secret that they write.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use plan::Fact;
use plan::clock::rfc3339;
use plan::keys::CertificateFacts;
use plan::object::{Kind, Ref};
use plan::observed::{Contents, IssuedBy, IssuedSecret};
use serde_json::{Value, json};

use super::World;
use super::fixtures::certificate;

/// How a web certificate that came from here names its issuer, so that it is known again.
const MARK: &str = "cert-manager";
const LIFETIME: TimeDelta = TimeDelta::days(90);

/// What outlives the process of the operator.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// Issuers that are there.
    pub issuers: Vec<String>,
    /// Why the next issuance fails, and every other until it is mended.
    pub fails: Option<String>,
    /// Its controllers do not run.
    pub stopped: bool,
    /// What lies in its Secret, with the number of its issuance.
    pub secret: Option<(u32, IssuedSecret)>,
    /// Somebody else's Secret stands there.
    pub foreign: bool,
    /// Certificates that were issued.
    pub issued: u32,
}

/// What a web certificate says of where it came from.
pub fn origin(issuer: &str) -> Option<(IssuedBy, String)> {
    let digest = issuer.strip_prefix(MARK)?;
    let (_, issuer) = digest.trim_start().split_once(' ')?;
    Some((IssuedBy::CertManager { issuer: issuer.to_owned() }, digest.to_owned()))
}

impl World {
    pub fn certificate(&self) -> Option<&Value> {
        self.objects.get(&Ref::new(Kind::Certificate, "acme-web")).map(|live| &**live)
    }

    pub fn issued(&self) -> Fact<Contents<IssuedSecret>> {
        if self.tenant.status.as_ref().is_none_or(|status| status.cert_manager.is_none()) {
            return Fact::Unknown;
        }
        if self.cert_manager.foreign {
            return Fact::Known(Err("belongs to somebody else".into()));
        }
        Fact::answered(self.cert_manager.secret.clone().map(|(_, issued)| Ok(issued)))
    }

    pub fn copy_issued(&mut self, wanted: &str) -> Result<(), &'static str> {
        let Some((_, issued)) = &self.cert_manager.secret else { return Err("it is gone") };
        if issued.issuer != wanted {
            return Err("it is of another issuer by now");
        }
        self.web = Some(CertificateFacts { issuer: format!("{MARK}{}", issued.digest), ..issued.certificate.clone() });
        Ok(())
    }

    /// Its controllers go on.
    pub fn pass_cert_manager(&mut self) {
        let (now, reference) = (self.now, Ref::new(Kind::Certificate, "acme-web"));
        let Some(live) = self.objects.get(&reference).cloned() else {
            self.objects.retain(|other, _| other.kind != Kind::CertificateRequest);
            return;
        };
        if self.cert_manager.stopped || !live["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let spec = &live["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let wanted = &spec["issuerRef"];
        let wanted = format!("{}.{}/{}", text(&wanted["kind"]), text(&wanted["group"]), text(&wanted["name"]));
        let controller = &mut self.cert_manager;
        let fits = controller.secret.as_ref().is_some_and(|(_, issued)| issued.issuer == wanted);
        let valid =
            |at: DateTime<Utc>| controller.secret.as_ref().is_some_and(|(_, found)| found.certificate.not_after > at);
        let (ready, renewed) = (fits && valid(now), fits && valid(now + LIFETIME / 3));
        let revision = live["status"]["revision"].as_i64().unwrap_or(0);
        let request = Ref::new(Kind::CertificateRequest, format!("acme-web-{}", revision + 1));
        let condition = |type_: &str, holds: bool, reason: &str, message: &str| {
            json!({"type": type_, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
                "observedGeneration": live["metadata"]["generation"]})
        };
        let mut conditions = vec![condition("Ready", ready, "Of", "the Secret")];
        let mut issued = revision;
        if !renewed {
            if !controller.issuers.contains(&wanted) {
                conditions.push(condition("Issuing", true, "DoesNotExist", "it is being issued"));
                let approved = json!({"type": "Approved", "status": "True"});
                let pending = json!({"type": "Ready", "status": "False", "reason": "Pending", "message": "Referenced \"Issuer\" not found"});
                let pending =
                    json!({"metadata": {"name": request.name}, "status": {"conditions": [approved, pending]}});
                self.objects.insert(request, Arc::new(pending));
            } else if let Some(why) = &controller.fails {
                conditions.push(condition("Issuing", false, "Failed", why));
            } else {
                controller.issued += 1;
                let number = controller.issued;
                let names = spec["dnsNames"].as_array().into_iter().flatten().map(text).collect();
                let certificate =
                    CertificateFacts { names, not_before: now, not_after: now + LIFETIME, ..certificate(now) };
                let digest = format!(" {number} {wanted}");
                controller.secret = Some((number, IssuedSecret { certificate, issuer: wanted, digest }));
                conditions = vec![condition("Ready", true, "Ready", "up to date")];
                issued += 1;
                self.objects.remove(&request);
            }
        }
        let mut status = json!({"conditions": conditions, "revision": issued});
        if let Some((_, IssuedSecret { certificate, .. })) = &self.cert_manager.secret {
            let CertificateFacts { not_before, not_after, .. } = certificate;
            status["notBefore"] = json!(rfc3339(*not_before));
            status["notAfter"] = json!(rfc3339(*not_after));
            status["renewalTime"] = json!(rfc3339(*not_after - LIFETIME / 3));
        }
        if live["status"] != status
            && let Some(live) = self.objects.get_mut(&reference)
        {
            Arc::make_mut(live)["status"] = status;
        }
    }
}
