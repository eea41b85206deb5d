//! The control plane of this test and the ways to talk to it: raw requests, because the answers' causes and warnings are
//! what is tested, kubectl and helm as users run them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::control_plane::{ControlPlane, Options};
use e2e::helm::{Helm, Release};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, WARNING};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Where the charts put the operator.
pub const OPERATOR_NAMESPACE: &str = "tenancy-system";
/// Longer than anything here takes, also on a machine that builds something else at the same time.
const DEADLINE: Duration = Duration::from_secs(60);

/// The root of the source tree.
pub fn root() -> PathBuf {
    PathBuf::from(env!("TENANT_OPERATOR_ROOT"))
}

/// What the server answered.
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// The object, or a `Status`.
    pub body: Value,
    /// Warning headers.
    pub warnings: Vec<String>,
}

impl Answer {
    /// The object.
    pub fn success(self) -> anyhow::Result<Value> {
        ensure!(self.code < 300, "the server answers {}: {}", self.code, self.body["message"]);
        Ok(self.body)
    }
}

/// A control plane with its administrator.
pub struct Bed {
    control_plane: ControlPlane,
    client: kube::Client,
    helm: Helm,
}

impl Bed {
    /// Starts one.
    pub async fn start() -> anyhow::Result<Bed> {
        let control_plane = ControlPlane::start(Options::default()).await?;
        let helm = Helm::new(&control_plane)?;
        Ok(Bed { client: control_plane.client(), helm, control_plane })
    }

    /// Stops it and removes everything that it left.
    pub async fn stop(self) {
        self.control_plane.stop().await;
    }

    /// Waits until a process of the control plane ends by itself, and says which.
    pub async fn failure(&self) -> String {
        self.control_plane.failure().await.to_string()
    }

    /// A client with the token of a ServiceAccount.
    pub async fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<kube::Client> {
        self.control_plane.service_account_client(namespace, name).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        send(&self.client, "GET", path, "application/json", &Value::Null).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        send(&self.client, "DELETE", path, "application/json", &Value::Null).await
    }

    pub async fn post(&self, path: &str, object: &Value) -> anyhow::Result<Answer> {
        send(&self.client, "POST", path, "application/json", object).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> anyhow::Result<Answer> {
        send(&self.client, "PUT", path, "application/json", object).await
    }

    pub async fn patch(&self, path: &str, kind: &str, patch: &Value) -> anyhow::Result<Answer> {
        send(&self.client, "PATCH", path, kind, patch).await
    }

    pub async fn merge(&self, path: &str, patch: Value) -> anyhow::Result<Value> {
        self.patch(path, "application/merge-patch+json", &patch).await?.success()
    }

    pub async fn create_namespace(&self, name: &str, labels: Value) -> anyhow::Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.post("/api/v1/namespaces", &namespace).await?.success().map(drop)
    }

    /// Reads an object until `fact` holds of it; an object that is not there is `Null`.
    pub async fn wait_for(&self, path: &str, what: &str, fact: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.get(path).await?;
            let object = match answer.code {
                404 => Value::Null,
                _ => answer.success()?,
            };
            if fact(&object) {
                return Ok(object);
            }
            ensure!(Instant::now() < deadline, "{path} is not {what} after {DEADLINE:?}: {object}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Installs or upgrades a chart of this repository under its own name.
    pub async fn helm_install(&self, chart: &str, values: Option<&Value>) -> anyhow::Result<()> {
        let directory = root().join("charts").join(chart);
        let none = json!({});
        let values = values.unwrap_or(&none);
        let release = Release { name: chart, namespace: OPERATOR_NAMESPACE, chart: &directory, values, wait: None };
        self.helm.install(&release).await
    }

    /// Uninstalls a chart of this repository.
    pub async fn helm_uninstall(&self, chart: &str) -> anyhow::Result<()> {
        self.helm.uninstall(chart, OPERATOR_NAMESPACE).await
    }

    /// Runs kubectl and returns what it prints.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let run = self.control_plane.run_dir().path();
        let mut command = Command::new(self.control_plane.kubectl());
        command.args(args).current_dir(root());
        command.env("KUBECONFIG", self.control_plane.kubeconfig());
        // Its caches go with the run, and nothing of the user's own settings is read.
        command.env("HOME", run).env("KUBECACHEDIR", run.join("kubectl-cache"));
        let output = command.output().context("cannot run kubectl")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("kubectl {} failed: {text}{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Runs `helm template`, which asks no server, and returns what it prints or the refusal.
    pub fn helm_template(&self, chart: &str, values: &Value) -> anyhow::Result<Result<String, String>> {
        let run = self.control_plane.run_dir().path();
        let file = run.join("template-values.json");
        std::fs::write(&file, values.to_string())?;
        let mut command = Command::new(self.control_plane.helm());
        command.arg("template").arg(chart).arg(root().join("charts").join(chart)).arg("--values").arg(&file);
        command.args(["--namespace", OPERATOR_NAMESPACE, "--kube-version", "1.32.0"]);
        command.env("HOME", run).env("HELM_CACHE_HOME", run).env("HELM_CONFIG_HOME", run).env("HELM_DATA_HOME", run);
        let output = command.output().context("cannot run helm")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }
}

/// Sends one request as the owner of this client.
pub async fn send(client: &kube::Client, method: &str, path: &str, kind: &str, body: &Value) -> anyhow::Result<Answer> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind).body(Body::from(body))?;
    let response = tokio::time::timeout(DEADLINE, client.send(request))
        .await
        .with_context(|| format!("{method} {path} is not answered"))?
        .with_context(|| format!("{method} {path}"))?;
    let code = response.status().as_u16();
    let warnings = response.headers().get_all(WARNING).iter().map(|value| format!("{value:?}")).collect();
    let bytes = response.into_body().collect().await?.to_bytes();
    let body =
        serde_json::from_slice(&bytes).with_context(|| format!("{method} {path} answers {code} without JSON"))?;
    Ok(Answer { code, body, warnings })
}
