//! The cloud in memory, for tests: the same rules as the real one where the planner depends on them (what exists is
//! left alone, what is missing cannot be changed), failures on demand, and a log of every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::DateTime;
use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus};
use plan::cloud::facts::{BucketFacts, Encryption, RoleFacts, TableFacts, TableKey, TableStatus};
use plan::cloud::step::{CloudStep, NewRole, NewTable};
use plan::cloud::wanted::OWNERSHIP;

use super::error::Refusal;
use super::{Cloud, CloudError};
use crate::error::Class;

/// One account in memory.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

/// What is in the account. Tests may look at it and change it behind the operator's back.
#[derive(Debug, Default)]
pub struct State {
    /// Tables by region and name.
    pub tables: BTreeMap<(String, String), TableFacts>,
    /// Backups, in the order in which they were made. One is being created until it was seen once.
    pub backups: Vec<BackupFacts>,
    /// Buckets by name.
    pub buckets: BTreeMap<String, BucketFacts>,
    /// Roles by name.
    pub roles: BTreeMap<String, RoleFacts>,
    /// Names of buckets that belong to other accounts.
    pub foreign: BTreeSet<String>,
    /// Every step that was asked for, as its `Display`, in order; refused ones too.
    pub log: Vec<String>,
    /// Steps to refuse, by label; each entry is used once.
    pub refusals: Vec<(&'static str, Class)>,
}

impl Memory {
    /// The account, for looking and changing. Not to be held across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a test panicked while it held the account")
    }
}

fn refusal(resource: &str, code: &str, class: Class) -> CloudError {
    let source = Refusal { code: Some(code.to_owned()), message: String::new(), status: Some(400), class };
    CloudError::Call { action: "memory", resource: resource.to_owned(), source }
}

fn missing(resource: &str) -> CloudError {
    refusal(resource, "NotFound", Class::Transient)
}

impl State {
    fn table(&mut self, region: &str, name: &str) -> Result<&mut TableFacts, CloudError> {
        self.tables.get_mut(&(region.to_owned(), name.to_owned())).ok_or_else(|| missing(name))
    }

    fn bucket(&mut self, name: &str) -> Result<&mut BucketFacts, CloudError> {
        if self.foreign.contains(name) {
            return Err(CloudError::Foreign { bucket: name.to_owned() });
        }
        self.buckets.get_mut(name).ok_or_else(|| missing(name))
    }

    fn role(&mut self, name: &str) -> Result<&mut RoleFacts, CloudError> {
        self.roles.get_mut(name).ok_or_else(|| missing(name))
    }

    fn perform(&mut self, step: &CloudStep) -> Result<(), CloudError> {
        self.log.push(step.to_string());
        if let Some(position) = self.refusals.iter().position(|(label, _)| *label == step.label()) {
            let (label, class) = self.refusals.remove(position);
            return Err(refusal(label, "Refused", class));
        }
        match step.clone() {
            CloudStep::CreateTable { region, table } => {
                let key = (region, table.name.clone());
                self.tables.entry(key).or_insert_with_key(|(region, _)| new_table(region, table));
            }
            CloudStep::EnableStream { region, table, view } => {
                self.table(&region, &table)?.stream = Some(view.to_owned());
            }
            CloudStep::EnableTimeToLive { region, table, attribute } => {
                self.table(&region, &table)?.ttl = Some(attribute.to_owned());
            }
            CloudStep::SetPointInTimeRecovery { region, table, enabled } => {
                self.table(&region, &table)?.point_in_time_recovery = enabled;
            }
            CloudStep::ProtectTable { region, table } => self.table(&region, &table)?.deletion_protection = true,
            CloudStep::BillTablePerRequest { region, table } => self.table(&region, &table)?.on_demand = true,
            CloudStep::CreateBackup { region, table, name } => {
                let table_arn = self.table(&region, &table)?.arn.clone();
                if !self.backups.iter().any(|backup| backup.table_arn == table_arn && backup.name == name) {
                    let made = new_backup(table_arn, name, self.log.len());
                    self.backups.push(made);
                }
            }
            CloudStep::DeleteBackup { arn, .. } => self.backups.retain(|backup| backup.arn != arn),
            CloudStep::CreateBucket { region, bucket } => {
                if self.foreign.contains(&bucket) {
                    return Err(CloudError::Foreign { bucket });
                }
                self.buckets.entry(bucket).or_insert_with(|| new_bucket(region));
            }
            CloudStep::TagBucket { bucket, tags, .. } => self.bucket(&bucket)?.tags = tags,
            CloudStep::EnableVersioning { bucket, .. } => self.bucket(&bucket)?.versioning = true,
            CloudStep::BlockPublicAccess { bucket, .. } => self.bucket(&bucket)?.public_access_blocked = true,
            CloudStep::EncryptTable { region, table, key } => self.table(&region, &table)?.key = table_key(key),
            CloudStep::EncryptBucket { bucket, key, .. } => {
                self.bucket(&bucket)?.encryption = Some(Encryption::with(key));
            }
            CloudStep::OwnObjects { bucket, .. } => self.bucket(&bucket)?.ownership = Some(OWNERSHIP.to_owned()),
            CloudStep::SetLifecycle { bucket, rules, .. } => self.bucket(&bucket)?.lifecycle = rules,
            CloudStep::SetBucketPolicy { bucket, policy, .. } => self.bucket(&bucket)?.policy = Some(policy),
            CloudStep::CreateRole { role } => {
                self.roles.entry(role.name.clone()).or_insert_with(|| new_role(role));
            }
            CloudStep::SetTrust { role, trust } => self.role(&role)?.trust = trust,
            CloudStep::SetRolePolicy { role, name, policy } => {
                self.role(&role)?.policies.insert(name.to_owned(), policy);
            }
            CloudStep::RemoveRolePolicy { role, name } => drop(self.role(&role)?.policies.remove(&name)),
            CloudStep::DetachRolePolicy { role, arn } => self.role(&role)?.attached.retain(|held| *held != arn),
            CloudStep::SetBoundary { role, boundary } => self.role(&role)?.boundary = Some(boundary),
        }
        Ok(())
    }
}

