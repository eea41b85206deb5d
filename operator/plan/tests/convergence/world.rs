//! An in-memory world that does what steps say: cluster, cloud and processes of one tenant. Time is a number.

#[path = "world/told.rs"]
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use plan::agents::{Inventory, Memory, Pool, Reading, Stored};
use plan::claims::{Claim, Subject};
use plan::cloud::CloudFacts;
use plan::cloud::backup::{BackupFacts, BackupKind, BackupStatus};
use plan::cloud::facts::{BucketFacts, RoleFacts, TableFacts, TableStatus};
use plan::cloud::step::CloudStep;
use plan::feed::Feed;
use plan::feed::standing::Standing;
use plan::fleet::Installation;
use plan::keys::{Authorities, Authority, CertificateFacts, Sensitive, WebIssuer};
use plan::line::Place;
use plan::names::{self, Component, Identity};
use plan::object::{Kind, Ref};
use plan::observed::{AuthoritySecret, Objects, Observed, Process, Processes, Secrets, Told, WebSecret};
use plan::step::Step;
use plan::teleport::{AuthPing, Instance, WebPing};
use plan::updates::{Updates, WindowFact};
use plan::version::Version;
use plan::{Fact, Plan};
use serde_json::{Value, json};

pub const INSTALLATION: &str = r#"
id: eu1
aws: {account: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
"#;

pub const FEED: &str = r#"
releases:
  - {version: 16.4.3, releasedAt: 2026-01-01T00:00:00Z}
  - {version: 17.5.2, releasedAt: 2026-03-01T00:00:00Z}
  - {version: 17.5.3, releasedAt: 2026-03-10T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-05-01T00:00:00Z}
  - {version: 18.1.1, releasedAt: 2026-06-01T00:00:00Z}
  - {version: 18.2.0, releasedAt: 2026-07-01T00:00:00Z}
channels: {stable: {soak: {patch: 24h, minor: 72h, major: 720h}}}
"#;

#[derive(Clone)]
pub struct World {
    pub now: DateTime<Utc>,
    pub tenant: Tenant,
    pub claims: Vec<Claim>,
    pub tables: BTreeMap<String, (TableFacts, u32)>,
    pub bucket: Option<BucketFacts>,
    pub role: Option<RoleFacts>,
    pub objects: BTreeMap<Ref, Value>,
    pub authorities: Option<u32>,
    pub made_authorities: u32,
    pub web: Option<CertificateFacts>,
    pub license: bool,
    pub inventory: Option<Inventory>,
    /// What Auth would list now.
    pub agents: Vec<Instance>,
    pub pools: Vec<Pool>,
    /// The ConfigMap of the vanished agents, as text, and how often it was written.
    pub remembered: Option<BTreeMap<String, String>>,
    pub memory_writes: u64,
    pub gone: bool,
    pub feed: Feed,
    pub window: WindowFact,
    pub place: Place,
    pub backups: Vec<BackupFacts>,
    /// What Teleport tells agents and users.
    pub told: Told,
    /// Versions that refuse the configuration.
    pub refused: Vec<String>,
    /// Versions whose pods never become ready.
    pub broken: Vec<String>,
    /// Versions of running Auth pods, for invariants.
    pub auth_versions: Vec<String>,
    versions: u64,
}

impl World {
    pub fn new(spec: Value) -> World {
        let mut tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "acme", "namespace": "customers", "uid": "5f0b8a4e-7f6c-4a55-9f6f-000000000001", "generation": 1},
            "spec": {"domain": "acme.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2"},
        }))
        .expect("a Tenant");
        let mut merged = serde_json::to_value(&tenant.spec).expect("a spec");
        for (key, value) in spec.as_object().expect("a map") {
            merged[key] = value.clone();
        }
        tenant.spec = serde_json::from_value(merged).expect("a spec");
        World {
            now: start(),
            tenant,
            claims: Vec::new(),
            tables: BTreeMap::new(),
            bucket: None,
            role: None,
            objects: BTreeMap::new(),
            authorities: None,
            made_authorities: 0,
            web: None,
            license: false,
            inventory: None,
            agents: Vec::new(),
            pools: Vec::new(),
            remembered: None,
            memory_writes: 0,
            gone: false,
            feed: Feed::parse(FEED).expect("a feed"),
            window: WindowFact::Missing { window: "customers/default".into() },
            place: Place::Free,
            backups: Vec::new(),
            told: Told::default(),
            refused: Vec::new(),
            broken: Vec::new(),
            auth_versions: Vec::new(),
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

    /// The versions of the Auth Deployments that are there.
    pub fn auth_pod_versions(&self) -> Vec<Version> {
        let names = ["acme-auth-0", "acme-auth-1"];
        let there = names.into_iter().filter(|name| self.objects.contains_key(&Ref::new(Kind::Deployment, *name)));
        there.map(|name| Version::parse(&self.version_of(name)).expect("a version")).collect()
    }

    /// The version of the Proxy Deployment.
    pub fn proxy_pod_version(&self) -> Option<Version> {
        self.objects
            .contains_key(&Ref::new(Kind::Deployment, "acme-proxy"))
            .then(|| Version::parse(&self.version_of("acme-proxy")).expect("a version"))
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

    fn version_of(&self, name: &str) -> String {
        let live = &self.objects[&Ref::new(Kind::Deployment, name)];
        let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        image.rsplit(':').next().unwrap_or_default().to_owned()
    }

    pub fn observe(&self) -> Observed {
        self.look(false)
    }

    /// What is seen; `live` as in the last look before a hop.
    pub fn look(&self, live: bool) -> Observed {
        let identity = self.identity();
        let fact = |name: String| Fact::answered(self.tables.get(&name).map(|(facts, _)| facts.clone()));
        let prefix = format!("eu1-{}", identity.id);
        let domain = self.tenant.spec.domain.clone();
        let auth = if self.pods_ready("acme-auth-0") {
            Fact::Known(AuthPing { cluster_name: domain.clone(), version: self.version_of("acme-auth-0") })
        } else {
            Fact::Absent
        };
        let web = if self.pods_ready("acme-proxy") { Fact::Known(self.web_ping()) } else { Fact::Absent };
        Observed {
            now: self.now,
            wall: self.now,
            clock_skew: Fact::Known(TimeDelta::zero()),
            operator_version: "0.1.0".into(),
            tenant: self.tenant.clone(),
            installation: Installation::parse(INSTALLATION).map_err(|faults| faults.join("; ")),
            claims: Fact::Known(Arc::new(self.claims.clone())),
            cloud: CloudFacts {
                state_table: fact(format!("{prefix}-state")),
                events_table: fact(format!("{prefix}-events")),
                bucket: Fact::answered(self.bucket.clone()),
                role: Fact::answered(self.role.clone()),
            },
            objects: Objects {
                live: ["acme-auth-0", "acme-auth-1", "acme-proxy"]
                    .map(|name| Ref::new(Kind::Deployment, name))
                    .into_iter()
                    .chain(["acme", "acme-auth"].map(|name| Ref::new(Kind::Service, name)))
                    .map(|reference| (reference.clone(), Fact::answered(self.objects.get(&reference).cloned())))
                    .collect(),
            },
            secrets: Secrets {
                authorities: Fact::answered(self.authorities.map(|number| Ok(authorities(number)))),
                web: Fact::answered(
                    self.web
                        .clone()
                        .map(|certificate| Ok(WebSecret { certificate, key_matches: true, issued_by_tenant: true })),
                ),
                license: Fact::answered(self.license.then_some(Ok(()))),
            },
            teleport: Processes {
                auth,
                web,
                each: Fact::Known(self.each()),
                inventory: self.inventory.clone().map(Arc::new),
                told: self.told.clone(),
            },
            pools: Fact::Known(self.pools.clone()),
            memory: Fact::answered(
                self.remembered.as_ref().map(|data| Stored {
                    resource_version: self.memory_writes.to_string(),
                    memory: Memory::parse(data),
                }),
            ),
            updates: Updates {
                feed: Ok(Arc::new(self.feed.clone())),
                policy_fault: None,
                standing: Arc::new(Standing::new([])),
                window: self.window.clone(),
                place: self.place,
                backups: Fact::Known(self.backups.clone()),
                live,
            },
            failures: BTreeMap::new(),
        }
    }

    /// Each process as its own pod answers.
    pub fn each(&self) -> Vec<Process> {
        let parts =
            [("acme-auth-0", Component::Auth), ("acme-auth-1", Component::Auth), ("acme-proxy", Component::Proxy)];
        let pods = parts.into_iter().flat_map(|(name, component)| {
            let live = self.objects.get(&Ref::new(Kind::Deployment, name));
            let ready = live.and_then(|live| live["status"]["readyReplicas"].as_i64()).unwrap_or_default();
            (0..ready).map(move |number| (format!("{name}-{number}"), name, component))
        });
        pods.map(|(pod, name, component)| Process { component, pod, version: Fact::Known(self.version_of(name)) })
            .collect()
    }

    fn web_ping(&self) -> WebPing {
        let domain = &self.tenant.spec.domain;
        let port = |offset: i32| {
            let ports = self.tenant.status.as_ref().and_then(|status| status.ports.as_ref())?;
            Some(format!("{domain}:{}", ports.ssh + offset))
        };
        WebPing {
            cluster_name: domain.clone(),
            version: self.version_of("acme-proxy"),
            edition: if self.license { "ent" } else { "community" }.into(),
            tls_routing: self.tenant.spec.network.tls_routing,
            public_addr: Some(format!("{domain}:443")),
            ssh_public_addr: port(0),
            tunnel_public_addr: port(1),
            kube_public_addr: port(2),
            mysql_public_addr: port(3),
            postgres_public_addr: port(4),
        }
    }

    /// Plans as the operator does, reading Secrets that the plan asks for.
    pub fn plan(&self) -> Plan {
        let mut observed = self.observe();
        for _ in 0..8 {
            let plan = plan::tenant(&observed);
            if plan.needs.is_empty() && (observed.updates.live || !plan.look) {
                return plan;
            }
            if plan.look {
                observed.updates = self.look(true).updates;
            }
            for need in plan.needs {
                let fact = Fact::answered(self.objects.get(&need).cloned());
                observed.objects.live.insert(need, fact);
            }
        }
        panic!("the planner never has enough")
    }

    /// Stores the status, as the API server would.
    pub fn write(&mut self, plan: &Plan) -> bool {
        let changed = self.tenant.status.as_ref() != Some(&plan.status);
        self.tenant.status = Some(plan.status.clone());
        changed
    }

    /// Time passes: tables settle, pods start, the inventory is read.
    pub fn tick(&mut self) {
        self.now += TimeDelta::seconds(5);
        for backup in &mut self.backups {
            backup.status = BackupStatus::Available;
        }
        for (facts, remaining) in self.tables.values_mut() {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                facts.status = TableStatus::Active;
            }
        }
        let mut running = Vec::new();
        for (reference, live) in &mut self.objects {
            match reference.kind {
                Kind::Job => {
                    let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
                    let refused = self.refused.iter().any(|version| image.ends_with(version.as_str()));
                    let type_ = if refused { "Failed" } else { "Complete" };
                    live["status"] = json!({"conditions": [{"type": type_, "status": "True", "message": "said so"}]});
                }
                Kind::Deployment => {
                    let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
                    if self.broken.iter().any(|version| image.ends_with(version.as_str())) {
                        live["status"] = json!({"observedGeneration": live["metadata"]["generation"]});
                        continue;
                    }
                    let wanted = live["spec"]["replicas"].clone();
                    live["status"] = json!({"observedGeneration": live["metadata"]["generation"], "replicas": wanted,
                        "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted});
                    if reference.name.contains("-auth-") {
                        running.push(live["spec"]["template"]["spec"]["containers"][0]["image"].to_string());
                    }
                }
                Kind::Service => {
                    live["spec"]["clusterIP"] = json!("127.64.0.7");
                    if live["spec"]["type"] == "LoadBalancer" {
                        live["status"] = json!({"loadBalancer": {"ingress": [{"ip": "127.128.0.1"}]}});
                    }
                }
                Kind::ConfigMap | Kind::Secret | Kind::ServiceAccount => {}
            }
        }
        self.auth_versions = running;
        if self.pods_ready("acme-auth-0") {
            let mut reading = Reading::default();
            for agent in &self.agents {
                reading.add(agent).expect("a good entry");
            }
            self.inventory = Some(reading.finish(self.now));
        }
    }

    /// Performs one step.
    pub fn perform(&mut self, step: &Step) {
        self.versions += 1;
        let identity = self.identity();
        match step {
            Step::AddFinalizer => self.tenant.finalizers_mut().push(names::FINALIZER.into()),
            Step::RemoveFinalizer => self.gone = true,
            Step::Claim { subject, .. } => {
                self.claims.retain(|claim| claim.subject != *subject);
                self.claims.push(Claim {
                    subject: subject.clone(),
                    holder: Some(identity.holder()),
                    created: self.now,
                    rests_until: None,
                    resource_version: self.versions.to_string(),
                });
            }
            Step::Release { subject: Subject::Domain(domain), .. } => {
                self.claims.retain(|claim| claim.subject != Subject::Domain(domain.clone()));
            }
            Step::Release { subject, rests_until } => {
                for claim in self.claims.iter_mut().filter(|claim| claim.subject == *subject) {
                    claim.holder = None;
                    claim.rests_until = *rests_until;
                }
            }
            Step::Cloud(step) => self.cloud(step),
            Step::CreateAuthorities { .. } => {
                if self.authorities.is_none() {
                    self.made_authorities += 1;
                    self.authorities = Some(self.made_authorities);
                }
            }
            Step::UnguardAuthorities => {}
            Step::IssueWebCertificate { domain, .. } => {
                self.web = Some(CertificateFacts {
                    names: vec![format!("*.{domain}"), domain.clone()],
                    not_after: self.now + TimeDelta::days(90),
                    ..certificate(self.now)
                });
            }
            Step::RememberAgents { memory, seen } => {
                let current = self.remembered.as_ref().map(|_| self.memory_writes.to_string());
                assert_eq!(*seen, current, "a blind write");
                self.remembered = Some(memory.render());
                self.memory_writes += 1;
            }
            Step::Publish(step) => told::perform(&mut self.told, step, self.versions),
            Step::Apply(object) => {
                let mut live = object.manifest.clone();
                let before = self.objects.get(&object.reference);
                let generation = before.map_or(0, |live| live["metadata"]["generation"].as_i64().unwrap_or(0));
                live["metadata"]["generation"] = json!(generation + 1);
                live["metadata"]["uid"] = json!(format!("uid-{}", object.reference));
                if let Some(before) = before {
                    live["status"] = before["status"].clone();
                }
                self.objects.insert(object.reference.clone(), live);
            }
            Step::Delete { reference, .. } => {
                self.objects.remove(reference);
            }
        }
    }

    fn cloud(&mut self, step: &CloudStep) {
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
                    policy: None,
                    tags: BTreeMap::new(),
                });
            }
            CloudStep::TagBucket { tags, .. } => self.bucket().tags.clone_from(tags),
            CloudStep::EnableVersioning { .. } => self.bucket().versioning = true,
            CloudStep::BlockPublicAccess { .. } => self.bucket().public_access_blocked = true,
            CloudStep::EncryptBucket { .. } => self.bucket().encryption = Some("aws:kms".into()),
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

    pub fn delete(&mut self) {
        let now = Timestamp::from_second(self.now.timestamp()).expect("in range");
        self.tenant.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    }
}

/// When every world begins.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("in range")
}

fn certificate(now: DateTime<Utc>) -> CertificateFacts {
    CertificateFacts {
        not_before: now,
        not_after: now + TimeDelta::days(3650),
        names: Vec::new(),
        issuer: "CN=acme".into(),
        subject: "CN=acme".into(),
    }
}

pub fn authorities(number: u32) -> AuthoritySecret {
    let made = start();
    let authority = |name: &str| Authority {
        certificate: format!("{name} certificate {number}\n"),
        key: Sensitive(format!("{name} key {number}\n")),
        ssh_public: format!("ssh-ed25519 {name}{number}\n"),
        ssh_key: Sensitive(format!("{name} ssh key {number}\n")),
    };
    AuthoritySecret {
        authorities: Authorities {
            host: authority("host"),
            user: authority("user"),
            web: WebIssuer { certificate: "web certificate\n".into(), key: Sensitive("web key\n".into()) },
        },
        host: certificate(made),
        user: certificate(made),
    }
}
