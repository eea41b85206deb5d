//! Everything a plan is made from. Facts only: nothing here decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use serde_json::Value;

use crate::acme::AcmeFacts;
use crate::agents::{Inventory, Pool, Stored};
use crate::claims::Claim;
use crate::cloud::CloudFacts;
use crate::fact::Fact;
use crate::fleet::Installation;
use crate::keys::{Authorities, CertificateFacts, MetricsKeys, StoredAuthorities};
use crate::names::Component;
use crate::object::Ref;
use crate::publish::Live;
use crate::publish::alert::Raised;
use crate::teleport::{AuthPing, WebPing};
use crate::trouble::Trouble;
use crate::updates::Updates;

/// What was observed of one tenant and its surroundings.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The one time of this run, by which everything is decided but what `wall` is for.
    pub now: DateTime<Utc>,
    /// The real time of this run: others judge certificates by their own clocks, so their age is told by this. It
    /// differs from `now` only where tests have moved that.
    pub wall: DateTime<Utc>,
    /// By how many whole seconds our clock is ahead of the API server's.
    pub clock_skew: Fact<TimeDelta>,
    /// Version of this operator.
    pub operator_version: String,
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// The Tenant with its last status.
    pub tenant: Tenant,
    /// The fleet policy: the last good one, or why there never was one.
    pub installation: Result<Installation, String>,
    /// Labels of the tenant's namespace, which the fleet policy goes by; none where the namespace is not known yet.
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// How many other tenants each AWS account holds, by its id; asked for while none is recorded for this one.
    pub in_accounts: BTreeMap<String, u32>,
    /// All claims of the installation.
    pub claims: Fact<Arc<Vec<Claim>>>,
    /// The cloud resources.
    pub cloud: CloudFacts,
    /// The tenant's objects, as far as they were read.
    pub objects: Objects,
    /// The ACME server, for tenants that have their web certificate from there.
    pub acme: AcmeFacts,
    /// What keeps pods of Auth and Proxy from serving; Unknown while nobody asked.
    pub troubles: Fact<Vec<Trouble>>,
    /// The Secrets that the operator looks into.
    pub secrets: Secrets,
    /// The authorities in the state table; Unknown while nobody looked.
    pub stored_authorities: Fact<StoredAuthorities>,
    /// What the processes say.
    pub teleport: Processes,
    /// What updates depend on.
    pub updates: Updates,
    /// The AgentPools that name this tenant.
    pub pools: Fact<Vec<Pool>>,
    /// What is remembered of agents that may have vanished.
    pub memory: Fact<Stored>,
    /// What metrics are served with by the pods of Proxy that run, where that is something else than new ones would get.
    pub metrics_in_use: Option<MetricsKeys>,
    /// Whether the cluster knows PodMonitors.
    pub pod_monitors: bool,
    /// Failures that last.
    pub failures: BTreeMap<(StageName, Source), Failure>,
    /// When objects of the tenant were last put back without a word.
    pub mended: Option<DateTime<Utc>>,
}

/// Where a failure of a stage came from. Success in one says nothing about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Reading Kubernetes or the cloud.
    Read,
    /// Asking a process of the tenant.
    Process,
    /// Performing a step.
    Step,
}

/// The stages of a tenant, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageName {
    /// Finalizer, tenant id, domain, ports.
    Identity,
    /// Account, tables, bucket, role.
    Cloud,
    /// Authorities, join token, web certificate, licence.
    Keys,
    /// Auth and its configuration.
    Auth,
    /// Proxy and its configuration.
    Proxy,
    /// The inventory.
    Agents,
    /// What is due, and the hop that runs.
    Update,
    /// What agents and users are told. It never makes a tenant unready.
    Publish,
    /// The web certificate that is being issued, while another one serves.
    Certificates,
    /// What scrapers read. It never makes a tenant unready.
    Metrics,
}

/// The kind of a failure decides when it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// May pass by itself: shows in the message at once, in the status after five minutes.
    Passing,
    /// A permission is missing: shows at once.
    Denied,
    /// The cluster does not take what the spec or the fleet policy asks for: shows at once, and only a person can help.
    Refused,
    /// A defect: shows at once.
    Defect,
}

