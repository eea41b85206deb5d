//! What each component should run now: rendered from which version, or kept as it is. Outside a hop both run what was
//! recorded; in a hop Auth goes first, and on the way back Proxy does, so that Proxy is never newer than an Auth that
//! serves.

use crds::Reason;
use crds::tenant_status::{Applied, TenantStatus};
use crds::update_status::{HopKind, HopStage, Update};
use serde_json::Value;

use crate::fact::Fact;
use crate::feed::target::Goal;
use crate::gate;
use crate::hop;
use crate::keys::METRICS_LAST;
use crate::manifest::Rendered;
use crate::mutant::mutant;
use crate::object::Object;
use crate::stage::{Scope, Stall, metrics};
use crate::version::{KNOWN_MAJORS, Version};

/// What one component should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The version that it is rendered from.
    pub version: Version,
    /// What its processes may answer with meanwhile, beside that version.
    pub also: Option<Version>,
    /// Whether its pods keep the template that they have.
    pub held: bool,
    /// Whether nobody waits until it serves: the other one is replaced first, also where this one is broken.
    pub yields: bool,
}

impl Target {
    /// Whether a process that says this version is as it should be.
    pub fn accepts(&self, version: Option<&Version>) -> bool {
        version.is_some_and(|version| *version == self.version || Some(version) == self.also.as_ref())
    }

    /// The Deployment to apply: as rendered, or, while it is held, with the template that it has.
    pub fn applicable(&self, wanted: &Object, live: Option<&Value>) -> Object {
        let Some(live) = live.filter(|_| self.held) else { return wanted.clone() };
        let same_replicas = wanted.manifest["spec"]["replicas"] == live["spec"]["replicas"];
        wanted.keeping_template(live, same_replicas)
    }
}

/// What both should run.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Auth.
    pub auth: Target,
    /// Proxy.
    pub proxy: Target,
    /// Whether Auth is replaced with all but its first replica down: a new major must not share the state table with the
    /// old one.
    pub alone: bool,
    /// Whether what starts stands in status already.
    pub recorded: bool,
    /// What is to be recorded of the rendering, if it is another one than is recorded.
    pub record: Option<Applied>,
    /// Whether a rendering that nobody asked for is held back.
    pub pending_template: bool,
}

/// The versions of both, before anything is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of Auth.
    pub auth: Version,
    /// Of Proxy.
    pub proxy: Version,
}

fn status<'a>(scope: &Scope<'a>) -> Option<&'a TenantStatus> {
    scope.observed.tenant.status.as_ref()
}

fn applied<'a>(scope: &Scope<'a>) -> Option<&'a Applied> {
    status(scope).and_then(|status| status.applied.as_ref())
}

/// The hop that runs.
pub fn update<'a>(scope: &Scope<'a>) -> Option<&'a Update> {
    status(scope).and_then(|status| status.update.as_ref())
}

/// Whether the tenant was never ready: there is nothing to protect yet.
pub fn never_ready(scope: &Scope<'_>) -> bool {
    status(scope).is_none_or(|status| status.version.is_none())
}

/// The highest version whose Auth was ever started.
pub fn highest(scope: &Scope<'_>) -> Option<Version> {
    status(scope).and_then(|status| status.auth_high_water.as_deref()).and_then(|text| Version::parse(text).ok())
}

/// The version that runs: the one that the pods were rendered from. Before the tenant was ever ready the wanted one is
/// taken at once, so that a first start with a wrong version can be mended.
///
/// # Errors
/// When nothing runs yet and nobody can say what should.
pub fn running(scope: &Scope<'_>) -> Result<Version, Stall> {
    let applied = applied(scope).and_then(|applied| Version::parse(&applied.version).ok());
    if let Some(applied) = applied.as_ref().filter(|_| !never_ready(scope)) {
        return Ok(applied.clone());
    }
    let first = match &scope.wanted.goal {
        Goal::Pinned(version) => Some(version.clone()),
        Goal::Channel(channel) => {
            let feed = scope.observed.updates.feed.as_ref().ok();
            feed.and_then(|feed| feed.first(channel, scope.observed.now))
        }
    };
    // What Auth once started with stands in its table: no other major may follow but the next.
    let upward = |version: &Version| {
        highest(scope).is_none_or(|highest| (highest.major..=highest.major + 1).contains(&version.major))
    };
    first.filter(upward).or(applied).ok_or_else(|| Stall {
        reason: Reason::VersionUnknown,
        message: "spec.channel: the release feed has no release that this channel allows: add one to releases.yaml of the fleet policy, or set spec.version instead".into(),
    })
}

