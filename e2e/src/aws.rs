//! The AWS emulator: its process and its control interface. What it answers and whom it lets in is its own business.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::control_plane::ports;
use crate::control_plane::readiness::wait;
use crate::http::Http;
use crate::process::{Exit, Process, Program};
use crate::venv::{Venv, sources};

const GRACE: Duration = Duration::from_secs(2);

/// A key that may do everything, for seeding and for looking on.
#[derive(Clone)]
pub struct RootCredentials {
    /// Access key id.
    pub access_key_id: &'static str,
    /// Secret access key.
    pub secret_access_key: &'static str,
}

/// The emulator knows this key from its start.
pub const ROOT: RootCredentials =
    RootCredentials { access_key_id: "ROOTROOTROOTROOTROOT", secret_access_key: "root-secret" };

/// A running emulator.
pub struct Aws {
    process: Process,
    endpoint: String,
    calls: PathBuf,
    http: Http,
}

impl Aws {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log when it does not.
    pub async fn start(venv: &Venv, address: Ipv4Addr, run: &Path, logs: &Path) -> anyhow::Result<Aws> {
        let endpoint = format!("http://{address}:{}", ports::AWS);
        let calls = logs.join("aws-calls.jsonl");
        let mut args: Vec<OsString> = vec!["-m".into(), "emulator".into()];
        args.extend(["--host".into(), address.to_string().into()]);
        args.extend(["--port".into(), ports::AWS.to_string().into()]);
        args.push("--names".into());
        args.extend(["--log".into(), calls.clone().into()]);
        let program = Program {
            name: "aws-emulator".into(),
            path: venv.python(),
            args,
            env: vec![
                ("PYTHONPATH".into(), sources().into()),
                // Its log is read while it runs, and must be whole when it is killed.
                ("PYTHONUNBUFFERED".into(), "1".into()),
            ],
            directory: run.to_owned(),
            log: logs.join("aws-emulator.log"),
            orphaned: Signal::SIGKILL,
        };
        let http = Http::new("")?;
        let process = Process::start(program).await?;
        let health = format!("{endpoint}/testbed/health");
        wait(&process, "the AWS emulator answers", async || http.get(&health).await?.success()).await?;
        Ok(Aws { process, endpoint, calls, http })
    }

    /// URL of all services.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// File with one JSON line per call, in order.
    pub fn calls(&self) -> &Path {
        &self.calls
    }

    /// Makes the emulator trust tokens of this issuer, as AWS does once it has fetched the keys itself.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn trust_issuer(&self, issuer: &str, keys: &Value) -> anyhow::Result<()> {
        let url = format!("{}/testbed/oidc", self.endpoint);
        let answer = self.http.post(&url, &json!({ "issuer": issuer, "jwks": keys })).await?;
        answer.success().with_context(|| format!("the AWS emulator does not take the keys of {issuer}"))?;
        Ok(())
    }

    /// Waits for the end of the process.
    pub async fn ended(&self) -> Exit {
        self.process.ended().await
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop(GRACE).await;
    }
}

impl fmt::Debug for RootCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RootCredentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
