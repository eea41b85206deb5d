//! How far a Deployment is.

use serde_json::Value;

/// Numbers of one Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods asked for.
    pub wanted: i64,
    /// Pods that serve, of whatever template.
    pub ready: i64,
    /// Whether all pods are of the present template, ready, and no other is left.
    pub complete: bool,
}

impl Rollout {
    /// Reads it from a Deployment.
    pub fn of(deployment: &Value) -> Rollout {
        let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64).unwrap_or(0);
        let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        let seen = number("/status/observedGeneration") >= number("/metadata/generation");
        let complete = seen
            && number("/status/updatedReplicas") == wanted
            && number("/status/replicas") == wanted
            && number("/status/availableReplicas") == wanted;
        Rollout { wanted, ready: number("/status/readyReplicas"), complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_is_complete_only_for_the_generation_that_was_seen() {
        let mut deployment = json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status":
            {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
        assert!(Rollout::of(&deployment).complete);
        deployment["metadata"]["generation"] = json!(3);
        assert!(!Rollout::of(&deployment).complete);
    }

    #[test]
    fn an_old_pod_that_still_runs_keeps_it_incomplete() {
        let deployment = json!({"metadata": {"generation": 1}, "spec": {"replicas": 2}, "status":
            {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 2}});
        assert!(!Rollout::of(&deployment).complete);
    }
}
