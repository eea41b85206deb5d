//! Tenants' Teleport in memory, for tests: what each domain answers is set beforehand; a domain that was not set does
//! not answer. Every question is logged.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use plan::teleport::{AuthPing, Instance, WebPing};

use super::{AuthTarget, Teleport, TeleportError, WebTarget};

/// All tenants' answers.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

/// Answers by domain, and the questions so far.
#[derive(Debug, Default)]
pub struct State {
    /// What Auth answers to Ping.
    pub pings: BTreeMap<String, AuthPing>,
    /// What Auth answers to GetInstances.
    pub inventories: BTreeMap<String, Vec<Instance>>,
    /// What Proxy answers.
    pub webs: BTreeMap<String, WebPing>,
    /// Every question as `question domain`, in order.
    pub log: Vec<String>,
}

impl Memory {
    /// The answers, for looking and changing. Not to be held across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a test panicked while it held the answers")
    }

    fn asked(&self, question: &str, domain: &str) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.log.push(format!("{question} {domain}"));
        state
    }
}

fn silent(address: SocketAddr) -> TeleportError {
    TeleportError::Connect { address, source: io::ErrorKind::ConnectionRefused.into() }
}

#[async_trait]
impl Teleport for Memory {
    async fn ping(&self, target: &AuthTarget) -> Result<AuthPing, TeleportError> {
        let state = self.asked("ping", &target.domain);
        state.pings.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }

    async fn inventory(&self, target: &AuthTarget) -> Result<Vec<Instance>, TeleportError> {
        let state = self.asked("inventory", &target.domain);
        state.inventories.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }

    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError> {
        let state = self.asked("web", &target.domain);
        state.webs.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }
}
