//! What a tenant says of its updates, waited for.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::TestBed;
use super::tenant::wait_until;

impl TestBed {
    /// The status of a tenant, as it is written.
    ///
    /// # Errors
    /// When there is no such tenant.
    pub async fn status(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        let tenant = self.tenants(namespace).get(name).await?;
        serde_json::to_value(tenant.status).context("a status is JSON")
    }

    /// Waits until the status of a tenant is as it should be; answers it.
    ///
    /// # Errors
    /// With what it says of updates instead.
    pub async fn await_status(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let holds = &holds;
        wait_until(&format!("{namespace}/{name}: {what}"), limit, || async move {
            let status = self.status(namespace, name).await?;
            if holds(&status) {
                return Ok(Some(status));
            }
            bail!("version {}, next {}, update {}", status["version"], status["next"], status["update"])
        })
        .await
    }

    /// Waits until exactly these blockers hold the next hop, in this order; answers the status.
    ///
    /// # Errors
    /// With those that hold it instead.
    pub async fn await_blockers(
        &self,
        namespace: &str,
        name: &str,
        reasons: &[&str],
        limit: Duration,
    ) -> anyhow::Result<Value> {
        let what = format!("the next hop to be held by {reasons:?}");
        self.await_status(namespace, name, &what, limit, |status| {
            status["next"].is_object() && blockers(status) == reasons
        })
        .await
    }

    /// Waits until every process runs this version and no hop is under way; answers the status.
    ///
    /// # Errors
    /// With what runs instead.
    pub async fn await_version(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        limit: Duration,
    ) -> anyhow::Result<Value> {
        self.await_status(namespace, name, &format!("version {version}, and no hop"), limit, |status| {
            status["version"] == version && status["update"].is_null()
        })
        .await
    }
}

/// The reasons that hold the next hop, in their order.
pub fn blockers(status: &Value) -> Vec<&str> {
    let blockers = status["next"]["blockers"].as_array().into_iter().flatten();
    blockers.filter_map(|blocker| blocker["reason"].as_str()).collect()
}
