//! The signals by which a person or a supervisor asks a command to stop. What stopping means is the caller's business.

use std::fmt;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its creation on: from then a signal no longer ends the process by itself.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// One signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C.
    Interrupted,
    /// `kill`, or a supervisor.
    Terminated,
    /// The terminal was closed.
    HungUp,
}

/// Takes over the signals.
///
/// # Errors
/// When the system does not allow it.
pub fn listen() -> anyhow::Result<Interrupts> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    Ok(Interrupts {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
        hangup: listen(SignalKind::hangup())?,
    })
}

impl Interrupts {
    /// Waits for the next one.
    pub async fn received(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Interrupted,
            _ = self.terminate.recv() => Interrupt::Terminated,
            _ = self.hangup.recv() => Interrupt::HungUp,
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Interrupt::Interrupted => "interrupted",
            Interrupt::Terminated => "terminated",
            Interrupt::HungUp => "the terminal was closed",
        })
    }
}
