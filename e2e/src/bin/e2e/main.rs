//! The test bed's command: it builds the control plane and runs it for people.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod demo;
mod python;
mod remote;
mod up;
mod with_aws;

/// A real control plane with emulators around it, on loopback.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the agents of a cluster of a running demo, or move them to another version.
    Agents(remote::AgentsArguments),
    /// Measure the operator on a control plane of its own.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build and install everything that a control plane needs.
    Build(build::Arguments),
    /// Set the clock by which the operator of a running demo decides.
    Clock(remote::ClockArguments),
    /// Show the whole product: control plane, operator, the examples, until Ctrl-C.
    Demo(demo::Arguments),
    /// Print the path of the Python that has the emulator's packages.
    Python,
    /// Run a command beside the AWS emulator.
    WithAws(with_aws::Arguments),
    /// Start a control plane and keep it until Ctrl-C.
    Up(up::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Agents(arguments) => remote::agents(arguments).await,
        Command::Bench(what) => bench::run(what).await,
        Command::Build(arguments) => build::run(arguments).await,
        Command::Clock(arguments) => remote::clock(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Python => python::run().await,
        Command::WithAws(arguments) => with_aws::run(arguments).await,
        Command::Up(arguments) => up::run(arguments).await,
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("e2e: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
    ExitCode::FAILURE
}
