//! The whole test bed: control plane, emulators, network, stand-in kubelet, and the operator installed from its charts.
//! The demo and the end-to-end tests start from here; neither has a way of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use serde_json::{Value, json};
use teleport_standin::World;

use crate::control_plane::{self, ControlPlane};
use crate::helm::{Helm, Release};
use crate::kubelet::{self, Kubelet};
use crate::network::Network;
use crate::open_files;

mod agents;
mod clock;
mod cloud;
mod dns;
mod drift;
mod kubectl;
mod operator;
pub mod statuses;
mod tenant;
mod told;
mod updates;
mod writes;

pub use agents::{agent, move_agents};
pub use clock::Clock;
#[cfg(test)]
pub(crate) use clock::pretended_clock;
pub use cloud::Cloud;
pub use drift::{DRIFTS, Drift};
pub use operator::pod_of;
pub use tenant::{Reach, wait_until};
pub use updates::blockers;
pub(crate) use writes::request;
pub use writes::{Write, Writes};

/// Tells the operator's test build in which network pods really are.
const PODS: &str = "TENANT_OPERATOR_TEST_PODS";
/// Namespace of the operator.
pub const NAMESPACE: &str = "tenancy-system";
/// Prefix of everything in the emulated cloud.
pub const INSTALLATION: &str = "eu1";
/// The emulator's one account.
pub const ACCOUNT: &str = "123456789012";
/// Where tenants keep their data.
pub const REGION: &str = "us-west-2";
/// Issuer of ServiceAccount tokens, as its provider is called in IAM.
pub const ISSUER: &str = "kubernetes.default.svc";
/// IAM path of the roles of tenants.
pub const ROLE_PATH: &str = "/tenancy/eu1/";
/// The public zone of all tenants.
pub const ZONE: &str = "example.com";
/// The operator's own role.
pub const OPERATOR_ROLE: &str = "tenant-operator";
/// The managed policy that bounds the roles of tenants.
pub const BOUNDARY: &str = "tenant-boundary";
/// How long helm waits for the operator's pods.
const OPERATOR_START: Duration = Duration::from_secs(90);

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The control plane.
    pub control_plane: control_plane::Options,
    /// All durations of pods and of the processes in them are divided by this.
    pub scale: f64,
    /// Values of the operator's chart, over those of the test bed.
    pub values: Value,
}

impl Default for Options {
    fn default() -> Self {
        Options { control_plane: control_plane::Options::default(), scale: 20.0, values: json!({}) }
    }
}

/// What is in the account before an operator.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The operator's role.
    pub role_arn: String,
    /// The policy that bounds the roles of tenants.
    pub boundary_arn: String,
}

/// A running test bed.
pub struct TestBed {
    kubelet: Kubelet,
    network: Network,
    world: Arc<World>,
    cloud: Cloud,
    clock: Clock,
    control_plane: ControlPlane,
    scale: f64,
    /// How often a process of the operator was killed.
    kills: AtomicUsize,
}

impl TestBed {
    /// Starts everything but the operator.
    ///
    /// # Errors
    /// When a part does not start; what was started is stopped.
    pub async fn start(options: &Options) -> anyhow::Result<TestBed> {
        open_files::raise();
        let control_plane = ControlPlane::start(options.control_plane.clone()).await?;
        let network = Network::start(control_plane.client(), control_plane.slot()).await;
        let world = World::new();
        let operator = operator_binary()?;
        let clock = Clock::new(control_plane.run_dir().path().join("clock"), operator.clone());
        std::fs::write(clock.file(), "0 0\n").context("cannot write the operator's clock")?;
        let kubelet = Kubelet::start(kubelet::Config {
            client: control_plane.client(),
            slot: control_plane.slot(),
            resolver: network.resolver(),
            scale: options.scale,
            world: Arc::clone(&world),
            run_dir: control_plane.run_dir().path().to_owned(),
            api_server_url: control_plane.api_server().to_owned(),
            api_server_ca_path: control_plane.api_server_authority().to_owned(),
            node_env: BTreeMap::from([
                ("AWS_ENDPOINT_URL".to_owned(), control_plane.aws().endpoint().to_owned()),
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
            ]),
            operator_binary: Some(operator),
            known_versions: None,
        })
        .await?;
        let cloud = Cloud::open(control_plane.aws().endpoint(), control_plane.aws_root());
        Ok(TestBed {
            kubelet,
            network,
            world,
            cloud,
            clock,
            control_plane,
            scale: options.scale,
            kills: AtomicUsize::new(0),
        })
    }

