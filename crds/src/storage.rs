//! `Tenant.spec.storage`: how a tenant's data is kept.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::enabled;

/// How the tenant's data is kept.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Whether both tables can be restored to any second of the last 35 days. Default true.
    #[serde(default = "enabled")]
    pub point_in_time_recovery: bool,

    /// Days that an audit event is kept, 1 to 3650; applies to events written from then on. Default 365.
    #[serde(default = "default_audit_retention_days")]
    #[schemars(range(min = 1, max = 3650))]
    pub audit_retention_days: i32,

    /// Days for which a session recording can be played at least, 1 to 3650; 0 = for ever. After twice as many it is gone for good: a
    /// version that somebody overwrote must be playable as long from then on. Applies to recordings that are there, too. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3650))]
    pub session_retention_days: i32,

    /// ARN of a KMS key of your own, in the tenant's region, for both tables and the bucket. The key's policy must let the
    /// operator and the tenant's role use it through DynamoDB and S3; the documentation has one. Without it: keys that AWS manages.
    /// A key that is given later or replaced applies to the tables at once and to recordings from then on; keep the former one,
    /// since recordings and backups stay under it. Example: `arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 40, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws(-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$')")
        .message("spec.storage.kmsKeyArn must be the ARN of a KMS key, such as arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab; an alias can come to mean another key, and is refused"))]
    pub kms_key_arn: Option<String>,
}

fn default_audit_retention_days() -> i32 {
    365
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            point_in_time_recovery: true,
            audit_retention_days: default_audit_retention_days(),
            session_retention_days: 0,
            kms_key_arn: None,
        }
    }
}
