//! What a tenant's Teleport tells its agents and users, read where it is kept, and changed as a person inside the tenant
//! would.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use serde_json::Value;
use teleport_standin::rotation::{self, Step};
use teleport_standin::told::{Told, with_mode};

use super::TestBed;

impl TestBed {
    /// What stands there; none when there is nothing, or it has expired.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn told(&self, namespace: &str, name: &str, what: Told<'_>) -> anyhow::Result<Option<Value>> {
        let table = self.state_table(namespace, name).await?;
        let Some(item) = self.cloud().item(&table, &what.path()).await? else { return Ok(None) };
        let ends = item.get("Expires").and_then(|ends| ends.as_n().ok()).and_then(|ends| ends.parse::<i64>().ok());
        if ends.is_some_and(|ends| ends <= Utc::now().timestamp()) {
            return Ok(None);
        }
        let mut told = what.read(&value(&item)?).context("the item cannot be read")?;
        told["expires"] = ends.into();
        Ok(Some(told))
    }

    /// Somebody sets the mode of the updates of agents by hand.
    ///
    /// # Errors
    /// When there is no `autoupdate_config`.
    pub async fn set_update_mode(&self, namespace: &str, name: &str, mode: &str) -> anyhow::Result<()> {
        let table = self.state_table(namespace, name).await?;
        let found = self.cloud().item(&table, &Told::Config.path()).await?;
        let mut item = found.context("there is no autoupdate_config")?;
        let edited = with_mode(&value(&item)?, mode).context("the autoupdate_config cannot be read")?;
        item.insert("Value".into(), AttributeValue::B(Blob::new(edited)));
        let revision = format!("by-hand-{}", Utc::now().timestamp_micros());
        item.insert("Revision".into(), AttributeValue::S(revision));
        self.cloud().put_item(&table, item).await
    }

    /// One more step of a rotation of an authority, `host` or `user`.
    ///
    /// # Errors
    /// When there is no such authority.
    pub async fn rotate(&self, namespace: &str, name: &str, kind: &str, step: Step) -> anyhow::Result<()> {
        let table = self.state_table(namespace, name).await?;
        let domain = self.tenants(namespace).get(name).await?.spec.domain;
        let found = self.cloud().item(&table, &rotation::path(kind, &domain)).await?;
        let mut item = found.context("there is no such authority")?;
        let rotated = rotation::after(&value(&item)?, step).context("the authority cannot be read")?;
        item.insert("Value".into(), AttributeValue::B(Blob::new(rotated)));
        let revision = format!("rotated-{}", Utc::now().timestamp_micros());
        item.insert("Revision".into(), AttributeValue::S(revision));
        self.cloud().put_item(&table, item).await
    }

    async fn state_table(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let status = self.status(namespace, name).await?;
        let table = status["storage"]["stateTable"].as_str().unwrap_or_default();
        ensure!(!table.is_empty(), "{namespace}/{name} has no state table");
        Ok(table.to_owned())
    }
}

fn value(item: &HashMap<String, AttributeValue>) -> anyhow::Result<Vec<u8>> {
    let value = item.get("Value").and_then(|value| value.as_b().ok()).context("an item without a value")?;
    Ok(value.as_ref().to_vec())
}