    /// Starts everything, the operator included, and returns when it leads.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn with_operator(options: &Options) -> anyhow::Result<TestBed> {
        let bed = TestBed::start(options).await?;
        match bed.install_operator(&options.values).await {
            Ok(()) => Ok(bed),
            Err(error) => {
                let log = bed.operator_log().await;
                bed.stop().await;
                Err(error.context(format!("the operator does not start; its log ends with\n{}", tail(&log))))
            }
        }
    }

    /// Installs both charts and waits for the operator's pods.
    ///
    /// # Errors
    /// When a chart cannot be installed or the pods do not become ready.
    pub async fn install_operator(&self, values: &Value) -> anyhow::Result<()> {
        let Prepared { role_arn, boundary_arn } = self.prepare_account().await?;
        self.cloud.put_role_policy(OPERATOR_ROLE, "dns", &aws_policy("dns-policy.json")?).await?;
        self.cloud.create_zone(ZONE).await?;
        let acme = self.control_plane.acme();
        let helm = Helm::new(&self.control_plane)?;
        let install = async |name: &str, values: &Value, wait| {
            let release = Release { name, namespace: NAMESPACE, chart: &chart(name), values, wait };
            helm.install(&release).await
        };
        install("tenant-operator-crds", &json!({}), None).await?;
        let mut merged = json!({
            "aws": {"roleArn": role_arn},
            "extraEnv": [
                {"name": clock::VARIABLE, "value": self.clock.file()},
                {"name": PODS, "value": self.pod_address(Ipv4Addr::UNSPECIFIED)},
            ],
            "cloudResync": "20s",
            "inventoryInterval": "5s",
            "fleet": {"installation": {
                "id": INSTALLATION,
                "aws": {"accounts": [{"id": ACCOUNT, "regions": [REGION], "oidcProvider": ISSUER, "rolePath": ROLE_PATH,
                    "boundaryArn": boundary_arn, "maxTenants": 10000}]},
                "acme": {
                    "directory": acme.directory(),
                    "caBundle": self.control_plane.acme_authority(),
                    "dns": {"route53": [{"zone": ZONE}], "resolvers": [acme.name_server()]},
                },
                "portPools": [{"name": "default", "start": 11100, "end": 31099}],
                "network": {"blockedRanges": ["10.0.0.0/8"], "serviceAnnotations": annotations()},
                "monitoring": {"scraper": {"namespace": "monitoring", "podLabels": {"app.kubernetes.io/name": "prometheus"}}},
            }},
        });
        merge(&mut merged, values);
        install("tenant-operator", &merged, Some(OPERATOR_START)).await
    }

    /// Makes what a platform team makes in the account first: the cluster's provider, the operator's role, the boundary of
    /// those of tenants.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn prepare_account(&self) -> anyhow::Result<Prepared> {
        let boundary_arn = self.cloud.create_policy(BOUNDARY, &aws_policy("tenant-boundary.json")?).await?;
        let subject = format!("system:serviceaccount:{NAMESPACE}:tenant-operator");
        let policy = aws_policy("operator-policy.json")?;
        let role_arn = self.cloud.create_operator(ISSUER, OPERATOR_ROLE, &subject, &policy).await?;
        Ok(Prepared { role_arn, boundary_arn })
    }

    /// A client of the administrator.
    pub fn client(&self) -> Client {
        self.control_plane.client()
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The cloud, as its administrator.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The clock by which the operator decides.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the stand-in Teleport processes share: which agents exist, and who asked what.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The stand-in kubelet.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// All durations of pods are divided by this.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Where the process of the pod with this address listens on this machine.
    pub fn pod_address(&self, pod: Ipv4Addr) -> Ipv4Addr {
        self.control_plane.slot().pod_loopback(pod)
    }

    /// Stops everything; nothing is left behind.
    pub async fn stop(self) {
        let TestBed { kubelet, network, control_plane, .. } = self;
        kubelet.stop().await;
        network.stop().await;
        control_plane.stop().await;
    }
}

/// Those that tenants may give to their Services: one that a cloud knows, and some that nobody does.
fn annotations() -> Vec<String> {
    let numbered = (1..16).map(|number| format!("example.com/zone-{number}"));
    let known = ["example.com/zone", "service.beta.kubernetes.io/aws-load-balancer-scheme"].map(str::to_owned);
    known.into_iter().chain(numbered).collect()
}

/// A chart of the working tree.
pub fn chart(name: &str) -> PathBuf {
    root().join("charts").join(name)
}

/// A namespace whose pods must keep the strictest standard of Kubernetes: one that breaks it is never created.
pub fn namespace(name: &str) -> Value {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// The policy that the chart asks for in each AWS account.
///
/// # Errors
/// When the chart does not have it.
pub fn aws_policy(file: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(chart("tenant-operator").join("files").join(file))
        .with_context(|| format!("cannot read {file}"))?;
    Ok(text.replace("${ACCOUNT}", ACCOUNT).replace("${INSTALLATION}", INSTALLATION).replace("${ROLE_PATH}", ROLE_PATH))
}

/// The working tree.
pub fn root() -> PathBuf {
    PathBuf::from(env!("TENANT_OPERATOR_ROOT"))
}

/// The operator's binary: what `TENANT_OPERATOR_BINARY` names, or the one built beside this program.
pub fn operator_binary() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("TENANT_OPERATOR_BINARY") {
        return Ok(named.into());
    }
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = program.ancestors().skip(1).take(2).map(|folder| folder.join("tenant-operator"));
    match beside.into_iter().find(|file| file.is_file()) {
        Some(found) => Ok(found),
        None => bail!("the operator is not built: run `make build`, or name it in TENANT_OPERATOR_BINARY"),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
