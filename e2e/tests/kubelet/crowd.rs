//! Many pods at once.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::bed::{Bed, VERSION, until};

const PODS: i32 = 100;
/// Long enough for a kubelet of this pace to look after its volumes.
const REST: Duration = Duration::from_secs(4);

pub async fn a_hundred_pods_come_and_go(bed: &Bed) {
    let space = bed.namespace("crowd").await;
    let began = std::time::Instant::now();
    let container = json!({
        "name": "main", "image": format!("teleport-distroless:{VERSION}"), "command": ["teleport", "wait", "duration", "24h"],
    });
    space
        .create::<Deployment>(json!({"metadata": {"name": "d"}, "spec": {
            "replicas": PODS, "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d", "tenancy.dev/process": "test"}}, "spec": {"containers": [container]}},
        }}))
        .await;
    let available =
        |deployment: &Deployment| deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(PODS);
    space.until::<Deployment>("d", "available", available).await;
    println!("{PODS} pods are available after {:?}", began.elapsed());
    let pods = space.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let addresses: BTreeSet<String> = pods.items.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()).collect();
    assert_eq!(addresses.len(), pods.items.len(), "no two pods share an address");
    let before = requests_for_pods(bed);
    assert!(before > addresses.len(), "the log does not tell of them");
    tokio::time::sleep(REST).await;
    assert_eq!(requests_for_pods(bed), before, "pods at rest are asked about or written");
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    space.api::<Deployment>().patch("d", &PatchParams::default(), &none).await.unwrap();
    until("all are gone", async || {
        let left = space.api::<Pod>().list(&ListParams::default()).await?.items.len();
        anyhow::ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await;
}

/// All requests about these pods and for their tokens so far, watches apart.
fn requests_for_pods(bed: &Bed) -> usize {
    let log = std::fs::read_to_string(bed.control_plane.audit_log().unwrap()).unwrap();
    let of_crowd = log.lines().filter(|line| line.contains(r#""namespace":"crowd""#));
    let about_pods = of_crowd.filter(|line| {
        let about = [r#""resource":"pods""#, r#""subresource":"token""#].iter().any(|about| line.contains(about));
        about && !line.contains(r#""verb":"watch""#)
    });
    about_pods.count()
}