fn table_key(key: Option<String>) -> TableKey {
    key.map_or(TableKey::Managed, TableKey::Customer)
}

fn new_table(region: &str, table: NewTable) -> TableFacts {
    TableFacts {
        arn: format!("arn:aws:dynamodb:{region}:123456789012:table/{}", table.name),
        status: TableStatus::Active,
        hash_key: table.key.hash.0.to_owned(),
        range_key: Some(table.key.range.0.to_owned()),
        indexes: table.index.iter().map(|(name, _)| (*name).to_owned()).collect(),
        stream: table.stream.map(str::to_owned),
        ttl: None,
        point_in_time_recovery: false,
        on_demand: true,
        key: table_key(table.kms_key),
        deletion_protection: true,
        tags: table.tags,
    }
}

/// `number` is that of the step: it makes the ARN unique, and stands for the time.
fn new_backup(table_arn: String, name: String, number: usize) -> BackupFacts {
    let seconds = i64::try_from(number).expect("a test takes few steps");
    BackupFacts {
        arn: format!("{table_arn}/backup/{number:08}"),
        name,
        table_arn,
        status: BackupStatus::Creating,
        kind: BackupKind::User,
        created: DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("in range"),
        size: Some(0),
    }
}

fn new_bucket(region: String) -> BucketFacts {
    BucketFacts {
        region,
        versioning: false,
        public_access_blocked: false,
        encryption: None,
        ownership: Some(OWNERSHIP.to_owned()),
        lifecycle: Vec::new(),
        policy: None,
        tags: BTreeMap::new(),
    }
}

fn new_role(role: NewRole) -> RoleFacts {
    RoleFacts {
        arn: format!("arn:aws:iam::123456789012:role{}{}", role.path, role.name),
        trust: role.trust,
        boundary: role.boundary,
        policies: BTreeMap::new(),
        attached: Vec::new(),
        tags: role.tags,
    }
}

#[async_trait]
impl Cloud for Memory {
    async fn table(&self, region: &str, name: &str) -> Result<Option<TableFacts>, CloudError> {
        Ok(self.state().tables.get(&(region.to_owned(), name.to_owned())).cloned())
    }

    async fn authority(
        &self,
        _region: &str,
        _table: &str,
        _kind: &str,
        _domain: &str,
    ) -> Result<Option<Vec<u8>>, CloudError> {
        Ok(None)
    }

    async fn bucket(&self, _region: &str, name: &str) -> Result<Option<BucketFacts>, CloudError> {
        let state = self.state();
        if state.foreign.contains(name) {
            return Err(CloudError::Foreign { bucket: name.to_owned() });
        }
        Ok(state.buckets.get(name).cloned())
    }

