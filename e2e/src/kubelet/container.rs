//! The life of one container of a pod: it waits for what it needs, starts, is probed, ends or is ended, and starts
//! again if its pod's policy says so. It writes what happens on the pod's board and decides nothing about the pod.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::backoff::{Backoff, Pause};
use super::health::{self, Finding, Probes, Unhealthy};
use super::launch::Launch;
use super::log::Log;
use super::pod::Sandbox;
use super::running::Running;
use super::state::{self, Ended, State};
use super::stop::{Order, Stop};
use super::{hook, log_path, objects, probe};

/// After which a kubelet looks again whether a container can be made.
const RETRY: Duration = Duration::from_secs(10);
/// What a process gets after its preStop hook has used up the grace period.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// What a container runtime makes of a command that it cannot start.
const NOT_STARTED: i32 = 128;

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Init,
    Main,
}

/// Whether a container that ended starts again.
pub(super) fn restarts(role: Role, policy: Option<&str>, code: i32) -> bool {
    match (policy, role) {
        (Some("Never"), _) => false,
        // An init container that is done is done; otherwise its failure is retried under both policies.
        (Some("OnFailure"), _) | (_, Role::Init) => code != 0,
        (_, Role::Main) => true,
    }
}

/// Runs a container until it will not start again or its pod ends. The exit code is of its last process, if any ran.
pub(super) async fn supervise(sandbox: Arc<Sandbox>, container: Container, role: Role, stop: Stop) -> Option<i32> {
    let pod = &sandbox.pod;
    let path = log_path(&sandbox.node.logs, &pod.namespace().unwrap_or_default(), &pod.name_any(), &container.name);
    let log = match Log::open(path) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            tracing::error!(pod = %pod.name_any(), container = %container.name, %error, "cannot open a container's log");
            return None;
        }
    };
    let known = sandbox.board.get(&container.name);
    // Whatever ran before this kubelet came counts as a start.
    let ran = matches!(known.state, State::Ended(_)) || known.last.is_some();
    let starts = if ran { known.restarts + 1 } else { 0 };
    Supervisor { sandbox, container: Arc::new(container), role, log, stop, starts }.live(known.state).await
}

struct Supervisor {
    sandbox: Arc<Sandbox>,
    container: Arc<Container>,
    role: Role,
    log: Arc<Log>,
    stop: Stop,
    starts: i32,
}

impl Supervisor {
    async fn live(mut self, found: State) -> Option<i32> {
        if let State::Ended(ended) = found
            && !self.restarts(ended.code)
        {
            return Some(ended.code);
        }
        let mut backoff = Backoff::new(self.sandbox.node.pace);
        loop {
            let launch = self.launch().await?;
            let code = self.attempt(&launch).await;
            let pause = backoff.after(Instant::now());
            if self.stop.requested() || !self.restarts(code) {
                return Some(code);
            }
            self.pause(pause).await?;
        }
    }

    fn restarts(&self, code: i32) -> bool {
        let policy = self.sandbox.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        restarts(self.role, policy, code)
    }

    /// Waits until the container can be made. `None` when its pod ends first.
    async fn launch(&mut self) -> Option<Launch> {
        let node = self.sandbox.node.clone();
        let image = self.container.image.clone().unwrap_or_default();
        let mut changes = node.objects.changes();
        let (mut pulled_before, mut known) = (false, None);
        while !self.stop.requested() {
            changes.mark_unchanged();
            match node.images.runtime(&image) {
                Err(why) if pulled_before => {
                    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {why}");
                    self.wait("ImagePullBackOff", message);
                    // The images of this machine do not change.
                    self.stop.request().await;
                }
                Err(why) => {
                    pulled_before = true;
                    let note = format!("Failed to pull image \"{image}\": {why}");
                    node.warnings.tell(&self.sandbox.pod, "Failed", "Pulling", &note);
                    self.wait("ErrImagePull", why);
                    self.sleep(node.pace.of(RETRY)).await;
                }
                Ok(runtime) => {
                    let (sandbox, container) = (self.sandbox.clone(), self.container.clone());
                    match Launch::prepare(sandbox, container, runtime, self.log.clone()).await {
                        Ok(launch) => return Some(launch),
                        Err(why) => {
                            if known.as_ref() != Some(&why) {
                                node.warnings.tell(&self.sandbox.pod, "Failed", "Creating", &format!("Error: {why}"));
                                self.wait("CreateContainerConfigError", why.clone());
                                known = Some(why);
                            }
                            tokio::select! {
                                () = self.sleep(node.pace.of(RETRY)) => {}
                                // What was missing may be there now.
                                () = objects::settled(&mut changes) => {}
                            }
                        }
                    }
                }
            }
        }
        None
    }

