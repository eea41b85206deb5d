//! Everything that it takes to start a process in a container: its main one, a hook's or a probe's. What it is told
//! differs from a real container only in where files and addresses are.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Volume};
use kube::ResourceExt;

use super::environment::{self, Environment, Gathered, expand};
use super::image::Runtime;
use super::log::Log;
use super::pod::Sandbox;
use super::running::Running;
use super::{fields, root};

mod local;

/// What a Teleport image runs when the container gives no command.
const TELEPORT: [&str; 4] = ["/usr/local/bin/teleport", "start", "-c", "/etc/teleport/teleport.yaml"];
/// What every image of ours sets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container ready to start.
pub(super) struct Launch {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) container: Arc<Container>,
    runtime: Runtime,
    env: Environment,
    directory: PathBuf,
    log: Arc<Log>,
}

impl Launch {
    /// Resolves the environment and makes the file system.
    ///
    /// # Errors
    /// What is missing, in the words of a kubelet.
    pub(super) async fn prepare(
        sandbox: Arc<Sandbox>,
        container: Arc<Container>,
        runtime: Runtime,
        log: Arc<Log>,
    ) -> Result<Launch, String> {
        let env = environment(&sandbox, &container).await?;
        let directory = sandbox.directory.join("containers").join(&container.name);
        let launch = Launch { sandbox, container, runtime, env, directory, log };
        let volumes = launch.sandbox.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volatile: Vec<String> =
            volumes.filter(|volume| is_volatile(volume)).map(|volume| volume.name.clone()).collect();
        let made = root::make(&launch.root(), &launch.sandbox.directory, &launch.container, &launch.env, &volatile);
        made.map_err(|error| format!("cannot make the container's file system: {error}"))?;
        Ok(launch)
    }

    /// Starts the container's main process.
    ///
    /// # Errors
    /// Why its command cannot run, in the words of a container runtime.
    pub(super) fn start(&self) -> Result<Running, String> {
        let given = |argv: &Option<Vec<String>>| argv.clone().unwrap_or_default();
        let (command, args) = (given(&self.container.command), given(&self.container.args));
        let command = match (command.is_empty(), &self.runtime) {
            (false, _) => command,
            (true, Runtime::Teleport) => TELEPORT.map(str::to_owned).into(),
            (true, Runtime::Local(binary)) => vec![binary.display().to_string()],
        };
        let value = |name: &str| self.env.get(name).cloned();
        let argv = command.into_iter().chain(args).map(|argument| expand(&argument, value)).collect();
        self.run(argv, self.log.clone())
    }

    /// Starts another command in the container; what it says goes to a log of its own.
    ///
    /// # Errors
    /// Why it cannot run, in the words of a container runtime.
    pub(super) fn exec(&self, argv: Vec<String>) -> Result<Running, String> {
        let log = Log::open(self.directory.join("exec.log"));
        self.run(argv, Arc::new(log.map_err(|error| format!("cannot write a log: {error}"))?))
    }

    fn run(&self, argv: Vec<String>, log: Arc<Log>) -> Result<Running, String> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let known = match &self.runtime {
            Runtime::Teleport => name == "teleport",
            Runtime::Local(binary) => binary.file_name().is_some_and(|own| own == name) || name == "tenant-operator",
        };
        if !known {
            return Err(format!("exec: {program:?}: executable file not found in $PATH"));
        }
        match &self.runtime {
            Runtime::Teleport => Ok(self.teleport(argv, log)),
            Runtime::Local(binary) => local::start(self, binary, &argv[1..], log),
        }
    }

    fn teleport(&self, argv: Vec<String>, log: Arc<Log>) -> Running {
        let (node, written) = (&self.sandbox.node, log.clone());
        let process = teleport_standin::Process {
            image: self.container.image.clone().unwrap_or_default(),
            argv,
            env: self.env.clone(),
            root: self.root(),
            address: self.sandbox.address.into(),
            hostname: self.sandbox.hostname(),
            resolver: node.resolver.clone(),
            scale: node.pace.scale(),
            world: node.world.clone(),
            log: Arc::new(move |line: &str| written.line(line)),
        };
        Running::teleport(process, log)
    }

    /// Whether the container's processes keep the pace of the test bed.
    pub(super) fn is_paced(&self) -> bool {
        self.runtime == Runtime::Teleport
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }
}

async fn environment(sandbox: &Sandbox, container: &Container) -> Result<Environment, String> {
    let (node, pod) = (&sandbox.node, &sandbox.pod);
    let namespace = pod.namespace().unwrap_or_default();
    let mut gathered = Gathered::new();
    for (kind, name) in environment::references(container) {
        let object = node.objects.get(kind, &namespace, &name).await;
        let object = object.map_err(|error| format!("cannot read {} {name:?}: {error}", kind.word()))?;
        gathered.extend(object.map(|object| ((kind, name), object.content)));
    }
    let services = api_server(&node.api_server.url);
    let mut env = environment::build(pod, container, sandbox.address, &services, &gathered)?;
    for (name, value) in &node.env {
        env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    env.entry("PATH".into()).or_insert_with(|| PATH.to_owned());
    env.entry("HOSTNAME".into()).or_insert_with(|| sandbox.hostname());
    Ok(env)
}

/// What a kubelet tells every container about the Service `kubernetes`, with the address that answers here.
fn api_server(url: &str) -> Environment {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST".to_owned(), host.to_owned()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_owned()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), port.to_owned()),
    ])
}

/// Whether what is in a volume is the containers' own.
fn is_volatile(volume: &Volume) -> bool {
    volume.empty_dir.is_some()
}

/// Whether a kubelet of this kind can run the pod at all; `Err` says why not.
pub(super) fn supported(sandbox: &Sandbox) -> Result<(), String> {
    let Some(spec) = &sandbox.pod.spec else { return Ok(()) };
    if spec.init_containers.iter().flatten().any(|container| container.restart_policy.is_some()) {
        return Err("init containers with a restart policy are not supported here".into());
    }
    if spec.host_network == Some(true) {
        return Err(format!("the host's network ({}) is not supported here", fields::HOST_IP));
    }
    Ok(())
}

/// Writes a file that only this user may read.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_where_the_api_server_really_is() {
        let told = api_server("https://127.32.0.1:6443");
        assert_eq!(told["KUBERNETES_SERVICE_HOST"], "127.32.0.1");
        assert_eq!(told["KUBERNETES_SERVICE_PORT"], "6443");
        assert_eq!(api_server("https://127.32.0.1/")["KUBERNETES_SERVICE_PORT"], "443");
    }
}
