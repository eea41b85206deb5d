//! What works: a complete Auth and a complete Proxy pod, each a value that a test may change before it starts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::running::Running;
use crate::auth::authority;
use crate::cloud::Connect;
use crate::cloud::aws::Aws;
use crate::cloud::memory::Memory;
use crate::command;
use crate::pki::{self, Pair};
use crate::process::{Process, Resolve};
use crate::world::World;

pub(super) const CLUSTER: &str = "acme.example.com";
pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(super) const AUTH_HOST: &str = "acme-auth.tenants.svc.cluster.local";
const ENTERPRISE: &str = "r/teleport-ent-distroless:18.1.0";
/// Fast enough that a start takes milliseconds, slow enough that heartbeats are no load.
const SCALE: f64 = 200.0;

/// A pod that starts.
pub(super) struct Good {
    pub(super) image: String,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// `teleport.yaml` as a tree (JSON is YAML), unless `text` is set.
    pub(super) config: Value,
    pub(super) text: Option<String>,
    pub(super) bootstrap: Vec<Value>,
    pub(super) apply: Vec<Value>,
    /// Other files of the container.
    pub(super) files: BTreeMap<String, String>,
    pub(super) memory: Memory,
    /// Connect as a real pod does, not to `memory`.
    pub(super) real_cloud: bool,
    pub(super) world: Arc<World>,
    pub(super) address: IpAddr,
    pub(super) names: Names,
    pub(super) host: Pair,
    pub(super) user: Pair,
}

/// Cluster DNS of a test.
#[derive(Clone, Default)]
pub(super) struct Names(pub(super) Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>);

impl Names {
    pub(super) fn set(&self, host: &str, addresses: Vec<IpAddr>) {
        self.0.lock().unwrap().insert(host.to_owned(), addresses);
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        self.0.lock().unwrap().get(host).cloned().unwrap_or_default()
    }
}

/// An address of its own for each process of each test.
pub(super) fn fresh_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, c, d] = (n + 1).to_be_bytes();
    // 127.200–127.249: the share of this process among test binaries that run beside it.
    let share = u8::try_from(std::process::id() % 50).unwrap();
    IpAddr::V4(Ipv4Addr::new(127, 200 + share, c, d))
}

/// Changes a value at a dotted path; the path must exist up to its last part.
pub(super) fn set(tree: &mut Value, path: &str, value: Value) {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut node = tree;
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        node = match part.parse::<usize>() {
            Ok(index) => &mut node[index],
            Err(_) => &mut node[part],
        };
        assert!(!node.is_null(), "{path}: no {part}");
    }
    node[last] = value;
}

/// Removes what must be there.
pub(super) fn remove(tree: &mut Value, path: &str) {
    let (parents, last) = path.rsplit_once('.').unwrap();
    let node = parents.split('.').fold(tree, |node, part| match part.parse::<usize>() {
        Ok(index) => &mut node[index],
        Err(_) => &mut node[part],
    });
    assert!(node.as_object_mut().unwrap().remove(last).is_some(), "{path} is not there");
}

impl Good {
    pub(super) fn set(&mut self, path: &str, value: Value) {
        set(&mut self.config, path, value);
    }

    pub(super) fn remove(&mut self, path: &str) {
        remove(&mut self.config, path);
    }

    pub(super) fn env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// The bootstrapped authority of a type.
    pub(super) fn authority(&mut self, kind: &str) -> &mut Value {
        self.bootstrap.iter_mut().find(|resource| resource["sub_kind"] == kind).unwrap()
    }

