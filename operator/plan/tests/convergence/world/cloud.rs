//! The cloud of one world: it does what the steps on AWS say.

use std::collections::BTreeMap;

use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus};
use plan::cloud::facts::{BucketFacts, Encryption, RoleFacts, TableFacts, TableKey, TableStatus};
use plan::cloud::step::CloudStep;
use plan::cloud::wanted::OWNERSHIP;

use super::World;

impl World {
    pub(super) fn cloud(&mut self, step: &CloudStep) {
        match step {
            CloudStep::CreateBackup { table, name, .. } => self.backups.push(BackupFacts {
                arn: format!("arn:aws:dynamodb:us-west-2:123456789012:table/{table}/backup/{}", self.backups.len()),
                name: name.clone(),
                table_arn: format!("arn:aws:dynamodb:us-west-2:123456789012:table/{table}"),
                status: BackupStatus::Creating,
                kind: BackupKind::User,
                created: self.now,
                size: None,
            }),
            CloudStep::DeleteBackup { arn, .. } => self.backups.retain(|backup| backup.arn != *arn),
            CloudStep::CreateTable { table, .. } => {
                let facts = TableFacts {
                    arn: format!("arn:aws:dynamodb:us-west-2:123456789012:table/{}", table.name),
                    status: TableStatus::Changing,
                    hash_key: table.key.hash.0.into(),
                    range_key: Some(table.key.range.0.into()),
                    indexes: table.index.iter().map(|(name, _)| (*name).to_owned()).collect(),
                    stream: table.stream.map(str::to_owned),
                    ttl: None,
                    point_in_time_recovery: false,
                    on_demand: true,
                    key: table.kms_key.clone().map_or(TableKey::Managed, TableKey::Customer),
                    deletion_protection: true,
                    tags: table.tags.clone(),
                };
                self.tables.entry(table.name.clone()).or_insert((facts, 2));
            }
            CloudStep::EnableStream { table, view, .. } => self.table(table).stream = Some((*view).into()),
            CloudStep::EnableTimeToLive { table, attribute, .. } => self.table(table).ttl = Some((*attribute).into()),
            CloudStep::SetPointInTimeRecovery { table, enabled, .. } => {
                self.table(table).point_in_time_recovery = *enabled
            }
            CloudStep::ProtectTable { table, .. } => self.table(table).deletion_protection = true,
            CloudStep::BillTablePerRequest { table, .. } => self.table(table).on_demand = true,
            CloudStep::CreateBucket { region, .. } => {
                self.bucket.get_or_insert_with(|| BucketFacts {
                    region: region.clone(),
                    versioning: false,
                    public_access_blocked: false,
                    encryption: None,
                    ownership: None,
                    lifecycle: Vec::new(),
                    policy: None,
                    tags: BTreeMap::new(),
                });
            }
            CloudStep::TagBucket { tags, .. } => self.bucket().tags.clone_from(tags),
            CloudStep::EnableVersioning { .. } => self.bucket().versioning = true,
            CloudStep::BlockPublicAccess { .. } => self.bucket().public_access_blocked = true,
            CloudStep::EncryptTable { table, key, .. } => {
                self.table(table).key = key.clone().map_or(TableKey::Managed, TableKey::Customer);
            }
            CloudStep::EncryptBucket { key, .. } => {
                self.bucket().encryption = Some(Encryption::with(key.clone()));
            }
            CloudStep::OwnObjects { .. } => self.bucket().ownership = Some(OWNERSHIP.into()),
            CloudStep::SetLifecycle { rules, .. } => self.bucket().lifecycle.clone_from(rules),
            CloudStep::SetBucketPolicy { policy, .. } => self.bucket().policy = Some(policy.clone()),
            CloudStep::CreateRole { role } => {
                self.role.get_or_insert_with(|| RoleFacts {
                    arn: format!("arn:aws:iam::123456789012:role{}{}", role.path, role.name),
                    trust: role.trust.clone(),
                    boundary: role.boundary.clone(),
                    policies: BTreeMap::new(),
                    attached: Vec::new(),
                    tags: role.tags.clone(),
                });
            }
            CloudStep::SetTrust { trust, .. } => self.role().trust = trust.clone(),
            CloudStep::SetRolePolicy { name, policy, .. } => {
                self.role().policies.insert((*name).into(), policy.clone());
            }
            CloudStep::RemoveRolePolicy { name, .. } => {
                self.role().policies.remove(name);
            }
            CloudStep::DetachRolePolicy { arn, .. } => self.role().attached.retain(|attached| attached != arn),
            CloudStep::SetBoundary { boundary, .. } => self.role().boundary = Some(boundary.clone()),
        }
    }

    fn table(&mut self, name: &str) -> &mut TableFacts {
        &mut self.tables.get_mut(name).expect("the table was created first").0
    }

    pub fn bucket(&mut self) -> &mut BucketFacts {
        self.bucket.as_mut().expect("the bucket was created first")
    }

    pub fn role(&mut self) -> &mut RoleFacts {
        self.role.as_mut().expect("the role was created first")
    }
}
