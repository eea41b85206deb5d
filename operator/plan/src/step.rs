//! An effect as a value, before it is a call: one type for Kubernetes, AWS, key material and Teleport. Steps are idempotent and
//! ordered; the first failure ends the run, and the process may die after any of them. A plan is steps, and what to say.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant_status::TenantStatus;

use crate::acme::AcmeStep;
use crate::agents::{AgentsView, Memory};
use crate::claims::Subject;
use crate::cloud::Part;
use crate::cloud::step::CloudStep;
use crate::keys::{StoredAuthorities, WebIssuer};
use crate::object::{Object, Ref};
use crate::observed::StageName;
use crate::publish::PublishStep;

/// What to do, and what to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Effects in order, each with the stage that wants it.
    pub steps: Vec<(StageName, Step)>,
    /// What would be done, were the tenant not paused.
    pub withheld: Vec<(StageName, Step)>,
    /// The whole status, as of before the steps.
    pub status: TenantStatus,
    /// Look again after this time at the latest.
    pub wake: Option<TimeDelta>,
    /// Look again after this time also when a step fails: a web certificate is being made, whatever else is in the way.
    pub beside: Option<TimeDelta>,
    /// Objects to read by name before anything else; with any of them the plan is a draft.
    pub needs: Vec<Ref>,
    /// The first stage that is not settled; none when all are.
    pub open: Option<StageName>,
    /// Whether the steps put back what somebody changed of a settled tenant, and the status says nothing of it.
    pub mends: bool,
    /// Whether window, policy, places and agents are to be read live and the plan drawn again, before a hop begins to
    /// touch what runs.
    pub look: bool,
    /// Whether what agents are told is to be read anew, and the plan drawn again: it is not known, or is to be changed.
    pub listen: bool,
    /// The cloud resources on which something is done or awaited.
    pub cloud_open: BTreeSet<Part>,
    /// Whether the pods are to be looked at, and the plan drawn again: some should be ready for a while already.
    pub pods: bool,
    /// What is seen of the agents; none when that was not looked at.
    pub agents: Option<AgentsView>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Put our finalizer on the Tenant.
    AddFinalizer,
    /// Take it off: the object goes.
    RemoveFinalizer,
    /// Create the Lease of a claim, or take over a rested one. Somebody else being first is a conflict, not a failure.
    Claim {
        /// What.
        subject: Subject,
        /// Resource version of the rested Lease to take over.
        rested: Option<String>,
    },
    /// Give a claim up; a port block rests until then.
    Release {
        /// What.
        subject: Subject,
        /// End of its rest; a domain has none and is free at once.
        rests_until: Option<DateTime<Utc>>,
    },
    /// An effect on AWS.
    Cloud(CloudStep),
    /// Make the certificate authorities and store them: created, never applied, so that existing ones always win.
    CreateAuthorities {
        /// Cluster name.
        domain: String,
    },
    /// Store the authorities that Teleport has, as a generation of their own: created, never applied.
    KeepAuthorities {
        /// Cluster name.
        domain: String,
        /// Of the Secret.
        generation: i64,
        /// As they are in the state table.
        stored: Box<StoredAuthorities>,
        /// The issuer of web certificates; none = it is lost and made anew.
        web: Option<Box<WebIssuer>>,
    },
    /// Let the Secret of the authorities go when somebody deletes it.
    UnguardAuthorities,
    /// Issue a web certificate from the tenant's own issuer into its Secret.
    IssueWebCertificate {
        /// Cluster name.
        domain: String,
    },
    /// An effect on the way to a web certificate from an ACME server.
    Acme(AcmeStep),
    /// Put the certificate that cert-manager wrote into the Secret of the web certificate.
    CopyIssued {
        /// Cluster name.
        domain: String,
        /// The Secret that cert-manager wrote.
        secret: String,
        /// By which issuer it must be: kind, group and name.
        issuer: String,
    },
    /// Remove the Secret that cert-manager wrote, if it is the tenant's.
    RemoveIssued {
        /// The Secret.
        secret: String,
    },
    /// Write down which agents may have vanished, if the ConfigMap is still the one that was seen.
    RememberAgents {
        /// What is to be remembered.
        memory: Box<Memory>,
        /// Resource version of the ConfigMap; none = it is to be made.
        seen: Option<String>,
    },
    /// Tell the tenant's Teleport something about its agents.
    Publish(Box<PublishStep>),
    /// Server-side apply.
    Apply(Box<Object>),
    /// Delete an object of ours, if it still is the one that was seen.
    Delete {
        /// Which.
        reference: Ref,
        /// uid that was seen.
        uid: String,
    },
}

impl Step {
    /// One word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Step::AddFinalizer => "AddFinalizer",
            Step::RemoveFinalizer => "RemoveFinalizer",
            Step::Claim { .. } => "Claim",
            Step::Release { .. } => "Release",
            Step::Cloud(step) => step.label(),
            Step::CreateAuthorities { .. } => "CreateAuthorities",
            Step::KeepAuthorities { .. } => "KeepAuthorities",
            Step::UnguardAuthorities => "UnguardAuthorities",
            Step::IssueWebCertificate { .. } => "IssueWebCertificate",
            Step::Acme(step) => step.label(),
            Step::CopyIssued { .. } => "CopyIssued",
            Step::RemoveIssued { .. } => "RemoveIssued",
            Step::RememberAgents { .. } => "RememberAgents",
            Step::Publish(step) => step.label(),
            Step::Apply(_) => "Apply",
            Step::Delete { .. } => "Delete",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label();
        match self {
            Step::AddFinalizer | Step::RemoveFinalizer => write!(formatter, "{label}"),
            Step::Claim { subject, .. } | Step::Release { subject, .. } => {
                write!(formatter, "{label} {}", subject.lease())
            }
            Step::Cloud(step) => step.fmt(formatter),
            Step::CreateAuthorities { domain } | Step::IssueWebCertificate { domain } => {
                write!(formatter, "{label} {domain}")
            }
            Step::KeepAuthorities { domain, generation, .. } => write!(formatter, "{label} {domain} {generation}"),
            Step::UnguardAuthorities => write!(formatter, "{label}"),
            Step::Acme(step) => step.fmt(formatter),
            Step::CopyIssued { secret, .. } => write!(formatter, "{label} Secret {secret}"),
            Step::RemoveIssued { secret } => write!(formatter, "{label} Secret {secret}"),
            Step::RememberAgents { memory, .. } => write!(formatter, "{label} {} of them", memory.entries.len()),
            Step::Publish(step) => step.fmt(formatter),
            Step::Apply(object) => write!(formatter, "{label} {}", object.reference),
            Step::Delete { reference, .. } => write!(formatter, "{label} {reference}"),
        }
    }
}
