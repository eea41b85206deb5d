use std::time::Instant;

use super::*;

fn shell(directory: &Path, script: &str) -> Program {
    Program {
        name: "script".into(),
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
        directory: directory.to_owned(),
        log: directory.join("log/script.log"),
        orphaned: Signal::SIGKILL,
    }
}

fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn read_until(path: &Path, lines: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.matches('\n').count() >= lines {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < deadline, "{} has only {text:?}", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_unexpected_end_brings_the_last_lines_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let script = "seq 1 100; echo $GREETING from $PWD >&2; exit 7";
    let process = Process::start(shell(directory.path(), script)).await.unwrap();
    let exit = process.ended().await;
    assert_eq!(exit.status.code(), Some(7));
    assert_eq!(exit.tail.lines().count(), TAIL_LINES);
    assert!(exit.tail.ends_with(&format!("100\nhello from {}", directory.path().display())), "{}", exit.tail);
    assert!(exit.to_string().starts_with("script ended (exit status: 7)"), "{exit}");
}

#[tokio::test]
async fn stop_lets_a_process_clean_up() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let process = Process::start(shell(directory.path(), script)).await.unwrap();
    read_until(process.log(), 1).await;
    process.stop(Duration::from_secs(10)).await;
    assert_eq!(process.ended().await.status.code(), Some(0));
    assert!(tail(process.log()).ends_with("bye"));
}

#[tokio::test]
async fn stop_insists_when_a_process_does_not_listen() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let process = Process::start(shell(directory.path(), script)).await.unwrap();
    read_until(process.log(), 1).await;
    process.stop(Duration::from_millis(100)).await;
    assert!(!exists(process.pid()));
}

#[tokio::test]
async fn a_dropped_process_takes_its_own_children_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(shell(directory.path(), "sleep 600 & echo $!; wait")).await.unwrap();
    let grandchild: i32 = read_until(process.log(), 1).await[0].parse().unwrap();
    let pid = process.pid();
    assert!(exists(pid) && exists(grandchild));
    drop(process);
    assert!(!exists(pid));
    // A grandchild is reaped by init, a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while running(grandchild) {
        assert!(Instant::now() < deadline, "the grandchild still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn run_reports_a_program_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let error = run(shell(directory.path(), "echo working; sleep 600"), Duration::from_millis(500)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("script is not done after") && text.contains("working"), "{text}");
}

#[tokio::test]
async fn a_missing_executable_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program { path: "/nonexistent/program".into(), ..shell(directory.path(), "") };
    let error = Process::start(program).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start script (/nonexistent/program)");
}

/// A zombie no longer runs.
fn running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}