/// A call of a stage that failed, and since when it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// First failure of an unbroken row.
    pub since: DateTime<Utc>,
    /// What kind.
    pub kind: FailureKind,
    /// The whole chain of causes in one line.
    pub message: String,
}

/// The tenant's objects, each read by its name. What was not read yet is not there at all; a plan asks for it.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// By kind and name.
    pub live: BTreeMap<Ref, Fact<Value>>,
}

impl Objects {
    /// What was read of one object, if it was asked for.
    pub fn read(&self, reference: &Ref) -> Option<&Fact<Value>> {
        self.live.get(reference)
    }

    /// The object, if it was read and is there.
    pub fn known(&self, reference: &Ref) -> Option<&Value> {
        self.live.get(reference).and_then(Fact::known)
    }
}

/// Contents of a Secret, or what is wrong with them.
pub type Contents<T> = Result<T, String>;

/// The Secrets that the operator looks into.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The certificate authorities.
    pub authorities: Fact<Contents<AuthoritySecret>>,
    /// The web certificate.
    pub web: Fact<Contents<WebSecret>>,
    /// What cert-manager wrote; Unknown for tenants that have nothing of it.
    pub issued: Fact<Contents<IssuedSecret>>,
    /// The licence, if the named Secret has the key.
    pub license: Fact<Contents<LicenseSecret>>,
}

/// The authorities, with what their certificates say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritySecret {
    /// The keys.
    pub authorities: Authorities,
    /// The host authority's certificate.
    pub host: CertificateFacts,
    /// The user authority's certificate.
    pub user: CertificateFacts,
    /// What metrics are served and read with.
    pub metrics: MetricsKeys,
}

/// The web certificate as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSecret {
    /// What it says.
    pub certificate: CertificateFacts,
    /// Whether the key is that of the certificate.
    pub key_matches: bool,
    /// Who issued it.
    pub issued_by: IssuedBy,
    /// How the ACME server knows it (RFC 9773, section 4.1).
    pub certificate_id: Option<String>,
    /// Of the chain and the authorities beside it, to tell whether it is the one that cert-manager wrote.
    pub digest: String,
    /// The authorities by which it is verified, PEM.
    pub trust: String,
}

/// Who issued a web certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuedBy {
    /// The tenant's own issuer, which the Secret names too.
    Tenant,
    /// An ACME server, as the operator wrote beside it.
    Acme {
        /// URL of its directory.
        directory: String,
    },
    /// An issuer of cert-manager, as the operator wrote beside it.
    CertManager {
        /// Kind, group and name.
        issuer: String,
    },
    /// Somebody else.
    Unknown,
}

/// A certificate as cert-manager wrote it: its key is the one beside it, and whoever trusts the authorities beside it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedSecret {
    /// What it says.
    pub certificate: CertificateFacts,
    /// The issuer, as cert-manager wrote beside it: kind, group and name.
    pub issuer: String,
    /// As of the web certificate.
    pub digest: String,
}

/// What the processes say.
#[derive(Clone, Debug)]
pub struct Processes {
    /// Auth, asked over gRPC.
    pub auth: Fact<AuthPing>,
    /// Proxy, asked over HTTPS.
    pub web: Fact<WebPing>,
    /// Each process of Auth and Proxy by itself, asked while a hop is verified: behind a Service one of them answers for
    /// all. Unknown at other times.
    pub each: Fact<Vec<Process>>,
    /// The last complete reading of the inventory.
    pub inventory: Option<Arc<Inventory>>,
    /// What agents and users are told.
    pub told: Told,
}

/// What a tenant's Teleport tells its agents and its users. It is read only when a plan asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What agents are told.
    pub agents: Fact<Live>,
    /// The operator's own alert.
    pub alerts: Fact<Vec<Raised>>,
}

/// The Secret that a user names as licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseSecret {
    /// Of what stands under its key, 16 hexadecimal digits: another licence is another one.
    pub digest: String,
}

/// One process of Auth or Proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Of what.
    pub component: Component,
    /// Name of its pod.
    pub pod: String,
    /// The version that it answers with. Absent while it has no address, Unknown while it does not answer.
    pub version: Fact<String>,
}
