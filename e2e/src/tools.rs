//! The programs of the control plane, built from the Go modules that `e2e/tools/go.mod` pins. It owns their place in
//! the cache and what goes into its name; `tools/build.rs` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::cache::{Cache, digest};

mod build;
mod go;
mod own;

use build::Source;
use go::Go;
pub use own::ensure as ensure_own;

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The ACME server.
    Pebble,
    /// Plays the kubelet of every pod that is not a tenant's.
    Kwok,
    /// Installs charts.
    Helm,
    /// The command line client.
    Kubectl,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-apiserver.
    ApiServer,
}

impl Tool {
    /// All of them, in the order of building: the small ones first, so that progress shows early.
    pub const ALL: [Tool; 8] = [
        Tool::Etcd,
        Tool::Pebble,
        Tool::Kwok,
        Tool::Helm,
        Tool::Kubectl,
        Tool::Scheduler,
        Tool::ControllerManager,
        Tool::ApiServer,
    ];

    /// Name of the executable.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Etcd => "etcd",
            Tool::Pebble => "pebble",
            Tool::Kwok => "kwok",
            Tool::Helm => "helm",
            Tool::Kubectl => "kubectl",
            Tool::Scheduler => "kube-scheduler",
            Tool::ControllerManager => "kube-controller-manager",
            Tool::ApiServer => "kube-apiserver",
        }
    }

    /// The Go package, a `tool` line of go.mod.
    fn package(self) -> &'static str {
        match self {
            Tool::Etcd => "go.etcd.io/etcd/server/v3",
            Tool::Pebble => "github.com/letsencrypt/pebble/v2/cmd/pebble",
            Tool::Kwok => "sigs.k8s.io/kwok/cmd/kwok",
            Tool::Helm => "helm.sh/helm/v3/cmd/helm",
            Tool::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Tool::Scheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Tool::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Tool::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
        }
    }

    fn source(self) -> Source {
        Source { name: self.name(), package: self.package() }
    }

    /// Whether setup-envtest and its like ship it, and `KUBEBUILDER_ASSETS` so may stand in for a build.
    fn is_envtest_asset(self) -> bool {
        matches!(self, Tool::Etcd | Tool::ApiServer | Tool::Kubectl)
    }
}

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Tools {
    bin: PathBuf,
    assets: Option<PathBuf>,
}

impl Tools {
    /// Builds what is missing in the cache, showing progress.
    ///
    /// # Errors
    /// When Go is missing or too old, or a build fails.
    pub async fn ensure(cache: &Cache) -> anyhow::Result<Tools> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(assets) = &assets {
            check_assets(assets)?;
        }
        let module = module();
        let go = Go::find(&module).await?;
        let directory = cache.root().join("tools").join(inputs(&module, &go)?);
        let tools = Tools { bin: directory.join("bin"), assets };
        if !tools.missing().is_empty() {
            let _lock = cache.lock("tools").await?;
            // Asked again under the lock: the run that was waited for has built them.
            build::build(&tools.missing(), &module, &directory, &tools.bin).await?;
        }
        Ok(tools)
    }

    /// The executable of a program.
    pub fn path(&self, tool: Tool) -> PathBuf {
        match &self.assets {
            Some(assets) if tool.is_envtest_asset() => assets.join(tool.name()),
            _ => self.bin.join(tool.name()),
        }
    }

    fn missing(&self) -> Vec<Tool> {
        Tool::ALL.into_iter().filter(|tool| !self.path(*tool).exists()).collect()
    }
}

fn check_assets(assets: &Path) -> anyhow::Result<()> {
    for tool in Tool::ALL.into_iter().filter(|tool| tool.is_envtest_asset()) {
        let path = assets.join(tool.name());
        ensure!(
            path.is_file(),
            "KUBEBUILDER_ASSETS is set, but {} does not exist; unset it or complete it",
            path.display()
        );
    }
    Ok(())
}

/// The module with the pinned versions.
fn module() -> PathBuf {
    Path::new(env!("TENANT_OPERATOR_ROOT")).join("e2e/tools")
}

/// Everything that decides what comes out of a build.
fn inputs(module: &Path, go: &Go) -> anyhow::Result<String> {
    let read = |name: &str| {
        let path = module.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (requirements, sums) = (read("go.mod")?, read("go.sum")?);
    let flags = build::linker_flags(&kubernetes_version(&requirements)?);
    Ok(digest([
        requirements.as_slice(),
        &sums,
        go.version.as_bytes(),
        go.system.as_bytes(),
        go.architecture.as_bytes(),
        flags.as_bytes(),
    ]))
}

/// The release of k8s.io/kubernetes in go.mod, such as `v1.37.2`.
fn kubernetes_version(requirements: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(requirements);
    let version = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let Some(version) = version else { bail!("go.mod does not require k8s.io/kubernetes") };
    Ok(format!("v{}", version.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_a_tool_line_of_go_mod() {
        let text = fs::read_to_string(module().join("go.mod")).unwrap();
        for tool in Tool::ALL {
            assert!(text.lines().any(|line| line.trim() == tool.package()), "go.mod has no tool {}", tool.package());
        }
    }

    #[test]
    fn the_kubernetes_version_comes_from_go_mod() {
        let requirements = b"module x\n\nrequire (\n\tk8s.io/kubectl v0.1.0\n\tk8s.io/kubernetes v1.40.1\n)\n";
        assert_eq!(kubernetes_version(requirements).unwrap(), "v1.40.1");
        assert!(kubernetes_version(b"module x\n").is_err());
    }

    #[test]
    fn incomplete_assets_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("etcd"), "").unwrap();
        let error = check_assets(directory.path()).unwrap_err().to_string();
        assert!(error.contains("kubectl does not exist"), "{error}");
    }
}
