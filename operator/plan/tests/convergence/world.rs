//! An in-memory world that does what steps say: cluster, cloud and processes of one tenant. Time is a number. What a planner
//! sees of it is in `seen`, what steps do to it in `effects` and `cloud`, what happens by itself in `passing`.

#[path = "world/acme.rs"]
pub mod acme;
#[path = "world/cert_manager.rs"]
pub mod cert_manager;
#[path = "world/cloud.rs"]
mod cloud;
#[path = "world/effects.rs"]
mod effects;
#[path = "world/fixtures.rs"]
pub mod fixtures;
#[path = "world/passing.rs"]
mod passing;
#[path = "world/seen.rs"]
mod seen;
#[path = "world/told.rs"]
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use plan::agents::{Inventory, Pool};
use plan::claims::Claim;
use plan::cloud::backup::BackupFacts;
use plan::cloud::facts::{BucketFacts, RoleFacts, TableFacts};
use plan::feed::Feed;
use plan::fleet::Installation;
use plan::keys::CertificateFacts;
use plan::line::Place;
use plan::names::{self, Identity};
use plan::object::{Kind, Ref};
use plan::observed::Told;
use plan::teleport::Instance;
use plan::updates::WindowFact;
use plan::version::Version;
use serde_json::{Value, json};

use fixtures::{FED, INSTALLED, start};

/// Objects of a namespace, shared between the world and what was seen of it earlier.
pub type Objects = BTreeMap<Ref, Arc<Value>>;

#[derive(Clone)]
pub struct World {
    pub now: DateTime<Utc>,
    pub tenant: Tenant,
    /// Moves with every write of the Tenant.
    pub resource_version: u64,
    pub installation: Arc<Installation>,
    pub claims: Vec<Claim>,
    pub tables: BTreeMap<String, (TableFacts, u32)>,
    pub bucket: Option<BucketFacts>,
    pub role: Option<RoleFacts>,
    pub objects: Objects,
    pub authorities: Option<u32>,
    pub made_authorities: u32,
    /// Those in the state table, by number; none = Auth has never been initialised. An authority beside it is rotated.
    pub stored: Option<u32>,
    /// Whether the state table can be read.
    pub readable: bool,
    pub kept_authorities: u32,
    pub web: Option<CertificateFacts>,
    /// How often the certificates of metrics were renewed.
    pub renewal: i32,
    /// Whether the cluster knows PodMonitors.
    pub pod_monitors: bool,
    pub license: bool,
    /// The ACME server.
    pub acme: acme::Server,
    pub cert_manager: cert_manager::Controller,
    pub inventory: Option<Arc<Inventory>>,
    /// What Auth would list now.
    pub agents: Vec<Instance>,
    pub pools: Vec<Pool>,
    /// The ConfigMap of the vanished agents, as text, and how often it was written.
    pub remembered: Option<BTreeMap<String, String>>,
    pub memory_writes: u64,
    pub gone: bool,
    pub feed: Arc<Feed>,
    pub window: WindowFact,
    pub place: Place,
    pub backups: Vec<BackupFacts>,
    /// What agents and users are told, as it was last read.
    pub told: Told,
    /// Versions that refuse the configuration.
    pub refused: Vec<String>,
    /// Versions whose pods never become ready.
    pub broken: Vec<String>,
    /// The versions of the processes that run, by Deployment.
    pub running: BTreeMap<String, BTreeSet<Version>>,
    /// How many ticks pods need to become ready, and how many those of a Deployment still need.
    pub slowness: u32,
    pub starting: BTreeMap<String, u32>,
    /// Which of the ready Auth pods answers.
    pub turn: usize,
    versions: u64,
}

impl World {
    pub fn new(spec: Value) -> World {
        World::named("acme", 1, spec)
    }

