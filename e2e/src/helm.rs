//! Installs charts with the real helm, as the administrator of the cluster. Its caches and settings stay in the
//! directory of the run: nothing of the user's own helm is read or changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::control_plane::ControlPlane;
use crate::process::{Program, run};

/// How long helm may take when it does not wait for the objects.
const DEADLINE: Duration = Duration::from_secs(120);

/// The helm of one test bed.
#[derive(Debug, Clone)]
pub struct Helm {
    path: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
    logs: PathBuf,
}

/// What to install, or to bring up to date.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// Name of the release.
    pub name: &'a str,
    /// Namespace, made when it is missing.
    pub namespace: &'a str,
    /// Directory of the chart.
    pub chart: &'a Path,
    /// What differs from the chart's own values.
    pub values: &'a Value,
    /// How long to wait until everything is ready; `None` does not wait.
    pub wait: Option<Duration>,
}

impl Helm {
    /// The helm of this control plane.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn new(control_plane: &ControlPlane) -> anyhow::Result<Helm> {
        Ok(Helm {
            path: control_plane.helm(),
            kubeconfig: control_plane.kubeconfig().to_owned(),
            directory: control_plane.run_dir().subdirectory("helm")?,
            logs: control_plane.logs().to_owned(),
        })
    }

    /// `helm upgrade --install`.
    ///
    /// # Errors
    /// With what helm said.
    pub async fn install(&self, release: &Release<'_>) -> anyhow::Result<()> {
        let Release { name, namespace, chart, values, wait } = release;
        let file = self.directory.join(format!("{namespace}.{name}.values.json"));
        fs::write(&file, values.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        // Helm resolves paths from its working directory, which is not that of the caller.
        let chart = fs::canonicalize(chart).with_context(|| format!("there is no chart at {}", chart.display()))?;
        let mut args = vec!["upgrade".into(), "--install".into(), name.into(), chart.into_os_string()];
        args.extend(["--namespace".into(), namespace.into(), "--create-namespace".into()]);
        args.extend(["--values".into(), file.into_os_string()]);
        if let Some(wait) = wait {
            args.extend(["--wait".into(), "--timeout".into(), format!("{}s", wait.as_secs()).into()]);
        }
        self.run(name, args, wait.unwrap_or_default() + DEADLINE).await
    }

    /// `helm uninstall`, which succeeds when there is nothing to remove.
    ///
    /// # Errors
    /// With what helm said.
    pub async fn uninstall(&self, name: &str, namespace: &str) -> anyhow::Result<()> {
        let args = ["uninstall", name, "--namespace", namespace, "--ignore-not-found"].map(Into::into).to_vec();
        self.run(name, args, DEADLINE).await
    }

    async fn run(&self, release: &str, args: Vec<std::ffi::OsString>, deadline: Duration) -> anyhow::Result<()> {
        let own = |name: &str| self.directory.join(name).into_os_string();
        let program = Program {
            name: format!("helm {} {release}", args[0].to_string_lossy()),
            path: self.path.clone(),
            args,
            env: vec![
                ("KUBECONFIG".into(), self.kubeconfig.clone().into_os_string()),
                ("HELM_CACHE_HOME".into(), own("cache")),
                ("HELM_CONFIG_HOME".into(), own("config")),
                ("HELM_DATA_HOME".into(), own("data")),
            ],
            directory: self.directory.clone(),
            log: self.logs.join(format!("helm-{release}.log")),
            // It has a lock in the cluster to give back.
            orphaned: Signal::SIGTERM,
        };
        run(program, deadline).await
    }
}
