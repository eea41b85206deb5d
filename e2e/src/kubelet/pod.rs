//! The life of one pod, from its scheduling to the removal of its object. One task each, woken by the API server's word
//! and by the pod's own processes; it never polls.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::container::{self, Role};
use super::image::Runtime;
use super::pace::Pace;
use super::state::{Board, Observed};
use super::status::is_terminal;
use super::stop::{self, Order, Orders, Stop};
use super::volumes::{self, Volumes};
use super::{Node, launch, objects, reporter};

/// First and longest pause between attempts to set up volumes, as a kubelet has it.
const MOUNT_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));
/// Between attempts to remove a pod's object.
const DELETE_RETRY: Duration = Duration::from_secs(1);

/// What the containers of a pod share.
pub(super) struct Sandbox {
    pub(super) node: Arc<Node>,
    /// As it was first seen. What may change of a pod does not concern its containers.
    pub(super) pod: Arc<Pod>,
    /// Where its processes listen.
    pub(super) address: Ipv4Addr,
    /// Its volumes and its containers' roots.
    pub(super) directory: PathBuf,
    pub(super) board: Board,
}

impl Sandbox {
    pub(super) fn hostname(&self) -> String {
        let given = self.pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
        given.unwrap_or_else(|| self.pod.name_any())
    }

    /// How fast the time passes that processes are given to end in. Programs of this machine get all of it.
    pub(super) fn grace_pace(&self) -> Pace {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut runtimes =
            containers.filter_map(|container| self.node.images.runtime(container.image.as_deref()?).ok());
        if runtimes.any(|runtime| runtime != Runtime::Teleport) { Pace::REAL } else { self.node.pace }
    }

    fn spec(&self) -> PodSpec {
        self.pod.spec.clone().unwrap_or_default()
    }
}

/// Runs a pod until its object is gone, or `gone` says that it is.
pub(super) async fn run(node: Arc<Node>, mut updates: watch::Receiver<Arc<Pod>>, gone: CancellationToken) {
    let pod = updates.borrow_and_update().clone();
    if !is_terminal(&pod) {
        live(&node, pod, updates.clone(), &gone).await;
    }
    tokio::select! {
        () = gone.cancelled() => {}
        () = bury(&node, &mut updates) => {}
    }
}

async fn live(node: &Arc<Node>, pod: Arc<Pod>, updates: watch::Receiver<Arc<Pod>>, gone: &CancellationToken) {
    let had = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
    let Some(lease) = node.addresses.lease(had) else {
        node.warnings.tell(&pod, "FailedCreatePodSandBox", "Starting", "no pod address is left");
        gone.cancelled().await;
        return;
    };
    let sandbox = Arc::new(Sandbox {
        node: node.clone(),
        address: node.loopback.pod(lease.address()),
        directory: node.pods.join(pod.uid().unwrap_or_default()),
        board: Board::new(Observed::adopt(&pod, lease.address().to_string())),
        pod,
    });
    let (orders, stop) = stop::orders();
    let work = async {
        work(&sandbox, stop, updates.clone()).await;
        sandbox.board.update(|observed| observed.over = true);
    };
    let report = async {
        let reported = reporter::run(node.client.clone(), updates.clone(), sandbox.board.reader());
        // Nobody wants to hear of a pod that is gone.
        gone.run_until_cancelled(reported).await;
    };
    let life = async { tokio::join!(work, report) };
    tokio::select! {
        _ = life => {}
        never = conduct(&sandbox, &orders, updates.clone(), gone) => match never {},
    }
    if let Err(error) = fs::remove_dir_all(&sandbox.directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %sandbox.directory.display(), %error, "cannot remove a pod's files");
    }
}

/// Tells the containers when they are to end.
async fn conduct(
    sandbox: &Sandbox,
    orders: &Orders,
    mut updates: watch::Receiver<Arc<Pod>>,
    gone: &CancellationToken,
) -> Infallible {
    let pace = sandbox.grace_pace();
    let spec = sandbox.spec();
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let mut deadline = spec.active_deadline_seconds.map(|seconds| Instant::now() + sandbox.node.pace.seconds(seconds));
    loop {
        let pod = updates.borrow_and_update().clone();
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(grace);
            // Without any grace the object goes at once; this is its last sign of life.
            let forced = grace == 0;
            orders.give(if forced { Order::Die } else { Order::EndBy(Instant::now() + pace.seconds(grace)) });
        } else if is_terminal(&pod) {
            // Somebody else has declared it over.
            orders.give(Order::EndBy(Instant::now() + pace.seconds(grace)));
        }
        let expired = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let alone = tokio::select! {
            () = gone.cancelled() => true,
            changed = updates.changed() => changed.is_err(),
            () = expired => {
                deadline = None;
                let message = "Pod was active on the node longer than the specified deadline";
                sandbox.board.update(|observed| observed.failure = Some(("DeadlineExceeded".into(), message.into())));
                orders.give(Order::EndBy(Instant::now() + pace.seconds(grace)));
                false
            }
        };
        if alone {
            orders.give(Order::Die);
            std::future::pending::<()>().await;
        }
    }
}

