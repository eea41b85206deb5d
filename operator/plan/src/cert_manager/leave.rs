//! What was made with cert-manager goes when it is not asked for any more: the Certificate first, which would have its Secret
//! written again, then the Secret, which cert-manager leaves behind. Each only if it is the tenant's.

use crds::certificates::CertManagerObjects;

use crate::fact::Fact;
use crate::names::Identity;
use crate::object::{Kind, Ref, foreign, is_foreign};
use crate::observed::Observed;
use crate::step::Step;

/// What is left of it.
#[derive(Debug, PartialEq)]
pub enum Left {
    /// Nothing that is the tenant's.
    Nothing,
    /// Something that this takes away.
    Step(Box<Step>),
    /// This object is to be read first.
    Unread(Ref),
    /// Something is on its way out, or could not be read.
    Waits(String),
}

/// The next thing that is left.
pub fn next(observed: &Observed, tenant: &Identity, objects: &CertManagerObjects) -> Left {
    let CertManagerObjects { certificate, secret_name } = objects;
    let reference = Ref::new(Kind::Certificate, certificate.clone());
    match observed.objects.read(&reference) {
        None => return Left::Unread(reference),
        Some(Fact::Unknown) => return Left::Waits(format!("{reference} to be read")),
        Some(Fact::Known(live)) if foreign(live, &tenant.uid).is_none() => {
            if !live["metadata"]["deletionTimestamp"].is_null() {
                return Left::Waits(format!("{reference} to end"));
            }
            let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            return Left::Step(Box::new(Step::Delete { reference, uid }));
        }
        Some(Fact::Known(_) | Fact::Absent) => {}
    }
    match &observed.secrets.issued {
        Fact::Unknown => Left::Waits(format!("Secret {secret_name} to be read")),
        Fact::Known(Err(fault)) if is_foreign(fault) => Left::Nothing,
        Fact::Known(_) => Left::Step(Box::new(Step::RemoveIssued { secret: secret_name.clone() })),
        Fact::Absent => Left::Nothing,
    }
}
