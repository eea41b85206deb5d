//! What a planner sees of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use crds::Tenant;
use plan::agents::{Memory, Stored};
use plan::cloud::CloudFacts;
use plan::feed::standing::Standing;
use plan::keys::StoredAuthorities;
use plan::manifest::kept::Kept;
use plan::names::Component;
use plan::object::{Kind, Ref};
use plan::observed::{AuthoritySecret, LicenseSecret, Objects, Observed, Process, Processes, Secrets};
use plan::teleport::{AuthPing, WebPing};
use plan::updates::Updates;
use plan::{Fact, Plan};

use super::World;
use super::fixtures::{authorities, metrics};

impl World {
    pub fn observe(&self) -> Observed {
        self.look(false)
    }

    /// What is seen; `live` as in the last look before a hop.
    pub fn look(&self, live: bool) -> Observed {
        self.look_at(&self.tenant, &self.objects, live)
    }

    /// The same with a Tenant and objects as they were earlier.
    pub fn look_at(&self, tenant: &Tenant, objects: &super::Objects, live: bool) -> Observed {
        let identity = self.identity();
        let fact = |name: String| Fact::answered(self.tables.get(&name).map(|(facts, _)| facts.clone()));
        let prefix = format!("eu1-{}", identity.id);
        Observed {
            now: self.now,
            wall: self.now,
            clock_skew: Fact::Known(TimeDelta::zero()),
            operator_version: "0.1.0".into(),
            operator_namespace: "tenancy-system".into(),
            tenant: tenant.clone(),
            installation: Ok((*self.installation).clone()),
            namespace_labels: Some(BTreeMap::new()),
            in_accounts: BTreeMap::new(),
            claims: Fact::Known(Arc::new(self.claims.clone())),
            cloud: CloudFacts {
                state_table: fact(format!("{prefix}-state")),
                events_table: fact(format!("{prefix}-events")),
                bucket: Fact::answered(self.bucket.clone()),
                role: Fact::answered(self.role.clone()),
            },
            acme: self.acme(),
            objects: self.watched(objects),
            troubles: Fact::Known(Vec::new()),
            secrets: Secrets {
                authorities: Fact::answered(self.authorities.map(|number| {
                    Ok(AuthoritySecret { metrics: metrics(number, self.renewal), ..authorities(number) })
                })),
                web: Fact::answered(self.web.clone().map(|certificate| Ok(self.web_secret(certificate)))),
                issued: self.issued(),
                license: Fact::answered(self.license.then(|| Ok(LicenseSecret { digest: "0123456789abcdef".into() }))),
            },
            stored_authorities: self.stored_authorities(),
            teleport: Processes {
                auth: self.auth(),
                web: self.web(),
                each: Fact::Known(self.each()),
                inventory: self.inventory.clone(),
                told: self.told.clone(),
            },
            pools: Fact::Known(self.pools.clone()),
            memory: self.memory(),
            metrics_in_use: self.metrics_in_use(),
            pod_monitors: self.pod_monitors,
            updates: Updates {
                feed: Ok(Arc::clone(&self.feed)),
                policy_fault: None,
                standing: Arc::new(Standing::new([])),
                window: self.window.clone(),
                place: self.place,
                backups: Fact::Known(self.backups.clone()),
                live,
            },
            failures: BTreeMap::new(),
            mended: None,
        }
    }

    /// What Auth has put into its state table, where that can be read: what it was started with, or what was rotated there.
    fn stored_authorities(&self) -> Fact<StoredAuthorities> {
        let started = self.tenant.status.as_ref().is_some_and(|status| status.auth_high_water.is_some());
        if !started || !self.readable {
            return Fact::Unknown;
        }
        let plan::keys::Authorities { host, user, web: _ } =
            authorities(self.stored.unwrap_or(self.made_authorities)).authorities;
        Fact::Known(StoredAuthorities { host, user })
    }

    /// What the pods of Proxy serve their metrics with, where it is not the newest.
    fn metrics_in_use(&self) -> Option<plan::keys::MetricsKeys> {
        let live = self.objects.get(&Ref::new(Kind::Deployment, self.proxy_name()))?;
        let until = plan::manifest::metrics::until(live)?;
        let mut earlier = (0..self.renewal).map(|renewal| metrics(self.authorities.unwrap_or(1), renewal));
        earlier.find(|keys| keys.not_after == until)
    }

