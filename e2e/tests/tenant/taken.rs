//! What is taken away comes back, and until then the right condition says that it is missing. Addresses and ports stay.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crds::Tenant;
use e2e::testbed::{NAMESPACE, TestBed, wait_until};
use serde_json::{Value, json};

use super::history::History;
use super::manifest::{apply_ready, id, tenant, with};
use super::{cloud, cluster};

/// Within this time a loss shows.
const SHOWS: Duration = Duration::from_secs(30);
/// Within this time after that it is mended.
const MENDED: Duration = Duration::from_secs(60);

/// What can be taken away.
#[derive(Clone, Debug)]
enum Thing {
    /// An object: namespace, kind, name.
    Object(String, &'static str, String),
    /// Pods, of which there must be as many again.
    Pods(Vec<String>),
    BucketPolicy,
    Stream,
    RolePolicy,
}

/// One tenant from which things are taken.
struct Victim<'a> {
    bed: &'a TestBed,
    name: &'static str,
    id: String,
    tenant: Tenant,
}

/// From a tenant with two Auth processes.
pub async fn from_auth(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant("taken-pair", "taken-pair", "taken-pair.example.com"), "auth", json!({"replicas": 2}));
    let victim = Victim::new(bed, "taken-pair", &wanted).await?;
    let one = victim.pods("auth").await?.swap_remove(0);
    victim.loses(Thing::Pods(vec![one]), &["Ready=False"]).await?;
    let service = Thing::Object("taken-pair".into(), "service", "taken-pair".into());
    victim.loses(service, &["ProxyAvailable=False/NotServing", "Available=False", "Ready=False"]).await?;
    let service = Thing::Object("taken-pair".into(), "service", "taken-pair-auth".into());
    victim.loses(service, &["AuthAvailable=False/NotServing", "Available=False", "Ready=False"]).await
}

/// From a tenant with one Auth process: pods, claims and configuration.
pub async fn from_single(bed: &TestBed) -> anyhow::Result<()> {
    let name = "taken-single";
    let victim = Victim::new(bed, name, &tenant(name, name, "taken-single.example.com")).await?;
    let claims = |kind| cluster::claim(bed, kind, &victim.id);
    let (ports, domain) = (claims("ports").await?, claims("domain").await?);
    let lease = |lease: String| Thing::Object(NAMESPACE.into(), "lease", lease);
    victim.loses(lease(ports), &["PortsAllocated=False/InProgress", "Ready=False/InProgress"]).await?;
    victim.loses(lease(domain), &["Ready=False/InProgress"]).await?;
    for component in ["auth", "proxy"] {
        let configs = cluster::names(bed, name, "configmap", &cluster::component(&victim.id, component)).await?;
        ensure!(configs.len() == 1, "the ConfigMaps of {component} are {configs:?}");
        for config in configs {
            victim.loses(Thing::Object(name.into(), "configmap", config), &["Ready=False/InProgress"]).await?;
        }
    }
    let pods = victim.pods("auth").await?;
    victim
        .loses(Thing::Pods(pods), &["AuthAvailable=False/PodsNotReady", "Available=False/NotServing", "Ready=False"])
        .await
}

/// From the account.
pub async fn from_cloud(bed: &TestBed) -> anyhow::Result<()> {
    let name = "taken-cloud";
    let victim = Victim::new(bed, name, &tenant(name, name, "taken-cloud.example.com")).await?;
    victim.loses(Thing::BucketPolicy, &["StorageReady=False/InProgress", "Ready=False/InProgress"]).await?;
    victim.loses(Thing::Stream, &["StorageReady=False/InProgress", "Ready=False/InProgress"]).await?;
    victim.loses(Thing::RolePolicy, &["CredentialsReady=False/InProgress", "Ready=False/InProgress"]).await
}

/// Secrets: the web certificate, what Auth starts from, and the token by which Proxy joins. The last two come back as
/// they were, since what runs knows no other; nothing restarts.
pub async fn from_keys(bed: &TestBed) -> anyhow::Result<()> {
    let name = "taken-keys";
    let victim = Victim::new(bed, name, &tenant(name, name, "taken-keys.example.com")).await?;
    let before = victim.all_pods().await?;
    let web = Thing::Object(name.into(), "secret", format!("{name}-web"));
    victim.loses(web, &["CertificatesReady=False/InProgress", "Ready=False/InProgress"]).await?;
    for component in ["auth", "proxy"] {
        let secrets = cluster::names(bed, name, "secret", &cluster::component(&victim.id, component)).await?;
        ensure!(secrets.len() == 1, "the Secrets of {component} are {secrets:?}");
        for secret in secrets {
            victim.loses(Thing::Object(name.into(), "secret", secret), &["Ready=False/InProgress"]).await?;
        }
    }
    let after = victim.all_pods().await?;
    ensure!(before == after, "the pods were {before:?} and are {after:?}");
    let due = super::manifest::condition(&bed.tenants(name).get(name).await?, "UpdateDue")?;
    ensure!(due.0 == "False", "an update is due: {due:?}");
    Ok(())
}

