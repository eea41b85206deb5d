//! `Tenant.status`: what runs, what should run, and what is in the way. A status changes when a fact changes; nothing
//! in it ticks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificates::{CertManagerObjects, Issuance};
use crate::published::Published;
pub use crate::update_status::HopKind;
use crate::update_status::{Availability, HopRecord, Next, Update};

/// What the operator found and did.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The operator version that last settled this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reconciled_by: Option<String>,

    /// 16 hexadecimal digits that name and tag everything that outlives this object.
    #[serde(rename = "tenantID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{16}$')").message("status.tenantID must be 16 hexadecimal digits: leave it to the operator"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("status.tenantID is immutable: it names the data of the tenant. Remove the whole status of a restored object, and the operator writes its own"))]
    pub tenant_id: Option<String>,

    /// A summary for people only; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Which Secret `<tenant>-ca-<generation>` holds the authorities that count; absent: the first. A new one is made when
    /// Teleport has rotated them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_generation: Option<i64>,

    /// What every Auth and Proxy process reports; absent while they differ or none answers for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,

    /// The highest version whose Auth was ever started; written before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub auth_high_water: Option<String>,

    /// What the pods were rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,

    /// The maintenance window that applies, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 127))]
    pub window: Option<String>,

    /// The change that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,

    /// The next change: what it is, when, and what is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,

    /// The last ten changes, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HopRecord>,

    /// `spec.maintenance.applyNow` as it was last acted upon: the same value starts nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_now: Option<Time>,

    /// How long users could not log in this month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,

    /// The agents in the inventory, Auth and Proxy left out, as of the last complete reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentCounts>,

    /// What the tenant's Teleport was told about the updates of its agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,

    /// The port block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,

    /// Where the tenant is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// The names of the tenant's cloud resources, recorded before they are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageNames>,

    /// The certificates that the operator keeps for the tenant, and its licence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub certificates: Vec<CertificateStatus>,

    /// The web certificate that is being issued by an ACME server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuance: Option<Issuance>,

    /// What cert-manager makes the web certificate from, recorded before it is made and until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManagerObjects>,

    /// Each answers one question; see the list of conditions in the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A summary for people.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for something that only a person can give.
    Pending,
    /// Is being built for the first time.
    Provisioning,
    /// Is as the spec asks.
    Ready,
    /// Is being updated.
    Updating,
    /// Was ready and is not.
    Degraded,
    /// Is being removed.
    Removing,
}

impl Phase {
    /// The word as it stands in the API.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Provisioning => "Provisioning",
            Phase::Ready => "Ready",
            Phase::Updating => "Updating",
            Phase::Degraded => "Degraded",
            Phase::Removing => "Removing",
        }
    }
}

/// What the pods were rendered from. With it the operator tells a user's edit, which is applied at once, from a change
/// of its own rendering, which waits.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The generation of the spec.
    pub generation: i64,
    /// The Teleport version in the pods.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Digest of the parts of the spec that reach the pods.
    #[schemars(length(max = 64))]
    pub pod_inputs: String,
    /// Digest of the rendered pod templates.
    #[schemars(length(max = 64))]
    pub template: String,
}

/// Agents by version.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentCounts {
    /// All agents in the inventory.
    pub total: i64,
    /// Those on an older major than the tenant or of a version that cannot be read, those included that left and are
    /// remembered. Of these, agents in required pools hold a major update back.
    pub behind: i64,
    /// Those of `behind` that left the inventory less than `spec.agents.rememberFor` ago.
    #[serde(default)]
    pub remembered: i64,
    /// The oldest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub oldest: Option<String>,
    /// Agents by major, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub majors: Vec<MajorCount>,
}

/// Agents of one major.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct MajorCount {
    /// The major version.
    pub major: i64,
    /// How many agents run it.
    pub count: i64,
}

/// A block of five consecutive public ports.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// The pool it comes from.
    #[schemars(length(max = 40))]
    pub pool: String,
    /// SSH clients.
    pub ssh: i32,
    /// Reverse tunnels of agents.
    pub tunnel: i32,
    /// Kubernetes API clients.
    pub kube: i32,
    /// MySQL clients.
    pub mysql: i32,
    /// PostgreSQL clients.
    pub postgres: i32,
}

/// Where the tenant is reached.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Host and port of the web interface, which is also the address of the cluster for every client.
    #[schemars(length(max = 260))]
    pub web: String,
    /// The addresses or host names to point the domain at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub addresses: Vec<String>,
    /// With exposure `NodePort`: the port of every node behind which 443 is. Whatever the domain points at leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
}

/// Names of cloud resources.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StorageNames {
    /// AWS account id.
    #[schemars(length(max = 12))]
    pub account: String,
    /// AWS region.
    #[schemars(length(max = 30))]
    pub region: String,
    /// DynamoDB table of the cluster state.
    #[schemars(length(max = 255))]
    pub state_table: String,
    /// DynamoDB table of the audit events.
    #[schemars(length(max = 255))]
    pub events_table: String,
    /// S3 bucket of the session recordings.
    #[schemars(length(max = 63))]
    pub bucket: String,
    /// IAM role of the Auth processes.
    #[schemars(length(max = 2048))]
    pub role_arn: String,
}

/// One certificate.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// `web`: what browsers and clients see. `host-ca`, `user-ca`: the cluster's own authorities. `license`: the licence that
    /// Auth runs with.
    #[schemars(length(max = 40))]
    pub name: String,
    /// When it ends, RFC 3339 in UTC.
    #[schemars(length(max = 40))]
    pub not_after: String,
    /// Who issued it.
    #[schemars(length(max = 64))]
    pub issuer: String,
}
