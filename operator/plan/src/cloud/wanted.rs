//! What the tenant's tables, bucket and role should look like. The layout of both tables is what Teleport itself
//! creates (lib/backend/dynamo, lib/events/dynamoevents), made beforehand so that the tenant's role needs no right to create.

use std::collections::BTreeMap;

use crds::tenant_status::StorageNames;
use serde_json::{Value, json};

use super::facts::LifecycleRule;
use super::step::{Key, NewRole, NewTable};
use crate::fleet::{Account, Installation};
use crate::names::{Identity, TAG_INSTALLATION, TAG_TENANT};

/// View type that Teleport reads.
pub const STREAM_VIEW: &str = "NEW_IMAGE";
/// The attribute of both tables that holds the end of an item, in Unix seconds.
pub const EXPIRES: &str = "Expires";
/// The index by which audit events are searched by time.
pub const TIME_INDEX: &str = "timesearchV2";
/// An upload that broke off may be completed by Auth for this many days (lib/events: half-finished uploads are completed
/// later); then its parts are removed.
pub const UPLOAD_DAYS: i32 = 14;
/// Who owns the objects of the bucket.
pub const OWNERSHIP: &str = "BucketOwnerEnforced";
/// Name of the one inline policy of the role.
pub const POLICY: &str = "tenant";

/// The tenant's cloud resources by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudNames {
    /// Account id.
    pub account: String,
    /// Region of tables and bucket.
    pub region: String,
    /// Table of the cluster state.
    pub state_table: String,
    /// Table of the audit events.
    pub events_table: String,
    /// Bucket of the session recordings.
    pub bucket: String,
    /// Role name, without path.
    pub role: String,
    /// Role ARN.
    pub role_arn: String,
}

impl CloudNames {
    /// Derives all names from installation, account and tenant id.
    pub fn new(installation: &Installation, account: &Account, tenant: &Identity, region: &str) -> CloudNames {
        let prefix = format!("{}-{}", installation.id, tenant.id);
        CloudNames {
            region: region.to_owned(),
            state_table: format!("{prefix}-state"),
            events_table: format!("{prefix}-events"),
            bucket: format!("{prefix}-recordings"),
            role: prefix.clone(),
            role_arn: format!("arn:{}:iam::{}:role{}{prefix}", partition(region), account.id, account.role_path),
            account: account.id.clone(),
        }
    }

    /// As they stand in status.
    pub fn recorded(&self) -> StorageNames {
        StorageNames {
            account: self.account.clone(),
            region: self.region.clone(),
            state_table: self.state_table.clone(),
            events_table: self.events_table.clone(),
            bucket: self.bucket.clone(),
            role_arn: self.role_arn.clone(),
        }
    }

    /// ARN of a table of the tenant.
    pub fn table_arn(&self, table: &str) -> String {
        format!("arn:{}:dynamodb:{}:{}:table/{table}", partition(&self.region), self.region, self.account)
    }

    /// ARN of the bucket.
    pub fn bucket_arn(&self) -> String {
        format!("arn:{}:s3:::{}", partition(&self.region), self.bucket)
    }
}

impl From<&StorageNames> for CloudNames {
    fn from(recorded: &StorageNames) -> CloudNames {
        let StorageNames { account, region, state_table, events_table, bucket, role_arn } = recorded.clone();
        let role = role_arn.rsplit('/').next().unwrap_or_default().to_owned();
        CloudNames { account, region, state_table, events_table, bucket, role, role_arn }
    }
}

/// The AWS partition of a region.
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// Tags that prove whose a resource is.
pub fn tags(installation: &Installation, tenant: &Identity) -> BTreeMap<String, String> {
    BTreeMap::from([(TAG_INSTALLATION.to_owned(), installation.id.clone()), (TAG_TENANT.to_owned(), tenant.id.clone())])
}

/// The table of the cluster state.
pub fn state_table(names: &CloudNames, kms_key: Option<&str>, tags: BTreeMap<String, String>) -> NewTable {
    NewTable {
        name: names.state_table.clone(),
        key: Key { hash: ("HashKey", "S"), range: ("FullPath", "S") },
        index: None,
        stream: Some(STREAM_VIEW),
        kms_key: kms_key.map(str::to_owned),
        tags,
    }
}

/// The table of the audit events.
pub fn events_table(names: &CloudNames, kms_key: Option<&str>, tags: BTreeMap<String, String>) -> NewTable {
    NewTable {
        name: names.events_table.clone(),
        key: Key { hash: ("SessionID", "S"), range: ("EventIndex", "N") },
        index: Some((TIME_INDEX, Key { hash: ("CreatedAtDate", "S"), range: ("CreatedAt", "N") })),
        stream: None,
        kms_key: kms_key.map(str::to_owned),
        tags,
    }
}

/// What the bucket shall be like, as far as the tenant's spec says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketWishes {
    /// ARN of a customer's key; none = the one that AWS manages.
    pub kms_key: Option<String>,
    /// Days that a recording can be played; 0 = for ever.
    pub retention_days: i32,
}

impl BucketWishes {
    /// How objects end, in the order of the type. Playback takes the oldest version of a recording (lib/events/s3sessions), so that nobody can change one
    /// by overwriting it; each version therefore stays for the whole time from the moment on in which it was overwritten, and
    /// not only from that in which it was written.
    pub fn lifecycle(&self) -> Vec<LifecycleRule> {
        let uploads = LifecycleRule::AbortUploads { days: UPLOAD_DAYS };
        match self.retention_days {
            0 => vec![uploads],
            days => {
                vec![uploads, LifecycleRule::Expire { days, noncurrent_days: days }, LifecycleRule::DropMarkers]
            }
        }
    }
}

/// Nobody reaches the bucket without TLS.
pub fn bucket_policy(names: &CloudNames) -> Value {
    let bucket = names.bucket_arn();
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, format!("{bucket}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }],
    })
}

/// The role: only this tenant's Auth ServiceAccount may take it.
pub fn role(installation: &Installation, account: &Account, tenant: &Identity, names: &CloudNames) -> NewRole {
    let provider = &account.oidc_provider;
    NewRole {
        name: names.role.clone(),
        path: account.role_path.clone(),
        trust: json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Federated": format!("arn:{}:iam::{}:oidc-provider/{provider}", partition(&names.region), names.account)},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {
                    format!("{provider}:sub"): format!("system:serviceaccount:{}:{}", tenant.namespace, tenant.auth()),
                    format!("{provider}:aud"): "sts.amazonaws.com",
                }},
            }],
        }),
        boundary: account.boundary_arn.clone(),
        tags: tags(installation, tenant),
    }
}
