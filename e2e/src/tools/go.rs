//! The Go toolchain of this machine, and whether it is new enough.

use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

/// Kubernetes 1.37 asks for it.
const OLDEST: (u32, u32) = (1, 26);

/// What `go env` says.
#[derive(Debug, Deserialize)]
pub(super) struct Go {
    #[serde(rename = "GOVERSION")]
    pub(super) version: String,
    #[serde(rename = "GOOS")]
    pub(super) system: String,
    #[serde(rename = "GOARCH")]
    pub(super) architecture: String,
}

impl Go {
    /// Asks the `go` in the path, as it would run for this module.
    pub(super) async fn find(module: &Path) -> anyhow::Result<Go> {
        let install = format!("install Go {}.{} or newer: the control plane is built from source", OLDEST.0, OLDEST.1);
        let output = tokio::process::Command::new("go")
            .args(["env", "-json", "GOVERSION", "GOOS", "GOARCH"])
            .current_dir(module)
            .env("GOWORK", "off")
            .kill_on_drop(true)
            .output()
            .await;
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("there is no go in the PATH; {install}"),
            Err(error) => return Err(error).context("cannot run go"),
        };
        if !output.status.success() {
            // An old toolchain refuses the `go` line of go.mod; its own words say so.
            bail!("{install} (go says: {})", String::from_utf8_lossy(&output.stderr).trim());
        }
        let go: Go = serde_json::from_slice(&output.stdout).context("cannot read the answer of go env")?;
        match release(&go.version) {
            Some(release) if release >= OLDEST => Ok(go),
            _ => bail!("{install} (this one is {})", go.version),
        }
    }
}

/// `go1.26.8` and `go1.27rc1` as numbers.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|character: char| !character.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(release("go1.26.8"), Some((1, 26)));
        assert_eq!(release("go1.27rc1"), Some((1, 27)));
        assert_eq!(release("go1.9"), Some((1, 9)));
        assert_eq!(release("devel +abc"), None);
    }
}
