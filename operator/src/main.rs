//! The operator's binary: arguments, logs, and what it is told to do.

use std::process::ExitCode;

use clap::Parser as _;
use operator::args::{Args, Command, FleetCommand, LogFormat, RunArgs};
use operator::isolation::{self, IsolationArgs};
use operator::{clock, policy};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Whatever speaks TLS here asks for it.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    match Args::parse().command {
        Command::Run(args) => run(args).await,
        Command::Fleet(command) => fleet(&command),
        Command::VerifyIsolation(args) => verify_isolation(&args).await,
    }
}

async fn verify_isolation(args: &IsolationArgs) -> ExitCode {
    match isolation::verify(args).await {
        Ok(reports) => {
            reports.iter().for_each(|report| println!("{report}"));
            let broken: usize = reports.iter().map(|report| report.broken().len()).sum();
            let tried: usize = reports.iter().map(|report| report.rows.len()).sum();
            match broken {
                0 => {
                    println!("isolation holds: {tried} rights, each allowed on the tenant's own and refused elsewhere")
                }
                broken => println!("isolation does NOT hold: {broken} of {tried} rights are not as promised"),
            }
            if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
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