    /// A complete Enterprise Auth on an in-memory account with both tables and the bucket.
    pub(super) fn auth() -> Good {
        let (host, user) = (pki::new_authority(CLUSTER).unwrap(), pki::new_authority(CLUSTER).unwrap());
        let config = json!({
            "version": "v3",
            "teleport": {
                "auth_server": "127.0.0.1:3025",
                "log": { "output": "stderr", "severity": "INFO", "format": { "output": "json" } },
                "connection_limits": { "max_connections": 65000 },
                "storage": {
                    "type": "dynamodb",
                    "region": "eu-central-1",
                    "table_name": "state",
                    "audit_events_uri": ["dynamodb://events"],
                    "audit_sessions_uri": "s3://bucket/records?region=eu-central-1",
                    "continuous_backups": true,
                    "billing_mode": "pay_per_request",
                    "retention_period": "365d",
                    "retry_period": 5_000_000_000_u64,
                },
            },
            "auth_service": {
                "enabled": true,
                "cluster_name": CLUSTER,
                "license_file": "/var/lib/license/license.pem",
                "session_recording": "node",
                "proxy_listener_mode": "multiplex",
                "authentication": {
                    "type": "local",
                    "local_auth": true,
                    "second_factors": ["webauthn", "otp"],
                    "signature_algorithm_suite": "balanced-v1",
                    "webauthn": { "rp_id": CLUSTER },
                },
            },
            "proxy_service": { "enabled": false },
            "ssh_service": { "enabled": false },
        });
        let user_resource = json!({ "kind": "user", "version": "v2", "metadata": { "name": "operator" }, "spec": { "roles": ["inventory"] } });
        let role = json!({ "kind": "role", "version": "v7", "metadata": { "name": "inventory" },
            "spec": { "allow": { "rules": [{ "resources": ["instance"], "verbs": ["list", "read"] },
                                           { "resources": ["autoupdate_version"], "verbs": ["*"] }] } } });
        let token = json!({ "kind": "token", "version": "v2", "metadata": { "name": TOKEN, "expires": "2050-01-01T00:00:00Z" },
            "spec": { "roles": ["Proxy"], "join_method": "token" } });
        Good {
            image: ENTERPRISE.to_owned(),
            argv: [
                "/usr/local/bin/teleport",
                "start",
                "-c",
                "/etc/teleport/teleport.yaml",
                "--diag-addr=0.0.0.0:3000",
                "--bootstrap=/etc/bootstrap/bootstrap.yaml",
                "--apply-on-startup=/etc/teleport/apply-on-startup.yaml",
            ]
            .map(str::to_owned)
            .to_vec(),
            env: BTreeMap::new(),
            config,
            text: None,
            bootstrap: vec![resource("user", &user), resource("host", &host)],
            apply: vec![token, user_resource, role],
            files: BTreeMap::from([("/var/lib/license/license.pem".to_owned(), host.certificate.clone())]),
            memory: Memory::ready(),
            real_cloud: false,
            world: World::new(),
            address: fresh_address(),
            names: Names::default(),
            host,
            user,
        }
    }

    /// Another Auth of the same cluster: same tables, same world, own address.
    pub(super) fn sibling(&self) -> Good {
        Good {
            image: self.image.clone(),
            argv: self.argv.clone(),
            env: self.env.clone(),
            config: self.config.clone(),
            text: self.text.clone(),
            bootstrap: self.bootstrap.clone(),
            apply: self.apply.clone(),
            files: self.files.clone(),
            memory: self.memory.clone(),
            real_cloud: self.real_cloud,
            world: self.world.clone(),
            address: fresh_address(),
            names: self.names.clone(),
            host: self.host.clone(),
            user: self.user.clone(),
        }
    }

