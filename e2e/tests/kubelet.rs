//! The stand-in kubelet and the network under it, with a real control plane: controllers, scheduler and API server have
//! to be content with what they do.

#[path = "kubelet/bed.rs"]
mod bed;
#[path = "kubelet/crowd.rs"]
mod crowd;
#[path = "kubelet/endings.rs"]
mod endings;
#[path = "kubelet/needs.rs"]
mod needs;
#[path = "kubelet/preflight.rs"]
mod preflight;
#[path = "kubelet/traffic.rs"]
mod traffic;

use bed::Bed;

/// A debug build reads and renders large objects with more stack than a test's thread has.
const STACK: usize = 16 << 20;

#[test]
fn pods_live_as_under_a_real_kubelet() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .expect("a runtime");
    let test = std::thread::Builder::new().stack_size(STACK).spawn(move || runtime.block_on(pods_live()));
    if let Err(panic) = test.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

async fn pods_live() {
    let bed = Bed::start().await;
    tokio::join!(
        needs::a_pod_finds_what_was_mounted_and_set(&bed),
        needs::a_mutable_map_is_refreshed_and_an_immutable_one_is_not(&bed),
        needs::a_pod_waits_for_what_is_missing(&bed),
        needs::an_image_that_does_not_exist_is_not_pulled(&bed),
        needs::a_process_is_its_own_service_account(&bed),
        needs::other_pods_are_left_to_others(&bed),
        traffic::services_reach_ready_pods_alone(&bed),
        traffic::an_init_container_sees_names_come_and_go(&bed),
    );
    tokio::join!(
        endings::a_crashing_container_backs_off(&bed),
        endings::a_sick_container_is_restarted(&bed),
        endings::jobs_succeed_and_fail(&bed),
        endings::a_deleted_pod_ends_in_order(&bed),
        endings::a_deaf_process_is_killed_when_its_time_is_up(&bed),
        endings::a_forced_deletion_kills_at_once(&bed),
        endings::a_pod_that_is_too_late_fails(&bed),
    );
    preflight::a_configuration_is_read_by_the_version_that_is_to_run(&bed).await;
    crowd::a_hundred_pods_come_and_go(&bed).await;
    let bed = endings::a_new_kubelet_takes_over(bed).await;
    bed.stop().await;
}