    /// Waits out a pause between two starts. `None` when the pod ends first.
    async fn pause(&mut self, Pause { here, real }: Pause) -> Option<()> {
        if !real.is_zero() {
            let pod = &self.sandbox.pod;
            let whole = format!(
                "{}_{}({})",
                pod.name_any(),
                pod.namespace().unwrap_or_default(),
                pod.uid().unwrap_or_default()
            );
            let message =
                format!("back-off {}s restarting failed container={} pod={whole}", real.as_secs(), self.container.name);
            self.sandbox.node.warnings.tell(pod, "BackOff", "Starting", &message);
            self.wait("CrashLoopBackOff", message);
            self.sleep(here).await;
        }
        (!self.stop.requested()).then_some(())
    }

    async fn sleep(&mut self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.stop.request() => {}
        }
    }

    fn wait(&self, reason: &'static str, message: String) {
        self.note(|known| {
            known.leave();
            known.state = State::Waiting { reason, message };
        });
    }

    fn note(&self, change: impl FnOnce(&mut state::Container)) {
        self.sandbox.board.container(&self.container.name, change);
    }

    /// One process from its start to its end.
    async fn attempt(&mut self, launch: &Launch) -> i32 {
        let since = Timestamp::now();
        let id = Some(self.id());
        let restarts = self.starts;
        self.starts += 1;
        let (code, reason, mut message) = match launch.start() {
            Err(why) => {
                self.log.line(&why);
                self.note(|known| {
                    known.leave();
                    known.restarts = restarts;
                    known.id.clone_from(&id);
                });
                (NOT_STARTED, "StartError", Some(why))
            }
            Ok(mut running) => {
                self.note(|known| {
                    known.leave();
                    known.state = State::Running { since };
                    known.restarts = restarts;
                    known.id.clone_from(&id);
                });
                match self.watch(launch, &mut running).await {
                    0 => (0, "Completed", None),
                    code => (code, "Error", None),
                }
            }
        };
        if code != 0 && self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError") {
            message = message.or_else(|| Some(self.log.tail()));
        }
        let finished_at = Some(Timestamp::now());
        let reason = reason.to_owned();
        self.note(|known| {
            known.state = State::Ended(Ended { code, reason, message, started_at: Some(since), finished_at, id });
            known.started = false;
            known.ready = false;
        });
        code
    }

    /// Watches a running process until it has ended or was ended.
    async fn watch(&mut self, launch: &Launch, running: &mut Running) -> i32 {
        let (sandbox, container) = (self.sandbox.clone(), self.container.clone());
        let pace = sandbox.node.pace;
        let began = Instant::now();
        let ask = |probe: &Probe| {
            let probe = probe.clone();
            async move { probe::attempt(launch, &probe).await }.boxed()
        };
        let tell = |finding| {
            if let Finding::Unready(why) = &finding {
                sandbox.node.warnings.tell(
                    &sandbox.pod,
                    "Unhealthy",
                    "Probing",
                    &format!("Readiness probe failed: {why}"),
                );
            }
            sandbox.board.container(&container.name, |known| match finding {
                Finding::Started => known.started = true,
                Finding::Ready => known.ready = true,
                Finding::Unready(_) => known.ready = false,
            });
        };
        let patience = if launch.is_paced() { 1.0 } else { pace.scale().ceil().max(1.0) };
        let _looked_after = sandbox.node.crowd.join();
        let probes = Probes {
            crowd: &sandbox.node.crowd,
            // In the range of any scale that makes sense; the cast saturates beyond.
            patience: patience as u32,
            startup: container.startup_probe.as_ref(),
            liveness: container.liveness_probe.as_ref(),
            readiness: container.readiness_probe.as_ref(),
        };
        let healthy = async {
            // A container counts as started only after its hook.
            if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref())
                && let Err(message) = hook::run(launch, hook).await
            {
                sandbox.node.warnings.tell(&sandbox.pod, "FailedPostStartHook", "Starting", &message);
                return Unhealthy { probe: "PostStart", message, grace: None };
            }
            health::watch(probes, began, pace, &ask, &tell).await
        };
        let own = tokio::select! {
            code = running.exit() => return code,
            unhealthy = healthy => Some(self.condemn(&unhealthy)),
            () = self.stop.request() => None,
        };
        let ready = sandbox.board.get(&container.name).ready;
        tokio::select! {
            code = self.end(launch, running, own) => code,
            never = health::watch_stopping(probes, began, ready, pace, &ask, &tell) => match never {},
        }
    }

    /// Tells that the container is to be killed for its health, and until when it may end by itself.
    fn condemn(&self, unhealthy: &Unhealthy) -> Instant {
        let Unhealthy { probe, message, grace } = unhealthy;
        let (node, pod) = (&self.sandbox.node, &self.sandbox.pod);
        node.warnings.tell(pod, "Unhealthy", "Probing", &format!("{probe} probe failed: {message}"));
        let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Instant::now() + self.sandbox.grace_pace().seconds(grace.or(spec).unwrap_or(30))
    }

    /// Ends the process: its hook, a request, and then force. `own` is a time limit besides the pod's.
    async fn end(&self, launch: &Launch, running: &mut Running, own: Option<Instant>) -> i32 {
        if self.stop.order() == Order::Die {
            return running.kill().await;
        }
        let mut least = None;
        if let Some(hook) = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
            let mut stop = self.stop.clone();
            tokio::select! {
                code = running.exit() => return code,
                outcome = hook::run(launch, hook) => if let Err(why) = outcome {
                    self.sandbox.node.warnings.tell(&self.sandbox.pod, "FailedPreStopHook", "Stopping", &why);
                },
                () = stop.expiry(own, None) => {}
            }
            least = Some(Instant::now() + self.sandbox.grace_pace().of(LEAST_GRACE));
        }
        running.terminate();
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            code = running.exit() => code,
            () = stop.expiry(own, least) => running.kill().await,
        }
    }

    fn id(&self) -> String {
        let whole = format!("{}/{}/{}", self.sandbox.pod.uid().unwrap_or_default(), self.container.name, self.starts);
        format!("stand-in://{}", hex::encode(Sha256::digest(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_says_who_starts_again() {
        let cases = [
            (Role::Main, Some("Always"), 0, true),
            (Role::Main, Some("Always"), 1, true),
            (Role::Main, None, 0, true),
            (Role::Main, Some("OnFailure"), 0, false),
            (Role::Main, Some("OnFailure"), 1, true),
            (Role::Main, Some("Never"), 1, false),
            (Role::Init, Some("Always"), 0, false),
            (Role::Init, Some("Always"), 1, true),
            (Role::Init, Some("OnFailure"), 1, true),
            (Role::Init, Some("Never"), 1, false),
        ];
        for (role, policy, code, expected) in cases {
            assert_eq!(restarts(role, policy, code), expected, "{role:?} {policy:?} {code}");
        }
    }
}
