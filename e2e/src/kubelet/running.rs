//! A process of a container, whatever it is made of: it can be asked to end, killed, and waited for. A panic of a
//! stand-in is the end of that process alone.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::process::{self, Program};

use super::log::Log;

/// What a shell calls the end by SIGKILL.
const KILLED: i32 = 137;
/// What the Go runtime makes of a panic.
const PANICKED: i32 = 2;
/// What a container runtime makes of a program that cannot be started.
const NOT_STARTED: i32 = 128;

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Running {
    task: JoinHandle<i32>,
    terminate: CancellationToken,
    log: Arc<Log>,
}

impl Running {
    /// A stand-in for Teleport, in this process.
    pub(super) fn teleport(process: teleport_standin::Process, log: Arc<Log>) -> Running {
        let terminate = CancellationToken::new();
        let task = tokio::spawn(teleport_standin::run(process, terminate.clone()));
        Running { task, terminate, log }
    }

    /// A child process, whose output goes to the log that the program names.
    pub(super) fn child(program: Program, log: Arc<Log>) -> Running {
        let terminate = CancellationToken::new();
        let task = tokio::spawn(child(program, terminate.clone(), log.clone()));
        Running { task, terminate, log }
    }

    /// Waits for its end and returns the exit code. May be dropped and called again, but not after it has returned.
    pub(super) async fn exit(&mut self) -> i32 {
        match (&mut self.task).await {
            Ok(code) => code,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)");
                    self.log.line(&format!("panic: {text}"));
                    PANICKED
                }
                Err(_) => KILLED,
            },
        }
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) {
        self.terminate.cancel();
    }

    /// SIGKILL; returns when it is gone.
    pub(super) async fn kill(&mut self) -> i32 {
        self.task.abort();
        self.exit().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn child(program: Program, terminate: CancellationToken, log: Arc<Log>) -> i32 {
    let process = match process::Process::start(program).await {
        Ok(process) => process,
        Err(error) => {
            log.line(&format!("{error:#}"));
            return NOT_STARTED;
        }
    };
    let exit = tokio::select! {
        exit = process.ended() => exit,
        () = terminate.cancelled() => {
            process.signal(Signal::SIGTERM);
            process.ended().await
        }
    };
    exit.status.code().unwrap_or_else(|| 128 + exit.status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn shell(directory: &Path, script: &str) -> Running {
        let log = Arc::new(Log::open(directory.join("log")).unwrap());
        let program = Program {
            name: "script".into(),
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            directory: directory.to_owned(),
            log: log.path().to_owned(),
            orphaned: Signal::SIGKILL,
        };
        Running::child(program, log)
    }

    fn task(directory: &Path, task: impl Future<Output = i32> + Send + 'static) -> Running {
        let log = Arc::new(Log::open(directory.join("log")).unwrap());
        Running { task: tokio::spawn(task), terminate: CancellationToken::new(), log }
    }

    async fn logged(directory: &Path, text: &str) {
        let read = async {
            while !std::fs::read_to_string(directory.join("log")).unwrap_or_default().contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    }

    #[tokio::test]
    async fn a_child_tells_how_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(shell(directory.path(), "echo told; exit 3").exit().await, 3);
        assert_eq!(shell(directory.path(), "kill -SEGV $$").exit().await, 139);
        logged(directory.path(), "told").await;
    }

    #[tokio::test]
    async fn a_child_is_asked_first_and_then_killed() {
        let directory = tempfile::tempdir().unwrap();
        let loops = "echo up; while :; do sleep 0.02; done";
        let mut polite = shell(directory.path(), &format!("trap 'exit 0' TERM; {loops}"));
        logged(directory.path(), "up").await;
        polite.terminate();
        assert_eq!(polite.exit().await, 0);
        let mut deaf = shell(directory.path(), &format!("trap '' TERM; echo deaf; {loops}"));
        logged(directory.path(), "deaf").await;
        deaf.terminate();
        assert!(tokio::time::timeout(Duration::from_millis(100), deaf.exit()).await.is_err());
        assert_eq!(deaf.kill().await, KILLED);
    }

    #[tokio::test]
    async fn a_panic_is_an_exit_code_and_a_line_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = task(directory.path(), async { panic!("the bug of process {}", 7) });
        assert_eq!(process.exit().await, PANICKED);
        logged(directory.path(), "panic: the bug of process 7\n").await;
        let mut process = task(directory.path(), async { panic!("plain") });
        assert_eq!(process.exit().await, PANICKED);
        logged(directory.path(), "panic: plain\n").await;
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_does_not_start() {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(directory.path().join("log")).unwrap());
        let program = Program {
            name: "none".into(),
            path: "/nonexistent".into(),
            args: Vec::new(),
            env: Vec::new(),
            directory: directory.path().to_owned(),
            log: log.path().to_owned(),
            orphaned: Signal::SIGKILL,
        };
        assert_eq!(Running::child(program, log).exit().await, NOT_STARTED);
        logged(directory.path(), "cannot start none").await;
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed() {
        struct Told(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let told = Told(Some(sender));
        drop(task(directory.path(), async move {
            let _told = told;
            std::future::pending().await
        }));
        tokio::time::timeout(Duration::from_secs(10), receiver).await.unwrap().unwrap();
    }
}
