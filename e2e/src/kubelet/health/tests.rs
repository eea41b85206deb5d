use std::sync::{LazyLock, Mutex};

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;

fn probe(value: Value) -> Probe {
    serde_json::from_value(value).unwrap()
}

/// Runs the probes, at a high pace, until as many questions were asked as there are answers. Findings are told with the
/// number of the answer that made them.
async fn found(probes: Probes<'_>, answers: &str) -> Vec<String> {
    let (told, asked) = (Mutex::new(Vec::new()), Mutex::new(0));
    let note = |text: String| told.lock().unwrap().push(format!("{} {text}", asked.lock().unwrap()));
    let (enough, wait) = (tokio::sync::Notify::new(), Mutex::new(answers.chars()));
    let ask = |_: &Probe| {
        async {
            let Some(answer) = wait.lock().unwrap().next() else {
                enough.notify_one();
                return std::future::pending().await;
            };
            *asked.lock().unwrap() += 1;
            if answer == '+' { Ok(()) } else { Err("sick".to_owned()) }
        }
        .boxed()
    };
    let tell = |finding: Finding| note(format!("{finding:?}"));
    tokio::select! {
        unhealthy = watch(probes, Instant::now(), Pace::new(1000.0), &ask, &tell) => {
            note(format!("kill {} {}", unhealthy.probe, unhealthy.message));
        }
        () = enough.notified() => {}
    }
    told.into_inner().unwrap()
}

fn none() -> Probes<'static> {
    static ALONE: LazyLock<Crowd> = LazyLock::new(Crowd::default);
    Probes { startup: None, liveness: None, readiness: None, patience: 1, crowd: &ALONE }
}

#[tokio::test]
async fn without_probes_a_container_is_ready_at_once() {
    let told = Mutex::new(Vec::new());
    let ask = |_: &Probe| -> BoxFuture<'static, Result<(), String>> { unreachable!("there is no probe") };
    let tell = |finding| told.lock().unwrap().push(finding);
    assert!(watch(none(), Instant::now(), Pace::new(1.0), &ask, &tell).now_or_never().is_none(), "it never ends");
    assert_eq!(told.into_inner().unwrap(), [Finding::Started, Finding::Ready]);
}

#[tokio::test]
async fn readiness_follows_its_thresholds() {
    let readiness = probe(json!({"periodSeconds": 5, "failureThreshold": 3, "successThreshold": 2}));
    let probes = Probes { readiness: Some(&readiness), ..none() };
    let told = found(probes, "-+-++++---++").await;
    assert_eq!(told, ["0 Started", "5 Ready", "10 Unready(\"sick\")", "12 Ready"]);
}

#[tokio::test]
async fn one_good_answer_ends_a_streak_of_bad_ones() {
    let liveness = probe(json!({"periodSeconds": 10, "failureThreshold": 2}));
    let probes = Probes { liveness: Some(&liveness), ..none() };
    assert_eq!(found(probes, "-+-+-+-").await, ["0 Started", "0 Ready"]);
    assert_eq!(found(probes, "+-+--+").await, ["0 Started", "0 Ready", "5 kill Liveness sick"]);
}

#[tokio::test]
async fn a_slow_program_is_given_more_time_to_live_but_not_to_be_ready() {
    let probe = probe(json!({"failureThreshold": 2}));
    let liveness = Probes { liveness: Some(&probe), patience: 3, ..none() };
    assert_eq!(found(liveness, "-----+------").await, ["0 Started", "0 Ready", "12 kill Liveness sick"]);
    let readiness = Probes { readiness: Some(&probe), patience: 3, ..none() };
    assert_eq!(found(readiness, "+--+").await, ["0 Started", "1 Ready", "3 Unready(\"sick\")", "4 Ready"]);
}

#[tokio::test]
async fn nothing_else_is_asked_before_the_startup_probe_succeeds() {
    let startup = probe(json!({"failureThreshold": 4}));
    let liveness = probe(json!({"failureThreshold": 1}));
    let probes = Probes { startup: Some(&startup), liveness: Some(&liveness), ..none() };
    assert_eq!(found(probes, "---+++").await, ["4 Started", "4 Ready"]);
    assert_eq!(found(probes, "---+-").await, ["4 Started", "4 Ready", "5 kill Liveness sick"]);
    assert_eq!(found(probes, "----").await, ["4 kill Startup sick"]);
}

#[tokio::test]
async fn the_pace_divides_delays_but_not_the_time_for_an_answer() {
    let (began, pace) = (Instant::now(), Pace::new(100.0));
    let liveness = probe(json!({"initialDelaySeconds": 30, "failureThreshold": 1, "timeoutSeconds": 1}));
    let probes = Probes { liveness: Some(&liveness), ..none() };
    let asked = Mutex::new(None);
    let ask = |_: &Probe| {
        asked.lock().unwrap().get_or_insert(began.elapsed());
        std::future::pending().boxed()
    };
    let unhealthy = watch(probes, began, pace, &ask, &|_| ()).await;
    let asked = asked.into_inner().unwrap().unwrap();
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&asked), "{asked:?}");
    assert!(began.elapsed() - asked >= SHORTEST_TIMEOUT);
    assert!(unhealthy.message.contains("deadline"), "{unhealthy:?}");
}

#[tokio::test]
async fn a_container_that_is_being_stopped_may_still_become_unready() {
    let readiness = probe(json!({"periodSeconds": 5, "failureThreshold": 1}));
    let probes = Probes { readiness: Some(&readiness), ..none() };
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let ask = |_: &Probe| async { Err("gone".to_owned()) }.boxed();
    let tell = move |finding| sender.send(finding).unwrap();
    let watching = watch_stopping(probes, Instant::now(), true, Pace::new(1000.0), &ask, &tell);
    tokio::select! {
        never = watching => match never {},
        finding = told.recv() => assert_eq!(finding, Some(Finding::Unready("gone".into()))),
    }
}