    /// A complete Proxy of that Auth, with a web certificate of a private CA that it is told to trust.
    pub(super) fn proxy_of(&self) -> Good {
        let (ca, web) = web_certificate(&[CLUSTER, "*.acme.example.com"]);
        let mut proxy = self.sibling();
        proxy.names.set(AUTH_HOST, vec![self.address]);
        proxy.argv.truncate(5);
        proxy.config = json!({
            "version": "v3",
            "teleport": {
                "auth_server": format!("{AUTH_HOST}:3025"),
                "join_params": { "method": "token", "token_name": "/etc/teleport-token/token" },
            },
            "auth_service": { "enabled": false },
            "ssh_service": { "enabled": false },
            "proxy_service": {
                "enabled": true,
                "web_listen_addr": "0.0.0.0:3080",
                "listen_addr": "0.0.0.0:3023",
                "tunnel_listen_addr": "0.0.0.0:3024",
                "kube_listen_addr": "0.0.0.0:3026",
                "mysql_listen_addr": "0.0.0.0:3036",
                "public_addr": "acme.example.com:443",
                "ssh_public_addr": "acme.example.com:11105",
                "tunnel_public_addr": "acme.example.com:11106",
                "kube_public_addr": "acme.example.com:11107",
                "mysql_public_addr": "acme.example.com:11108",
                "postgres_public_addr": "acme.example.com:11109",
                "https_keypairs": [{ "key_file": "/etc/teleport-tls/tls.key", "cert_file": "/etc/teleport-tls/tls.crt" }],
                "https_keypairs_reload_interval": "12h",
                "proxy_protocol": "off",
            },
        });
        proxy.env("SSL_CERT_FILE", "/etc/teleport-tls-ca/ca.pem");
        proxy.files = BTreeMap::from([
            ("/etc/teleport-token/token".to_owned(), format!("{TOKEN}\n")),
            ("/etc/teleport-tls/tls.crt".to_owned(), web.certificate),
            ("/etc/teleport-tls/tls.key".to_owned(), web.key),
            ("/etc/teleport-tls-ca/ca.pem".to_owned(), ca),
        ]);
        proxy
    }

    /// A Proxy whose Auth does not exist: for refusals that come before it is asked.
    pub(super) fn lone_proxy() -> Good {
        let auth = Good::auth();
        let proxy = auth.proxy_of();
        proxy.names.set(AUTH_HOST, vec![]);
        proxy
    }

    /// Starts at a given address: the one that others already know.
    pub(super) fn start_at(mut self, address: IpAddr) -> Running {
        self.address = address;
        self.start()
    }

    /// Writes the container's files and starts the process.
    pub(super) fn start(self) -> Running {
        let root = tempfile::tempdir().unwrap();
        let documents =
            |resources: &[Value]| resources.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        let mut files = self.files;
        files
            .entry("/etc/teleport/teleport.yaml".to_owned())
            .or_insert(self.text.unwrap_or_else(|| self.config.to_string()));
        files.entry("/etc/bootstrap/bootstrap.yaml".to_owned()).or_insert(documents(&self.bootstrap));
        files.entry("/etc/teleport/apply-on-startup.yaml".to_owned()).or_insert(documents(&self.apply));
        // An empty file stands for one that is not there.
        for (path, content) in files.iter().filter(|(_, content)| !content.is_empty()) {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let log = Arc::new(Mutex::new(String::new()));
        let sink = log.clone();
        let process = Process {
            image: self.image,
            argv: self.argv,
            env: self.env,
            root: root.path().to_owned(),
            address: self.address,
            hostname: "acme-0".to_owned(),
            resolver: Arc::new(self.names),
            scale: SCALE,
            world: self.world,
            log: Arc::new(move |line| {
                let mut log = sink.lock().unwrap();
                log.push_str(line);
                log.push('\n');
            }),
        };
        let terminate = CancellationToken::new();
        let stop = terminate.clone();
        let connect: Box<dyn Connect> = if self.real_cloud { Box::new(Aws) } else { Box::new(self.memory) };
        let handle = tokio::spawn(async move { command::run(process, stop, &*connect).await });
        Running { address: self.address, log, terminate, handle, _root: root }
    }
}

/// A `cert_authority` with TLS keys of our own and an Ed25519 SSH key.
fn resource(kind: &str, tls: &Pair) -> Value {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut resource = serde_json::to_value(authority::generate(kind, CLUSTER).unwrap()).unwrap();
    resource["spec"]["active_keys"]["tls"] = json!([{ "cert": base64(&tls.certificate), "key": base64(&tls.key) }]);
    resource
}

/// A private CA, and a server certificate of it.
pub(super) fn web_certificate(names: &[&str]) -> (String, Pair) {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "tenant CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, names[0]);
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &ca).unwrap();
    (ca.pem(), Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}
