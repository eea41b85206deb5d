use serde_json::{Value, json};

use super::*;

const THEN: &str = "2026-11-20T10:00:00Z";
const NOW: &str = "2026-11-20T10:05:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3},
        "spec": {"restartPolicy": policy,
            "initContainers": [{"name": "wait", "image": "teleport-distroless:18.1.0"}],
            "containers": [{"name": "teleport", "image": "teleport-distroless:18.1.0"}]},
    }))
    .unwrap()
}

fn ended(code: i32) -> Ended {
    Ended {
        code,
        reason: if code == 0 { "Completed" } else { "Error" }.into(),
        message: None,
        started_at: Some(time(THEN)),
        finished_at: Some(time(NOW)),
        id: Some("stand-in://1".into()),
    }
}

fn container(state: State) -> Container {
    Container { state, id: Some("stand-in://1".into()), ..Container::default() }
}

fn observed(init: State, main: Container) -> Observed {
    let initialized = matches!(&init, State::Ended(ended) if ended.succeeded());
    Observed {
        address: "198.18.0.1".into(),
        started_at: Some(time(THEN)),
        sandbox: true,
        initialized,
        containers: [("wait".to_owned(), container(init)), ("teleport".to_owned(), main)].into(),
        ..Observed::default()
    }
}

fn running(ready: bool) -> Container {
    Container { ready, started: true, ..container(State::Running { since: time(THEN) }) }
}

fn rendered(pod: &Pod, observed: &Observed) -> PodStatus {
    render(pod, observed, None, time(NOW))
}

fn phase(policy: &str, observed: &Observed) -> String {
    rendered(&pod(policy), observed).phase.unwrap()
}

