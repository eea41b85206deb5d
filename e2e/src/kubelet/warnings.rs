//! Events of type Warning, by which a kubelet tells people why a pod does not come up. Best effort: a pod never waits
//! for its events.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

/// Beyond this many unsent events new ones are lost.
const QUEUE: usize = 256;
/// The API server refuses longer notes.
const NOTE: usize = 1000;

/// Where warnings go.
#[derive(Debug, Clone)]
pub(super) struct Warnings(mpsc::Sender<(k8s_openapi::api::core::v1::ObjectReference, Event)>);

impl Warnings {
    /// The task that sends them ends with the last handle.
    pub(super) fn new(client: Client) -> Warnings {
        let reporter = Reporter { controller: "kubelet".into(), instance: Some("stand-in".into()) };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some((about, event)) = receiver.recv().await {
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::debug!(%error, "cannot publish an event");
                }
            }
        });
        Warnings(sender)
    }

    /// Tells about a pod; `reason` is one of a kubelet's.
    pub(super) fn tell(&self, pod: &Pod, reason: &'static str, action: &'static str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.into(),
            note: Some(note.chars().take(NOTE).collect()),
            action: action.into(),
            secondary: None,
        };
        tracing::debug!(pod = ?pod.metadata.name, reason, note, "warning");
        let _ = self.0.try_send((pod.object_ref(&()), event));
    }
}
