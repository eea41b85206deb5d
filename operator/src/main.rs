//! The operator's binary: arguments, logs, and what it is told to do.

use std::process::ExitCode;

use clap::Parser as _;
use operator::args::{Args, Command, FleetCommand, LogFormat, RunArgs};
use operator::{clock, policy};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run(args) => run(args).await,
        Command::Fleet(command) => fleet(&command),
    }
}

fn fleet(command: &FleetCommand) -> ExitCode {
    match command {
        FleetCommand::Schema => {
            println!("{:#}", plan::schema::fleet());
            ExitCode::SUCCESS
        }
        FleetCommand::Check { file } => match policy::check::file(file) {
            Ok(Ok(lines)) => {
                lines.iter().for_each(|line| println!("{line}"));
                ExitCode::SUCCESS
            }
            Ok(Err(faults)) => {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(args: RunArgs) -> ExitCode {
    if let Err(error) = log(&args) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    if clock::SETTABLE {
        tracing::warn!(
            "TEST BUILD: whoever can write a file sets the clock by which this operator decides; never run it in production"
        );
    }
    match operator::run::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &RunArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => subscriber.json().init(),
        LogFormat::Text => subscriber.init(),
    }
    Ok(())
}
