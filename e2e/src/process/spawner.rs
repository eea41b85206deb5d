//! Starts every child from one thread that lives as long as this process. The kernel ties "tell me when my parent
//! dies" to the parent *thread* (prctl(2), PR_SET_PDEATHSIG): started from a runtime's worker, a child would be killed
//! when that worker ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};
use std::thread;

use nix::sys::signal::Signal;
use nix::unistd::getppid;
use tokio::sync::oneshot;

struct Job {
    command: Command,
    orphaned: Signal,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts a command in its own process group; `orphaned` is what it is sent when this process dies.
pub(super) async fn spawn(command: Command, orphaned: Signal) -> io::Result<Child> {
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || serve(&receiver));
        sender
    });
    let (reply, answer) = oneshot::channel();
    jobs.send(Job { command, orphaned, reply }).expect("the spawning thread never ends");
    answer.await.expect("the spawning thread answers every job")
}

fn serve(jobs: &mpsc::Receiver<Job>) {
    // The sender is static, so this loop lasts as long as the process.
    for Job { mut command, orphaned, reply } in jobs {
        die_with_parent(&mut command, orphaned);
        // Nobody waits any more: the child must not run unseen.
        if let Err(Ok(mut child)) = reply.send(command.process_group(0).spawn()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[expect(unsafe_code, reason = "prctl has to be called in the child, between fork and exec")]
fn die_with_parent(command: &mut Command, orphaned: Signal) {
    let parent = std::process::id();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(orphaned)?;
        // Had the parent died before the call above, no signal would ever come.
        if getppid().as_raw().unsigned_abs() == parent { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: the closure calls prctl and getppid, both async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}
