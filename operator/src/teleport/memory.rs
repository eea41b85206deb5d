//! Tenants' Teleport in memory, for tests: what each domain answers is set beforehand; a domain that was not set does
//! not answer. Every question is logged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use plan::agents::{Inventory, Reading};
use plan::publish::alert::Raised;
use plan::publish::{Found, Live, PublishStep};
use plan::teleport::{AuthPing, Instance, WebPing};

use super::{AuthTarget, Teleport, TeleportError, Told, WebTarget};

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
    /// Whose Auth takes the question and never answers.
    pub hanging: BTreeSet<String>,
    /// What Proxy answers.
    pub webs: BTreeMap<String, WebPing>,
    /// What agents are told.
    pub published: BTreeMap<String, Live>,
    /// Alerts as they were raised, ended ones included.
    pub alerts: BTreeMap<String, Vec<Raised>>,
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

    async fn inventory(&self, target: &AuthTarget, now: DateTime<Utc>) -> Result<Inventory, TeleportError> {
        let hangs = self.asked("inventory", &target.domain).hanging.contains(&target.domain);
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut reading = Reading::default();
        for instance in self.state().inventories.get(&target.domain).ok_or_else(|| silent(target.address))? {
            reading.add(instance).expect("a test sets good entries");
        }
        Ok(reading.finish(now))
    }

    async fn web_ping(&self, target: &WebTarget) -> Result<WebPing, TeleportError> {
        let state = self.asked("web", &target.domain);
        state.webs.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }
    async fn published(&self, target: &AuthTarget) -> Result<Live, TeleportError> {
        let state = self.asked("published", &target.domain);
        state.published.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }

    async fn alerts(&self, target: &AuthTarget) -> Result<Vec<Raised>, TeleportError> {
        let state = self.asked("alerts", &target.domain);
        state.alerts.get(&target.domain).cloned().ok_or_else(|| silent(target.address))
    }

    async fn publish(&self, target: &AuthTarget, step: &PublishStep) -> Result<Told, TeleportError> {
        let mut state = self.asked(step.label(), &target.domain);
        let address = target.address;
        if let PublishStep::Alert { alert, expires, .. } = step {
            let alerts = state.alerts.get_mut(&target.domain).ok_or_else(|| silent(address))?;
            alerts.retain(|raised| raised.alert.name != alert.name);
            alerts.push(Raised { alert: alert.clone(), expires: Some(*expires) });
            return Ok(Told::Done);
        }
        let live = state.published.get_mut(&target.domain).ok_or_else(|| silent(address))?;
        let written = match step {
            PublishStep::Version { seen, spec } => put(&mut live.version, seen.as_deref(), spec),
            PublishStep::Config { seen, spec } => put(&mut live.config, seen.as_deref(), spec),
            PublishStep::Maintenance { seen, spec } => put(&mut live.maintenance, seen.as_deref(), spec),
            PublishStep::Alert { .. } => Some(Told::Done),
        };
        written.ok_or(TeleportError::Changed { address, resource: "the resource", source: None })
    }
}

/// Writes if it still is what was seen.
fn put<T: Clone>(found: &mut Found<T>, seen: Option<&str>, spec: &T) -> Option<Told> {
    if matches!(found, Found::NotOffered) {
        return Some(Told::NotOffered);
    }
    if found.revision() != seen {
        return None;
    }
    let next = found.revision().and_then(|revision| revision.parse::<u64>().ok()).unwrap_or_default() + 1;
    *found = Found::There { revision: next.to_string(), agents: Some(spec.clone()) };
    Some(Told::Done)
}
