//! A control plane with network and stand-in kubelet, and the ways in which the tests ask about pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::control_plane::{ControlPlane, Options};
use e2e::http::Http;
use e2e::kubelet::{Config, Kubelet};
use e2e::network::Network;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::core::{NamespaceResourceScope, Resource};
use kube::runtime::wait::await_condition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use teleport_standin::World;

/// Longer than anything here takes, also on a machine that builds something else at the same time.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How much faster time passes in pods.
pub const SCALE: f64 = 20.0;
/// The one version of Teleport that exists here.
pub const VERSION: &str = "18.1.0";

/// The whole.
pub struct Bed {
    pub control_plane: ControlPlane,
    pub network: Network,
    pub kubelet: Kubelet,
}

impl Bed {
    pub async fn start() -> Bed {
        let control_plane = ControlPlane::start(Options::default()).await.unwrap();
        let network = Network::start(control_plane.client(), control_plane.slot()).await;
        let kubelet = kubelet(&control_plane, &network).await;
        Bed { control_plane, network, kubelet }
    }

    /// Ends the kubelet as a power cut would, and starts another in its place.
    pub async fn restart_kubelet(mut self) -> Bed {
        self.kubelet.stop().await;
        self.kubelet = kubelet(&self.control_plane, &self.network).await;
        self
    }

    pub async fn stop(self) {
        self.kubelet.stop().await;
        self.network.stop().await;
        self.control_plane.stop().await;
    }

    /// A namespace of one test.
    pub async fn namespace<'a>(&'a self, name: &'a str) -> Space<'a> {
        let client = self.control_plane.client();
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let space = Space { bed: self, name };
        space.until::<ServiceAccount>("default", "made", |_| true).await;
        space
    }
}

async fn kubelet(control_plane: &ControlPlane, network: &Network) -> Kubelet {
    let script = control_plane.run_dir().path().join("workload.py");
    if !script.exists() {
        std::fs::write(&script, include_str!("workload.py")).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = Config {
        client: control_plane.client(),
        slot: control_plane.slot(),
        resolver: network.resolver(),
        scale: SCALE,
        world: World::new(),
        run_dir: control_plane.run_dir().path().to_owned(),
        api_server_url: control_plane.api_server().to_owned(),
        api_server_ca_path: control_plane.api_server_authority().to_owned(),
        node_env: BTreeMap::from([("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:1".to_owned())]),
        operator_binary: Some(script),
        known_versions: Some(BTreeSet::from([VERSION.to_owned()])),
    };
    Kubelet::start(config).await.unwrap()
}

/// A namespace.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    pub bed: &'a Bed,
    pub name: &'a str,
}

impl Space<'_> {
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.bed.control_plane.client(), self.name)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    /// A pod that the stand-in kubelet runs.
    pub async fn pod(&self, name: &str, spec: Value) -> Pod {
        let labels = json!({"tenancy.dev/process": "test", "app": name});
        self.create(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await
    }

    pub async fn config_map(&self, name: &str, data: Value, immutable: bool) {
        self.create::<ConfigMap>(json!({"metadata": {"name": name}, "data": data, "immutable": immutable})).await;
    }

    pub async fn secret(&self, name: &str, data: Value) {
        self.create::<Secret>(json!({"metadata": {"name": name}, "stringData": data})).await;
    }

    /// A Service for the pod of the same name, on port 80.
    pub async fn service(&self, name: &str, kind: &str) -> Service {
        let ports = json!([{"name": "web", "port": 80, "targetPort": "web"}]);
        self.create(
            json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"app": name}, "ports": ports}}),
        )
        .await
    }

    /// Waits for a fact about an object.
    pub async fn until<K>(&self, name: &str, fact: &str, holds: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + 'static,
    {
        let found = await_condition(self.api::<K>(), name, |object: Option<&K>| object.is_some_and(&holds));
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(found) => found.unwrap().unwrap(),
            Err(_) => {
                let object = self.api::<K>().get_opt(name).await.map(|object| serde_json::to_value(object).unwrap());
                let status = object.map(|object| object["status"].clone());
                let log = self.bed.kubelet.log(self.name, name, "main");
                panic!("{name} never: {fact}\n{status:?}\n{log}");
            }
        }
    }

    pub async fn until_ready(&self, pod: &str) -> Pod {
        self.until::<Pod>(pod, "ready", |pod| condition(pod, "Ready") == Some("True")).await
    }

    /// Waits until a container waits for this reason, and returns the message.
    pub async fn until_waiting(&self, pod: &str, reason: &str) -> String {
        let waiting = |pod: &Pod| {
            let state = container(pod)["state"]["waiting"].clone();
            (state["reason"] == reason).then(|| state["message"].as_str().unwrap_or_default().to_owned())
        };
        let pod = self.until::<Pod>(pod, reason, |pod| waiting(pod).is_some_and(|message| !message.is_empty())).await;
        waiting(&pod).unwrap()
    }

    /// Waits until an object is no more.
    pub async fn until_gone(&self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap();
        let name = pod.metadata.name.clone().unwrap();
        let gone = kube::runtime::wait::conditions::is_deleted(&uid);
        let gone = tokio::time::timeout(DEADLINE, await_condition(self.api::<Pod>(), &name, gone)).await;
        gone.unwrap_or_else(|_| panic!("{name} does not go")).unwrap();
    }

    pub async fn delete(&self, pod: &str, grace_seconds: Option<u32>) {
        let parameters = DeleteParams { grace_period_seconds: grace_seconds, ..DeleteParams::default() };
        self.api::<Pod>().delete(pod, &parameters).await.unwrap();
    }

    pub fn log(&self, pod: &str) -> String {
        self.bed.kubelet.log(self.name, pod, "main")
    }

    /// Waits for a line of a pod's log.
    pub async fn until_logged(&self, pod: &str, text: &str) -> String {
        until(&format!("{pod} logs {text:?}"), async || {
            let log = self.log(pod);
            ensure!(log.contains(text), "it logs {log:?}");
            Ok(log)
        })
        .await
    }

    /// Asks a pod's workload directly.
    pub async fn ask(&self, pod: &Pod, path: &str) -> anyhow::Result<String> {
        get(SocketAddr::new(self.loopback(pod).into(), 8080), path).await
    }

    /// Where a pod's processes listen.
    pub fn loopback(&self, pod: &Pod) -> Ipv4Addr {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).expect("a pod with an address");
        self.bed.control_plane.slot().pod_loopback(address.parse().unwrap())
    }

    /// Asks a Service.
    pub async fn ask_service(&self, address: IpAddr, path: &str) -> anyhow::Result<String> {
        get(SocketAddr::new(address, 80), path).await
    }
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = Http::new("")?.get(&format!("http://{address}/{path}")).await?.success()?;
    String::from_utf8(answer.to_vec()).context("not text")
}

/// Waits for a fact that only asking tells.
pub async fn until<T>(fact: &str, ask: impl AsyncFn() -> anyhow::Result<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "never: {fact}: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first container's status.
pub fn container(pod: &Pod) -> Value {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
    serde_json::to_value(statuses.first()).unwrap()
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// A pod of one container that serves, with probes and more as given.
pub fn serving(extra: Value) -> Value {
    let mut container = json!({
        "name": "main", "image": "tenant-operator:test",
        "args": ["serve", "$(POD_IP):8080", "/etc/app"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 2, "failureThreshold": 1},
    });
    let Value::Object(extra) = extra else { panic!("{extra} is no object") };
    container.as_object_mut().unwrap().extend(extra);
    json!({"containers": [container]})
}
