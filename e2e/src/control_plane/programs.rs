//! The command lines of the control plane's processes: pure functions of where things are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::process::Program;
use crate::slot::Slot;
use crate::tools::{Tool, Tools};

use super::credentials::Pki;
use super::ports;

/// Where everything of one control plane is.
pub(super) struct Layout<'a> {
    pub(super) slot: &'a Slot,
    pub(super) tools: &'a Tools,
    pub(super) pki: &'a Pki,
    pub(super) run: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) audit_log: &'a Path,
    pub(super) audit_policy: &'a Path,
    pub(super) stages: &'a Path,
}

/// Above what the API server can do on a small machine: the default of 20 requests per second and controller would be
/// what every measurement measures.
const CLIENT_RATE: [&str; 2] = ["--kube-api-qps=5000", "--kube-api-burst=10000"];
/// Pods that KWOK runs. Stand-in kubelets hand out the other half of the benchmark range (RFC 2544).
const KWOK_PODS: &str = "198.19.0.0/16";
/// KWOK's own convention for nodes that are its business.
pub(super) const KWOK_NODE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// Megabytes. The log must never be rotated away under a test that counts its lines.
const AUDIT_LOG_SIZE: u32 = 1_000_000;

impl Layout<'_> {
    pub(super) fn etcd(&self) -> Program {
        let (clients, peers) = (self.http(ports::ETCD), self.http(ports::ETCD_PEER));
        let args = [
            "--name=test-bed".into(),
            flag("data-dir", self.run.join("etcd")),
            format!("--listen-client-urls={clients}").into(),
            format!("--advertise-client-urls={clients}").into(),
            format!("--listen-peer-urls={peers}").into(),
            format!("--initial-advertise-peer-urls={peers}").into(),
            format!("--initial-cluster=test-bed={peers}").into(),
            // The data need not survive the machine.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ];
        self.program(Tool::Etcd, args.into())
    }

    pub(super) fn api_server(&self, extra: &[String]) -> Program {
        let (address, pki) = (self.slot.control(), self.pki);
        let mut args: Vec<OsString> = vec![
            format!("--etcd-servers={}", self.http(ports::ETCD)).into(),
            format!("--bind-address={address}").into(),
            format!("--advertise-address={address}").into(),
            format!("--secure-port={}", ports::API_SERVER).into(),
            // EndpointSlices refuse loopback addresses, so the Service `kubernetes` has no endpoints.
            "--endpoint-reconciler-type=none".into(),
            format!("--service-cluster-ip-range={}", self.slot.service_range()).into(),
            flag("tls-cert-file", &pki.serving.public),
            flag("tls-private-key-file", &pki.serving.private),
            flag("client-ca-file", &pki.authority_files.public),
            flag("requestheader-client-ca-file", &pki.front_proxy.authority),
            "--requestheader-allowed-names=front-proxy".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            flag("proxy-client-cert-file", &pki.front_proxy.client.public),
            flag("proxy-client-key-file", &pki.front_proxy.client.private),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            flag("service-account-key-file", &pki.service_accounts.public),
            flag("service-account-signing-key-file", &pki.service_accounts.private),
            "--allow-privileged=true".into(),
            flag("audit-policy-file", self.audit_policy),
            flag("audit-log-path", self.audit_log),
            // Written before the answer: who saw the answer can count the line.
            "--audit-log-mode=blocking".into(),
            format!("--audit-log-maxsize={AUDIT_LOG_SIZE}").into(),
            "--profiling=false".into(),
        ];
        args.extend(extra.iter().map(Into::into));
        self.program(Tool::ApiServer, args)
    }

    pub(super) fn controller_manager(&self) -> Program {
        let pki = self.pki;
        let mut args = self.component(&pki.clients.controller_manager, ports::CONTROLLER_MANAGER);
        args.extend([
            "--use-service-account-credentials=true".into(),
            flag("service-account-private-key-file", &pki.service_accounts.private),
            flag("root-ca-file", &pki.authority_files.public),
            flag("cluster-signing-cert-file", &pki.authority_files.public),
            flag("cluster-signing-key-file", &pki.authority_files.private),
        ]);
        self.program(Tool::ControllerManager, args)
    }

    pub(super) fn scheduler(&self) -> Program {
        self.program(Tool::Scheduler, self.component(&self.pki.clients.scheduler, ports::SCHEDULER))
    }

    pub(super) fn kwok(&self) -> Program {
        let address = self.slot.control();
        let (annotation, value) = KWOK_NODE;
        let args = [
            flag("kubeconfig", &self.pki.clients.kwok),
            flag("config", self.stages),
            format!("--manage-nodes-with-annotation-selector={annotation}={value}").into(),
            "--manage-all-nodes=false".into(),
            format!("--cidr={KWOK_PODS}").into(),
            format!("--node-ip={address}").into(),
            "--node-lease-duration-seconds=40".into(),
            format!("--server-address={address}:{}", ports::KWOK).into(),
        ];
        self.program(Tool::Kwok, args.into())
    }

    /// What controller manager and scheduler have in common.
    fn component(&self, kubeconfig: &Path, port: u16) -> Vec<OsString> {
        let mut args = vec![
            flag("kubeconfig", kubeconfig),
            flag("authentication-kubeconfig", kubeconfig),
            flag("authorization-kubeconfig", kubeconfig),
            format!("--bind-address={}", self.slot.control()).into(),
            format!("--secure-port={port}").into(),
            flag("tls-cert-file", &self.pki.serving.public),
            flag("tls-private-key-file", &self.pki.serving.private),
            // There is one of each.
            "--leader-elect=false".into(),
            "--profiling=false".into(),
        ];
        args.extend(CLIENT_RATE.map(Into::into));
        args
    }

    fn program(&self, tool: Tool, args: Vec<OsString>) -> Program {
        Program {
            name: tool.name().to_owned(),
            path: self.tools.path(tool),
            args,
            env: Vec::new(),
            directory: self.run.to_owned(),
            log: self.logs.join(format!("{}.log", tool.name())),
            orphaned: Signal::SIGKILL,
        }
    }

    fn http(&self, port: u16) -> String {
        format!("http://{}:{port}", self.slot.control())
    }
}

fn flag(name: &str, value: impl Into<PathBuf>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}
