//! The `e2e up` command as a child process.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::remains;

/// A start, with everything built, on a machine that does other things too.
const START: Duration = Duration::from_secs(180);

pub struct Up {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Up {
    pub async fn start() -> Up {
        let mut child = Command::new(env!("CARGO_BIN_EXE_e2e"))
            .arg("up")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Up { child, output }
    }

    /// Waits until it says that it is ready, and returns the directory of its run.
    pub async fn ready(&mut self) -> PathBuf {
        let reading = async {
            let mut run = None;
            loop {
                let line = self.output.next_line().await.unwrap().expect("it ended before it was ready");
                if let Some(kubeconfig) = line.strip_prefix("export KUBECONFIG=") {
                    // <run>/pki/admin.kubeconfig
                    run = PathBuf::from(kubeconfig).ancestors().nth(2).map(Into::into);
                }
                if line.starts_with("ready after") {
                    return run.expect("it names a kubeconfig before it is ready");
                }
            }
        };
        tokio::time::timeout(START, reading).await.expect("it was not ready in time")
    }

    /// Waits until it has started this process, and returns the directory of its run.
    pub async fn has_started(&mut self, process: &str) -> PathBuf {
        let deadline = Instant::now() + START;
        loop {
            if let Some(run) = remains::run_of_child(self.pid(), process) {
                return run;
            }
            assert!(Instant::now() < deadline, "{process} was not started in time");
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before it started {process}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(START, self.child.wait()).await.expect("it did not end").unwrap()
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("it was not waited for yet")).unwrap()
    }
}
