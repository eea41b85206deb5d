//! The Python environment of the AWS emulator: the packages that `e2e/aws/requirements.txt` pins by hash, installed
//! once per content of that file. It counts only when the mark that is written last is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::cache::{Cache, digest};
use crate::process::{Program, run};

const COMPLETE: &str = "complete";
const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// `tomllib` and the typing features which the emulator uses.
const OLDEST: &str = "3.11";
/// Prints what tells one interpreter from another, or fails when it is too old or has no venv.
const PROBE: &str = "import sys, sysconfig, venv, ensurepip
assert sys.version_info >= (3, 11), sys.version
print(sys.implementation.cache_tag, sys.version, sysconfig.get_platform(), sys.executable)";

/// An installed environment.
#[derive(Debug, Clone)]
pub struct Venv {
    directory: PathBuf,
}

impl Venv {
    /// Installs the environment when the cache has none for these requirements.
    ///
    /// # Errors
    /// When Python is missing or too old, or a package cannot be installed.
    pub async fn ensure(cache: &Cache) -> anyhow::Result<Venv> {
        let requirements = sources().join("requirements.txt");
        let pinned = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
        let interpreter = probe().await?;
        let directory = cache.root().join("venv").join(digest([pinned.as_slice(), interpreter.as_bytes()]));
        let venv = Venv { directory };
        if !venv.is_complete() {
            let _lock = cache.lock("venv").await?;
            if !venv.is_complete() {
                venv.install(&requirements).await?;
            }
        }
        Ok(venv)
    }

    /// The interpreter that sees the packages.
    pub fn python(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    fn is_complete(&self) -> bool {
        self.directory.join(COMPLETE).exists()
    }

    /// An environment holds its own absolute path in many files, so it is made in its place and not moved there.
    async fn install(&self, requirements: &Path) -> anyhow::Result<()> {
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory)
                .with_context(|| format!("cannot remove {}", self.directory.display()))?;
        }
        fs::create_dir_all(&self.directory).with_context(|| format!("cannot create {}", self.directory.display()))?;
        let started = Instant::now();
        eprintln!("venv: installing the AWS emulator, once; this takes about half a minute");
        let create = vec!["-m".into(), "venv".into(), self.directory.clone().into()];
        run(self.program("python3 -m venv", "python3".into(), create), DEADLINE)
            .await
            .with_context(|| format!("cannot make a Python environment; {}", advice()))?;
        let mut install: Vec<_> =
            ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"].map(Into::into).to_vec();
        install.extend(["--require-hashes".into(), "--requirement".into(), requirements.into()]);
        run(self.program("pip install", self.python(), install), DEADLINE)
            .await
            .context("cannot install the AWS emulator")?;
        fs::write(self.directory.join(COMPLETE), "").context("cannot mark the Python environment as complete")?;
        eprintln!("venv: done in {} s", started.elapsed().as_secs());
        Ok(())
    }

    fn program(&self, name: &str, path: PathBuf, args: Vec<std::ffi::OsString>) -> Program {
        Program {
            name: name.to_owned(),
            path,
            args,
            env: Vec::new(),
            directory: self.directory.clone(),
            log: self.directory.join("install.log"),
            orphaned: Signal::SIGKILL,
        }
    }
}

/// The directory of the emulator's own source.
pub fn sources() -> PathBuf {
    Path::new(env!("TENANT_OPERATOR_ROOT")).join("e2e/aws")
}

async fn probe() -> anyhow::Result<String> {
    let output = tokio::process::Command::new("python3").args(["-c", PROBE]).kill_on_drop(true).output().await;
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{} (python3 says: {})", advice(), errors.trim().lines().last().unwrap_or_default())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no python3 in the PATH; {}", advice()),
        Err(error) => Err(error).context("cannot run python3"),
    }
}

fn advice() -> String {
    format!("install Python {OLDEST} or newer with its venv module (Debian: python3-venv): the AWS emulator needs it")
}
