//! What Auth may do in AWS: each action, on what, and why. The role's policy is made from this table, the documentation is
//! held against it, and `tenant-operator verify-isolation` tries every row of it.
//!
//! Sources: what lib/backend/dynamo, lib/events/dynamoevents and lib/events/s3sessions call on tables and a bucket that
//! exist, and Teleport's own lists for storage that is managed by others (dynamodb-iam-policy, s3-iam-policy). Nothing here
//! creates or deletes a table or a bucket, deletes a recording, or reaches a backup: whoever takes a tenant's Auth can
//! neither read an older state nor destroy the way back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::wanted::CloudNames;

/// What a right is on. Each is one statement of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The table of the cluster state.
    StateTable,
    /// Its stream.
    StateStream,
    /// The table of the audit events.
    EventsTable,
    /// Its index by time.
    EventsIndex,
    /// The bucket of the recordings.
    Bucket,
    /// The objects in it.
    Objects,
}

/// All of them, in the order of the policy.
pub const ALL: [On; 6] = [On::StateTable, On::StateStream, On::EventsTable, On::EventsIndex, On::Bucket, On::Objects];

impl On {
    /// Id of its statement.
    pub fn sid(self) -> &'static str {
        match self {
            On::StateTable => "ClusterStateStorage",
            On::StateStream => "ClusterStateStream",
            On::EventsTable => "ClusterEventsStorage",
            On::EventsIndex => "ClusterEventsIndex",
            On::Bucket => "RecordingsBucket",
            On::Objects => "RecordingsObjects",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            On::StateTable => "state table",
            On::StateStream => "stream of the state table",
            On::EventsTable => "events table",
            On::EventsIndex => "index of the events table",
            On::Bucket => "bucket",
            On::Objects => "objects of the bucket",
        }
    }

    /// The resource of a tenant, as an ARN pattern.
    pub fn arn(self, names: &CloudNames) -> String {
        match self {
            On::StateTable => names.table_arn(&names.state_table),
            On::StateStream => format!("{}/stream/*", names.table_arn(&names.state_table)),
            On::EventsTable => names.table_arn(&names.events_table),
            On::EventsIndex => format!("{}/index/*", names.table_arn(&names.events_table)),
            On::Bucket => names.bucket_arn(),
            On::Objects => format!("{}/*", names.bucket_arn()),
        }
    }
}

/// One action that Auth may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The action, as policies name it.
    pub action: &'static str,
    /// On what.
    pub on: On,
    /// What Auth needs it for.
    pub why: &'static str,
}

const fn right(action: &'static str, on: On, why: &'static str) -> Right {
    Right { action, on, why }
}

/// The table.
pub const RIGHTS: [Right; 38] = [
    right("dynamodb:BatchWriteItem", On::StateTable, "removes many items at once, such as heartbeats of one kind"),
    right("dynamodb:ConditionCheckItem", On::StateTable, "atomic writes that depend on another item"),
    right("dynamodb:DeleteItem", On::StateTable, "removes one item"),
    right("dynamodb:DescribeTable", On::StateTable, "at each start: the table is there, with its stream"),
    right("dynamodb:DescribeTimeToLive", On::StateTable, "at each start: items end by themselves"),
    right("dynamodb:GetItem", On::StateTable, "reads one item"),
    right("dynamodb:PutItem", On::StateTable, "writes one item"),
    right("dynamodb:Query", On::StateTable, "reads a range of items, such as all roles"),
    right("dynamodb:Scan", On::StateTable, "migrations and exports read the whole table"),
    right("dynamodb:UpdateItem", On::StateTable, "keeps an item alive and compares before it writes"),
    right(
        "dynamodb:UpdateTable",
        On::StateTable,
        "turns the stream on where it is off; the operator has done so before",
    ),
    right("dynamodb:UpdateTimeToLive", On::StateTable, "turns it on where it is off; the operator has done so before"),
    right("dynamodb:DescribeStream", On::StateStream, "finds the shards of the stream"),
    right("dynamodb:GetRecords", On::StateStream, "follows what the other Auth process writes"),
    right("dynamodb:GetShardIterator", On::StateStream, "begins to read a shard"),
    right("dynamodb:BatchWriteItem", On::EventsTable, "writes many audit events at once"),
    right("dynamodb:DeleteItem", On::EventsTable, "named by Teleport's list; nothing is known to use it"),
    right("dynamodb:DescribeTable", On::EventsTable, "at each start: the table is there"),
    right("dynamodb:DescribeTimeToLive", On::EventsTable, "at each start: events end by themselves"),
    right("dynamodb:GetItem", On::EventsTable, "reads one audit event"),
    right("dynamodb:PutItem", On::EventsTable, "writes one audit event"),
    right("dynamodb:Query", On::EventsTable, "reads the events of one session"),
    right("dynamodb:Scan", On::EventsTable, "migrations read the whole table"),
    right("dynamodb:UpdateItem", On::EventsTable, "migrations change events"),
    right("dynamodb:UpdateTable", On::EventsTable, "named by Teleport's list for changes of the index"),
    right("dynamodb:UpdateTimeToLive", On::EventsTable, "turns it on where it is off; the operator has done so before"),
    right("dynamodb:Query", On::EventsIndex, "searches audit events by time"),
    right("s3:GetBucketVersioning", On::Bucket, "a recording that is overwritten must not be lost"),
    right("s3:GetEncryptionConfiguration", On::Bucket, "recordings are encrypted"),
    right("s3:ListBucket", On::Bucket, "at each start: the bucket is there; lists recordings"),
    right("s3:ListBucketMultipartUploads", On::Bucket, "finds uploads that broke off, to complete them"),
    right("s3:ListBucketVersions", On::Bucket, "playback takes the oldest version, which nobody can have changed"),
    right("s3:AbortMultipartUpload", On::Objects, "gives an upload up"),
    right("s3:GetObject", On::Objects, "plays a recording"),
    right("s3:GetObjectRetention", On::Objects, "learns whether a recording is locked"),
    right("s3:GetObjectVersion", On::Objects, "plays the oldest version of a recording"),
    right("s3:ListMultipartUploadParts", On::Objects, "completes an upload that broke off"),
    right("s3:PutObject", On::Objects, "uploads a recording"),
];

