//! A stand-in for Teleport's Auth and Proxy processes: it reads what a pod mounts, refuses what the real one refuses,
//! uses the same tables, and answers on the same ports in the same protocols. It hosts no sessions and no users.

mod auth;
mod cloud;
mod command;
mod config;
mod diag;
mod duration;
mod key_pair;
mod log;
mod net;
mod pki;
mod process;
mod proxy;
mod release;
pub mod rotation;
mod rule;
mod state;
pub mod told;
mod web;
mod wire;
mod world;

#[cfg(test)]
mod refusals;

pub use process::{Process, Resolve};
pub use rule::{Refusal, Rule};
pub use world::{Agent, Call, Identity, World};

use tokio_util::sync::CancellationToken;

/// Runs a process to its end and returns its exit code. `terminate` cancelled is SIGTERM; dropping the future is SIGKILL.
pub async fn run(process: Process, terminate: CancellationToken) -> i32 {
    command::run(process, terminate, &cloud::aws::Aws).await
}

/// As [`run`], on an account of its own in memory that has the tables `state` and `events` and the bucket `bucket`: for
/// tests of a client, which need a strict Auth and no AWS.
#[cfg(feature = "memory")]
pub async fn run_in_memory(process: Process, terminate: CancellationToken) -> i32 {
    command::run(process, terminate, &cloud::memory::Memory::ready()).await
}
