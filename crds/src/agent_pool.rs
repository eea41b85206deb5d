//! `AgentPool`: a named share of a tenant's agents, who is in it, who of it is behind, and how it is updated. Agents in no
//! pool are in an implicit one that is required, so that having no pool never means that nobody is waited for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::enabled;
use crate::tenant_status::MajorCount;

/// A share of a tenant's agents.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenancy.dev",
    version = "v1alpha1",
    kind = "AgentPool",
    plural = "agentpools",
    shortname = "ap",
    category = "tenancy",
    namespaced,
    status = "AgentPoolStatus",
    derive = "PartialEq",
    doc = "A share of the agents of one tenant.",
    selectable = ".spec.tenantRef.name",
    printcolumn(
        name = "Tenant",
        type_ = "string",
        json_path = ".spec.tenantRef.name",
        description = "whose agents these are"
    ),
    printcolumn(name = "Agents", type_ = "integer", json_path = ".status.agents", description = "agents in the inventory"),
    printcolumn(
        name = "Behind",
        type_ = "integer",
        json_path = ".status.behind",
        description = "agents on an older major than the tenant, those included that left and are remembered"
    ),
    printcolumn(name = "Oldest", type_ = "string", json_path = ".status.oldest", description = "the oldest version"),
    printcolumn(
        name = "Enrolled",
        type_ = "integer",
        json_path = ".status.enrolled",
        description = "agents that are updated automatically"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Required",
        type_ = "boolean",
        json_path = ".spec.required",
        priority = 1,
        description = "whether agents that are behind hold a major update back"
    ),
    printcolumn(
        name = "Order",
        type_ = "integer",
        json_path = ".spec.automaticUpdates.order",
        priority = 1,
        description = "when its agents are updated, lowest first"
    ),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name must have at most 63 characters: it becomes the name of an update group"),
    validation = Rule::new("self.spec.tenantRef.name == oldSelf.spec.tenantRef.name")
        .message("spec.tenantRef.name is immutable: the agents of another tenant are another pool. Create a new AgentPool")
        .field_path(".spec.tenantRef.name")
)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolSpec {
    /// The Tenant whose agents these are, in the same namespace. Immutable.
    pub tenant_ref: TenantRef,

    /// Which agents are in the pool. Empty, the default, means all that no other pool takes. An agent is in one pool only:
    /// of several that fit, the oldest takes it, and pools with an empty match come last.
    #[serde(rename = "match", default)]
    pub matches: Match,

    /// How the agents of the pool are updated after the tenant.
    #[serde(default)]
    pub automatic_updates: AutomaticUpdates,

    /// Whether agents of this pool that are behind hold a major update of the tenant back. Default true. With false they
    /// are shown, and lose their connection when the tenant moves two majors beyond them.
    #[serde(default = "enabled")]
    pub required: bool,
}

/// A Tenant in the same namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct TenantRef {
    /// Name of the Tenant.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')")
        .message("spec.tenantRef.name must be the name of a Tenant: a letter, then at most 39 characters out of a-z, 0-9 and '-'"))]
    pub name: String,
}

/// Which agents are in a pool. With both lists an agent must fit both; within a list one entry is enough.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Services of which an agent runs at least one, as Teleport calls them: `Node`, `Kube`, `App`, `Db`, `WindowsDesktop`,
    /// `Discovery`. Upper and lower case are the same. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    #[x_kube(validation = Rule::new("self.all(service, service.matches('^[A-Za-z][A-Za-z0-9_]*$'))")
        .message("spec.match.services must be names of Teleport services such as Node, Kube or Db: letters and digits only"))]
    #[x_kube(validation = Rule::new("!self.exists(service, service.lowerAscii() == 'auth' || service.lowerAscii() == 'proxy')")
        .message("spec.match.services must not name Auth or Proxy: they are the tenant's own processes and in no pool"))]
    pub services: Vec<String>,

    /// Groups of Managed Updates to one of which an agent belongs. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 64)))]
    pub update_groups: Vec<String>,
}

/// How agents are updated after the tenant.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AutomaticUpdates {
    /// Whether agents of the pool that have an updater are told of new versions. Default true; false leaves them alone.
    #[serde(default = "enabled")]
    pub enrolled: bool,

    /// `HaltOnError`, the default: the next pool in order waits until nearly all of this one run the new version.
    /// `TimeBased`: each pool goes on in its own window, whatever the others do.
    #[serde(default)]
    pub strategy: Strategy,

    /// When the pool's turn is, 1 to 20, lowest first. Default 1.
    #[serde(default = "first")]
    #[schemars(range(min = 1, max = 20))]
    pub order: i32,
}

fn first() -> i32 {
    1
}

impl Default for AutomaticUpdates {
    fn default() -> Self {
        AutomaticUpdates { enrolled: true, strategy: Strategy::default(), order: first() }
    }
}

/// How pools wait for each other.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The next one waits for this one.
    #[default]
    HaltOnError,
    /// Nobody waits for anybody.
    TimeBased,
}

/// Who is in the pool, as of the last complete reading of the tenant's inventory.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentPoolStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Agents in the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<i64>,

    /// Agents that hold a major update back: on an older major than the tenant, or of a version that cannot be read. Those
    /// that left the inventory in that state count for `spec.agents.rememberFor` of the Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<i64>,

    /// The oldest version in the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub oldest: Option<String>,

    /// Agents in the inventory by major, newest first; the 16 newest majors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub majors: Vec<MajorCount>,

    /// The first 20 of those that are behind, oldest version first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub laggards: Vec<Laggard>,

    /// What updates the agents; the 8 most frequent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub updaters: Vec<UpdaterCount>,

    /// Agents that are updated automatically: those with an updater, while `spec.automaticUpdates.enrolled` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled: Option<i64>,

    /// `Ready`: the pool belongs to a Tenant. `Observed`: the inventory was read in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An agent that is behind.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Laggard {
    /// Server id, as `spec.agents.forget` of the Tenant takes it.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Host name as the agent reports it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub hostname: String,
    /// Version as the agent reports it.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Services that it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32)))]
    pub services: Vec<String>,
    /// The hour in which it was first missing, RFC 3339 in UTC; absent while it is in the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub left: Option<String>,
}

/// Agents by what updates them.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct UpdaterCount {
    /// `binary` (teleport-update), `unit` (systemd timer), `kube`, or `none`.
    #[schemars(length(max = 32))]
    pub name: String,
    /// How many agents.
    pub count: i64,
}
