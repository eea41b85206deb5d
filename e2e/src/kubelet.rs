//! A stand-in kubelet: it runs the pods of tenants and of the harness's own processes as a kubelet would, with
//! processes on loopback in place of containers. Pods are its own by label, on whatever node the scheduler put them;
//! all others belong to somebody else, and it never touches a node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use teleport_standin::{Resolve, World};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::follow::{Change, Follower, Identity};
use crate::network::Resolver;
use crate::network::loopback::Loopback;
use crate::slot::Slot;

pub(crate) mod addresses;
mod backoff;
mod container;
mod crowd;
mod environment;
mod fields;
mod health;
mod hook;
mod image;
mod launch;
mod log;
mod objects;
mod pace;
mod pod;
mod probe;
mod quantity;
mod reporter;
mod root;
mod running;
mod state;
mod status;
mod stop;
mod volumes;
mod warnings;

use addresses::Addresses;
use crowd::Crowd;
use image::Images;
use objects::Objects;
use pace::Pace;
use warnings::Warnings;

/// A pod with one of these labels is ours.
const OURS: [&str; 2] = ["tenancy.dev/tenant-id", "tenancy.dev/process"];

/// What a stand-in kubelet needs.
#[derive(Clone)]
pub struct Config<'a> {
    /// May do everything.
    pub client: Client,
    /// Where the pods' loopback addresses come from.
    pub slot: &'a Slot,
    /// The cluster's names, as pods see them.
    pub resolver: Resolver,
    /// All durations of a kubelet and of its containers are divided by this.
    pub scale: f64,
    /// What the processes share.
    pub world: Arc<World>,
    /// Logs and the pods' files go below it.
    pub run_dir: PathBuf,
    /// Where pods find the API server.
    pub api_server_url: String,
    /// PEM file of the authority behind it.
    pub api_server_ca_path: PathBuf,
    /// Variables of every container that does not set them itself.
    pub node_env: BTreeMap<String, String>,
    /// What runs for the image `tenant-operator`; without it that image cannot be pulled.
    pub operator_binary: Option<PathBuf>,
    /// The Teleport versions that exist; any other tag cannot be pulled. Absent = every tag exists.
    pub known_versions: Option<BTreeSet<String>>,
}

/// A running stand-in kubelet. Dropped without `stop`, it and its processes end a moment later.
#[derive(Debug)]
pub struct Kubelet {
    logs: PathBuf,
    stop: CancellationToken,
    manager: Option<JoinHandle<()>>,
}

/// What the pods of one kubelet share.
struct Node {
    client: Client,
    loopback: Loopback,
    resolver: Arc<dyn Resolve>,
    world: Arc<World>,
    pace: Pace,
    api_server: ApiServer,
    env: BTreeMap<String, String>,
    images: Images,
    objects: Objects,
    addresses: Arc<Addresses>,
    warnings: Warnings,
    crowd: Crowd,
    logs: PathBuf,
    pods: PathBuf,
}

struct ApiServer {
    url: String,
    authority: PathBuf,
}

impl Kubelet {
    /// Starts it; returns once it has begun to work on the pods that exist.
    ///
    /// # Errors
    /// When it cannot write below its directory.
    pub async fn start(config: Config<'_>) -> anyhow::Result<Kubelet> {
        let logs = config.run_dir.join("logs");
        let pods = config.run_dir.join("pods");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        // The pods' files are Secrets among other things.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&pods);
        created.with_context(|| format!("cannot create {}", pods.display()))?;
        let node = Node {
            objects: Objects::start(config.client.clone()).await,
            warnings: Warnings::new(config.client.clone()),
            crowd: Crowd::default(),
            client: config.client,
            loopback: Loopback::of(config.slot),
            resolver: Arc::new(config.resolver),
            world: config.world,
            pace: Pace::new(config.scale),
            api_server: ApiServer { url: config.api_server_url, authority: config.api_server_ca_path },
            env: config.node_env,
            images: Images { operator: config.operator_binary, versions: config.known_versions },
            addresses: Arc::new(Addresses::default()),
            logs: logs.clone(),
            pods,
        };
        let stop = CancellationToken::new();
        let (ready, at_work) = oneshot::channel();
        let manager = tokio::spawn(manage(Arc::new(node), stop.clone(), ready));
        // It fails only if the manager panicked, which `stop` tells.
        let _ = at_work.await;
        Ok(Kubelet { logs, stop, manager: Some(manager) })
    }

    /// What a container has written so far, all its restarts together. Empty if it never ran.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> String {
        let bytes = fs::read(log_path(&self.logs, namespace, pod, container)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where a container's log is.
    pub fn log_path(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        log_path(&self.logs, namespace, pod, container)
    }

    /// Kills every process, as a power cut would; the API server is told nothing. Returns when all are gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(manager) = self.manager.take()
            && let Err(error) = manager.await
        {
            tracing::error!(%error, "the stand-in kubelet broke down");
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn log_path(logs: &Path, namespace: &str, pod: &str, container: &str) -> PathBuf {
    logs.join(format!("{namespace}_{pod}_{container}.log"))
}

/// One pod at work.
struct Worker {
    pod: watch::Sender<Arc<Pod>>,
    gone: CancellationToken,
}

/// Gives every pod its worker, and tells it what the API server says of its pod.
async fn manage(node: Arc<Node>, stop: CancellationToken, ready: oneshot::Sender<()>) {
    let scheduled = watcher::Config::default().fields("spec.nodeName!=");
    let mut pods = Follower::<Pod>::new(Api::all(node.client.clone()), scheduled);
    let mut workers: HashMap<Identity, Worker> = HashMap::new();
    let mut tasks = JoinSet::new();
    // Until all pods are known, an address that looks free may be some pod's already.
    let mut early = Some((Vec::new(), ready));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            change = pods.next() => match change {
                Change::Applied(pod) => match &mut early {
                    Some((early, _)) => early.push(pod),
                    None => assign(&node, &mut workers, &mut tasks, pod),
                },
                Change::Gone(identity) => {
                    if let Some((early, _)) = &mut early {
                        early.retain(|pod| Identity::of(pod) != identity);
                    }
                    if let Some(worker) = workers.remove(&identity) {
                        worker.gone.cancel();
                    }
                }
                Change::Complete => {
                    if let Some((mut early, ready)) = early.take() {
                        // Those that have an address keep it.
                        early.sort_by_key(|pod| pod.status.as_ref().is_none_or(|status| status.pod_ip.is_none()));
                        for pod in early {
                            assign(&node, &mut workers, &mut tasks, pod);
                        }
                        let _ = ready.send(());
                    }
                }
            },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the worker of a pod broke down");
                }
            }
        }
    }
    workers.values().for_each(|worker| worker.gone.cancel());
    while tasks.join_next().await.is_some() {}
}

fn assign(node: &Arc<Node>, workers: &mut HashMap<Identity, Worker>, tasks: &mut JoinSet<()>, pod: Pod) {
    let identity = Identity::of(&pod);
    let ours = OURS.iter().any(|label| pod.labels().contains_key(*label));
    let pod = Arc::new(pod);
    if let Some(worker) = workers.get(&identity) {
        worker.pod.send_replace(pod);
    } else if ours {
        let gone = CancellationToken::new();
        let (sender, receiver) = watch::channel(pod);
        tasks.spawn(pod::run(node.clone(), receiver, gone.clone()));
        workers.insert(identity, Worker { pod: sender, gone });
    }
}
