//! What the pods are rendered from, and what is due. A user's edit of the pods is applied at once; every other change of
//! the rendering, and every change of version, waits for a maintenance window.

use crds::tenant_status::{Applied, BlockerStatus, HopKind, Next, TenantStatus};
use crds::{ConditionType, Reason};
use serde_json::Value;

use super::{Answer, Scope, Verdict};
use crate::manifest::Rendered;
use crate::object::Object;
use crate::version::{KNOWN_MAJORS, Version};

/// The decision about the pod templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    version: Version,
    /// To be written to status.
    record: Option<Applied>,
    /// Whether that must be done before anything else, since pods will start from it.
    starts: bool,
    held: bool,
    next: Option<Next>,
}

/// The version that the pods run: the one they were rendered from. Before the tenant was ever ready there is nothing to
/// protect, and the wanted one is taken, so that a first start with a wrong version can be mended.
pub fn running(scope: &Scope<'_>) -> Version {
    let wanted = &scope.wanted.version;
    let Some(applied) = applied(scope).and_then(|applied| Version::parse(&applied.version).ok()) else {
        return wanted.clone();
    };
    let highest =
        status(scope).and_then(|status| status.auth_high_water.as_deref()).and_then(|text| Version::parse(text).ok());
    let upward = highest.is_none_or(|highest| wanted.major >= highest.major && wanted.major <= highest.major + 1);
    if never_ready(scope) && upward { wanted.clone() } else { applied }
}

fn status<'a>(scope: &Scope<'a>) -> Option<&'a TenantStatus> {
    scope.observed.tenant.status.as_ref()
}

fn applied<'a>(scope: &Scope<'a>) -> Option<&'a Applied> {
    status(scope).and_then(|status| status.applied.as_ref())
}

fn never_ready(scope: &Scope<'_>) -> bool {
    status(scope).is_none_or(|status| status.version.is_none())
}

/// Decides; `rendered` is the rendering for the running version, once an earlier stage allows one.
pub fn decide(scope: &Scope<'_>, rendered: Option<&Rendered>) -> Template {
    let version = running(scope);
    let next = version_change(scope, &version);
    let mut template = Template { next, version, record: None, starts: false, held: false };
    let Some(rendered) = rendered.filter(|_| KNOWN_MAJORS.contains(&template.version.major)) else { return template };
    let wanted = Applied {
        generation: scope.observed.tenant.metadata.generation.unwrap_or_default(),
        version: template.version.to_string(),
        pod_inputs: scope.wanted.pod_inputs.digest(),
        template: rendered.template(),
    };
    let Some(applied) = applied(scope) else {
        template.starts = true;
        template.record = Some(wanted);
        return template;
    };
    // Only a person's edit is applied at once: a new generation and other inputs. The same inputs rendered otherwise, or
    // other inputs of the same generation, come from another operator or another policy, and wait.
    let edited = wanted.generation != applied.generation && wanted.pod_inputs != applied.pod_inputs;
    if wanted.template == applied.template {
        template.record = (wanted != *applied).then_some(wanted);
    } else if edited || never_ready(scope) {
        template.starts = true;
        template.record = Some(wanted);
    } else {
        template.held = true;
        template.next.get_or_insert_with(|| Next {
            kind: HopKind::Template,
            to: template.version.to_string(),
            blockers: vec![window_missing("the new pod template is not rolled out")],
        });
    }
    template
}

fn version_change(scope: &Scope<'_>, running: &Version) -> Option<Next> {
    let wanted = &scope.wanted.version;
    if wanted == running {
        return None;
    }
    let kind = if wanted.major != running.major {
        HopKind::Major
    } else if wanted.minor != running.minor {
        HopKind::Minor
    } else {
        HopKind::Patch
    };
    let unknown = (!KNOWN_MAJORS.contains(&wanted.major))
        .then(|| BlockerStatus { reason: Reason::VersionUnknown.to_string(), message: unknown_version(wanted) });
    let window = window_missing(&format!("the tenant stays at {running}"));
    Some(Next { kind, to: wanted.to_string(), blockers: unknown.into_iter().chain([window]).collect() })
}

/// Why a version cannot be run at all.
pub fn unknown_version(version: &Version) -> String {
    format!(
        "spec.version: {version} cannot be run by this operator: choose a release of majors {} to {}, or upgrade the operator",
        KNOWN_MAJORS.start(),
        KNOWN_MAJORS.end()
    )
}

fn window_missing(consequence: &str) -> BlockerStatus {
    BlockerStatus {
        reason: Reason::WindowMissing.to_string(),
        message: format!("no maintenance window applies to this tenant: {consequence}"),
    }
}

impl Template {
    /// The version that the pods run.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The change that is due.
    pub fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// Whether what starts stands in status already.
    pub fn is_recorded(&self) -> bool {
        !self.starts
    }

    /// Whether pods stay as they are although they would be rendered differently now.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The Deployment to apply: as rendered, or, while the rendering is held back, with the template that it has.
    pub fn applicable(&self, wanted: &Object, live: Option<&Value>) -> Object {
        let Some(live) = live.filter(|_| self.held) else { return wanted.clone() };
        let same_replicas = wanted.manifest["spec"]["replicas"] == live["spec"]["replicas"];
        wanted.keeping_template(live, same_replicas)
    }

    /// Writes the decision into status.
    pub fn record(&self, status: &mut TenantStatus) {
        status.next.clone_from(&self.next);
        let Some(record) = &self.record else { return };
        let highest = status.auth_high_water.as_deref().and_then(|version| Version::parse(version).ok());
        if highest.is_none_or(|highest| highest < self.version) {
            status.auth_high_water = Some(self.version.to_string());
        }
        status.applied = Some(record.clone());
    }

    /// `UpdateDue` and `UpdateBlocked`.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let verdict = |condition, answer, reason, message: String| Verdict { condition, answer, reason, message };
        let (due, blocked) = (ConditionType::UpdateDue, ConditionType::UpdateBlocked);
        let Some(next) = &self.next else {
            let message = || format!("version {} is what should run", self.version);
            return vec![
                verdict(due, Answer::False, Reason::UpToDate, message()),
                verdict(blocked, Answer::False, Reason::UpToDate, message()),
            ];
        };
        let reason = if next.kind == HopKind::Template { Reason::TemplateChanged } else { Reason::VersionPinned };
        let unknown = next.blockers.iter().any(|blocker| blocker.reason == Reason::VersionUnknown.to_string());
        let first = if unknown { Reason::VersionUnknown } else { Reason::WindowMissing };
        let blockers: Vec<&str> = next.blockers.iter().map(|blocker| blocker.message.as_str()).collect();
        vec![
            verdict(due, Answer::True, reason, format!("{:?} to {}", next.kind, next.to)),
            verdict(blocked, Answer::True, first, blockers.join("; ")),
        ]
    }
}