    /// A Tenant of this name; the number makes its uid.
    pub fn named(slug: &str, number: u32, spec: Value) -> World {
        let mut whole = json!({"domain": format!("{slug}.example.com"), "edition": "Community", "version": "18.1.0", "region": "us-west-2"});
        for (key, value) in spec.as_object().expect("a map") {
            whole[key] = value.clone();
        }
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": slug, "namespace": "customers", "uid": format!("5f0b8a4e-7f6c-4a55-9f6f-{number:012}"), "generation": 1},
            "spec": whole,
        }))
        .expect("a Tenant");
        World {
            now: start(),
            tenant,
            resource_version: 1,
            installation: Arc::new(INSTALLED.clone()),
            claims: Vec::new(),
            tables: BTreeMap::new(),
            bucket: None,
            role: None,
            objects: BTreeMap::new(),
            authorities: None,
            made_authorities: 0,
            stored: None,
            readable: true,
            kept_authorities: 0,
            web: None,
            renewal: 0,
            pod_monitors: true,
            license: false,
            acme: acme::Server::default(),
            cert_manager: cert_manager::Controller::default(),
            inventory: None,
            agents: Vec::new(),
            pools: Vec::new(),
            remembered: None,
            memory_writes: 0,
            gone: false,
            feed: Arc::new(FED.clone()),
            window: WindowFact::Missing { window: "customers/default".into() },
            place: Place::Free,
            backups: Vec::new(),
            told: Told::default(),
            refused: Vec::new(),
            broken: Vec::new(),
            running: BTreeMap::new(),
            slowness: 0,
            starting: BTreeMap::new(),
            turn: 0,
            versions: 0,
        }
    }

    pub fn identity(&self) -> Identity {
        let uid = self.tenant.uid().expect("a uid");
        Identity {
            slug: self.tenant.name_any(),
            namespace: self.tenant.namespace().expect("a namespace"),
            id: names::tenant_id(&uid),
            uid,
        }
    }

    pub fn auth_name(&self, ordinal: usize) -> String {
        format!("{}-auth-{ordinal}", self.tenant.name_any())
    }

    pub fn proxy_name(&self) -> String {
        format!("{}-proxy", self.tenant.name_any())
    }

    /// The versions of the Auth Deployments that are there.
    pub fn auth_pod_versions(&self) -> Vec<Version> {
        (0..2).filter_map(|ordinal| self.version_of(&self.auth_name(ordinal))).collect()
    }

    /// The version of the Proxy Deployment.
    pub fn proxy_pod_version(&self) -> Option<Version> {
        self.version_of(&self.proxy_name())
    }

    /// The versions of all Auth processes that run, each as often as Deployments have it.
    pub fn auth_processes(&self) -> Vec<Version> {
        (0..2).flat_map(|ordinal| self.running.get(&self.auth_name(ordinal)).into_iter().flatten().cloned()).collect()
    }

    /// The versions of all Proxy processes that run.
    pub fn proxy_processes(&self) -> Vec<Version> {
        self.running.get(&self.proxy_name()).into_iter().flatten().cloned().collect()
    }

    pub fn ready(&self) -> bool {
        self.condition("Ready").is_some_and(|(status, _)| status == "True")
    }

    pub fn condition(&self, type_: &str) -> Option<(String, String)> {
        let conditions = &self.tenant.status.as_ref()?.conditions;
        let found = conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((found.status.clone(), found.reason.clone()))
    }

    fn pods_ready(&self, name: &str) -> bool {
        self.objects
            .get(&Ref::new(Kind::Deployment, name))
            .is_some_and(|live| live["status"]["readyReplicas"].as_i64().unwrap_or(0) > 0)
    }

    /// The version that the template of a Deployment names.
    fn version_of(&self, name: &str) -> Option<Version> {
        let live = self.objects.get(&Ref::new(Kind::Deployment, name))?;
        Some(image_version(live).parse().expect("a version"))
    }

    pub fn delete(&mut self) {
        let now = Timestamp::from_second(self.now.timestamp()).expect("in range");
        self.tenant.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    }

    /// An edit of the spec, as the API server counts it.
    pub fn edit(&mut self, change: impl FnOnce(&mut crds::TenantSpec)) {
        change(&mut self.tenant.spec);
        self.tenant.metadata.generation = self.tenant.metadata.generation.map(|generation| generation + 1);
        self.resource_version += 1;
    }

    /// Some seconds pass, and what starts by itself is there; Auth is asked for its agents.
    pub fn tick(&mut self) {
        self.now += TimeDelta::seconds(5);
        self.pass_acme();
        self.pass_cert_manager();
        self.pass();
        if self.pods_ready(&self.auth_name(0)) {
            self.inventory = Some(Arc::new(self.reading()));
        }
    }
}

/// The tag of the image of the first container of a pod template.
pub fn image_version(live: &Value) -> &str {
    let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    image.rsplit(':').next().unwrap_or_default()
}
