//! When objects became what they should be, each for the first time, as a watch tells of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::follow::{Change, Follower};
use crate::testbed::TestBed;

/// How often to say how far it is.
const TELL: Duration = Duration::from_secs(30);

/// Waits until it holds, or has held, for so many; answers in order how long each took.
///
/// # Errors
/// When they are fewer after `limit`.
pub(super) async fn of<K>(
    bed: &TestBed,
    objects: Api<K>,
    what: &str,
    wanted: usize,
    began: Instant,
    limit: Duration,
    holds: impl Fn(&K) -> bool,
) -> anyhow::Result<Vec<Duration>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut follower = Follower::<K>::new(objects, watcher::Config::default());
    let mut arrived: BTreeMap<String, Duration> = BTreeMap::new();
    let mut told = Instant::now();
    while arrived.len() < wanted {
        if let Ok(Change::Applied(object)) = tokio::time::timeout(TELL, follower.next()).await
            && holds(&object)
        {
            arrived.entry(object.name_any()).or_insert_with(|| began.elapsed());
        }
        if began.elapsed() > limit {
            bail!("{} of {wanted} are {what} after {} s", arrived.len(), limit.as_secs());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            bed.say(&format!("{what}: {} of {wanted} after {:.0} s", arrived.len(), began.elapsed().as_secs_f32()));
        }
    }
    let mut times: Vec<Duration> = arrived.into_values().collect();
    times.sort();
    Ok(times)
}

/// The same for pods of Deployments, of any name, that are ready.
///
/// # Errors
/// When they are fewer after `limit`.
pub(super) async fn of_pods(
    bed: &TestBed,
    namespace: &str,
    wanted: usize,
    began: Instant,
    limit: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let pods: Api<Pod> = Api::namespaced(bed.client(), namespace);
    of(bed, pods, "pods ready", wanted, began, limit, serves).await
}

/// Pods of Jobs end, and are never ready for long.
fn serves(pod: &Pod) -> bool {
    let of_deployment = pod.owner_references().iter().any(|owner| owner.kind == "ReplicaSet");
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    of_deployment && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_of_deployments_count_and_only_when_ready() {
        let pod = |owner: &str, ready: &str| {
            let pod = json!({
                "metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "n", "uid": "u"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            });
            serde_json::from_value::<Pod>(pod).expect("a Pod")
        };
        assert!(serves(&pod("ReplicaSet", "True")));
        assert!(!serves(&pod("ReplicaSet", "False")) && !serves(&pod("Job", "True")));
    }
}
