//! The ACME server (pebble). The proofs that it asks for it finds where the public would: at the name servers of Route 53, which the
//! AWS emulator plays.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::control_plane::ports;
use crate::control_plane::readiness::wait;
use crate::http::Http;
use crate::pki::PairFiles;
use crate::process::{Exit, Process, Program};
use crate::tools::{Tool, Tools};

const GRACE: Duration = Duration::from_secs(2);
const SECONDS_PER_DAY: u64 = 86_400;

/// A running ACME server.
pub struct Acme {
    pebble: Process,
    address: Ipv4Addr,
    issuing_root: String,
}

/// Where an ACME server's files are and whom its clients trust.
pub(crate) struct Places<'a> {
    pub(crate) run: &'a Path,
    pub(crate) logs: &'a Path,
    /// Certificate of its own https endpoint.
    pub(crate) serving: &'a PairFiles,
    /// PEM of the authority of that certificate.
    pub(crate) authority: &'a str,
}

impl Acme {
    pub(crate) async fn start(tools: &Tools, address: Ipv4Addr, places: &Places<'_>) -> anyhow::Result<Acme> {
        let config = places.run.join("pebble.json");
        let text = config_file(address, places.serving).to_string();
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let http = Http::new(places.authority)?;
        let pebble = Process::start(pebble(tools, address, places, &config)).await?;
        let directory = directory(address);
        let root = format!("https://{address}:{}/roots/0", ports::ACME_MANAGEMENT);
        let ((), issuing_root) = futures::try_join!(
            wait(&pebble, "the ACME directory answers", async || http.get(&directory).await?.success().map(drop)),
            wait(&pebble, "the ACME server has its root certificate", async || http.get(&root).await?.success()),
        )?;
        let issuing_root = String::from_utf8(issuing_root.into()).map_err(|_| anyhow!("the ACME root is no PEM"))?;
        Ok(Acme { pebble, address, issuing_root })
    }

    /// URL of the directory; its certificate is of the test bed's authority.
    pub fn directory(&self) -> String {
        directory(self.address)
    }

    /// PEM of the root of everything that it issues; another one in each run.
    pub fn issuing_root(&self) -> &str {
        &self.issuing_root
    }

    /// The address of the name servers that it asks, on the port of DNS.
    pub fn name_server(&self) -> Ipv4Addr {
        self.address
    }

    /// Waits for the process to end.
    pub async fn ended(&self) -> Exit {
        self.pebble.ended().await
    }

    /// Ends it.
    pub async fn stop(self) {
        self.pebble.stop(GRACE).await;
    }
}

fn directory(address: Ipv4Addr) -> String {
    format!("https://{address}:{}/dir", ports::ACME)
}

fn config_file(address: Ipv4Addr, serving: &PairFiles) -> serde_json::Value {
    json!({ "pebble": {
        "listenAddress": format!("{address}:{}", ports::ACME),
        "managementListenAddress": format!("{address}:{}", ports::ACME_MANAGEMENT),
        "certificate": serving.public,
        "privateKey": serving.private,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
        // As Let's Encrypt offers them.
        "profiles": {
            "classic": { "description": "90 days", "validityPeriod": 90 * SECONDS_PER_DAY },
            "shortlived": { "description": "6 days", "validityPeriod": 6 * SECONDS_PER_DAY },
        },
    } })
}

fn pebble(tools: &Tools, address: Ipv4Addr, places: &Places<'_>, config: &Path) -> Program {
    let dns = format!("{address}:{}", ports::DNS);
    let args = ["-config".into(), config.into(), "-dnsserver".into(), dns.into()].to_vec();
    let env = [
        // No artificial waiting in validations.
        ("PEBBLE_VA_NOSLEEP", "1"),
        // Percent of nonces that are refused though good: clients have to cope, and one retry mostly does.
        ("PEBBLE_WFE_NONCEREJECT", "5"),
        // Every order is validated: a reused authorization would hide a missing record.
        ("PEBBLE_AUTHZREUSE", "0"),
    ];
    Program {
        name: Tool::Pebble.name().to_owned(),
        path: tools.path(Tool::Pebble),
        args,
        env: env.map(|(name, value)| (name.into(), value.into())).to_vec(),
        directory: places.run.to_owned(),
        log: places.logs.join(format!("{}.log", Tool::Pebble.name())),
        orphaned: Signal::SIGKILL,
    }
}
