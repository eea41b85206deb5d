//! The operator's binary: arguments, logs, and the one thing it does.

use std::process::ExitCode;

use clap::Parser as _;
use operator::args::{Args, Command, LogFormat, RunArgs};
use operator::clock;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let Args { command: Command::Run(args) } = Args::parse();
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
