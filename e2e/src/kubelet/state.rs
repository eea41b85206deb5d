//! What a kubelet knows of a pod that it runs, before it is put into the words of the API.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

/// A pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Observed {
    /// As the API has it.
    pub(super) address: String,
    pub(super) started_at: Option<Timestamp>,
    /// Volumes and network are there.
    pub(super) sandbox: bool,
    /// Why they are not.
    pub(super) obstacle: Option<String>,
    /// All init containers succeeded.
    pub(super) initialized: bool,
    /// The kubelet itself ended the pod, and why: reason and message.
    pub(super) failure: Option<(String, String)>,
    /// Nothing runs, and nothing will.
    pub(super) over: bool,
    /// By name, init containers too.
    pub(super) containers: BTreeMap<String, Container>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Container {
    pub(super) state: State,
    /// The end before the current state.
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum State {
    /// For its turn.
    #[default]
    Queued,
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Timestamp,
    },
    Ended(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) id: Option<String>,
}

impl Ended {
    /// Of a container that must have run, though nobody saw its end.
    pub(super) fn unseen(id: Option<String>) -> Ended {
        Ended {
            code: 137,
            reason: "ContainerStatusUnknown".into(),
            message: Some("The container could not be located when the pod was terminated".into()),
            started_at: None,
            finished_at: None,
            id,
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.code == 0
    }
}

impl Observed {
    /// What a kubelet that has just started believes of a pod: whatever ran has ended with its predecessor.
    pub(super) fn adopt(pod: &Pod, address: String) -> Observed {
        let empty = Default::default();
        let status = pod.status.as_ref().unwrap_or(&empty);
        let adopted =
            status.container_statuses.iter().flatten().map(|status| (status.name.clone(), Container::adopt(status)));
        Observed {
            address,
            started_at: Some(status.start_time.as_ref().map_or_else(Timestamp::now, |time| time.0)),
            containers: adopted.collect(),
            ..Observed::default()
        }
    }
}

impl Container {
    /// Before it takes on another state: an end that it had is then its last one.
    pub(super) fn leave(&mut self) {
        if let State::Ended(ended) = &self.state {
            self.last = Some(ended.clone());
        }
        self.started = false;
        self.ready = false;
    }

    fn adopt(status: &ContainerStatus) -> Container {
        let ended = |state: &ContainerState| {
            let ended = state.terminated.as_ref()?;
            Some(Ended {
                code: ended.exit_code,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone(),
                started_at: ended.started_at.as_ref().map(|time| time.0),
                finished_at: ended.finished_at.as_ref().map(|time| time.0),
                id: ended.container_id.clone(),
            })
        };
        let id = status.container_id.clone();
        let state = match &status.state {
            Some(state) if state.running.is_some() => State::Ended(Ended::unseen(id)),
            Some(state) => ended(state).map_or(State::Queued, State::Ended),
            None => State::Queued,
        };
        let last = status.last_state.as_ref().and_then(ended);
        Container { state, last, restarts: status.restart_count, ..Container::default() }
    }
}

/// Where the parts of a pod write what they see, and from where it is reported.
pub(super) struct Board(watch::Sender<Observed>);

impl Board {
    pub(super) fn new(observed: Observed) -> Board {
        Board(watch::Sender::new(observed))
    }

    pub(super) fn reader(&self) -> watch::Receiver<Observed> {
        self.0.subscribe()
    }

    /// Changes what is known; nobody is woken when nothing changed.
    pub(super) fn update(&self, change: impl FnOnce(&mut Observed)) {
        self.0.send_if_modified(|observed| {
            let before = observed.clone();
            change(observed);
            *observed != before
        });
    }

    /// The same for one container.
    pub(super) fn container(&self, name: &str, change: impl FnOnce(&mut Container)) {
        self.update(|observed| change(observed.containers.entry(name.to_owned()).or_default()));
    }

    pub(super) fn get(&self, name: &str) -> Container {
        self.0.borrow().containers.get(name).cloned().unwrap_or_default()
    }
}