    async fn role(&self, name: &str) -> Result<Option<RoleFacts>, CloudError> {
        Ok(self.state().roles.get(name).cloned())
    }

    async fn backups(&self, region: &str, table: &str) -> Result<Vec<BackupFacts>, CloudError> {
        let part = format!(":{region}:123456789012:table/{table}");
        let mut state = self.state();
        let ours = state.backups.iter_mut().filter(|backup| backup.table_arn.ends_with(&part));
        let seen = ours.map(|backup| {
            let seen = backup.clone();
            backup.status = BackupStatus::Available;
            seen
        });
        Ok(seen.collect())
    }

    async fn perform(&self, step: &CloudStep) -> Result<(), CloudError> {
        self.state().perform(step)
    }
}

#[cfg(test)]
mod tests {
    use plan::cloud::step::Key;

    use super::*;

    fn create_table() -> CloudStep {
        let key = Key { hash: ("HashKey", "S"), range: ("FullPath", "S") };
        let tags = [("tenant".to_owned(), "t".to_owned())].into();
        let table = NewTable { name: "t".to_owned(), key, index: None, stream: Some("NEW_IMAGE"), kms_key: None, tags };
        CloudStep::CreateTable { region: "r".to_owned(), table }
    }

    #[tokio::test]
    async fn creating_again_keeps_what_was_changed_since() {
        let cloud = Memory::default();
        let ttl = CloudStep::EnableTimeToLive { region: "r".to_owned(), table: "t".to_owned(), attribute: "Expires" };
        for step in [create_table(), ttl.clone(), create_table(), ttl] {
            cloud.perform(&step).await.expect("every step can be performed again");
        }
        let table = cloud.table("r", "t").await.expect("read").expect("it was created");
        assert_eq!((table.ttl.as_deref(), table.stream.as_deref()), (Some("Expires"), Some("NEW_IMAGE")));
        assert_eq!(cloud.table("elsewhere", "t").await.expect("read"), None, "regions are apart");
    }

    #[tokio::test]
    async fn a_backup_is_made_once_and_takes_its_time() {
        let cloud = Memory::default();
        let create = CloudStep::CreateBackup { region: "r".to_owned(), table: "t".to_owned(), name: "b".to_owned() };
        let refused = cloud.perform(&create).await;
        assert_eq!(refused.map_err(|error| error.class()), Err(Class::Transient), "there is no table");
        for step in [create_table(), create.clone(), create] {
            cloud.perform(&step).await.expect("every step can be performed again");
        }
        let statuses = async || {
            let backups = cloud.backups("r", "t").await.expect("read");
            backups.iter().map(|backup| backup.status).collect::<Vec<_>>()
        };
        assert_eq!(statuses().await, [BackupStatus::Creating]);
        assert_eq!(statuses().await, [BackupStatus::Available]);
        assert!(cloud.backups("r", "other").await.expect("read").is_empty());
        let arn = cloud.state().backups[0].arn.clone();
        let delete = CloudStep::DeleteBackup { region: "r".to_owned(), arn };
        for step in [delete.clone(), delete] {
            cloud.perform(&step).await.expect("gone already is done");
        }
        assert!(statuses().await.is_empty());
    }

    #[tokio::test]
    async fn what_is_missing_or_foreign_cannot_be_changed() {
        let cloud = Memory::default();
        cloud.state().foreign.insert("b".to_owned());
        let create = CloudStep::CreateBucket { region: "r".to_owned(), bucket: "b".to_owned() };
        let version = CloudStep::EnableVersioning { region: "r".to_owned(), bucket: "c".to_owned() };
        assert!(matches!(cloud.perform(&create).await, Err(CloudError::Foreign { .. })));
        assert_eq!(cloud.perform(&version).await.map_err(|error| error.class()), Err(Class::Transient));
    }

    #[tokio::test]
    async fn a_refusal_is_used_once() {
        let cloud = Memory::default();
        cloud.state().refusals.push(("CreateTable", Class::Throttled(None)));
        let refused = cloud.perform(&create_table()).await;
        assert_eq!(refused.map_err(|error| error.class()), Err(Class::Throttled(None)));
        cloud.perform(&create_table()).await.expect("the second time it works");
        assert_eq!(cloud.state().log, ["CreateTable t", "CreateTable t"]);
    }
}
