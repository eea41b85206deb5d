//! The state table as keys and values: what all processes of a cluster share. Expired items do not exist here,
//! whether or not DynamoDB has removed them yet.

use std::sync::Arc;

use chrono::Utc;
use rand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cloud::{Answer, Cloud, CloudError, Condition, ErrorKind, Item};

/// `FullPath` of every item starts with it.
const PREFIX: &str = "teleport/";

/// One cluster's state.
#[derive(Clone)]
pub(crate) struct State {
    cloud: Arc<dyn Cloud>,
    table: String,
}

/// A value with the revision that guards its change.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) revision: String,
}

/// A value that is to be written.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// Unix seconds.
    pub(crate) expires: Option<i64>,
}

impl New {
    pub(crate) fn json(key: impl Into<String>, value: &impl Serialize) -> New {
        // Only maps with keys that are no strings fail here, and no resource has one.
        New { key: key.into(), value: serde_json::to_vec(value).expect("resources serialise"), expires: None }
    }

    fn item(self, revision: &str) -> Item {
        Item { path: full_path(&self.key), value: self.value, revision: revision.to_owned(), expires: self.expires }
    }
}

pub(crate) fn full_path(key: &str) -> String {
    format!("{PREFIX}{key}")
}

fn fresh_revision() -> String {
    hex::encode(rand::rng().random::<[u8; 16]>())
}

impl State {
    pub(crate) fn new(cloud: Arc<dyn Cloud>, table: &str) -> State {
        State { cloud, table: table.to_owned() }
    }

    pub(crate) fn cloud(&self) -> &dyn Cloud {
        &*self.cloud
    }

    pub(crate) async fn get(&self, key: &str) -> Answer<Option<Stored>> {
        Ok(self.cloud.get(&self.table, &full_path(key)).await?.and_then(live))
    }

    /// A value read as JSON; one that does not parse is an error, not an absence.
    pub(crate) async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Answer<Option<T>> {
        match self.get(key).await? {
            Some(stored) => stored.json().map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn list(&self, prefix: &str) -> Answer<Vec<Stored>> {
        let items = self.cloud.list(&self.table, &full_path(prefix)).await?;
        Ok(items.into_iter().filter_map(live).collect())
    }

    /// Writes whatever was there; returns the new revision.
    pub(crate) async fn put(&self, new: New) -> Answer<String> {
        self.write(new, Condition::Any).await
    }

    /// Writes if nothing is there: false if something is.
    pub(crate) async fn create(&self, new: New) -> Answer<Option<String>> {
        held(self.write(new, Condition::Absent { now: Utc::now().timestamp() }).await)
    }

    /// Writes if the revision is still this one.
    pub(crate) async fn replace(&self, new: New, revision: &str) -> Answer<Option<String>> {
        held(self.write(new, Condition::Revision(revision.to_owned())).await)
    }

    /// Removes; false if it was not there.
    pub(crate) async fn remove(&self, key: &str) -> Answer<bool> {
        match self.get(key).await? {
            Some(stored) => {
                let condition = Condition::Revision(stored.revision);
                held(self.cloud.delete(&self.table, &full_path(key), condition).await).map(|done| done.is_some())
            }
            None => Ok(false),
        }
    }

    pub(crate) async fn remove_revision(&self, key: &str, revision: &str) -> Answer<()> {
        held(self.cloud.delete(&self.table, &full_path(key), Condition::Revision(revision.to_owned())).await).map(drop)
    }

    pub(crate) async fn keep_alive(&self, key: &str, revision: &str, expires: i64) -> Answer<()> {
        self.cloud.keep_alive(&self.table, &full_path(key), revision, expires).await
    }

    /// Creates all or none, while the guard (a lock) still has its revision.
    pub(crate) async fn create_all(&self, guard: (&str, &str), new: Vec<New>) -> Answer<bool> {
        let revision = fresh_revision();
        let items: Vec<Item> = new.into_iter().map(|new| new.item(&revision)).collect();
        held(self.cloud.put_all(&self.table, (&full_path(guard.0), guard.1), &items).await).map(|done| done.is_some())
    }

    async fn write(&self, new: New, condition: Condition) -> Answer<String> {
        let revision = fresh_revision();
        self.cloud.put(&self.table, &new.item(&revision), condition).await?;
        Ok(revision)
    }
}

impl Stored {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Answer<T> {
        let describe = |error| CloudError { kind: ErrorKind::Other, message: format!("item {}: {error}", self.key) };
        serde_json::from_slice(&self.value).map_err(describe)
    }
}

fn live(item: Item) -> Option<Stored> {
    let expired = item.expires.is_some_and(|expires| expires <= Utc::now().timestamp());
    let key = item.path.strip_prefix(PREFIX)?.to_owned();
    (!expired).then_some(Stored { key, value: item.value, revision: item.revision })
}

fn held<T>(answer: Answer<T>) -> Answer<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::Condition => Ok(None),
        Err(error) => Err(error),
    }
}