    /// The objects that are always looked at, out of these.
    pub fn watched(&self, objects: &super::Objects) -> Objects {
        let slug = self.identity().slug;
        let deployments =
            [self.auth_name(0), self.auth_name(1), self.proxy_name()].map(|name| Ref::new(Kind::Deployment, name));
        let services = [slug.clone(), format!("{slug}-auth")].map(|name| Ref::new(Kind::Service, name));
        let live = deployments.into_iter().chain(services).map(|reference| {
            let fact = Fact::answered(objects.get(&reference).map(|live| (**live).clone()));
            (reference, fact)
        });
        Objects { live: live.collect() }
    }

    pub fn memory(&self) -> Fact<Stored> {
        Fact::answered(
            self.remembered
                .as_ref()
                .map(|data| Stored { resource_version: self.memory_writes.to_string(), memory: Memory::parse(data) }),
        )
    }

    /// What Auth answers: one of the processes that are ready.
    pub fn auth(&self) -> Fact<AuthPing> {
        let ready: Vec<String> =
            (0..2).map(|ordinal| self.auth_name(ordinal)).filter(|name| self.pods_ready(name)).collect();
        if ready.is_empty() {
            return Fact::Absent;
        }
        let name = &ready[self.turn % ready.len()];
        let Some(version) = self.version_of(name) else { return Fact::Absent };
        Fact::Known(AuthPing {
            cluster_name: self.tenant.spec.domain.clone(),
            version: version.to_string(),
            license_expires: None,
        })
    }

    /// What Proxy answers: one of its processes.
    pub fn web(&self) -> Fact<WebPing> {
        let running = self.proxy_processes();
        if !self.pods_ready(&self.proxy_name()) || running.is_empty() {
            return Fact::Absent;
        }
        // Of several the new one is still starting.
        let old =
            running.iter().find(|version| running.len() > 1 && Some(*version) != self.proxy_pod_version().as_ref());
        let version = old.unwrap_or(&running[self.turn % running.len()]);
        Fact::Known(self.web_ping(version.to_string()))
    }

    /// Each process as its own pod answers.
    pub fn each(&self) -> Vec<Process> {
        let parts = [
            (self.auth_name(0), Component::Auth),
            (self.auth_name(1), Component::Auth),
            (self.proxy_name(), Component::Proxy),
        ];
        let ready = parts.into_iter().filter(|(name, _)| self.pods_ready(name));
        let pods = ready.flat_map(|(name, component)| {
            let versions: Vec<_> = self.running.get(&name).into_iter().flatten().collect();
            let wanted = self.objects[&Ref::new(Kind::Deployment, &*name)]["spec"]["replicas"].as_u64().unwrap_or(1);
            let many = usize::try_from(wanted).expect("few pods").max(versions.len());
            let pods = versions.iter().cycle().take(if versions.is_empty() { 0 } else { many }).enumerate();
            pods.map(|(number, version)| (format!("{name}-{number}"), component, version.to_string()))
                .collect::<Vec<_>>()
        });
        pods.map(|(pod, component, version)| Process { component, pod, version: Fact::Known(version) }).collect()
    }

    fn web_ping(&self, version: String) -> WebPing {
        let domain = &self.tenant.spec.domain;
        let port = |offset: i32| {
            let ports = self.tenant.status.as_ref().and_then(|status| status.ports.as_ref())?;
            Some(format!("{domain}:{}", ports.ssh + offset))
        };
        WebPing {
            cluster_name: domain.clone(),
            version,
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
        self.plan_with(|_| {})
    }

    /// The same where something else is observed, too.
    pub fn plan_with(&self, change: impl FnOnce(&mut Observed)) -> Plan {
        let (mut observed, mut kept) = (self.observe(), Kept::default());
        change(&mut observed);
        for _ in 0..8 {
            let plan = plan::tenant_again(&observed, &mut kept);
            if plan.needs.is_empty() && (observed.updates.live || !plan.look) {
                return plan;
            }
            if plan.look {
                observed.updates.live = true;
            }
            for need in plan.needs {
                let fact = Fact::answered(self.objects.get(&need).map(|live| (**live).clone()));
                observed.objects.live.insert(need, fact);
            }
        }
        panic!("the planner never has enough")
    }
}
