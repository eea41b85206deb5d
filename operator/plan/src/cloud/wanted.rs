//! What the tenant's tables, bucket and role should look like. The layout of both tables is what Teleport itself
//! creates (lib/backend/dynamo, lib/events/dynamoevents), made beforehand so that the tenant's role needs no right to create.

use std::collections::BTreeMap;

use crds::tenant_status::StorageNames;
use serde_json::{Value, json};

use super::step::{Key, NewRole, NewTable};
use crate::fleet::{Account, Installation};
use crate::names::{Identity, TAG_INSTALLATION, TAG_TENANT};

/// View type that Teleport reads.
pub const STREAM_VIEW: &str = "NEW_IMAGE";
/// The attribute of both tables that holds the end of an item, in Unix seconds.
pub const EXPIRES: &str = "Expires";
/// The index by which audit events are searched by time.
pub const TIME_INDEX: &str = "timesearchV2";
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

    fn bucket_arn(&self) -> String {
        format!("arn:{}:s3:::{}", partition(&self.region), self.bucket)
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
pub fn state_table(names: &CloudNames, tags: BTreeMap<String, String>) -> NewTable {
    NewTable {
        name: names.state_table.clone(),
        key: Key { hash: ("HashKey", "S"), range: ("FullPath", "S") },
        index: None,
        stream: Some(STREAM_VIEW),
        tags,
    }
}

/// The table of the audit events.
pub fn events_table(names: &CloudNames, tags: BTreeMap<String, String>) -> NewTable {
    NewTable {
        name: names.events_table.clone(),
        key: Key { hash: ("SessionID", "S"), range: ("EventIndex", "N") },
        index: Some((TIME_INDEX, Key { hash: ("CreatedAtDate", "S"), range: ("CreatedAt", "N") })),
        stream: None,
        tags,
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

/// One statement of the tenant's policy.
pub struct Grant {
    /// Statement id.
    pub sid: &'static str,
    /// AWS actions.
    pub actions: &'static [&'static str],
}

/// What Auth does with the state table and its stream. No action that creates or deletes a table, and none that changes
/// backups: the operator keeps point-in-time recovery, and Auth is told to leave it alone.
pub const STATE: Grant = Grant {
    sid: "ClusterStateStorage",
    actions: &[
        "dynamodb:BatchWriteItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeStream",
        "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive",
        "dynamodb:GetItem",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:UpdateItem",
        "dynamodb:UpdateTable",
        "dynamodb:UpdateTimeToLive",
    ],
};

/// What Auth does with the events table and its index.
pub const EVENTS: Grant = Grant {
    sid: "ClusterEventsStorage",
    actions: &[
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:UpdateItem",
        "dynamodb:UpdateTable",
        "dynamodb:UpdateTimeToLive",
    ],
};

/// What Auth does with the bucket.
pub const BUCKET: Grant = Grant {
    sid: "RecordingsBucket",
    actions: &[
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
    ],
};

/// What Auth does with the objects in it.
pub const OBJECTS: Grant = Grant {
    sid: "RecordingsObjects",
    actions: &[
        "s3:AbortMultipartUpload",
        "s3:GetObject",
        "s3:GetObjectRetention",
        "s3:GetObjectVersion",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ],
};

/// The role's one inline policy: the four grants on this tenant's own resources.
pub fn role_policy(names: &CloudNames) -> Value {
    let state = names.table_arn(&names.state_table);
    let events = names.table_arn(&names.events_table);
    let bucket = names.bucket_arn();
    let statement = |grant: &Grant, resources: Vec<String>| json!({"Sid": grant.sid, "Effect": "Allow", "Action": grant.actions, "Resource": resources});
    json!({
        "Version": "2012-10-17",
        "Statement": [
            statement(&STATE, vec![state.clone(), format!("{state}/stream/*")]),
            statement(&EVENTS, vec![events.clone(), format!("{events}/index/*")]),
            statement(&BUCKET, vec![bucket.clone()]),
            statement(&OBJECTS, vec![format!("{bucket}/*")]),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever takes a tenant's Auth must neither read an older state out of a backup nor destroy the way back.
    #[test]
    fn the_role_of_a_tenant_has_no_right_to_its_backups() {
        let names = CloudNames {
            account: "123456789012".into(),
            region: "us-west-2".into(),
            state_table: "eu1-0-state".into(),
            events_table: "eu1-0-events".into(),
            bucket: "eu1-0-recordings".into(),
            role: "eu1-0".into(),
            role_arn: "arn:aws:iam::123456789012:role/tenancy/eu1/eu1-0".into(),
        };
        let policy = role_policy(&names);
        let statements = policy["Statement"].as_array().expect("statements");
        for part in ["Action", "Resource"] {
            let words: Vec<&str> = statements
                .iter()
                .flat_map(|statement| statement[part].as_array().expect("a list"))
                .map(|word| word.as_str().expect("a string"))
                .collect();
            assert!(words.len() >= 6, "{words:?}");
            for word in words {
                let lower = word.to_lowercase();
                assert!(!lower.contains("backup") && !lower.contains("restore"), "{word}");
                assert!(!word.ends_with(":*") && !word.ends_with("-state/*") && word != "*", "{word} covers backups");
            }
        }
    }
}