fn condition(status: &PodStatus, kind: &str) -> String {
    let conditions = status.conditions.as_ref().unwrap();
    let condition = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    let words = [Some(condition.status.clone()), condition.reason.clone(), condition.message.clone()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_ready_pod_says_so_in_every_way() {
    let status = rendered(&pod("Always"), &observed(State::Ended(ended(0)), running(true)));
    let status = serde_json::to_value(status).unwrap();
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIP"], "198.18.0.1");
    assert_eq!(status["podIPs"], json!([{"ip": "198.18.0.1"}]));
    assert_eq!(status["observedGeneration"], 3);
    for condition in status["conditions"].as_array().unwrap() {
        assert_eq!(condition["status"], "True", "{condition}");
    }
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"], json!({"running": {"startedAt": THEN}}));
    assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
    assert!(container["imageID"].as_str().unwrap().starts_with("teleport-distroless@sha256:"));
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
}

#[test]
fn before_its_turn_a_container_waits() {
    let nothing = Observed { address: "198.18.0.1".into(), ..Observed::default() };
    let status = rendered(&pod("Always"), &nothing);
    assert_eq!((status.phase.as_deref(), status.pod_ip.as_deref()), (Some("Pending"), None));
    assert_eq!(
        condition(&status, "Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [wait]"
    );
    assert_eq!(condition(&status, "PodReadyToStartContainers"), "False");
    let reason = |statuses: Option<Vec<ContainerStatus>>| {
        statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap().reason.unwrap()
    };
    assert_eq!(reason(status.container_statuses), "PodInitializing");
    let mut simple = pod("Always");
    simple.spec.as_mut().unwrap().init_containers = None;
    let obstacle = Observed { obstacle: Some("secret \"s\" not found".into()), ..nothing };
    let status = rendered(&simple, &obstacle);
    assert_eq!(condition(&status, "Initialized"), "True");
    let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!((waiting.reason.as_deref(), waiting.message), (Some("ContainerCreating"), obstacle.obstacle));
}

#[test]
fn the_phase_follows_containers_and_policy() {
    let done = || State::Ended(ended(0));
    let crash = Container {
        last: Some(ended(1)),
        ..container(State::Waiting { reason: "CrashLoopBackOff", message: String::new() })
    };
    let pulling =
        Container { id: None, ..container(State::Waiting { reason: "ErrImagePull", message: String::new() }) };
    let cases = [
        ("Always", observed(State::Running { since: time(THEN) }, Container::default()), "Pending"),
        ("Always", observed(State::Ended(ended(1)), Container::default()), "Pending"),
        ("Never", observed(State::Ended(ended(1)), Container::default()), "Failed"),
        ("Always", observed(done(), pulling), "Pending"),
        ("Always", observed(done(), running(false)), "Running"),
        ("Always", observed(done(), crash), "Running"),
        ("Always", observed(done(), container(State::Ended(ended(0)))), "Running"),
        ("Never", Observed { over: true, ..observed(done(), container(State::Ended(ended(0)))) }, "Succeeded"),
        ("Never", Observed { over: true, ..observed(done(), container(State::Ended(ended(1)))) }, "Failed"),
        ("Always", Observed { over: true, ..observed(done(), container(State::Ended(ended(0)))) }, "Succeeded"),
        ("Always", Observed { over: true, ..observed(done(), Container::default()) }, "Failed"),
        (
            "Always",
            Observed {
                over: true,
                failure: Some(("DeadlineExceeded".into(), "late".into())),
                ..observed(done(), container(State::Ended(ended(0))))
            },
            "Failed",
        ),
    ];
    for (policy, observed, expected) in cases {
        assert_eq!(phase(policy, &observed), expected, "{policy} {observed:?}");
    }
}

#[test]
fn a_terminal_phase_is_never_left() {
    for terminal in ["Succeeded", "Failed"] {
        let mut pod = pod("Always");
        pod.status = Some(PodStatus { phase: Some(terminal.into()), ..PodStatus::default() });
        let status = rendered(&pod, &observed(State::Ended(ended(0)), running(true)));
        assert_eq!(status.phase.as_deref(), Some(terminal));
        assert!(condition(&status, "Ready").starts_with("False"));
        assert!(is_terminal(&pod));
    }
}

#[test]
fn a_pod_that_is_over_shows_an_end_of_every_container() {
    let waiting = Container { id: None, ..container(State::Queued) };
    let status = rendered(&pod("Always"), &Observed { over: true, ..observed(State::Ended(ended(0)), waiting) });
    let terminated = status.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((terminated.exit_code, terminated.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
}

#[test]
fn an_unready_container_is_named() {
    let status = rendered(&pod("Always"), &observed(State::Ended(ended(0)), running(false)));
    let expected = "False ContainersNotReady containers with unready status: [teleport]";
    assert_eq!(condition(&status, "Ready"), expected);
    assert_eq!(condition(&status, "ContainersReady"), expected);
}

#[test]
fn a_readiness_gate_is_waited_for() {
    let gated = |status: Option<Value>| {
        let mut pod = pod("Always");
        let gates = json!([{"conditionType": "example.com/registered"}]);
        pod.spec.as_mut().unwrap().readiness_gates = Some(serde_json::from_value(gates).unwrap());
        let conditions = status.map(|status| {
            serde_json::from_value(json!([{"type": "example.com/registered", "status": status}])).unwrap()
        });
        pod.status = Some(PodStatus { conditions, ..PodStatus::default() });
        let status = rendered(&pod, &observed(State::Ended(ended(0)), running(true)));
        (condition(&status, "ContainersReady"), condition(&status, "Ready"))
    };
    assert_eq!(gated(Some(json!("True"))), ("True".into(), "True".into()));
    let (containers, ready) = gated(None);
    assert_eq!(containers, "True");
    assert!(ready.starts_with("False ReadinessGatesNotReady"), "{ready}");
}

#[test]
fn a_transition_is_dated_when_it_happens() {
    let pod = pod("Always");
    let first = render(&pod, &observed(State::Ended(ended(0)), running(false)), None, time(THEN));
    let same = render(&pod, &observed(State::Ended(ended(0)), running(false)), Some(&first), time(NOW));
    assert_eq!(first, same);
    let turned = render(&pod, &observed(State::Ended(ended(0)), running(true)), Some(&first), time(NOW));
    let times = |status: &PodStatus| -> Vec<String> {
        let conditions = status.conditions.iter().flatten();
        conditions.map(|condition| condition.last_transition_time.as_ref().unwrap().0.to_string()).collect()
    };
    assert_eq!(times(&turned), [THEN, THEN, NOW, NOW]);
}