/// The policy that grants these rights on this tenant's own resources.
pub fn policy<'a>(names: &CloudNames, rights: impl IntoIterator<Item = &'a Right> + Clone) -> Value {
    let statements = ALL.into_iter().filter_map(|on| {
        let of = rights.clone().into_iter().filter(|right| right.on == on);
        let actions: Vec<&str> = of.map(|right| right.action).collect();
        (!actions.is_empty())
            .then(|| json!({"Sid": on.sid(), "Effect": "Allow", "Action": actions, "Resource": on.arn(names)}))
    });
    json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>()})
}

const KEY_IS_SEEN: &str = "KeyIsSeen";

/// Uses of a customer's key (teleport.md: what Auth needs of one). Only through DynamoDB and S3, and only for the tenant's own
/// tables and bucket: an ARN that a user writes gives no right to what others keep under that key.
pub const KEY_USES: [&str; 5] =
    ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"];

/// The role's one inline policy, with the right to these keys.
pub fn role_policy(names: &CloudNames, kms_keys: &BTreeSet<String>) -> Value {
    let mut policy = policy(names, &RIGHTS);
    if let (false, Some(statements)) = (kms_keys.is_empty(), policy["Statement"].as_array_mut()) {
        statements.extend(key_statements(names, kms_keys));
    }
    policy
}

