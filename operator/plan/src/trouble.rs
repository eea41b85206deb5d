//! Why a pod is not ready, in the words of whoever knows: the scheduler, the kubelet, or the process itself. Without it a person who
//! reads the Tenant learns only that pods are missing.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use serde_json::Value;

use crate::clock::from_jiff;

/// A Deployment that makes no progress for so long is in trouble; before that, it only takes its time.
pub const PATIENCE: TimeDelta = TimeDelta::seconds(15);
/// How often one that is in trouble is looked at, beside whatever it tells itself.
pub const AGAIN: TimeDelta = TimeDelta::seconds(60);
/// Words of others are cut here.
const LONGEST: usize = 300;

/// What keeps one pod from serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Name of the pod.
    pub pod: String,
    /// Why, in one line.
    pub why: String,
}

/// What keeps a pod from serving; none where nothing does, or nobody says so.
pub fn of(pod: &Pod) -> Option<Trouble> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let condition = |name: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|condition| condition.type_ == name && condition.status == "False")
    };
    let unscheduled = condition("PodScheduled").map(|found| {
        let said = found.message.as_deref().unwrap_or_default();
        format!("{}: {said}", found.reason.as_deref().unwrap_or("Unschedulable"))
    });
    let containers = status.container_statuses.iter().flatten();
    let why = unscheduled.or_else(|| containers.into_iter().find_map(stuck)).or_else(|| {
        let running = status.phase.as_deref() == Some("Running");
        (running && condition("Ready").is_some()).then(|| "it runs, and its readiness probe fails".to_owned())
    })?;
    Some(Trouble { pod: pod.name_any(), why: one_line(&why) })
}

/// A container that does not serve. It is told alike in whichever of its states it is seen: between two attempts, in one, or as it
/// waits for the next; else each look would be news.
fn stuck(container: &ContainerStatus) -> Option<String> {
    if container.ready {
        return None;
    }
    if let Some(ended) = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()) {
        let said = ended.message.as_deref().or(ended.reason.as_deref()).unwrap_or_default();
        return Some(format!("it ends again and again, with exit code {} ({said}): its log says why", ended.exit_code));
    }
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull" | "ImagePullBackOff" => Some(format!("the image {} cannot be pulled", container.image)),
        reason => Some(format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default())),
    }
}

/// Without line breaks, and not longer than can be read.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = words.chars();
    let head: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() { format!("{head}…") } else { head }
}

/// Whether a Deployment has been without progress for longer than it may take. Of a generation that nobody has looked at yet
/// nothing is known.
pub fn is_late(deployment: &Value, wall: DateTime<Utc>) -> bool {
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return false;
    }
    // A pod that is ready makes no progress until this time is over.
    let patience = PATIENCE + TimeDelta::seconds(number("/spec/minReadySeconds"));
    let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
    let times = conditions.filter_map(|condition| {
        let progressing = condition["type"] == "Progressing";
        let time = condition[if progressing { "lastUpdateTime" } else { "lastTransitionTime" }].as_str()?;
        time.parse::<k8s_openapi::jiff::Timestamp>().ok().map(from_jiff)
    });
    times.max().is_some_and(|last| wall - last >= patience)
}

/// Why a Deployment cannot even make its pods, such as a quota.
pub fn of_deployment(deployment: &Value) -> Option<String> {
    let mut conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
    let failure =
        conditions.find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    Some(one_line(failure["message"].as_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(status: Value) -> Option<String> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status});
        of(&serde_json::from_value(pod).expect("a Pod")).map(|trouble| trouble.why)
    }

    #[test]
    fn what_is_said_of_a_pod_is_told_by_whoever_knows_most() {
        let nodes = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.";
        let unscheduled =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": nodes});
        assert_eq!(why(json!({"conditions": [unscheduled]})), Some(format!("Unschedulable: {nodes}")));
        let waiting = |reason: &str, message: &str| {
            json!({"name": "t", "image": "example.com/t:1", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}}})
        };
        for (reason, message) in [("ErrImagePull", "dial tcp 10.0.0.1:41234"), ("ImagePullBackOff", "Back-off pulling")]
        {
            let found = why(json!({"containerStatuses": [waiting(reason, message)]}));
            assert_eq!(found, Some("the image example.com/t:1 cannot be pulled".into()), "{reason}");
        }
        // Waiting for the next attempt, and in it.
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        for state in
            [json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}), json!({"running": {}})]
        {
            let mut crash = waiting("", "");
            (crash["state"], crash["lastState"]) = (state, ended.clone());
            let unready = json!({"type": "Ready", "status": "False"});
            let found = why(json!({"phase": "Running", "conditions": [unready], "containerStatuses": [crash]}));
            assert_eq!(found, Some("it ends again and again, with exit code 1 (Error): its log says why".into()));
        }
        assert_eq!(why(json!({"containerStatuses": [waiting("ContainerCreating", "")]})), None);
        let unready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
        assert_eq!(why(unready), Some("it runs, and its readiness probe fails".into()));
        assert_eq!(why(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})), None);
    }

    #[test]
    fn the_words_of_others_have_a_bound() {
        let long = one_line(&"é".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_deployment_is_late_when_nothing_has_moved_for_a_while() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("RFC 3339");
        let deployment = json!({"status": {"conditions": [
            {"type": "Available", "status": "False", "lastTransitionTime": "2026-07-01T00:00:00Z"},
            {"type": "Progressing", "status": "True", "lastTransitionTime": "2026-07-01T00:00:00Z",
                "lastUpdateTime": "2026-07-01T00:01:00Z"},
        ]}});
        assert!(!is_late(&deployment, at("2026-07-01T00:01:14Z")));
        assert!(is_late(&deployment, at("2026-07-01T00:01:15Z")));
        assert!(!is_late(&json!({}), at("2026-07-01T00:01:15Z")));
        let mut other = deployment.clone();
        other["spec"] = json!({"minReadySeconds": 30});
        assert!(!is_late(&other, at("2026-07-01T00:01:44Z")) && is_late(&other, at("2026-07-01T00:01:45Z")));
        let mut unseen = deployment;
        unseen["metadata"] = json!({"generation": 2});
        assert!(!is_late(&unseen, at("2026-07-01T00:01:15Z")), "that was said of another template");
    }

    #[test]
    fn a_quota_that_refuses_pods_is_told_by_the_deployment() {
        let message = "pods \"a\" is forbidden: exceeded quota: none, requested: pods=1";
        let failure = json!({"type": "ReplicaFailure", "status": "True", "message": message});
        assert_eq!(of_deployment(&json!({"status": {"conditions": [failure]}})).as_deref(), Some(message));
        assert_eq!(of_deployment(&json!({"status": {}})), None);
    }
}
