//! The keys and certificates of one control plane, as files in its directory.

use std::path::{Path, PathBuf};

use crate::pki::{Authority, Identity, Pair, PairFiles};
use crate::slot::Slot;

use super::kubeconfig::{self, Credentials, Server};
use super::ports;

/// Everything that the control plane's processes are given to prove who they are.
pub(crate) struct Pki {
    /// PEM of the authority behind every certificate here.
    pub(super) authority: String,
    pub(super) authority_files: PairFiles,
    /// One certificate for all servers, since they share one address.
    pub(crate) serving: PairFiles,
    pub(super) service_accounts: PairFiles,
    /// The API server speaks to aggregated ones with an authority of its own, or any client could pose as it.
    pub(super) front_proxy: FrontProxy,
    pub(super) clients: Clients,
}

pub(super) struct FrontProxy {
    pub(super) authority: PathBuf,
    pub(super) client: PairFiles,
}

/// Kubeconfig files.
pub(super) struct Clients {
    pub(super) admin: PathBuf,
    pub(super) controller_manager: PathBuf,
    pub(super) scheduler: PathBuf,
    pub(super) kwok: PathBuf,
}

impl Pki {
    pub(super) fn create(directory: &Path, slot: &Slot) -> anyhow::Result<Pki> {
        let authority = Authority::new("test-bed")?;
        let pem = authority.pair().public;
        let front_proxy_authority = Authority::new("test-bed-front-proxy")?;
        let front_proxy = Identity::Client { name: "front-proxy".into(), group: None };
        let server =
            Server { url: format!("https://{}:{}", slot.control(), ports::API_SERVER), authority: pem.clone() };
        let client = |file: &str, user: &str, group: Option<&str>| {
            let pair = authority.issue(&Identity::Client { name: user.into(), group: group.map(Into::into) })?;
            let path = directory.join(format!("{file}.kubeconfig"));
            kubeconfig::write(&path, &server, &Credentials::Certificate(&pair))?;
            anyhow::Ok(path)
        };
        Ok(Pki {
            authority: pem,
            authority_files: authority.pair().write(directory, "ca")?,
            serving: authority.issue(&serving(slot))?.write(directory, "serving")?,
            service_accounts: Pair::rsa()?.write(directory, "service-accounts")?,
            front_proxy: FrontProxy {
                authority: front_proxy_authority.pair().write(directory, "front-proxy-ca")?.public,
                client: front_proxy_authority.issue(&front_proxy)?.write(directory, "front-proxy")?,
            },
            clients: Clients {
                admin: client("admin", "admin", Some("system:masters"))?,
                controller_manager: client("controller-manager", "system:kube-controller-manager", None)?,
                scheduler: client("scheduler", "system:kube-scheduler", None)?,
                kwok: client("kwok", "kwok", Some("system:masters"))?,
            },
        })
    }
}

fn serving(slot: &Slot) -> Identity {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut hosts: Vec<String> = names.map(Into::into).to_vec();
    hosts.push("kubernetes.default.svc.cluster.local".into());
    hosts.push(slot.control().to_string());
    // The Service `kubernetes` always takes the first address of the range.
    hosts.push(slot.service_range().replace(".0/16", ".1"));
    Identity::Server { name: "test-bed".into(), hosts }
}