/// The keys that a policy of ours names.
pub fn keys_of(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let of_keys = statements.filter(|statement| statement["Sid"] == KEY_IS_SEEN);
    let keys = of_keys.flat_map(|statement| statement["Resource"].as_array().into_iter().flatten());
    keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

/// DynamoDB names the table, and S3 the bucket or the object, in the encryption context of each use (AWS: "DynamoDB encryption
/// context", "Amazon S3 encryption context").
fn key_statements(names: &CloudNames, keys: &BTreeSet<String>) -> [Value; 3] {
    let suffix = if names.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let [dynamodb, s3] = ["dynamodb", "s3"].map(|service| format!("{service}.{}.{suffix}", names.region));
    let bucket = names.bucket_arn();
    [
        json!({"Sid": KEY_IS_SEEN, "Effect": "Allow", "Action": ["kms:DescribeKey"], "Resource": keys,
            "Condition": {"StringEquals": {"kms:ViaService": [dynamodb, s3]}}}),
        json!({"Sid": "KeyOfTables", "Effect": "Allow", "Action": KEY_USES, "Resource": keys,
        "Condition": {"StringEquals": {
            "kms:ViaService": dynamodb,
            "kms:EncryptionContext:aws:dynamodb:tableName": [names.state_table, names.events_table],
        }}}),
        json!({"Sid": "KeyOfRecordings", "Effect": "Allow", "Action": KEY_USES, "Resource": keys,
        "Condition": {
            "StringEquals": {"kms:ViaService": s3},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket, format!("{bucket}/*")]},
        }}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/cloud.md");

    fn names() -> CloudNames {
        CloudNames {
            account: "123456789012".into(),
            region: "us-west-2".into(),
            state_table: "eu1-0-state".into(),
            events_table: "eu1-0-events".into(),
            bucket: "eu1-0-recordings".into(),
            role: "eu1-0".into(),
            role_arn: "arn:aws:iam::123456789012:role/tenancy/eu1/eu1-0".into(),
        }
    }

    fn words(policy: &Value, part: &str) -> Vec<String> {
        let statements = policy["Statement"].as_array().expect("statements");
        let words = statements.iter().flat_map(|statement| match &statement[part] {
            Value::Array(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::String(word) => vec![word.clone()],
            other => panic!("{other}"),
        });
        words.collect()
    }

    /// Whoever takes a tenant's Auth must neither read an older state out of a backup nor destroy the way back.
    #[test]
    fn the_role_of_a_tenant_has_no_right_to_its_backups() {
        let policy = role_policy(&names(), &BTreeSet::new());
        for part in ["Action", "Resource"] {
            let words = words(&policy, part);
            assert!(words.len() >= 6, "{words:?}");
            for word in words {
                let lower = word.to_lowercase();
                assert!(!lower.contains("backup") && !lower.contains("restore"), "{word}");
                assert!(!word.ends_with(":*") && !word.ends_with("-state/*") && word != "*", "{word} covers backups");
            }
        }
    }

    #[test]
    fn each_right_stands_once_and_the_policy_holds_all() {
        let once: BTreeSet<(On, &str)> = RIGHTS.iter().map(|right| (right.on, right.action)).collect();
        assert_eq!(once.len(), RIGHTS.len());
        let policy = role_policy(&names(), &BTreeSet::new());
        assert_eq!(words(&policy, "Action").len(), RIGHTS.len());
        assert_eq!(words(&policy, "Resource").len(), ALL.len());
        // IAM takes 10,240 characters of inline policies in a role, white space apart.
        assert!(policy.to_string().len() < 10_240 / 2);
    }

    /// Whatever key a user names, its uses are bound to the tenant's own tables and bucket.
    #[test]
    fn a_key_that_a_user_names_widens_nothing() {
        let key = "arn:aws:kms:us-west-2:123456789012:key/of-another-tenant";
        let keys = BTreeSet::from([key.to_owned()]);
        let policy = role_policy(&names(), &keys);
        assert_eq!(keys_of(&policy), keys);
        assert_eq!(keys_of(&role_policy(&names(), &BTreeSet::new())), BTreeSet::new());
        let statements = policy["Statement"].as_array().expect("statements");
        let of_key: Vec<&Value> = statements.iter().filter(|statement| statement["Resource"] == json!([key])).collect();
        assert_eq!(of_key.len(), 3);
        for statement in of_key {
            let condition = statement["Condition"].to_string();
            assert!(condition.contains("kms:ViaService"), "{statement}");
            let sees = statement["Action"] == json!(["kms:DescribeKey"]);
            assert!(sees || condition.contains("eu1-0-state") != condition.contains("eu1-0-recordings"), "{statement}");
        }
    }

    /// A role gets what its policy and its boundary both allow: a right that the boundary lacks would be lost, and one that it
    /// has beyond the table would be useless there.
    #[test]
    fn the_boundary_of_the_chart_allows_these_rights_and_no_others() {
        let boundary: Value =
            serde_json::from_str(include_str!("../../../../charts/tenant-operator/files/tenant-boundary.json"))
                .expect("it is JSON");
        let allowed: BTreeSet<String> = words(&boundary, "Action").into_iter().collect();
        let rights = RIGHTS.iter().map(|right| right.action).chain(KEY_USES).chain(["kms:DescribeKey"]);
        assert_eq!(allowed, rights.map(str::to_owned).collect());
        let statements = boundary["Statement"].as_array().expect("statements");
        let bounded = |statement: &Value| statement["Resource"].to_string().contains("${INSTALLATION}-");
        assert!(statements.iter().all(|statement| bounded(statement) || statement["Condition"].is_object()));
    }

    #[test]
    fn every_right_is_documented_with_its_reason() {
        let (_, section) = PAGE.split_once("\n## What Auth may do\n").expect("the heading is there");
        let section = section.split("\n## ").next().unwrap_or_default();
        let documented: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> = RIGHTS
            .iter()
            .map(|right| format!("| `{}` | {} | {} |", right.action, right.on.text(), right.why))
            .collect();
        assert_eq!(documented, wanted, "the page is to say:\n{}", wanted.join("\n"));
    }
}
