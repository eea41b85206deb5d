//! Builds the programs, one at a time since each build uses all cores. A program appears under its name only when it
//! is whole: it is linked somewhere else and renamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{Tool, kubernetes_version};
use crate::process::{Program, run};

/// The API server takes four minutes on two slow cores; downloads come on top.
const DEADLINE: Duration = Duration::from_secs(45 * 60);
/// How often a long build says that it is alive.
const PULSE: Duration = Duration::from_secs(15);

/// A program in a Go module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// What the executable is called.
    pub(super) name: &'static str,
    /// Its package.
    pub(super) package: &'static str,
}

/// Builds these programs of the control plane into `bin`. The caller holds the lock of `directory`.
pub(super) async fn build(tools: &[Tool], module: &Path, directory: &Path, bin: &Path) -> anyhow::Result<()> {
    if tools.is_empty() {
        return Ok(());
    }
    let requirements = fs::read(module.join("go.mod")).context("cannot read go.mod")?;
    let flags = linker_flags(&kubernetes_version(&requirements)?);
    let sources: Vec<Source> = tools.iter().map(|tool| tool.source()).collect();
    all(&sources, module, &flags, directory, bin).await.context("cannot build the control plane")
}

/// Builds programs of one module into `bin`. The caller holds the lock of `directory`.
pub(super) async fn all(
    sources: &[Source],
    module: &Path,
    flags: &str,
    directory: &Path,
    bin: &Path,
) -> anyhow::Result<()> {
    fs::create_dir_all(bin).with_context(|| format!("cannot create {}", bin.display()))?;
    let scratch = scratch(directory)?;
    let scratch = scratch.path();
    let started = Instant::now();
    eprintln!("tools: building {} programs in Go, once; this takes several minutes", sources.len());
    for (index, Source { name, package }) in sources.iter().enumerate() {
        let step = format!("{name} ({} of {})", index + 1, sources.len());
        let output = scratch.join(name);
        let program = compiler(name, package, module, scratch, &output, flags);
        with_progress(&step, started, run(program, DEADLINE)).await?;
        fs::rename(&output, bin.join(name)).with_context(|| format!("cannot install {name}"))?;
    }
    eprintln!("tools: done in {} s", started.elapsed().as_secs());
    Ok(())
}

/// A new directory for unfinished work. A compiler that a killed run started may still be busy in its own for a while,
/// so no two builds share one.
fn scratch(directory: &Path) -> anyhow::Result<TempDir> {
    let parent = directory.join("building");
    // What killed runs left is of no use. It is never read either, so it may as well stay until the next build.
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    tempfile::tempdir_in(&parent).with_context(|| format!("cannot create a directory in {}", parent.display()))
}

fn compiler(name: &str, package: &str, module: &Path, scratch: &Path, output: &Path, flags: &str) -> Program {
    Program {
        name: format!("go build {name}"),
        path: PathBuf::from("go"),
        args: vec![
            "build".into(),
            "-mod=readonly".into(),
            "-trimpath".into(),
            "-ldflags".into(),
            flags.into(),
            "-o".into(),
            output.into(),
            package.into(),
        ],
        env: vec![
            ("CGO_ENABLED".into(), "0".into()),
            ("GOWORK".into(), "off".into()),
            // So that what a killed build leaves is in the cache and is removed by the next one.
            ("GOTMPDIR".into(), scratch.into()),
        ],
        directory: module.to_owned(),
        log: scratch.join(format!("{name}.log")),
        // On an interrupt go starts no further compiler and removes its scratch files; killed, it would leave both.
        orphaned: Signal::SIGINT,
    }
}

/// Without these the API server says that it is version v0.0.0, and helm that it knows Kubernetes 1.20.
pub(super) fn linker_flags(kubernetes: &str) -> String {
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        flags.push(format!("-X {package}.gitVersion={kubernetes}"));
        flags.push(format!("-X {package}.gitMajor={major} -X {package}.gitMinor={minor}"));
    }
    for package in ["helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"] {
        flags.push(format!("-X {package}.k8sVersionMajor={major} -X {package}.k8sVersionMinor={minor}"));
    }
    flags.join(" ")
}

/// Tells at the start, now and then, and at the end of a step how it stands.
async fn with_progress<T>(
    step: &str,
    started: Instant,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    eprintln!("tools: {step}, {} s so far", started.elapsed().as_secs());
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(PULSE, &mut work).await {
            Ok(result) => return result,
            Err(_) => eprintln!("tools: {step}, still building after {} s", begun.elapsed().as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_linked_in() {
        let flags = linker_flags("v1.37.2");
        for flag in [
            "-X k8s.io/component-base/version.gitVersion=v1.37.2",
            "-X k8s.io/client-go/pkg/version.gitMinor=37",
            "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
        ] {
            assert!(flags.contains(flag), "{flags}");
        }
    }

    #[tokio::test]
    async fn a_failed_build_installs_nothing_and_quotes_the_compiler() {
        let module = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        fs::write(module.path().join("go.mod"), "module x\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.37.2\n)\n")
            .unwrap();
        let bin = cache.path().join("bin");
        let error = build(&[Tool::Pebble], module.path(), cache.path(), &bin).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("go build pebble ended") && text.contains("missing go.sum entry"), "{text}");
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 0);
    }
}
