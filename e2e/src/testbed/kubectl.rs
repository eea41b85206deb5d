//! kubectl, as a person runs it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt as _;

use super::{NAMESPACE, TestBed};

impl TestBed {
    /// Runs kubectl as the administrator; answers what it printed.
    ///
    /// # Errors
    /// With what it said when it fails.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
        self.kubectl_with_input(args, "").await
    }

    /// `kubectl apply` of this text.
    ///
    /// # Errors
    /// With what it said when it fails.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        self.kubectl_with_input(["apply", "-f", "-"], yaml).await
    }

    async fn kubectl_with_input<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> anyhow::Result<String> {
        let control_plane = self.control_plane();
        let mut child = tokio::process::Command::new(control_plane.kubectl())
            .arg("--kubeconfig")
            .arg(control_plane.kubeconfig())
            .args(args)
            .env("KUBECACHEDIR", control_plane.run_dir().path().join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that ended early says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.context("cannot wait for kubectl")?;
        if !output.status.success() {
            bail!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The log of the operator's pods, one after the other.
    pub async fn operator_log(&self) -> String {
        let selector = ["-n", NAMESPACE, "get", "pods", "-l", "tenancy.dev/process=operator", "-o", "name"];
        let names = self.kubectl(selector).await.unwrap_or_default();
        let pods = names.lines().filter_map(|line| line.strip_prefix("pod/"));
        pods.map(|pod| self.kubelet().log(NAMESPACE, pod, "operator")).collect()
    }

    /// Prints a line at once, whatever the output is.
    pub fn say(&self, line: &str) {
        println!("{line}");
        let _ = std::io::stdout().flush();
    }
}
