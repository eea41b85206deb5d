//! Command line and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::clock;
use crate::isolation::IsolationArgs;

/// Hosts many Teleport clusters as custom resources.
#[derive(Debug, Parser)]
#[command(name = "tenant-operator", version = version(), about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The version of the program, and that of the time zone database by which windows are read.
fn version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{} (time zones {})", clock::VERSION, plan::window::tz_version()));
    &TEXT
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM.
    Run(RunArgs),
    /// Work with a fleet policy that is not in force.
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Try everything that the Auth of one tenant may do on the data of another, in real AWS: allowed on its own and refused
    /// elsewhere, or the exit code is 1. Nothing is changed. The kubeconfig in use must allow to read Tenants and to make
    /// tokens of their ServiceAccounts.
    VerifyIsolation(IsolationArgs),
}

/// What to do with a fleet policy.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Check a policy as the operator would: every fault is named with its field, and the exit code is 1 if there is one.
    Check {
        /// A manifest with the policy's ConfigMap, as helm template writes it; or the text of one of its keys in a file of
        /// that key's name, installation.yaml or releases.yaml. `-` is a manifest on standard input.
        file: PathBuf,
    },
    /// Print the JSON Schema of both keys.
    Schema,
}

/// How to run.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Address of probes and metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Namespace of the operator: leader lease, claims, fleet policy.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Name of this pod, which the leader lease shows.
    #[arg(long, env = "POD_NAME", default_value = "tenant-operator")]
    pub pod_name: String,

    /// ConfigMap with the fleet policy.
    #[arg(long, default_value = "tenant-operator-fleet")]
    pub fleet_config_map: String,

    /// How often the cloud resources of a settled tenant are read again to find drift, give or take half of it.
    #[arg(long, default_value = "6h", value_parser = duration)]
    pub cloud_resync: Duration,

    /// How often the agents of each tenant are read.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub inventory_interval: Duration,

    /// Tenants reconciled at the same time.
    #[arg(long, default_value_t = 32)]
    pub concurrency: u16,

    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Level, or a filter such as `info,operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

fn duration(text: &str) -> Result<Duration, String> {
    plan::duration::parse(text)
        .and_then(|duration| duration.to_std().ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{text:?} is no duration: write it as 90s, 5m or 6h"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_version_names_the_time_zone_database() {
        let shown = Args::try_parse_from(["tenant-operator", "--version"]).expect_err("it is shown").to_string();
        assert!(shown.contains("(time zones 20"), "{shown}");
    }

    #[test]
    fn periods_are_checked() {
        let run = |flag: &str| Args::try_parse_from(["tenant-operator", "run", "--namespace=n", flag]);
        assert!(run("--cloud-resync=30s").is_ok());
        assert!(run("--cloud-resync=0s").is_err());
        assert!(run("--inventory-interval=soon").is_err());
    }
}
