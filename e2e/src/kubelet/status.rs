//! A pod's status in the words of the API: a function of what was observed and of what was said before.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::container::{Role, restarts};
use super::state::{Container, Ended, Observed, State};
use super::{fields, image};

/// Whether a pod's phase is one that is never left.
pub(super) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase_of(pod), Some("Succeeded" | "Failed"))
}

fn phase_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// The status. `previous` is what was last said, for the times of transitions.
pub(super) fn render(pod: &Pod, observed: &Observed, previous: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let view = View { pod, spec, observed };
    let phase = view.phase();
    let (reason, message) = observed.failure.clone().unzip();
    let address = observed.sandbox.then(|| observed.address.clone());
    let address = address.or_else(|| previous.and_then(|status| status.pod_ip.clone()));
    let statuses = |role| {
        let statuses: Vec<ContainerStatus> =
            view.containers(role).map(|container| view.status(role, container)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    PodStatus {
        conditions: Some(view.conditions(phase, previous, now)),
        container_statuses: statuses(Role::Main),
        init_container_statuses: statuses(Role::Init),
        host_ip: Some(fields::HOST_IP.into()),
        host_ips: Some(vec![HostIP { ip: fields::HOST_IP.into() }]),
        message,
        observed_generation: pod.metadata.generation,
        phase: Some(phase.into()),
        pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: address,
        reason,
        start_time: observed.started_at.map(Time),
        ..PodStatus::default()
    }
}

struct View<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    observed: &'a Observed,
}

/// One condition, without its times.
struct Condition {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl View<'_> {
    fn containers(&self, role: Role) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Container> {
        let init = self.spec.init_containers.iter().flatten().filter(move |_| role == Role::Init);
        init.chain(self.spec.containers.iter().filter(move |_| role == Role::Main))
    }

    fn known(&self, name: &str) -> Container {
        self.observed.containers.get(name).cloned().unwrap_or_default()
    }

    fn phase(&self) -> &'static str {
        match phase_of(self.pod) {
            Some("Succeeded") => return "Succeeded",
            Some("Failed") => return "Failed",
            _ => {}
        }
        let policy = self.spec.restart_policy.as_deref();
        let known = |role| self.containers(role).map(|container| self.known(&container.name));
        if self.observed.over {
            let succeeded = |container: Container| self.ended(&container).is_some_and(|ended| ended.succeeded());
            let all = self.observed.failure.is_none() && self.observed.initialized && known(Role::Main).all(succeeded);
            return if all { "Succeeded" } else { "Failed" };
        }
        let failed = |role, container: &Container| match &container.state {
            State::Ended(ended) => !ended.succeeded() && !restarts(role, policy, ended.code),
            _ => false,
        };
        if known(Role::Init).any(|container| failed(Role::Init, &container)) {
            return "Failed";
        }
        if !self.observed.initialized {
            return "Pending";
        }
        let never_ran = |container: &Container| {
            matches!(container.state, State::Queued | State::Waiting { .. }) && container.last.is_none()
        };
        if known(Role::Main).any(|container| never_ran(&container)) { "Pending" } else { "Running" }
    }

    /// How a container ended, or would be found to have ended now that the pod is over.
    fn ended(&self, container: &Container) -> Option<Ended> {
        match &container.state {
            State::Ended(ended) => Some(ended.clone()),
            _ if !self.observed.over => None,
            _ => Some(container.last.clone().unwrap_or_else(|| Ended::unseen(container.id.clone()))),
        }
    }

    fn status(&self, role: Role, container: &k8s_openapi::api::core::v1::Container) -> ContainerStatus {
        let known = self.known(&container.name);
        let image = container.image.clone().unwrap_or_default();
        let ran = known.id.is_some();
        let state = match (self.ended(&known), &known.state) {
            (Some(ended), _) => ContainerState { terminated: Some(terminated(&ended)), ..ContainerState::default() },
            (None, State::Running { since }) => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
                ..ContainerState::default()
            },
            (None, State::Waiting { reason, message }) => waiting(reason, Some(message.clone())),
            (None, _) => waiting(self.queued(role), self.observed.obstacle.clone()),
        };
        // An init container is ready when it has done its work.
        let ready = match role {
            Role::Init => self.ended(&known).is_some_and(|ended| ended.succeeded()),
            Role::Main => known.ready,
        };
        let last = known
            .last
            .as_ref()
            .map(|ended| ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() });
        ContainerStatus {
            name: container.name.clone(),
            image_id: if ran { image::id(&image) } else { String::new() },
            image,
            container_id: known.id.clone(),
            ready,
            started: Some(known.started),
            restart_count: known.restarts,
            state: Some(state),
            last_state: last,
            ..ContainerStatus::default()
        }
    }

    /// Why a container has not had its turn yet.
    fn queued(&self, role: Role) -> &'static str {
        let behind = role == Role::Init || self.spec.init_containers.iter().flatten().next().is_some();
        if behind { "PodInitializing" } else { "ContainerCreating" }
    }

    fn conditions(&self, phase: &str, previous: Option<&PodStatus>, now: Timestamp) -> Vec<PodCondition> {
        let names = |role, fit: &dyn Fn(&Container) -> bool| {
            let names = self.containers(role).filter(|container| !fit(&self.known(&container.name)));
            names.map(|container| container.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let unready = names(Role::Main, &|container| container.ready);
        let incomplete =
            names(Role::Init, &|container| matches!(&container.state, State::Ended(ended) if ended.succeeded()));
        let over = phase == "Succeeded" || phase == "Failed";
        let end = if phase == "Succeeded" { "PodCompleted" } else { "PodFailed" };
        let containers_ready = if over {
            Condition { kind: "ContainersReady", holds: false, reason: Some(end), message: None }
        } else {
            let message = (!unready.is_empty()).then(|| format!("containers with unready status: [{unready}]"));
            let reason = message.as_ref().map(|_| "ContainersNotReady");
            Condition { kind: "ContainersReady", holds: message.is_none(), reason, message }
        };
        let gates = self.closed_gates();
        let ready = if containers_ready.holds && !gates.is_empty() {
            let message = Some(format!("the status of pod readiness gate {gates:?} is not \"True\""));
            Condition { kind: "Ready", holds: false, reason: Some("ReadinessGatesNotReady"), message }
        } else {
            let Condition { holds, reason, ref message, .. } = containers_ready;
            Condition { kind: "Ready", holds, reason, message: message.clone() }
        };
        let initialized = if self.observed.initialized || incomplete.is_empty() {
            let reason = (phase == "Succeeded").then_some(end);
            Condition { kind: "Initialized", holds: true, reason, message: None }
        } else {
            let message = Some(format!("containers with incomplete status: [{incomplete}]"));
            Condition { kind: "Initialized", holds: false, reason: Some("ContainersNotInitialized"), message }
        };
        let sandbox = self.observed.sandbox && !self.observed.over;
        let sandbox = Condition { kind: "PodReadyToStartContainers", holds: sandbox, reason: None, message: None };
        let all = [sandbox, initialized, ready, containers_ready];
        all.into_iter().map(|condition| self.dated(condition, previous, now)).collect()
    }

    /// Readiness gates that others have not opened.
    fn closed_gates(&self) -> Vec<&str> {
        let conditions = self.pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let open = |kind: &str| {
            conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
        };
        let gates = self.spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.as_str());
        gates.filter(|gate| !open(gate)).collect()
    }

    /// The time of transition moves only when the condition turns.
    fn dated(&self, condition: Condition, previous: Option<&PodStatus>, now: Timestamp) -> PodCondition {
        let Condition { kind, holds, reason, message } = condition;
        let status = if holds { "True" } else { "False" };
        let former = previous.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let former = former.into_iter().find(|former| former.type_ == kind && former.status == status);
        PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.map(Into::into),
            message,
            last_transition_time: former.and_then(|former| former.last_transition_time.clone()).or(Some(Time(now))),
            observed_generation: self.pod.metadata.generation,
            ..PodCondition::default()
        }
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
        ..ContainerState::default()
    }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: ended.id.clone(),
        exit_code: ended.code,
        finished_at: ended.finished_at.map(Time),
        message: ended.message.clone(),
        reason: Some(ended.reason.clone()),
        started_at: ended.started_at.map(Time),
        ..ContainerStateTerminated::default()
    }
}

#[cfg(test)]
mod tests;
