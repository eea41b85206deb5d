//! What reaches a pod, and what a pod can find.

use std::net::IpAddr;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};

use crate::bed::{Bed, VERSION, phase, serving, until};

fn cluster_ip(service: &Service) -> IpAddr {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_ref()).unwrap().parse().unwrap()
}

fn load_balancer(service: &Service) -> Option<IpAddr> {
    let status = serde_json::to_value(&service.status).unwrap();
    status["loadBalancer"]["ingress"][0]["ip"].as_str().map(|ip| ip.parse().unwrap())
}

pub async fn services_reach_ready_pods_alone(bed: &Bed) {
    let space = bed.namespace("traffic").await;
    let service = space.service("p", "LoadBalancer").await;
    let name = "p.traffic.svc.cluster.local";
    space.pod("p", serving(json!({}))).await;
    let pod = space.until_ready("p").await;
    let published = space.until::<Service>("p", "an address", |service| load_balancer(service).is_some()).await;
    let addresses = [cluster_ip(&service), load_balancer(&published).unwrap()];
    assert_eq!(bed.network.resolver().resolve(name), [addresses[0]]);
    for address in addresses {
        until("the Service answers", async || space.ask_service(address, "env/HOSTNAME").await).await;
    }
    let headless: Service = space
        .create(json!({"metadata": {"name": "headless"}, "spec": {
            "clusterIP": "None", "selector": {"app": "p"}, "ports": [{"port": 80}]}}))
        .await;
    let headless = format!("{}.traffic.svc", headless.metadata.name.unwrap());
    let own = IpAddr::from(space.loopback(&pod));
    until("the headless Service names the pod", async || {
        let found = bed.network.resolver().resolve(&headless);
        ensure!(found == [own], "{found:?}");
        Ok(())
    })
    .await;

    space.ask(&pod, "break/ready").await.unwrap();
    for address in addresses {
        until("an unready pod is not reached", async || {
            let answer = space.ask_service(address, "env/HOSTNAME").await;
            ensure!(answer.is_err(), "{answer:?}");
            Ok(())
        })
        .await;
    }
    until("the headless Service names nobody", async || {
        ensure!(bed.network.resolver().resolve(&headless).is_empty());
        Ok(())
    })
    .await;
    space.ask(&pod, "mend/ready").await.unwrap();
    until("it is reached again", async || space.ask_service(addresses[0], "env/HOSTNAME").await).await;

    space.api::<Service>().delete("p", &Default::default()).await.unwrap();
    until("the name does not resolve", async || {
        ensure!(bed.network.resolver().resolve(name).is_empty());
        Ok(())
    })
    .await;
    for address in addresses {
        until("nobody listens any more", async || {
            ensure!(tokio::net::TcpStream::connect((address, 80)).await.is_err());
            Ok(())
        })
        .await;
    }
}

pub async fn an_init_container_sees_names_come_and_go(bed: &Bed) {
    let space = bed.namespace("init").await;
    // As the gate between major versions has it: a headless Service that names pods whether they are ready or not.
    let old = json!({"clusterIP": "None", "publishNotReadyAddresses": true, "selector": {"app": "old"}, "ports": [{"port": 80}]});
    space.create::<Service>(json!({"metadata": {"name": "old"}, "spec": old})).await;
    let unready = json!({"httpGet": {"path": "/none", "port": 1}});
    space.pod("old", serving(json!({"readinessProbe": unready}))).await;
    until("the old pod has a name", async || {
        ensure!(!bed.network.resolver().resolve("old.init.svc").is_empty());
        Ok(())
    })
    .await;
    let mut spec = serving(json!({}));
    spec["initContainers"] = json!([{
        "name": "wait", "image": format!("example.com/teleport-distroless:{VERSION}"),
        "command": ["teleport", "wait", "no-resolve", "old.init.svc.cluster.local"],
    }]);
    space.pod("p", spec).await;
    let init = |pod: &Pod| -> Value { serde_json::to_value(&pod.status).unwrap()["initContainerStatuses"][0].clone() };
    let pod = space.until::<Pod>("p", "in its init container", |pod| !init(pod)["state"]["running"].is_null()).await;
    assert_eq!(phase(&pod), "Pending");
    let pod = space.api::<Pod>().get("old").await.unwrap();
    space.delete("old", None).await;
    space.until_gone(&pod).await;
    let pod = space.until_ready("p").await;
    assert_eq!(init(&pod)["state"]["terminated"]["exitCode"], 0);
}
