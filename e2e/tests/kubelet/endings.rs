//! How containers and pods end.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::bed::{Bed, SCALE, VERSION, container, phase, serving, until};

fn restarts(pod: &Pod) -> i64 {
    container(pod)["restartCount"].as_i64().unwrap_or_default()
}

fn alive(log: &str) -> bool {
    let pid = log.lines().find_map(|line| line.strip_prefix("pid ")).expect("it tells its process id");
    Path::new("/proc").join(pid).exists()
}

pub async fn a_crashing_container_backs_off(bed: &Bed) {
    let space = bed.namespace("crash").await;
    let crash =
        json!({"args": ["exit", "3"], "readinessProbe": null, "terminationMessagePolicy": "FallbackToLogsOnError"});
    space.pod("p", serving(crash)).await;
    let message = space.until_waiting("p", "CrashLoopBackOff").await;
    assert!(message.starts_with("back-off 10s restarting failed container=main pod=p_crash("), "{message}");
    let pod = space.until::<Pod>("p", "several restarts", |pod| restarts(pod) >= 3).await;
    assert_eq!(phase(&pod), "Running", "a pod that will try again is not over");
    let last = container(&pod)["lastState"]["terminated"].clone();
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(3), &json!("Error")));
    assert!(last["message"].as_str().unwrap().ends_with("exit 3"), "{last}");
    let longer = |pod: &Pod| {
        container(pod)["state"]["waiting"]["message"].as_str().is_some_and(|m| m.starts_with("back-off 40s"))
    };
    let pod = space.until::<Pod>("p", "a longer pause", longer).await;
    assert_eq!(container(&pod)["ready"], false);
}

pub async fn a_sick_container_is_restarted(bed: &Bed) {
    let space = bed.namespace("sick").await;
    let liveness = json!({"httpGet": {"path": "/live", "port": "web"}, "periodSeconds": 2, "failureThreshold": 2});
    let startup = json!({"httpGet": {"path": "/live", "port": "web"}, "periodSeconds": 2, "failureThreshold": 30});
    space.pod("p", serving(json!({"livenessProbe": liveness, "startupProbe": startup}))).await;
    let pod = space.until_ready("p").await;
    space.ask(&pod, "break/live").await.unwrap();
    let pod = space.until::<Pod>("p", "restarted", |pod| restarts(pod) == 1).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 0, "it was asked to end, and did");
    let pod = space.until_ready("p").await;
    assert_eq!(restarts(&pod), 1);
    assert_eq!(space.log("p").matches("serving").count(), 2);
}

pub async fn jobs_succeed_and_fail(bed: &Bed) {
    let space = bed.namespace("jobs").await;
    let job = |name: &str, image: &str, command: Value, args: Value| {
        let container = json!({"name": "main", "image": image, "command": command, "args": args});
        json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"tenancy.dev/process": "test"}},
            "spec": {"restartPolicy": "Never", "containers": [container]}}}})
    };
    let teleport = format!("teleport-ent-distroless:{VERSION}");
    space.create::<Job>(job("good", &teleport, json!(["teleport"]), json!(["version"]))).await;
    space.create::<Job>(job("bad", "tenant-operator:test", Value::Null, json!(["exit", "4"]))).await;
    // What a check before a roll-out is: a file that is not there.
    let check = json!(["--test", "/etc/teleport/teleport.yaml"]);
    space.create::<Job>(job("check", &teleport, json!(["teleport", "configure"]), check)).await;
    let is = |job: &Job, kind: &str| {
        let status = serde_json::to_value(&job.status).unwrap();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    space.until::<Job>("good", "complete", |job| is(job, "Complete")).await;
    space.until::<Job>("bad", "failed", |job| is(job, "Failed")).await;
    space.until::<Job>("check", "failed", |job| is(job, "Failed")).await;
}

