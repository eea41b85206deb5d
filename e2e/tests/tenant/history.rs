//! What a tenant's conditions were from some moment on, as a watcher sees them: a fault that heals within a second is
//! seen too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use crds::Tenant;
use e2e::testbed::{TestBed, wait_until};
use futures::StreamExt;
use kube::runtime::watcher;
use tokio::task::JoinHandle;

/// Conditions since a moment.
pub struct History {
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl History {
    /// Begins to watch; what is seen afterwards is history.
    pub async fn begin(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<History> {
        let selection = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(watcher(bed.tenants(namespace), selection));
        loop {
            match events.next().await.context("the watch ended")?.context("cannot watch the tenant")? {
                watcher::Event::InitDone => break,
                _ => continue,
            }
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(tenant)) = event {
                    let mut seen = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    for state in states(&tenant) {
                        if !seen.contains(&state) {
                            seen.push(state);
                        }
                    }
                }
            }
        });
        Ok(History { seen, task })
    }

    /// Whether a condition had this state, such as `Ready=False/InProgress`, or `Ready=False` with any reason.
    pub fn has(&self, state: &str) -> bool {
        self.states().iter().any(|found| found == state || found.starts_with(&format!("{state}/")))
    }

    /// Waits until a condition had this state.
    pub async fn saw(&self, state: &str, limit: Duration) -> anyhow::Result<()> {
        wait_until(&format!("{state} to be seen"), limit, || async {
            if self.has(state) { Ok(Some(())) } else { bail!("seen were {}", self.states().join(", ")) }
        })
        .await
    }

    fn states(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn states(tenant: &Tenant) -> Vec<String> {
    let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason)).collect()
}
