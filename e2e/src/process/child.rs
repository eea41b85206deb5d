//! The life of one child after it was started. A thread waits for its end, so that it is reaped whatever the async
//! runtime does, and a signal can never hit a process that was given the same id later.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

/// A child that leads its own process group.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// False once the id was given back to the kernel.
    ours: Mutex<bool>,
}

impl Child {
    pub(super) fn supervise(
        child: std::process::Child,
    ) -> (Arc<Child>, watch::Receiver<Option<ExitStatus>>, JoinHandle<()>) {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id is a pid_t"));
        let supervised = Arc::new(Child { pid, ours: Mutex::new(true) });
        let (sender, receiver) = watch::channel(None);
        let reaper = {
            let supervised = Arc::clone(&supervised);
            thread::spawn(move || {
                sender.send_replace(Some(supervised.reap(child)));
            })
        };
        (supervised, receiver, reaper)
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn signal(&self, signal: Signal) {
        let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if *ours {
            // It fails only when the group is gone, which is what the caller wants.
            let _ = killpg(self.pid, signal);
        }
    }

    fn reap(&self, mut child: std::process::Child) -> ExitStatus {
        // Learn of the end, but leave the zombie: as long as it is there its id belongs to nobody else.
        while waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever it left in its group goes with it.
        let _ = killpg(self.pid, Signal::SIGKILL);
        let status = child.wait().expect("a child is waited for once, here");
        *ours = false;
        status
    }
}
