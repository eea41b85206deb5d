//! Storage in memory for tests: strict about key schemas and conditions, and any call can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::{
    Answer, Cloud, CloudError, Condition, Connect, ErrorKind, Event, Item, NewTable, Records, Table, TableKind,
};
use crate::config::storage::Storage;
use crate::process::Process;
use crate::rule::Refusal;

/// One account with its tables and buckets; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    tables: BTreeMap<String, Stored>,
    buckets: BTreeSet<String>,
    denied: BTreeSet<String>,
    calls: Vec<String>,
}

/// A table as it stands.
#[derive(Default, Clone)]
pub(crate) struct Stored {
    pub(crate) keys: Vec<&'static str>,
    pub(crate) indexed: bool,
    pub(crate) ttl: bool,
    pub(crate) stream: bool,
    pub(crate) backups: bool,
    pub(crate) items: BTreeMap<String, Item>,
    changed: Vec<String>,
    events: usize,
}

impl Memory {
    /// Both tables and the bucket as an operator makes them beforehand.
    pub(crate) fn ready() -> Memory {
        let memory = Memory::default();
        {
            let mut account = memory.lock();
            let state = Stored {
                keys: vec!["HashKey", "FullPath"],
                ttl: true,
                stream: true,
                backups: true,
                ..Stored::default()
            };
            let events = Stored {
                keys: vec!["SessionID", "EventIndex"],
                indexed: true,
                ttl: true,
                backups: true,
                ..Stored::default()
            };
            account.tables = BTreeMap::from([("state".to_owned(), state), ("events".to_owned(), events)]);
            account.buckets.insert("bucket".to_owned());
        }
        memory
    }

    /// Changes or inspects a table.
    pub(crate) fn table<T>(&self, name: &str, change: impl FnOnce(&mut Stored) -> T) -> T {
        change(self.lock().tables.entry(name.to_owned()).or_default())
    }

    pub(crate) fn drop_table(&self, name: &str) {
        self.lock().tables.remove(name);
    }

    pub(crate) fn drop_bucket(&self) {
        self.lock().buckets.clear();
    }

    pub(crate) fn has_bucket(&self) -> bool {
        !self.lock().buckets.is_empty()
    }

    /// Every further call of this name, or only those on one `call table`, is refused.
    pub(crate) fn deny(&self, call: &str) {
        self.lock().denied.insert(call.to_owned());
    }

    /// Names of all calls so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap()
    }

    fn call(&self, name: &str, resource: &str) -> Answer<MutexGuard<'_, Account>> {
        let mut account = self.lock();
        account.calls.push(name.to_owned());
        if account.denied.contains(name) || account.denied.contains(&format!("{name} {resource}")) {
            return Err(error(ErrorKind::Denied, &format!("{name}: AccessDeniedException on {resource}")));
        }
        Ok(account)
    }
}

fn error(kind: ErrorKind, message: &str) -> CloudError {
    CloudError { kind, message: message.to_owned() }
}

impl Account {
    fn stored(&mut self, name: &str) -> Answer<&mut Stored> {
        self.tables
            .get_mut(name)
            .ok_or_else(|| error(ErrorKind::NotFound, &format!("ResourceNotFoundException: {name}")))
    }

    fn state(&mut self, name: &str) -> Answer<&mut Stored> {
        let table = self.stored(name)?;
        if table.keys != ["HashKey", "FullPath"] {
            return Err(error(
                ErrorKind::Other,
                "ValidationException: The provided key element does not match the schema",
            ));
        }
        Ok(table)
    }
}

impl Stored {
    fn check(&self, path: &str, condition: &Condition) -> Answer<()> {
        let there = self.items.get(path);
        let holds = match condition {
            Condition::Any => true,
            Condition::Absent { now } => there.is_none_or(|item| item.expires.is_some_and(|expires| expires <= *now)),
            Condition::Revision(revision) => there.is_some_and(|item| item.revision == *revision),
        };
        if holds { Ok(()) } else { Err(error(ErrorKind::Condition, "ConditionalCheckFailedException")) }
    }

    fn write(&mut self, item: &Item) {
        self.changed.push(item.path.clone());
        self.items.insert(item.path.clone(), item.clone());
    }
}

