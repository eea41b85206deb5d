//! `e2e bench`: what a number of tenants costs.

use anyhow::bail;
use clap::Subcommand;
use e2e::bench::{create, rest, updates};
use e2e::interrupt;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Tenants are applied at once: how long the operator takes, against a plain client that makes the same.
    Create(Create),
    /// A maintenance window opens for many tenants at one instant: all must be updated, never more at once than it allows.
    Updates(Updates),
    /// Tenants, windows and pools at rest, with agents that send heartbeats: nothing may be written.
    Rest(Rest),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// How many tenants.
    #[arg(long, default_value_t = 100)]
    tenants: usize,
    /// How often the operator and the plain client make them, one after the other.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Pods start and wait this many times faster than real ones.
    #[arg(long, default_value_t = 20.0)]
    pace: f64,
    /// Write what was found into e2e/BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Updates {
    /// How many tenants.
    #[arg(long, default_value_t = 100)]
    tenants: usize,
    /// How many the window lets be updated at once.
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Pods start, drain and wait this many times faster than real ones.
    #[arg(long, default_value_t = 20.0)]
    pace: f64,
    /// Write what was found into e2e/BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rest {
    /// How many tenants.
    #[arg(long, default_value_t = 100)]
    tenants: usize,
    /// How many maintenance windows; the tenants are spread over them.
    #[arg(long, default_value_t = 100)]
    windows: usize,
    /// How many agent pools, spread over the tenants.
    #[arg(long, default_value_t = 100)]
    pools: usize,
    /// How long to listen.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Pods start and wait this many times faster than real ones.
    #[arg(long, default_value_t = 20.0)]
    pace: f64,
    /// Write what was found into e2e/BENCHMARKS.md.
    #[arg(long)]
    write: bool,
}

pub(crate) async fn run(bench: Bench) -> anyhow::Result<()> {
    let mut interrupt = interrupt::listen()?;
    let measured = async {
        match bench {
            Bench::Create(Create { tenants, rounds, pace, write }) => {
                create::run(create::Plan { tenants, rounds, pace, write }).await
            }
            Bench::Updates(Updates { tenants, limit, pace, write }) => {
                updates::run(updates::Plan { tenants, limit, pace, write }).await
            }
            Bench::Rest(Rest { tenants, windows, pools, minutes, pace, write }) => {
                rest::run(rest::Plan { tenants, windows, pools, minutes, pace, write }).await
            }
        }
    };
    tokio::select! {
        measured = measured => measured,
        signal = interrupt.received() => bail!("{signal}"),
    }
}
