//! One container process: what the kubelet gives it, and how names, paths, addresses and durations look from inside.
//! It decides nothing about Teleport; see `command` for what a command line does.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::world::World;

/// Cluster DNS as a process in a pod sees it.
pub trait Resolve: Send + Sync {
    /// All addresses of a name; none if it does not resolve.
    fn resolve(&self, host: &str) -> Vec<IpAddr>;
}

/// One container process.
#[derive(Clone)]
pub struct Process {
    /// Image; the tag is the version, the repository the edition.
    pub image: String,
    /// Complete command line, `argv[0]` included.
    pub argv: Vec<String>,
    /// Environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Container root: file /etc/teleport/teleport.yaml is root/etc/teleport/teleport.yaml.
    pub root: PathBuf,
    /// The pod's loopback address; stands for 0.0.0.0, `[::]` and, inside the pod, for 127.0.0.1 and localhost.
    pub address: IpAddr,
    /// Pod name.
    pub hostname: String,
    /// Cluster DNS.
    pub resolver: Arc<dyn Resolve>,
    /// Durations of a real process are divided by this.
    pub scale: f64,
    /// Shared by all processes of one test bed.
    pub world: Arc<World>,
    /// One line of stderr.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the environment: it may carry keys.
        f.debug_struct("Process")
            .field("image", &self.image)
            .field("argv", &self.argv)
            .field("hostname", &self.hostname)
            .finish()
    }
}

impl Process {
    /// A file of the container. `..` ends at the container's root.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        let mut path = self.root.clone();
        let mut depth = 0;
        for component in Path::new(inside).components() {
            match component {
                Component::Normal(name) => {
                    path.push(name);
                    depth += 1;
                }
                Component::ParentDir if depth > 0 => {
                    path.pop();
                    depth -= 1;
                }
                Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {}
            }
        }
        path
    }

    /// Reads a file of the container.
    pub(crate) fn read(&self, inside: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.path(inside))
    }

    /// A duration of a real process, as it passes here.
    pub(crate) fn scaled(&self, real: Duration) -> Duration {
        Duration::from_secs_f64(real.as_secs_f64() / self.scale.max(f64::MIN_POSITIVE))
    }

    /// A non-empty environment variable.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where a listener of the configuration really listens; `None` if the address is not one of this pod.
    pub(crate) fn listener(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let own = matches!(host, "" | "localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip == self.address || ip.is_unspecified() || ip.is_loopback());
        own.then_some(SocketAddr::new(self.address, port))
    }

    /// Where to dial: the pod itself for its own loopback names, else what an address or the cluster's DNS says.
    pub(crate) fn dial(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if matches!(host, "localhost" | "127.0.0.1" | "::1") {
            return vec![SocketAddr::new(self.address, port)];
        }
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => self.resolver.resolve(host),
        };
        // Nothing outside this machine is ever dialled, whatever a name resolves to.
        addresses.into_iter().filter(IpAddr::is_loopback).map(|ip| SocketAddr::new(ip, port)).collect()
    }
}
