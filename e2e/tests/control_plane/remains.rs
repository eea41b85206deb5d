//! What a control plane leaves behind: processes, found by the run's directory in anything the kernel tells about
//! them, and the directory itself.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::cache::{Cache, RunDir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// For what happens within milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Command lines of the processes that have to do with this directory.
pub fn processes_of(directory: &Path) -> Vec<String> {
    find(directory).into_iter().map(|(_, command)| command).collect()
}

pub fn assert_gone(run: &Path) {
    assert_eq!(processes_of(run), Vec::<String>::new());
    assert!(!run.exists(), "{} is still there", run.display());
}

pub async fn await_no_process(run: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = processes_of(run);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn next_run_removes(run: &Path) {
    let next = RunDir::create(&Cache::from_env().unwrap()).unwrap();
    assert!(!run.exists(), "{} is still there", run.display());
    drop(next);
}

/// A cache of its own, so that nothing of other runs is in it, without building everything again.
pub fn cache_with_the_tools_of_the_user(directory: &Path) -> Cache {
    let user = Cache::from_env().unwrap();
    for built in ["tools", "venv"] {
        fs::create_dir_all(user.root().join(built)).unwrap();
        std::os::unix::fs::symlink(user.root().join(built), directory.join(built)).unwrap();
    }
    Cache::at(directory)
}

pub fn kill_one(run: &Path, program: &str) {
    let (pid, _) = find(run)
        .into_iter()
        .find(|(_, command)| runs(command, program))
        .unwrap_or_else(|| panic!("{program} does not run"));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// The directory of the run to which the process `program`, a child of `parent`, belongs.
pub fn run_of_child(parent: i32, program: &str) -> Option<PathBuf> {
    let runs_of_user = Cache::from_env().unwrap().root().join("run");
    find(&runs_of_user).into_iter().find_map(|(pid, command)| {
        let ours = runs(&command, program) && parent_of(pid) == Some(parent);
        if !ours {
            return None;
        }
        fs::read_link(format!("/proc/{pid}/cwd")).ok()
    })
}

fn runs(command: &str, program: &str) -> bool {
    command.split(' ').next().is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == program))
}

fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|parent| parent.trim().parse().ok())
}

fn find(directory: &Path) -> Vec<(i32, String)> {
    let needle = directory.as_os_str().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process may end while it is looked at; then there is nothing to read.
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let directory = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let mentions = |text: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        if mentions(&command) || mentions(&environment) || mentions(directory.as_os_str().as_bytes()) {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push((pid, command));
        }
    }
    found
}
