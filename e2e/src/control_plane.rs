//! A control plane of one's own: Kubernetes, the AWS emulator and the ACME server as child processes on one loopback
//! address. It starts, describes and stops them; nodes for tenants' pods and everything behind Services are added by
//! others. Several run side by side, and none outlives its owner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join3, pending, select_all};
use futures::try_join;

use crate::acme::{self, Acme};
use crate::aws::{Aws, ROOT, RootCredentials};
use crate::cache::{Cache, RunDir};
use crate::process::Exit;
use crate::slot::Slot;
use crate::tools::{Tool, Tools};
use crate::venv::Venv;

mod access;
mod credentials;
mod kubeconfig;
mod kubernetes;
pub(crate) mod ports;
mod programs;
pub(crate) mod readiness;

use access::Access;
use credentials::Pki;
use kubernetes::Kubernetes;

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where programs are built and runs live; `None` asks the environment.
    pub cache: Option<Cache>,
    /// Use the cluster behind this kubeconfig, and start only the emulators.
    pub kubeconfig: Option<PathBuf>,
    /// Further arguments of kube-apiserver, such as feature gates.
    pub api_server_args: Vec<String>,
}

/// A running control plane. Dropped, everything is killed and its directory removed; `stop` does it in order.
pub struct ControlPlane {
    // In the order of dropping: processes, then what they use.
    kubernetes: Option<Kubernetes>,
    acme: Acme,
    aws: Aws,
    access: Access,
    authority: String,
    tools: Tools,
    logs: PathBuf,
    audit_log: Option<PathBuf>,
    run: RunDir,
    slot: Slot,
}

impl ControlPlane {
    /// Starts everything and returns when it can be used.
    ///
    /// # Errors
    /// When something does not start: the error names it and shows the end of its log, and the rest is stopped.
    pub async fn start(options: Options) -> anyhow::Result<ControlPlane> {
        // It fails only when another provider is there already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cache = match options.cache {
            Some(cache) => cache,
            None => Cache::from_env()?,
        };
        let (tools, venv) = ensure(&cache).await?;
        let slot = Slot::claim()?;
        let run = RunDir::create(&cache)?;
        let logs = run.subdirectory("logs")?;
        let pki = Pki::create(&run.subdirectory("pki")?, &slot)?;
        ports::await_free(slot.control()).await?;

        let audit_log = logs.join("audit.log");
        let places = kubernetes::Places { run: run.path(), logs: &logs, audit_log: &audit_log };
        let acme = acme::Places { run: run.path(), logs: &logs, serving: &pki.serving, authority: &pki.authority };
        let (kubernetes, aws, acme) = try_join!(
            async {
                match options.kubeconfig {
                    Some(_) => Ok(None),
                    None => Kubernetes::start(&slot, &tools, &pki, &places, &options.api_server_args).await.map(Some),
                }
            },
            Aws::start(&venv, slot.control(), run.path(), &logs),
            Acme::start(&tools, slot.control(), &acme),
        )?;
        let admin = options.kubeconfig.as_deref().unwrap_or(&pki.clients.admin);
        let access = Access::open(admin, &run.subdirectory("kubeconfig")?).await?;
        let issuer = access.token_issuer().await?;
        aws.trust_issuer(&issuer.name, &issuer.keys).await?;
        let audit_log = kubernetes.is_some().then_some(audit_log);
        let authority = pki.authority;
        Ok(ControlPlane { kubernetes, acme, aws, access, authority, tools, logs, audit_log, run, slot })
    }

    /// Stops everything and removes the directory of the run.
    pub async fn stop(self) {
        let ControlPlane { kubernetes, acme, aws, run, slot, .. } = self;
        let kubernetes = async {
            if let Some(kubernetes) = kubernetes {
                kubernetes.stop().await;
            }
        };
        join3(kubernetes, acme.stop(), aws.stop()).await;
        // The address is free for others only when nothing of this run is left.
        drop(run);
        drop(slot);
    }

    /// Waits until a process ends that should not.
    pub async fn failure(&self) -> Exit {
        let kubernetes = async {
            match &self.kubernetes {
                Some(kubernetes) => kubernetes.ended().await,
                None => pending().await,
            }
        };
        select_all([kubernetes.boxed(), self.aws.ended().boxed(), self.acme.ended().boxed()]).await.0
    }

    /// Kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.access.kubeconfig
    }

    /// A client of the cluster's administrator.
    pub fn client(&self) -> kube::Client {
        self.access.client.clone()
    }

    /// Kubeconfig with a real token of this ServiceAccount, good for `lifetime`.
    ///
    /// # Errors
    /// When the API server gives no token.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        lifetime: Duration,
    ) -> anyhow::Result<PathBuf> {
        self.access.service_account_kubeconfig(namespace, name, lifetime).await
    }

    /// A client with a real token of this ServiceAccount.
    ///
    /// # Errors
    /// When the API server gives no token.
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> anyhow::Result<kube::Client> {
        let lifetime = Duration::from_secs(24 * 60 * 60);
        kubeconfig::client(&self.service_account_kubeconfig(namespace, name, lifetime).await?).await
    }

    /// URL of the API server.
    pub fn api_server(&self) -> &str {
        &self.access.url
    }

    /// File with the authority of the API server's certificate.
    pub fn api_server_authority(&self) -> &Path {
        &self.access.authority
    }

    /// The AWS emulator.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// A key for the emulator that may do everything.
    pub fn aws_root(&self) -> RootCredentials {
        ROOT
    }

    /// The ACME server.
    pub fn acme(&self) -> &Acme {
        &self.acme
    }

    /// PEM of the authority of the ACME server's own https certificate.
    pub fn acme_authority(&self) -> &str {
        &self.authority
    }

    /// The kubectl executable.
    pub fn kubectl(&self) -> PathBuf {
        self.tools.path(Tool::Kubectl)
    }

    /// The helm executable; `Helm` runs it.
    pub fn helm(&self) -> PathBuf {
        self.tools.path(Tool::Helm)
    }

    /// Directory of this run, removed at its end.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }

    /// Directory of the logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// One JSON line per request; `None` for a cluster that was there before.
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// The addresses of this test bed.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// Makes everything that a start needs, so that the next one is quick.
///
/// # Errors
/// When something cannot be built or installed.
pub async fn prepare(cache: &Cache) -> anyhow::Result<Tools> {
    ensure(cache).await.map(|(tools, _)| tools)
}

/// Both at once: the one builds, the other mostly downloads. A missing prerequisite of either ends both.
async fn ensure(cache: &Cache) -> anyhow::Result<(Tools, Venv)> {
    try_join!(Tools::ensure(cache), Venv::ensure(cache))
}
