//! A program of this machine as a container process. It sees the host's files and network, so the paths of its mounts
//! and the address "any" are rewritten in its arguments and environment; paths inside files are not.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use kube::ResourceExt;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::kubelet::log::Log;
use crate::kubelet::root;
use crate::kubelet::running::Running;
use crate::process::Program;

use super::{Launch, write_private};

/// Where every container finds its ServiceAccount.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Starts the program.
///
/// # Errors
/// When its kubeconfig cannot be written.
pub(super) fn start(launch: &Launch, binary: &Path, args: &[String], log: Arc<Log>) -> Result<Running, String> {
    let root = launch.root();
    let mounts = launch.container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str());
    let mut host = Host { root: &root, mounts: mounts.collect(), address: launch.sandbox.address };
    // The innermost mount is the one that a path is in.
    host.mounts.sort_by_key(|mount| std::cmp::Reverse(mount.len()));
    let mut env = launch.env.clone();
    env.values_mut().for_each(|value| *value = host.rewrite(value));
    // A program on this machine cannot look for its account where containers do.
    let token = root.join(root::relative(ACCOUNT)).join("token");
    if token.exists() && !env.contains_key("KUBECONFIG") {
        let path = launch.directory.join("kubeconfig");
        let written = write_private(&path, &kubeconfig(launch, &token));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        env.insert("KUBECONFIG".into(), path.display().to_string());
    }
    let working = launch.container.working_dir.as_deref().unwrap_or("/");
    let directory = root.join(root::relative(working));
    std::fs::create_dir_all(&directory).map_err(|error| format!("cannot create {working}: {error}"))?;
    // A container inherits nothing, which env(1) is for. It becomes the program itself, under the same process id.
    let mut argv: Vec<OsString> = vec!["-i".into(), "--".into()];
    argv.extend(env.iter().map(|(name, value)| format!("{name}={value}").into()));
    argv.push(binary.into());
    argv.extend(args.iter().map(|argument| host.rewrite(argument).into()));
    let program = Program {
        name: format!("{}/{}", launch.sandbox.pod.name_any(), launch.container.name),
        path: "/usr/bin/env".into(),
        args: argv,
        env: Vec::new(),
        directory,
        log: log.path().to_owned(),
        orphaned: Signal::SIGKILL,
    };
    Ok(Running::child(program, log))
}

/// The pod's own account, with the token read from its file each time, since it is renewed there.
fn kubeconfig(launch: &Launch, token: &Path) -> String {
    let server = &launch.sandbox.node.api_server;
    let namespace = launch.sandbox.pod.namespace().unwrap_or_default();
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": {"server": server.url, "certificate-authority": server.authority}}],
        "users": [{"name": "pod", "user": {"tokenFile": token}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod", "namespace": namespace}}],
    });
    document.to_string()
}

/// How the inside of a container looks from this machine.
struct Host<'a> {
    root: &'a Path,
    mounts: Vec<&'a str>,
    address: Ipv4Addr,
}

impl Host<'_> {
    fn rewrite(&self, text: &str) -> String {
        let mut rewritten = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let inside = rewritten.ends_with(is_word);
            if let Some((from, to)) = (!inside).then(|| self.replacement(rest)).flatten() {
                rewritten.push_str(&to);
                rest = &rest[from..];
            } else {
                let next = rest.chars().next().expect("the rest is not empty");
                rewritten.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        rewritten
    }

    /// The length of what the text begins with and what stands for it on this machine.
    fn replacement(&self, text: &str) -> Option<(usize, String)> {
        for mount in &self.mounts {
            let mount = mount.trim_end_matches('/');
            if let Some(after) = text.strip_prefix(mount)
                && !mount.is_empty()
                && !after.starts_with(|next: char| next != '/' && is_word(next))
            {
                return Some((mount.len(), self.root.join(root::relative(mount)).display().to_string()));
            }
        }
        // The network is the host's: "any" would be every address of the machine.
        for any in ["0.0.0.0", "[::]"] {
            if let Some(after) = text.strip_prefix(any)
                && !after.starts_with(|next: char| next == '/' || is_word(next))
            {
                return Some((any.len(), self.address.to_string()));
            }
        }
        None
    }
}

/// Whether a character continues a path or an address.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_the_any_address_are_rewritten_and_nothing_else() {
        let host = Host {
            root: Path::new("/run/root"),
            mounts: vec!["/etc/operator/fleet", "/etc/operator/"],
            address: Ipv4Addr::new(127, 96, 0, 3),
        };
        let cases = [
            ("--fleet=/etc/operator/fleet/policy.yaml", "--fleet=/run/root/etc/operator/fleet/policy.yaml"),
            ("/etc/operator", "/run/root/etc/operator"),
            ("/etc/operator:/etc/operator/x", "/run/root/etc/operator:/run/root/etc/operator/x"),
            ("/etc/operators/x", "/etc/operators/x"),
            ("/usr/etc/operator", "/usr/etc/operator"),
            ("file:///etc/operator/x", "file:///etc/operator/x"),
            ("--listen=0.0.0.0:8080", "--listen=127.96.0.3:8080"),
            ("[::]:8080", "127.96.0.3:8080"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.0.0", "10.0.0.0.0"),
            ("", ""),
            ("ünicode /etc/operator", "ünicode /run/root/etc/operator"),
        ];
        for (text, expected) in cases {
            assert_eq!(host.rewrite(text), expected, "{text}");
        }
    }
}