impl Connect for Memory {
    fn connect(&self, _process: &Process, _storage: &Storage) -> Result<Arc<dyn Cloud>, Refusal> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Cloud for Memory {
    async fn describe_table(&self, table: &str) -> Answer<Table> {
        let mut account = self.call("DescribeTable", table)?;
        let stored = account.stored(table)?;
        let attributes = stored.keys.iter().map(|key| (*key).to_owned()).collect();
        Ok(Table { attributes, stream: stored.stream.then(|| format!("arn:{table}")) })
    }

    async fn create_table(&self, table: &NewTable) -> Answer<()> {
        let mut account = self.call("CreateTable", &table.name)?;
        let keys = match table.kind {
            TableKind::State => vec!["HashKey", "FullPath"],
            TableKind::Events => vec!["SessionID", "EventIndex"],
        };
        let indexed = table.kind == TableKind::Events;
        account.tables.insert(table.name.clone(), Stored { keys, indexed, ..Stored::default() });
        Ok(())
    }

    async fn time_to_live(&self, table: &str) -> Answer<bool> {
        Ok(self.call("DescribeTimeToLive", table)?.stored(table)?.ttl)
    }

    async fn enable_time_to_live(&self, table: &str) -> Answer<()> {
        self.call("UpdateTimeToLive", table)?.stored(table)?.ttl = true;
        Ok(())
    }

    async fn enable_stream(&self, table: &str) -> Answer<()> {
        self.call("UpdateTable", table)?.stored(table)?.stream = true;
        Ok(())
    }

    async fn enable_continuous_backups(&self, table: &str) -> Answer<()> {
        self.call("UpdateContinuousBackups", table)?.stored(table)?.backups = true;
        Ok(())
    }

    async fn get(&self, table: &str, path: &str) -> Answer<Option<Item>> {
        Ok(self.call("GetItem", table)?.state(table)?.items.get(path).cloned())
    }

    async fn list(&self, table: &str, prefix: &str) -> Answer<Vec<Item>> {
        let mut account = self.call("Query", table)?;
        let items = &account.state(table)?.items;
        Ok(items.values().filter(|item| item.path.starts_with(prefix)).cloned().collect())
    }

    async fn put(&self, table: &str, item: &Item, condition: Condition) -> Answer<()> {
        let mut account = self.call("PutItem", table)?;
        let stored = account.state(table)?;
        stored.check(&item.path, &condition)?;
        stored.write(item);
        Ok(())
    }

    async fn put_all(&self, table: &str, guard: (&str, &str), items: &[Item]) -> Answer<()> {
        let mut account = self.call("TransactWriteItems", table)?;
        let stored = account.state(table)?;
        stored.check(guard.0, &Condition::Revision(guard.1.to_owned()))?;
        items.iter().try_for_each(|item| stored.check(&item.path, &Condition::Absent { now: i64::MIN }))?;
        items.iter().for_each(|item| stored.write(item));
        Ok(())
    }

    async fn keep_alive(&self, table: &str, path: &str, revision: &str, expires: i64) -> Answer<()> {
        let mut account = self.call("UpdateItem", table)?;
        let stored = account.state(table)?;
        stored.check(path, &Condition::Revision(revision.to_owned()))?;
        if let Some(item) = stored.items.get_mut(path) {
            item.expires = Some(expires);
        }
        Ok(())
    }

    async fn delete(&self, table: &str, path: &str, condition: Condition) -> Answer<()> {
        let mut account = self.call("DeleteItem", table)?;
        let stored = account.state(table)?;
        stored.check(path, &condition)?;
        stored.items.remove(path);
        Ok(())
    }

    async fn shards(&self, stream: &str) -> Answer<Vec<String>> {
        self.call("DescribeStream", stream).map(|_| vec!["shard".to_owned()])
    }

    async fn iterator(&self, stream: &str, _shard: &str) -> Answer<String> {
        let table = stream.trim_start_matches("arn:");
        let mut account = self.call("GetShardIterator", stream)?;
        Ok(format!("{table} {}", account.stored(table)?.changed.len()))
    }

    async fn records(&self, iterator: &str) -> Answer<Records> {
        let (table, from) = iterator.split_once(' ').unwrap();
        let mut account = self.call("GetRecords", table)?;
        let changed = &account.stored(table)?.changed;
        let paths = changed[from.parse::<usize>().unwrap()..].to_vec();
        Ok(Records { paths, next: Some(format!("{table} {}", changed.len())) })
    }

    async fn emit(&self, table: &str, _event: &Event) -> Answer<()> {
        let mut account = self.call("PutItem", table)?;
        let stored = account.stored(table)?;
        if stored.keys != ["SessionID", "EventIndex"] {
            return Err(error(ErrorKind::Other, "ValidationException: One or more parameter values were invalid"));
        }
        stored.events += 1;
        Ok(())
    }

    async fn search(&self, table: &str, _date: &str) -> Answer<usize> {
        let mut account = self.call("Query", &format!("{table}/index"))?;
        let stored = account.stored(table)?;
        match stored.indexed {
            true => Ok(stored.events),
            false => Err(error(ErrorKind::Other, "ValidationException: The table does not have the specified index")),
        }
    }

    async fn head_bucket(&self, bucket: &str) -> Answer<()> {
        match self.call("HeadBucket", bucket)?.buckets.contains(bucket) {
            true => Ok(()),
            false => Err(error(ErrorKind::NotFound, "NotFound")),
        }
    }

    async fn create_bucket(&self, bucket: &str) -> Answer<()> {
        self.call("CreateBucket", bucket)?.buckets.insert(bucket.to_owned());
        Ok(())
    }

    async fn enable_versioning(&self, bucket: &str) -> Answer<()> {
        self.call("PutBucketVersioning", bucket).map(drop)
    }

    async fn enable_encryption(&self, bucket: &str) -> Answer<()> {
        self.call("PutBucketEncryption", bucket).map(drop)
    }

    async fn uploads(&self, bucket: &str, _prefix: &str) -> Answer<usize> {
        self.call("ListMultipartUploads", bucket).map(|_| 0)
    }
}
