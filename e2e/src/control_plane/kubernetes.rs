//! The processes of a Kubernetes control plane and the order in which they start and stop.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::{join_all, select_all};
use futures::{FutureExt, try_join};
use k8s_openapi::api::core::v1::{Node, NodeStatus, ServiceAccount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::http::Http;
use crate::process::{Exit, Process, Program};
use crate::slot::Slot;
use crate::tools::Tools;

use super::credentials::Pki;
use super::programs::{KWOK_NODE, Layout};
use super::readiness::wait;
use super::{kubeconfig, ports};

const AUDIT_POLICY: &str = include_str!("audit.yaml");
const STAGES: &str = include_str!("stages.yaml");
/// The node for everything that no stand-in runs.
const NODE: &str = "kwok-0";
/// Their state is thrown away, so there is nothing to wait for but open requests.
const GRACE: Duration = Duration::from_secs(3);

/// A running control plane.
pub(super) struct Kubernetes {
    // In the order of dropping: clients before their servers.
    kwok: Process,
    scheduler: Process,
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
}

/// Where the control plane's files go.
pub(super) struct Places<'a> {
    pub(super) run: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) audit_log: &'a Path,
}

impl Kubernetes {
    pub(super) async fn start(
        slot: &Slot,
        tools: &Tools,
        pki: &Pki,
        places: &Places<'_>,
        api_server_args: &[String],
    ) -> anyhow::Result<Kubernetes> {
        let Places { run, logs, audit_log } = *places;
        let audit_policy = place(run, "audit.yaml", AUDIT_POLICY)?;
        let stages = place(run, "stages.yaml", STAGES)?;
        let layout = Layout { slot, tools, pki, run, logs, audit_log, audit_policy: &audit_policy, stages: &stages };
        let http = Http::new(&pki.authority)?;
        let address = slot.control();
        let url = |scheme: &str, port: u16, path: &str| format!("{scheme}://{address}:{port}{path}");

        let etcd = healthy(layout.etcd(), &http, &url("http", ports::ETCD, "/readyz")).await?;
        let api_server = layout.api_server(api_server_args);
        let api_server = healthy(api_server, &http, &url("https", ports::API_SERVER, "/readyz")).await?;
        let client = kubeconfig::client(&pki.clients.admin).await?;
        create_node(&client).await?;
        let controller_manager = url("https", ports::CONTROLLER_MANAGER, "/healthz");
        let scheduler = url("https", ports::SCHEDULER, "/readyz");
        let kwok = url("http", ports::KWOK, "/healthz");
        let (controller_manager, scheduler, kwok) = try_join!(
            async {
                let process = healthy(layout.controller_manager(), &http, &controller_manager).await?;
                let fact = "the controller manager has made the default ServiceAccount";
                wait(&process, fact, || default_account(&client)).await?;
                Ok(process)
            },
            healthy(layout.scheduler(), &http, &scheduler),
            async {
                let process = healthy(layout.kwok(), &http, &kwok).await?;
                wait(&process, "KWOK has made its node ready", || node_ready(&client)).await?;
                anyhow::Ok(process)
            },
        )?;
        Ok(Kubernetes { kwok, scheduler, controller_manager, api_server, etcd })
    }

    /// Waits for the first of its processes to end.
    pub(super) async fn ended(&self) -> Exit {
        select_all(self.processes().map(|process| process.ended().boxed())).await.0
    }

    pub(super) async fn stop(self) {
        join_all([&self.kwok, &self.scheduler, &self.controller_manager].map(|process| process.stop(GRACE))).await;
        self.api_server.stop(GRACE).await;
        self.etcd.stop(GRACE).await;
    }

    fn processes(&self) -> [&Process; 5] {
        [&self.etcd, &self.api_server, &self.controller_manager, &self.scheduler, &self.kwok]
    }
}

/// Starts a program and waits until its health endpoint answers.
async fn healthy(program: Program, http: &Http, url: &str) -> anyhow::Result<Process> {
    let process = Process::start(program).await?;
    let fact = format!("{} answers on {url}", process.name());
    wait(&process, &fact, async || http.get(url).await?.success()).await?;
    Ok(process)
}

fn place(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

async fn create_node(client: &kube::Client) -> anyhow::Result<()> {
    let (annotation, value) = KWOK_NODE;
    // More than any test asks for: the scheduler must never be what holds a pod back.
    let resources: BTreeMap<String, Quantity> =
        [("cpu", "100k"), ("memory", "1Pi"), ("ephemeral-storage", "1Pi"), ("pods", "1M")]
            .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
            .into();
    let node = Node {
        metadata: ObjectMeta {
            name: Some(NODE.to_owned()),
            annotations: Some([(annotation.to_owned(), value.to_owned())].into()),
            labels: Some(
                [
                    ("kubernetes.io/hostname", NODE),
                    ("kubernetes.io/os", "linux"),
                    ("kubernetes.io/arch", "amd64"),
                    ("topology.kubernetes.io/zone", "kwok"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ),
            ..ObjectMeta::default()
        },
        status: Some(NodeStatus {
            allocatable: Some(resources.clone()),
            capacity: Some(resources),
            ..NodeStatus::default()
        }),
        ..Node::default()
    };
    let created = Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await;
    created.with_context(|| format!("cannot create the node {NODE}"))?;
    Ok(())
}

async fn node_ready(client: &kube::Client) -> anyhow::Result<()> {
    let node = Api::<Node>::all(client.clone()).get(NODE).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ensure!(ready, "the node {NODE} is not ready");
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    ensure!(taints.is_empty(), "the node {NODE} is still tainted");
    Ok(())
}

/// Without it no pod is admitted.
async fn default_account(client: &kube::Client) -> anyhow::Result<()> {
    Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default").await?;
    Ok(())
}
