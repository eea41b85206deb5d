//! `Tenant`: what a platform team asks for. Every rule carries the remedy; every string and list has a bound, since
//! the API server budgets rules by them. What the operator found and did is in `tenant_status`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificates::Certificates;
use crate::maintenance::Maintenance;
use crate::network::Network;
use crate::processes::{Auth, Proxy};
use crate::storage::Storage;
use crate::tenant_status::TenantStatus;

/// One hosted Teleport cluster: its storage, credentials, certificate authorities, addresses and pods.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenancy.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "tenancy",
    namespaced,
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "One hosted Teleport cluster.",
    selectable = ".spec.channel",
    selectable = ".spec.region",
    selectable = ".spec.edition",
    selectable = ".status.version",
    selectable = ".status.update.stage",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "everything is as the spec asks"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "what every Auth and Proxy process reports"
    ),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next.to", description = "the update that is due"),
    printcolumn(
        name = "Blocked",
        type_ = "string",
        json_path = ".status.next.blockers[0].reason",
        description = "the first reason why it does not start"
    ),
    printcolumn(name = "Agents", type_ = "integer", json_path = ".status.agents.total", description = "agents in the inventory"),
    printcolumn(
        name = "Behind",
        type_ = "integer",
        json_path = ".status.agents.behind",
        description = "agents on an older major than the tenant"
    ),
    printcolumn(name = "Window", type_ = "string", json_path = ".status.window", description = "the maintenance window that applies"),
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain", description = "cluster name and public host name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", priority = 1),
    printcolumn(
        name = "Update",
        type_ = "string",
        json_path = ".status.update.stage",
        priority = 1,
        description = "how far the update that runs is"
    ),
    printcolumn(name = "Channel", type_ = "string", json_path = ".spec.channel", priority = 1),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", priority = 1),
    printcolumn(
        name = "Ports",
        type_ = "integer",
        json_path = ".status.ports.ssh",
        priority = 1,
        description = "first port of the block of five"
    ),
    printcolumn(
        name = "Cert expiry",
        type_ = "string",
        json_path = r#".status.certificates[?(@.name=="web")].notAfter"#,
        priority = 1,
        description = "end of the web certificate"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')")
        .message("metadata.name must start with a letter, have at most 40 characters out of a-z, 0-9 and '-', and not end with '-': it becomes part of Service names"),
    validation = Rule::new("!self.metadata.name.endsWith('-auth') && !self.metadata.name.endsWith('-proxy')")
        .message("metadata.name must not end with '-auth' or '-proxy': the tenant without that ending uses such names for its own objects"),
    validation = Rule::new("self.spec.domain == oldSelf.spec.domain")
        .message("spec.domain is immutable: it is the cluster name in every certificate. Create a new Tenant for a new domain")
        .field_path(".spec.domain"),
    validation = Rule::new("self.spec.edition == oldSelf.spec.edition")
        .message("spec.edition is immutable. Create a new Tenant for another edition")
        .field_path(".spec.edition"),
    validation = Rule::new("self.spec.region == oldSelf.spec.region")
        .message("spec.region is immutable: the data lives there. Create a new Tenant for another region")
        .field_path(".spec.region"),
    validation = Rule::new("self.spec.network.exposure == oldSelf.spec.network.exposure")
        .message("spec.network.exposure is immutable: a published address never changes under a running tenant. Create a new Tenant")
        .field_path(".spec.network.exposure"),
    validation = Rule::new("has(self.spec.network.portPool) == has(oldSelf.spec.network.portPool) && (!has(self.spec.network.portPool) || self.spec.network.portPool == oldSelf.spec.network.portPool)")
        .message("spec.network.portPool is immutable and can be neither set nor removed later: a published port never changes under a running tenant. Create a new Tenant")
        .field_path(".spec.network"),
    validation = Rule::new("has(self.spec.network.loadBalancerClass) == has(oldSelf.spec.network.loadBalancerClass) && (!has(self.spec.network.loadBalancerClass) || self.spec.network.loadBalancerClass == oldSelf.spec.network.loadBalancerClass)")
        .message("spec.network.loadBalancerClass is immutable and can be neither set nor removed later: another implementation would give another address. Create a new Tenant")
        .field_path(".spec.network"),
    validation = Rule::new("has(self.spec.version) != has(self.spec.channel)")
        .message("spec.version or spec.channel: exactly one must be set, a version to stay on or a channel of the release feed to follow")
        .field_path(".spec.version"),
    validation = Rule::new("self.spec.size != 'XLarge' || (has(self.spec.auth.resources) && has(self.spec.auth.resources.requests) && has(self.spec.auth.resources.requests.cpu) && has(self.spec.auth.resources.requests.memory) && has(self.spec.proxy.resources) && has(self.spec.proxy.resources.requests) && has(self.spec.proxy.resources.requests.cpu) && has(self.spec.proxy.resources.requests.memory))")
        .message("spec.size XLarge has no resources of its own: set cpu and memory in spec.auth.resources.requests and in spec.proxy.resources.requests, or choose Large")
        .field_path(".spec.size"),
    validation = Rule::new("!has(self.spec.storage.kmsKeyArn) || self.spec.storage.kmsKeyArn.split(':', 5)[3] == self.spec.region")
        .message("spec.storage.kmsKeyArn must be a key in spec.region: make one there, or a replica of a multi-Region key")
        .field_path(".spec.storage.kmsKeyArn"),
    validation = Rule::new("self.spec.edition != 'Enterprise' || has(self.spec.licenseSecretRef)")
        .message("spec.licenseSecretRef is required for edition Enterprise: name a Secret in this namespace with the key license.pem")
        .field_path(".spec.licenseSecretRef"),
    validation = Rule::new("self.spec.edition != 'Community' || !has(self.spec.licenseSecretRef)")
        .message("spec.licenseSecretRef must be absent for edition Community: remove it, or choose edition Enterprise")
        .field_path(".spec.licenseSecretRef")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Teleport cluster name and public host name: a lower-case fully qualified domain name without a trailing dot.
    /// Claimed once for the whole installation, immutable. Point this name and `*.` of it at the published address.
    /// Example: `acme.example.com`.
    #[schemars(length(min = 4, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$')")
        .message("spec.domain must be a lower-case fully qualified domain name such as acme.example.com: no wildcard, no port, no trailing dot"))]
    pub domain: String,

    /// `Enterprise` or `Community`: which Teleport build runs. Immutable.
    pub edition: Edition,

    /// The Enterprise licence: a Secret in the tenant's namespace with the key `license.pem`. Required for `Enterprise`,
    /// refused for `Community`. The operator reads it and never writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_secret_ref: Option<SecretRef>,

    /// The Teleport version that Auth and Proxy should run, without a leading `v`; exactly one of this and `channel`. A
    /// change is carried out inside the maintenance window, one major at a time. Example: `18.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,2}([.](0|[1-9][0-9]{0,2})){2}$')")
        .message("spec.version must be a released Teleport version such as 18.1.0: three numbers without leading zeros, no leading 'v', no pre-release"))]
    pub version: Option<String>,

    /// A channel of the release feed: the tenant follows the newest release that the channel allows; exactly one of this
    /// and `version`. Example: `stable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')")
        .message("spec.channel must be the name of a channel of the release feed: lower-case letters, digits and '-'"))]
    pub channel: Option<String>,

    /// When the tenant may be updated.
    #[serde(default)]
    pub maintenance: Maintenance,

    /// AWS region of the tenant's tables and bucket; one of the regions of the fleet policy. Immutable.
    /// Example: `us-west-2`.
    #[schemars(length(min = 5, max = 30))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$')")
        .message("spec.region must be an AWS region name such as us-west-2"))]
    pub region: String,

    /// How many agents the tenant is sized for, which decides the resources of Auth and Proxy: `Small` up to 500,
    /// `Medium` up to 3,000, `Large` up to 10,000; `XLarge` has no bound and takes its resources from `auth.resources` and
    /// `proxy.resources`.
    #[serde(default)]
    pub size: Size,

    /// How the inventory of agents is judged.
    #[serde(default)]
    pub agents: Agents,

    /// The Auth processes.
    #[serde(default)]
    pub auth: Auth,

    /// The Proxy processes.
    #[serde(default)]
    pub proxy: Proxy,

    /// How the tenant is reached.
    #[serde(default)]
    pub network: Network,

    /// How the tenant's data is kept.
    #[serde(default)]
    pub storage: Storage,

    /// Who issues the tenant's certificates.
    #[serde(default)]
    pub certificates: Certificates,

    /// Where sessions are recorded: `Node`, on the agent, which uploads the recording afterwards; `NodeSync`, on the agent, straight
    /// into the bucket; `Disabled`, not at all. Recording on the Proxy does not exist here. A change restarts Auth. Default `Node`.
    #[serde(default)]
    pub session_recording: SessionRecording,

    /// While true, deleting this Tenant is refused, and a deletion that got past the refusal is not carried out: the
    /// tenant keeps running until this is set to false.
    #[serde(default = "enabled")]
    pub deletion_protection: bool,

    /// While true, nothing is written but the status: no object, no cloud resource, nothing in Teleport. What runs keeps
    /// running and is not mended; no update starts, and one that replaces processes stands still, while its deadline goes
    /// on. `Ready` is True with the reason `Paused` and names what would be done. Deleting the Tenant still works.
    /// Default: false.
    #[serde(default)]
    pub paused: bool,
}

