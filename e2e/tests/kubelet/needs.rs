//! What a container needs before it starts.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::bed::{Bed, VERSION, condition, container, phase, serving, until};

pub async fn a_pod_finds_what_was_mounted_and_set(bed: &Bed) {
    let space = bed.namespace("mounts").await;
    space.config_map("config", json!({"teleport.yaml": "version: v3"}), true).await;
    space.secret("keys", json!({"tls.crt": "certificate", "tls.key": "key", "password": "secret"})).await;
    let mut spec = serving(json!({
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
            {"name": "GREETING", "value": "$(PASSWORD) of $(POD_IP)"},
            {"name": "CONFIG", "value": "/etc/app/config/teleport.yaml"},
            {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        ],
        "resources": {"limits": {"memory": "256Mi"}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/etc/app"},
            {"name": "config", "mountPath": "/etc/app/config", "readOnly": true},
            {"name": "keys", "mountPath": "/etc/app/only-key", "subPath": "private/key"},
            {"name": "projected", "mountPath": "/etc/app/projected"},
        ],
    }));
    spec["volumes"] = json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "tls.key", "path": "private/key"}]}},
        {"name": "projected", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "audience": "sts.example.com", "expirationSeconds": 3600}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"secret": {"name": "keys", "items": [{"key": "tls.crt", "path": "cert"}]}},
            {"secret": {"name": "absent", "optional": true}},
        ]}},
    ]);
    space.pod("p", spec).await;
    let pod = space.until_ready("p").await;
    let address = space.loopback(&pod);
    let ask = async |path: &str| space.ask(&pod, path).await.unwrap();
    assert_eq!(ask("file/config/teleport.yaml").await, "version: v3");
    assert_eq!(ask("file/only-key").await, "key");
    assert_eq!(ask("file/projected/cert").await, "certificate");
    assert!(ask("file/projected/labels").await.contains("tenancy.dev/process=\"test\""));
    assert_eq!(ask("env/GREETING").await, format!("secret of {address}"));
    assert_eq!(ask("env/LIMIT").await, "256");
    assert_eq!(ask("env/HOSTNAME").await, "p");
    assert_eq!(ask("env/AWS_ENDPOINT_URL").await, "http://127.0.0.1:1");
    assert_eq!(ask("env/CARGO_MANIFEST_DIR").await, "", "a container inherits nothing");
    assert!(ask("env/CONFIG").await.ends_with("/root/etc/app/config/teleport.yaml"));
    let token = ask("file/projected/token").await;
    assert_eq!(token.split('.').count(), 3, "{token}");
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&pod, kind), Some("True"), "{kind}");
    }
    assert_eq!((phase(&pod), &container(&pod)["restartCount"]), ("Running", &json!(0)));
}

pub async fn a_mutable_map_is_refreshed_and_an_immutable_one_is_not(bed: &Bed) {
    let space = bed.namespace("refresh").await;
    space.config_map("mutable", json!({"a": "old"}), false).await;
    space.config_map("immutable", json!({"a": "old"}), true).await;
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/etc/app/{name}")});
    let app = json!({"name": "app", "mountPath": "/etc/app"});
    let mut spec = serving(json!({"volumeMounts": [app, mount("mutable"), mount("immutable")]}));
    let map = |name: &str| json!({"name": name, "configMap": {"name": name}});
    spec["volumes"] = json!([{"name": "app", "emptyDir": {}}, map("mutable"), map("immutable")]);
    space.pod("p", spec).await;
    let pod = space.until_ready("p").await;
    // An immutable object can only be changed by making it again.
    space.api::<ConfigMap>().delete("immutable", &Default::default()).await.unwrap();
    space.config_map("immutable", json!({"a": "new"}), true).await;
    let patch = Patch::Merge(json!({"data": {"a": "new", "b": "more"}}));
    space.api::<ConfigMap>().patch("mutable", &PatchParams::default(), &patch).await.unwrap();
    until("the mutable map is refreshed", async || {
        anyhow::ensure!(space.ask(&pod, "file/mutable/a").await? == "new");
        Ok(())
    })
    .await;
    assert_eq!(space.ask(&pod, "file/mutable/b").await.unwrap(), "more");
    assert_eq!(space.ask(&pod, "file/immutable/a").await.unwrap(), "old");
}

pub async fn a_pod_waits_for_what_is_missing(bed: &Bed) {
    let space = bed.namespace("missing").await;
    let mut spec = serving(json!({
        "volumeMounts": [{"name": "late", "mountPath": "/etc/app"}],
        "envFrom": [{"configMapRef": {"name": "later"}}],
    }));
    spec["volumes"] = json!([{"name": "late", "secret": {"secretName": "late"}}]);
    space.pod("p", spec).await;
    let message = space.until_waiting("p", "ContainerCreating").await;
    assert_eq!(message, "MountVolume.SetUp failed for volume \"late\" : secret \"late\" not found");
    until("an event tells it", async || {
        let events = space.api::<Event>().list(&ListParams::default().fields("reason=FailedMount")).await?;
        anyhow::ensure!(events.items.iter().any(|event| event.message.as_deref() == Some(message.as_str())));
        Ok(())
    })
    .await;
    space.secret("late", json!({"k": "v"})).await;
    assert_eq!(space.until_waiting("p", "CreateContainerConfigError").await, "configmap \"later\" not found");
    space.config_map("later", json!({"LATE": "now"}), false).await;
    let pod = space.until_ready("p").await;
    assert_eq!(space.ask(&pod, "env/LATE").await.unwrap(), "now");
    assert_eq!(container(&pod)["restartCount"], 0, "what never started was not restarted");
}

pub async fn an_image_that_does_not_exist_is_not_pulled(bed: &Bed) {
    let space = bed.namespace("images").await;
    let images = ["nginx:1".to_owned(), "teleport-distroless:99.0.0".to_owned()];
    for (name, image) in ["other", "version"].into_iter().zip(images) {
        space.pod(name, serving(json!({"image": image}))).await;
        let message = space.until_waiting(name, "ImagePullBackOff").await;
        assert!(message.contains(&image) && message.contains("not found"), "{message}");
        let pod = space.until::<Pod>(name, "pending", |pod| phase(pod) == "Pending").await;
        space.delete(name, None).await;
        space.until_gone(&pod).await;
    }
    let spec = json!({"containers": [{"name": "main", "image": format!("teleport-distroless:{VERSION}"), "command": ["/bin/sh"]}]});
    space.pod("shell", spec).await;
    space.until_logged("shell", "executable file not found").await;
}

pub async fn a_process_is_its_own_service_account(bed: &Bed) {
    let space = bed.namespace("account").await;
    let mut spec = serving(json!({"args": ["account", bed.control_plane.kubectl()], "readinessProbe": null}));
    spec["restartPolicy"] = "Never".into();
    space.pod("p", spec).await;
    space.until::<Pod>("p", "done", |pod| phase(pod) == "Succeeded").await;
    let log = space.log("p");
    assert!(log.contains("system:serviceaccount:account:default") && log.contains("forbidden"), "{log}");
}

pub async fn other_pods_are_left_to_others(bed: &Bed) {
    let space = bed.namespace("others").await;
    let spec = json!({"containers": [{"name": "main", "image": "nginx:1"}]});
    space.create::<Pod>(json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let pod = space.until::<Pod>("p", "run by KWOK", |pod| phase(pod) == "Running").await;
    assert!(!space.bed.kubelet.log_path("others", "p", "main").exists());
    assert!(pod.status.unwrap().pod_ip.unwrap().starts_with("198.19."));
}
