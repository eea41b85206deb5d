//! One child process: its log, its end, and the promise that it never outlives this process. When it counts as ready,
//! and whether its end is a failure, is for whoever started it to say.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::sync::watch;

mod child;
mod spawner;

use child::Child;

/// How much of a log an error shows.
const TAIL_LINES: usize = 25;
const TAIL_BYTES: u64 = 16 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// How people call it.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables that it gets besides those of this process.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub directory: PathBuf,
    /// The file to which its output and errors are appended.
    pub log: PathBuf,
    /// What the kernel sends it when this process is gone. `SIGKILL` unless it has something to clean up.
    pub orphaned: Signal,
}

/// How a process ended, with the last lines of its log.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Name of the program.
    pub name: String,
    /// What the kernel said.
    pub status: ExitStatus,
    /// The end of its log.
    pub tail: String,
    /// The whole log.
    pub log: PathBuf,
}

/// A running child in a process group of its own. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Arc<Child>,
    status: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be executed or its log cannot be written.
    pub async fn start(program: Program) -> anyhow::Result<Process> {
        let Program { name, path, args, env, directory, log, orphaned } = program;
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = std::process::Command::new(&path);
        command.args(args).envs(env).current_dir(directory).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawner::spawn(command, orphaned).await;
        let child = child.with_context(|| format!("cannot start {name} ({})", path.display()))?;
        let (child, status, reaper) = Child::supervise(child);
        Ok(Process { name, log, child, status, reaper: Some(reaper) })
    }

    /// Name of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for its end, whoever causes it.
    pub async fn ended(&self) -> Exit {
        let mut status = self.status.clone();
        let status = status.wait_for(Option::is_some).await.expect("the reaper tells the status before it ends");
        let status = status.expect("waited for a status");
        Exit { name: self.name.clone(), status, tail: tail(&self.log), log: self.log.clone() }
    }

    /// Sends a signal to the process and everything it started; nothing happens when it is already gone.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Ends it: asks, waits for `grace`, then insists. Returns when it is gone.
    pub async fn stop(&self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.ended().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        // Until it is reaped it may still write into directories that the caller is about to remove.
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// With the last lines of its log when it fails or is not done in time.
pub async fn run(program: Program, deadline: Duration) -> anyhow::Result<()> {
    let process = Process::start(program).await?;
    match tokio::time::timeout(deadline, process.ended()).await {
        Ok(exit) if exit.status.success() => Ok(()),
        Ok(exit) => bail!("{exit}"),
        Err(_) => {
            bail!("{} is not done after {} s\n{}", process.name, deadline.as_secs(), indented(&tail(&process.log)))
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ended ({}); the end of its log:\n{}", self.name, self.status, indented(&self.tail))
    }
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("cannot read {}: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Sets a log apart from the message that quotes it.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