pub(crate) fn enabled() -> bool {
    true
}

/// Where sessions are recorded.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionRecording {
    /// On the agent; uploaded when the session is over.
    #[default]
    Node,
    /// On the agent; streamed to Auth while the session runs, so that an agent that is lost takes nothing with it.
    NodeSync,
    /// Not at all.
    Disabled,
}

/// Which Teleport build runs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// The Enterprise build; needs a licence.
    Enterprise,
    /// The Community build.
    Community,
}

/// A Secret in the namespace of the object that names it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')")
        .message("name must be the name of a Secret: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
}

/// Size classes; the numbers are Teleport's published scaling figures, scaled down.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Up to 500 agents.
    #[default]
    Small,
    /// Up to 3,000 agents.
    Medium,
    /// Up to 10,000 agents.
    Large,
    /// More: `auth.resources` and `proxy.resources` say with how much.
    XLarge,
}

/// How the inventory of agents is judged.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Agents {
    /// How old the last complete reading of the inventory may be before the condition `AgentsObserved` turns False.
    /// Hours, minutes and seconds, 1m to 24h. Default `15m`.
    #[serde(rename = "reportTTL", default = "default_report_ttl")]
    #[schemars(length(min = 2, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("spec.agents.reportTTL must be a duration between 1m and 24h out of hours, minutes and seconds, such as 15m or 1h30m"))]
    pub report_ttl: String,

    /// How long an agent that left the inventory on an older major than the tenant still holds a major update back: it may
    /// only be switched off for the night. Hours, minutes and seconds, 1h to 720h. Default `24h`.
    #[serde(default = "default_remember_for")]
    #[schemars(length(min = 2, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('720h')")
        .message("spec.agents.rememberFor must be a duration between 1h and 720h out of hours, minutes and seconds, such as 24h"))]
    pub remember_for: String,

    /// Forgets agents that left and will not come back, without waiting for `rememberFor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forget: Option<Forget>,
}

/// A request to forget agents. It is carried out once, on those that have left by then: an agent that is still in the
/// inventory, or comes back, counts. A later `requestedAt` is a new request.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Forget {
    /// Server ids as the laggards of an AgentPool show them, 1 to 100; `*` stands for all. Example: `["*"]`.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 64)))]
    pub ids: Vec<String>,

    /// When this was asked for, RFC 3339; the request is carried out at this time. Example: `2026-11-22T10:00:00Z`.
    #[schemars(length(min = 20, max = 35))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])$')")
        .message("spec.agents.forget.requestedAt must be a time with its zone such as 2026-11-22T10:00:00Z"))]
    pub requested_at: String,
}

fn default_report_ttl() -> String {
    "15m".to_owned()
}

fn default_remember_for() -> String {
    "24h".to_owned()
}

impl Default for Agents {
    fn default() -> Self {
        Agents { report_ttl: default_report_ttl(), remember_for: default_remember_for(), forget: None }
    }
}