impl<'a> Victim<'a> {
    async fn new(bed: &'a TestBed, name: &'static str, wanted: &Value) -> anyhow::Result<Victim<'a>> {
        let tenant = apply_ready(bed, wanted).await?;
        Ok(Victim { bed, name, id: id(&tenant)?, tenant })
    }

    async fn pods(&self, component: &str) -> anyhow::Result<Vec<String>> {
        cluster::names(self.bed, self.name, "pods", &cluster::component(&self.id, component)).await
    }

    async fn all_pods(&self) -> anyhow::Result<Vec<String>> {
        cluster::names(self.bed, self.name, "pods", "").await
    }

    /// Takes it away, waits until each of these states was seen, and until all is as before.
    async fn loses(&self, thing: Thing, shows: &[&str]) -> anyhow::Result<()> {
        let lost = format!("{}: {thing:?}", self.name);
        self.take(&thing, shows).await.with_context(|| format!("without {lost}"))
    }

    async fn take(&self, thing: &Thing, shows: &[&str]) -> anyhow::Result<()> {
        let before = self.look(thing).await?;
        ensure!(!before.is_null(), "it is not there to be taken");
        let history = History::begin(self.bed, self.name, self.name).await?;
        self.remove(thing).await?;
        for state in shows {
            history.saw(state, SHOWS).await?;
        }
        wait_until("it to be as before", MENDED, || async {
            let after = self.look(thing).await?;
            if after == before { Ok(Some(())) } else { bail!("it was\n{before:#}\nand is\n{after:#}") }
        })
        .await?;
        let healed = self.bed.await_condition(self.name, self.name, "Ready", "True", MENDED).await?;
        let published = |tenant: &Tenant| {
            let status = tenant.status.clone().unwrap_or_default();
            (status.ports, status.endpoints.map(|endpoints| endpoints.web), status.storage, status.tenant_id)
        };
        ensure!(published(&healed) == published(&self.tenant), "it is published otherwise than before");
        // A load balancer may give another Service another address; what status says must be what is.
        let reach = self.bed.reach(self.name, self.name).await?;
        self.bed.ask(&reach, "/webapi/ping").await.map(drop)
    }

    /// How it looks; null when it is not there.
    async fn look(&self, thing: &Thing) -> anyhow::Result<Value> {
        match thing {
            Thing::Object(namespace, kind, name) => {
                Ok(cluster::specified(self.bed, namespace, kind, name).await?.unwrap_or(Value::Null))
            }
            Thing::Pods(names) => {
                // Their successors have other names: what is compared is what stands behind them.
                let component = if names.iter().all(|name| name.contains("-auth-")) { "auth" } else { "proxy" };
                let labels = cluster::component(&self.id, component);
                let path = "jsonpath={range .items[*]}{.status.readyReplicas}/{.status.replicas} {end}";
                let arguments = ["-n", self.name, "get", "deployments", "-l", &labels, "-o", path];
                Ok(json!(self.bed.kubectl(arguments).await?))
            }
            Thing::BucketPolicy | Thing::Stream | Thing::RolePolicy => cloud::tenant(self.bed, &self.id).await,
        }
    }

    async fn remove(&self, thing: &Thing) -> anyhow::Result<()> {
        let status = self.tenant.status.as_ref().context("no status")?;
        let storage = status.storage.as_ref().context("no storage")?;
        match thing {
            Thing::Object(namespace, kind, name) => cluster::delete(self.bed, namespace, kind, name).await,
            Thing::Pods(names) => {
                let arguments = ["-n", self.name, "delete", "pods", "--wait=false"].map(str::to_owned);
                self.bed.kubectl(arguments.iter().chain(names)).await.map(drop)
            }
            Thing::BucketPolicy => self.bed.cloud().remove_bucket_policy(&storage.bucket).await,
            Thing::Stream => self.bed.cloud().disable_stream(&storage.state_table).await,
            Thing::RolePolicy => {
                let role = storage.role_arn.rsplit('/').next().unwrap_or_default();
                self.bed.cloud().remove_role_policy(role, "tenant").await
            }
        }
    }
}