pub async fn a_deleted_pod_ends_in_order(bed: &Bed) {
    let space = bed.namespace("order").await;
    let hook = json!({"httpGet": {"path": "/prestop", "port": "web"}});
    space.pod("p", serving(json!({"lifecycle": {"preStop": hook}}))).await;
    let pod = space.until_ready("p").await;
    // It must be seen as ended before it goes.
    let ended = space.until::<Pod>("p", "ended", |pod| !container(pod)["state"]["terminated"].is_null());
    let (ended, ()) = tokio::join!(ended, async {
        space.delete("p", None).await;
        space.until_gone(&pod).await;
    });
    assert_eq!((phase(&ended), &container(&ended)["state"]["terminated"]["exitCode"]), ("Succeeded", &json!(0)));
    let log = space.log("p");
    assert!(log.ends_with("asked prestop\nterminated\n"), "{log}");
    assert!(!alive(&log));

    // The hook of Teleport's chart, in a container that is one.
    let wait = |seconds: &str| json!(["teleport", "wait", "duration", seconds]);
    let spec = json!({"terminationGracePeriodSeconds": 60, "containers": [{
        "name": "main", "image": format!("teleport-distroless:{VERSION}"), "command": wait("1h"),
        "lifecycle": {"preStop": {"exec": {"command": wait("30s")}}},
    }]});
    space.pod("teleport", spec).await;
    let pod = space.until_ready("teleport").await;
    let began = tokio::time::Instant::now();
    space.delete("teleport", None).await;
    space.until_gone(&pod).await;
    assert!(began.elapsed() >= Duration::from_secs_f64(30.0 / SCALE), "the hook was cut short");
}

pub async fn a_deaf_process_is_killed_when_its_time_is_up(bed: &Bed) {
    let space = bed.namespace("deaf").await;
    let mut spec = serving(json!({"args": ["serve", "$(POD_IP):8080", "/", "deaf"]}));
    spec["terminationGracePeriodSeconds"] = 2.into();
    space.pod("p", spec).await;
    let pod = space.until_ready("p").await;
    let began = tokio::time::Instant::now();
    space.delete("p", None).await;
    let ended = space.until::<Pod>("p", "ended", |pod| !container(pod)["state"]["terminated"].is_null());
    let (ended, ()) = tokio::join!(ended, space.until_gone(&pod));
    assert!(began.elapsed() >= Duration::from_secs(2), "it had no time");
    assert_eq!((phase(&ended), &container(&ended)["state"]["terminated"]["exitCode"]), ("Failed", &json!(137)));
    let log = space.log("p");
    assert!(log.contains("terminated") && !alive(&log), "{log}");
}

pub async fn a_forced_deletion_kills_at_once(bed: &Bed) {
    let space = bed.namespace("force").await;
    let mut spec = serving(json!({"args": ["serve", "$(POD_IP):8080", "/", "deaf"]}));
    spec["terminationGracePeriodSeconds"] = 36_000.into();
    space.pod("p", spec).await;
    let pod = space.until_ready("p").await;
    space.delete("p", Some(0)).await;
    space.until_gone(&pod).await;
    until("its process is gone", async || {
        ensure!(!alive(&space.log("p")));
        Ok(())
    })
    .await;
    let files = bed.control_plane.run_dir().path().join("pods").join(pod.metadata.uid.unwrap());
    until("its files are gone", async || {
        ensure!(!files.exists());
        Ok(())
    })
    .await;
    assert!(!space.log("p").contains("terminated"), "nobody asked it");
}

pub async fn a_pod_that_is_too_late_fails(bed: &Bed) {
    let space = bed.namespace("late").await;
    let mut spec = serving(json!({}));
    spec["activeDeadlineSeconds"] = 160.into();
    space.pod("p", spec).await;
    space.until_ready("p").await;
    let pod = space.until::<Pod>("p", "failed", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    assert!(!alive(&space.log("p")));
}

pub async fn a_new_kubelet_takes_over(bed: Bed) -> Bed {
    let space = bed.namespace("takeover").await;
    space.pod("p", serving(json!({}))).await;
    let mut once = serving(json!({}));
    once["restartPolicy"] = "Never".into();
    space.pod("once", once).await;
    let before = space.until_ready("p").await;
    space.until_ready("once").await;
    let logs = ["p", "once"].map(|pod| space.log(pod));
    let bed = bed.restart_kubelet().await;
    assert!(!logs.iter().any(|log| alive(log)), "the first kubelet left processes behind");
    let space = crate::bed::Space { bed: &bed, name: "takeover" };
    let after = space.until::<Pod>("p", "restarted", |pod| restarts(pod) == 1).await;
    assert_eq!(after.status.as_ref().unwrap().pod_ip, before.status.unwrap().pod_ip);
    assert_eq!(container(&after)["lastState"]["terminated"]["exitCode"], 137);
    space.until_ready("p").await;
    let once = space.until::<Pod>("once", "failed", |pod| phase(pod) == "Failed").await;
    assert_eq!(restarts(&once), 0, "its policy says so");
    bed
}
