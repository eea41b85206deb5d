//! Tells the API server what became of a pod: one write per change, none without.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::state::Observed;
use super::status;

const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Reports until the pod is over and that is known, or its object is gone.
pub(super) async fn run(client: Client, mut updates: watch::Receiver<Arc<Pod>>, mut board: watch::Receiver<Observed>) {
    let mut reported = None;
    loop {
        let pod = updates.borrow_and_update().clone();
        let observed = board.borrow_and_update().clone();
        let previous = reported.as_ref().or(pod.status.as_ref());
        let status = status::render(&pod, &observed, previous, Timestamp::now());
        if reported.as_ref() != Some(&status) {
            if !write(&client, &pod, &status).await {
                return;
            }
            reported = Some(status);
        }
        if observed.over {
            return;
        }
        // Readiness gates and the generation are what a change of the object can mean for its status.
        tokio::select! {
            changed = board.changed() => if changed.is_err() { return },
            changed = updates.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes a status. False when there is nothing to write to.
async fn write(client: &Client, pod: &Pod, status: &PodStatus) -> bool {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch = Patch::Strategic(patch(pod, status));
    let (mut pause, longest) = RETRY;
    loop {
        match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => return true,
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return false,
            Err(kube::Error::Api(refusal)) if refusal.is_invalid() || refusal.is_forbidden() => {
                tracing::error!(pod = %pod.name_any(), %refusal, "the API server refuses a pod's status");
                return true;
            }
            Err(error) => {
                tracing::warn!(pod = %pod.name_any(), %error, "cannot report a pod's status");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// A strategic merge patch, which leaves the conditions of others alone. It merges field by field, so what is not said
/// any more has to be set to null. The uid makes it fail on a successor of the same name.
fn patch(pod: &Pod, status: &PodStatus) -> Value {
    let mut status = serde_json::to_value(status).expect("a status is made of strings and numbers");
    let nulled = |object: &mut Map<String, Value>, names: &[&str]| {
        for name in names {
            object.entry(*name).or_insert(Value::Null);
        }
    };
    if let Some(status) = status.as_object_mut() {
        nulled(status, &["reason", "message"]);
        for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            condition.as_object_mut().into_iter().for_each(|condition| nulled(condition, &["reason", "message"]));
        }
        // Merged by address they would grow when a pod gets another one.
        for name in ["podIPs", "hostIPs"] {
            if let Some(addresses) = status.get_mut(name).and_then(Value::as_array_mut) {
                addresses.insert(0, json!({"$patch": "replace"}));
            }
        }
    }
    json!({"metadata": {"uid": pod.uid()}, "status": status})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_takes_back_what_is_not_said_any_more() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}})).unwrap();
        let status: PodStatus = serde_json::from_value(json!({
            "phase": "Running", "podIPs": [{"ip": "198.18.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }))
        .unwrap();
        let expected = json!({"metadata": {"uid": "u"}, "status": {
            "phase": "Running", "reason": null, "message": null,
            "podIPs": [{"$patch": "replace"}, {"ip": "198.18.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}],
        }});
        assert_eq!(patch(&pod, &status), expected);
    }
}