/// Everything between the pod's first and last process.
async fn work(sandbox: &Arc<Sandbox>, mut stop: Stop, updates: watch::Receiver<Arc<Pod>>) {
    if let Err(why) = launch::supported(sandbox) {
        sandbox.node.warnings.tell(&sandbox.pod, "FailedCreatePodSandBox", "Starting", &why);
        sandbox.board.update(|observed| observed.obstacle = Some(why));
        return stop.request().await;
    }
    let mut volumes = Volumes::new(&sandbox.directory, sandbox.address);
    if mount(sandbox, &mut volumes, &mut stop).await.is_none() {
        return;
    }
    tokio::select! {
        () = containers(sandbox, &stop) => {}
        never = refresh(sandbox, &mut volumes, updates) => match never {},
    }
}

/// Sets up the volumes, however long that takes. `None` when the pod ends first.
async fn mount(sandbox: &Sandbox, volumes: &mut Volumes, stop: &mut Stop) -> Option<()> {
    let Sandbox { node, pod, board, .. } = sandbox;
    let mut changes = node.objects.changes();
    let (mut pause, longest) = MOUNT_RETRY;
    let mut known = None;
    while !stop.requested() {
        changes.mark_unchanged();
        let Err(why) = volumes.settle(node, pod).await else {
            board.update(|observed| {
                observed.sandbox = true;
                observed.obstacle = None;
            });
            return Some(());
        };
        if known.as_ref() != Some(&why) {
            node.warnings.tell(pod, "FailedMount", "Mounting", &why);
            board.update(|observed| observed.obstacle = Some(why.clone()));
            known = Some(why);
        }
        tokio::select! {
            () = stop.request() => {}
            () = tokio::time::sleep(node.pace.of(pause)) => pause = (pause * 2).min(longest),
            // What was missing may be there now.
            () = objects::settled(&mut changes) => {}
        }
    }
    None
}

/// Keeps the volumes up to date.
async fn refresh(sandbox: &Sandbox, volumes: &mut Volumes, mut updates: watch::Receiver<Arc<Pod>>) -> Infallible {
    let mut known = Ok(());
    loop {
        let own = sandbox.node.pace.of(volumes::REFRESH);
        tokio::time::sleep(sandbox.node.crowd.period(own)).await;
        let pod = updates.borrow_and_update().clone();
        let outcome = volumes.settle(&sandbox.node, &pod).await;
        if let Err(why) = &outcome
            && outcome != known
        {
            sandbox.node.warnings.tell(&pod, "FailedMount", "Mounting", why);
        }
        known = outcome;
    }
}

/// Init containers one after the other, then all others at once.
async fn containers(sandbox: &Arc<Sandbox>, stop: &Stop) {
    let spec = sandbox.spec();
    for container in spec.init_containers.into_iter().flatten() {
        if container::supervise(sandbox.clone(), container, Role::Init, stop.clone()).await != Some(0) {
            return;
        }
    }
    sandbox.board.update(|observed| observed.initialized = true);
    let supervised = spec.containers.into_iter();
    join_all(supervised.map(|container| container::supervise(sandbox.clone(), container, Role::Main, stop.clone())))
        .await;
}

/// Waits until the pod is deleted and removes its object: nothing of it runs any more.
async fn bury(node: &Node, updates: &mut watch::Receiver<Arc<Pod>>) {
    let deleted = updates.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await;
    let Ok(pod) = deleted.map(|pod| pod.clone()) else { return };
    let api = Api::<Pod>::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default());
    let this = Preconditions { uid: pod.uid(), resource_version: None };
    let now = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(this), ..DeleteParams::default() };
    loop {
        match api.delete(&pod.name_any(), &now).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
            Err(error) => {
                tracing::warn!(pod = %pod.name_any(), %error, "cannot remove a pod");
                tokio::time::sleep(node.pace.of(DELETE_RETRY)).await;
            }
        }
    }
}
