//! What steps do to the world.

use std::sync::Arc;

use chrono::TimeDelta;
use kube::ResourceExt;
use plan::Plan;
use plan::claims::{Claim, Subject};
use plan::keys::CertificateFacts;
use plan::names;
use plan::object::Ref;
use plan::step::Step;
use serde_json::{Value, json};

use super::fixtures::{authorities, certificate};
use super::{World, told};

impl World {
    /// Performs one step.
    ///
    /// # Errors
    /// What the API server or the cloud would refuse.
    pub fn perform(&mut self, step: &Step) -> Result<(), &'static str> {
        self.versions += 1;
        let identity = self.identity();
        match step {
            Step::AddFinalizer => {
                self.resource_version += 1;
                self.tenant.finalizers_mut().push(names::FINALIZER.into());
            }
            Step::RemoveFinalizer => self.gone = true,
            Step::Claim { subject, .. } => {
                self.claims.retain(|claim| claim.subject != *subject);
                self.claims.push(Claim {
                    subject: subject.clone(),
                    holder: Some(identity.holder()),
                    created: self.now,
                    rests_until: None,
                    resource_version: self.versions.to_string(),
                });
            }
            Step::Release { subject: Subject::Domain(domain), .. } => {
                self.claims.retain(|claim| claim.subject != Subject::Domain(domain.clone()));
            }
            Step::Release { subject, rests_until } => {
                for claim in self.claims.iter_mut().filter(|claim| claim.subject == *subject) {
                    claim.holder = None;
                    claim.rests_until = *rests_until;
                }
            }
            Step::Cloud(step) => self.cloud(step),
            Step::Publish(step) => told::perform(&mut self.told, step, self.versions),
            Step::CreateAuthorities { .. } => {
                if self.authorities.is_none() {
                    self.made_authorities += 1;
                    self.authorities = Some(self.made_authorities);
                }
            }
            Step::KeepAuthorities { stored, .. } => {
                // Numbers stand for keys: which one it is, its certificate tells.
                let number = (1..9).find(|number| authorities(*number).authorities.host == stored.host);
                self.authorities = number;
                self.kept_authorities += 1;
            }
            Step::UnguardAuthorities => {}
            Step::Acme(step) => return self.perform_acme(step),
            Step::CopyIssued { issuer, .. } => return self.copy_issued(issuer),
            Step::RemoveIssued { .. } => self.cert_manager.secret = None,
            Step::IssueWebCertificate { domain, .. } => {
                self.web = Some(CertificateFacts {
                    names: vec![format!("*.{domain}"), domain.clone()],
                    not_after: self.now + TimeDelta::days(90),
                    ..certificate(self.now)
                });
            }
            Step::RememberAgents { memory, seen } => {
                let current = self.remembered.as_ref().map(|_| self.memory_writes.to_string());
                if *seen != current {
                    return Err("it is another memory by now");
                }
                self.remembered = Some(memory.render());
                self.memory_writes += 1;
            }
            Step::Apply(object) => self.apply(&object.reference, &object.manifest),
            Step::Delete { reference, uid } => {
                let Some(live) = self.objects.get_mut(reference) else { return Ok(()) };
                if live["metadata"]["uid"] != json!(uid) {
                    return Err("it is another object by now");
                }
                // It is there until its pods have ended.
                Arc::make_mut(live)["metadata"]["deletionTimestamp"] = json!(self.now.to_rfc3339());
            }
        }
        Ok(())
    }

    fn apply(&mut self, reference: &Ref, manifest: &Value) {
        let mut live = manifest.clone();
        let before = self.objects.get(reference);
        let same = before.is_some_and(|before| same_spec(&before["spec"], &manifest["spec"]));
        let generation = before.map_or(0, |live| live["metadata"]["generation"].as_i64().unwrap_or(0));
        live["metadata"]["generation"] = json!(if same { generation } else { generation + 1 });
        match before {
            Some(before) => {
                live["metadata"]["uid"] = before["metadata"]["uid"].clone();
                live["status"] = before["status"].clone();
                let leaving = &before["metadata"]["deletionTimestamp"];
                if !leaving.is_null() {
                    live["metadata"]["deletionTimestamp"] = leaving.clone();
                }
            }
            None => live["metadata"]["uid"] = json!(format!("uid-{reference}-{}", self.versions)),
        }
        self.objects.insert(reference.clone(), Arc::new(live));
    }

    /// Stores the status, as the API server would.
    pub fn write(&mut self, plan: &Plan) -> bool {
        let changed = self.tenant.status.as_ref() != Some(&plan.status);
        if changed {
            self.resource_version += 1;
            self.tenant.status = Some(plan.status.clone());
        }
        changed
    }
}

/// Whether a spec is what was applied, apart from what the API server or a controller added to it.
fn same_spec(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| same_spec(live, wanted)))
        }
        _ => live == wanted,
    }
}