/// The versions that both are rendered from.
///
/// # Errors
/// As `running`.
pub fn versions(scope: &Scope<'_>) -> Result<Versions, Stall> {
    let running = running(scope)?;
    let Some((update, from, to)) = update(scope)
        .and_then(|update| Some((update, Version::parse(&update.from).ok()?, Version::parse(&update.to).ok()?)))
    else {
        return Ok(Versions { auth: running.clone(), proxy: running });
    };
    Ok(match update.stage {
        HopStage::Preflight | HopStage::RecoveryPoint | HopStage::Confirm => {
            Versions { auth: running.clone(), proxy: running }
        }
        HopStage::Auth if hop::proxy_first(update) => Versions { auth: from, proxy: to },
        HopStage::Auth | HopStage::RevertProxy => Versions { auth: to, proxy: from },
        HopStage::Proxy | HopStage::Verify => Versions { auth: to.clone(), proxy: to },
        HopStage::RevertAuth => Versions { auth: from.clone(), proxy: from },
    })
}

/// Decides what is rolled and what is held; `rendered` is the rendering for the versions, once an earlier stage allows one.
pub fn plan(scope: &Scope<'_>, versions: Versions, rendered: Option<&Rendered>) -> Course {
    let Versions { auth, proxy } = versions;
    let target = |version: Version, also: Option<&str>, held| {
        let also = also.and_then(|text| Version::parse(text).ok()).filter(|also| *also != version);
        Target { version, also, held, yields: false }
    };
    let running = update(scope).filter(|update| update.stage >= HopStage::Auth);
    if let Some(update) = running {
        let forward = update.stage < HopStage::RevertProxy;
        let also = |forward| if forward { Some(update.from.as_str()) } else { Some(update.to.as_str()) };
        let first = update.stage == HopStage::Auth;
        let proxy_first = hop::proxy_first(update);
        let auth_waits = update.stage == HopStage::RevertProxy || (first && proxy_first);
        let proxy_moves = forward && (!first || proxy_first);
        return Course {
            auth: Target { yields: auth_waits, ..target(auth, also(forward), auth_waits) },
            proxy: target(proxy, also(proxy_moves), first && !proxy_first),
            alone: update.kind == HopKind::Major && !mutant!(MajorBesideOld),
            recorded: true,
            record: None,
            pending_template: false,
        };
    }
    let mut course = Course {
        auth: target(auth.clone(), None, false),
        proxy: target(proxy, None, false),
        alone: false,
        recorded: true,
        record: None,
        pending_template: false,
    };
    let Some(rendered) = rendered.filter(|_| KNOWN_MAJORS.contains(&auth.major)) else { return course };
    let wanted = record(scope, &auth, rendered);
    let Some(applied) = applied(scope) else {
        course.recorded = false;
        course.record = Some(wanted);
        return course;
    };
    // Only a person's edit is applied at once: a new generation and other inputs. The same inputs rendered otherwise, or
    // other inputs of the same generation, come from another operator or another policy, and wait.
    let edited = wanted.generation != applied.generation && wanted.pod_inputs != applied.pod_inputs;
    let ending = ending(scope, rendered);
    if wanted.template == applied.template {
        course.record = (wanted != *applied).then_some(wanted);
    } else if edited || ending || never_ready(scope) || mutant!(TemplateAtOnce) {
        course.recorded = false;
        course.record = Some(wanted);
    } else {
        course.auth.held = true;
        course.proxy.held = true;
        course.pending_template = true;
    }
    course
}

/// A certificate that is about to end is the one thing that waits for no window. By a clock that may be wrong nothing is about to end, nor
/// is it where the new one ends no later.
fn ending(scope: &Scope<'_>, rendered: &Rendered) -> bool {
    let right = matches!(&scope.observed.clock_skew, Fact::Known(skew) if skew.abs() <= gate::SKEW);
    let until = metrics::earliest(scope).known().copied();
    right && until.is_some_and(|until| until - METRICS_LAST < scope.observed.wall && rendered.metrics.until > until)
}

/// What is recorded of a rendering.
pub fn record(scope: &Scope<'_>, version: &Version, rendered: &Rendered) -> Applied {
    Applied {
        generation: scope.observed.tenant.metadata.generation.unwrap_or_default(),
        version: version.to_string(),
        pod_inputs: scope.wanted.pod_inputs.digest(),
        template: rendered.template(),
    }
}
