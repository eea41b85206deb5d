//! The control plane as its users see it: it starts, it is real where that matters, several run side by side, and
//! nothing of it remains, however it ends.

#[path = "control_plane/command.rs"]
mod command;
#[path = "control_plane/facts.rs"]
mod facts;
#[path = "control_plane/remains.rs"]
mod remains;

use e2e::control_plane::{ControlPlane, Options};
use tokio::sync::Mutex;

/// One test at a time: a control plane keeps two cores busy while it starts.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_control_planes_run_side_by_side_and_leave_nothing() {
    let _turn = TURN.lock().await;
    let (first, second) = tokio::join!(start(Options::default()), start(Options::default()));
    assert_ne!(first.slot().control(), second.slot().control());
    for control_plane in [&first, &second] {
        facts::pods_run_unless_a_stand_in_runs_them(control_plane).await;
    }
    facts::a_job_completes_and_a_deleted_pod_goes(&first).await;
    facts::a_stranger_is_refused_and_audited(&first).await;
    facts::owner_references_need_permission(&first).await;
    facts::tokens_verify_with_the_published_keys(&first).await;
    facts::the_emulators_answer(&first).await;
    facts::helm_installs_and_upgrades_a_chart(&first).await;
    facts::objects_of_one_are_not_in_the_other(&first, &second).await;
    facts::kubernetes_says_its_version(&second).await;

    let (first_run, second_run) = (first.run_dir().path().to_owned(), second.run_dir().path().to_owned());
    assert!(!remains::processes_of(&first_run).is_empty(), "the search for processes finds none while they run");
    first.stop().await;
    remains::assert_gone(&first_run);
    second.client().apiserver_version().await.expect("stopping one must not disturb the other");
    drop(second);
    remains::assert_gone(&second_run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_cluster_gets_only_the_emulators() {
    let _turn = TURN.lock().await;
    let cluster = start(Options::default()).await;
    let kubeconfig = Some(cluster.kubeconfig().to_owned());
    let guest = start(Options { kubeconfig, ..Options::default() }).await;
    assert_eq!(guest.api_server(), cluster.api_server());
    assert_eq!(guest.audit_log(), None);
    facts::tokens_verify_with_the_published_keys(&guest).await;
    facts::the_emulators_answer(&guest).await;
    let names: Vec<String> = remains::processes_of(guest.run_dir().path());
    assert!(!names.iter().any(|name| name.contains("kube-apiserver")), "{names:?}");
    guest.stop().await;
    cluster.client().apiserver_version().await.expect("the cluster belongs to somebody else and must stay");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_start_names_the_process_and_leaves_nothing() {
    let _turn = TURN.lock().await;
    let cache = tempfile::tempdir().unwrap();
    let cache = remains::cache_with_the_tools_of_the_user(cache.path());
    let options = Options {
        cache: Some(cache.clone()),
        api_server_args: vec!["--no-such-argument=1".into()],
        ..Options::default()
    };
    let Err(error) = ControlPlane::start(options).await else { panic!("it started with an unknown argument") };
    let text = format!("{error:#}");
    assert!(text.contains("kube-apiserver ended (exit status: 1)"), "{text}");
    assert!(text.contains("unknown flag: --no-such-argument"), "{text}");
    let runs = cache.root().join("run");
    assert_eq!(remains::processes_of(&runs), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(&runs).unwrap().count(), 0, "the directory of the run is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_is_reported() {
    let _turn = TURN.lock().await;
    let control_plane = start(Options::default()).await;
    let run = control_plane.run_dir().path().to_owned();
    remains::kill_one(&run, "kube-scheduler");
    let exit = tokio::time::timeout(remains::PATIENCE, control_plane.failure()).await.expect("nobody noticed");
    assert_eq!(exit.name, "kube-scheduler");
    assert!(exit.to_string().contains("signal: 9"), "{exit}");
    control_plane.stop().await;
    remains::assert_gone(&run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_stops_cleanly_when_asked() {
    let _turn = TURN.lock().await;
    let mut up = command::Up::start().await;
    let run = up.ready().await;
    up.signal(nix::sys::signal::Signal::SIGTERM);
    let status = up.ended().await;
    assert!(status.success(), "{status}");
    remains::assert_gone(&run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_command_leaves_no_process_and_the_next_run_removes_its_directory() {
    let _turn = TURN.lock().await;
    let mut up = command::Up::start().await;
    let run = up.ready().await;
    up.signal(nix::sys::signal::Signal::SIGKILL);
    up.ended().await;
    remains::await_no_process(&run).await;
    remains::next_run_removes(&run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_killed_while_starting_leaves_no_process_either() {
    let _turn = TURN.lock().await;
    for process in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        let mut up = command::Up::start().await;
        let run = up.has_started(process).await;
        up.signal(nix::sys::signal::Signal::SIGKILL);
        up.ended().await;
        remains::await_no_process(&run).await;
        remains::next_run_removes(&run);
    }
}

async fn start(options: Options) -> ControlPlane {
    ControlPlane::start(options).await.unwrap_or_else(|error| panic!("{error:#}"))
}
