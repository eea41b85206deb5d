//! `e2e with-aws`: the AWS emulator alone, for a command that tests against it.

use std::ffi::OsString;
use std::process::Stdio;

use anyhow::{Context, bail};
use e2e::aws::Aws;
use e2e::cache::{Cache, RunDir};
use e2e::interrupt;
use e2e::slot::Slot;
use e2e::venv::Venv;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The command and its arguments; it finds the emulator's URL in TEST_AWS_ENDPOINT, and the Python that runs it in
    /// TEST_AWS_PYTHON.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = interrupt::listen()?;
    let cache = Cache::from_env()?;
    let venv = Venv::ensure(&cache).await?;
    let slot = Slot::claim()?;
    let run = RunDir::create(&cache)?;
    let aws = Aws::start(&venv, slot.control(), run.path(), &run.subdirectory("logs")?).await?;
    let mut command = tokio::process::Command::new(&arguments.command[0])
        .args(&arguments.command[1..])
        .env("TEST_AWS_ENDPOINT", aws.endpoint())
        .env("TEST_AWS_PYTHON", venv.python())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", arguments.command[0].display()))?;
    let ended = tokio::select! {
        status = command.wait() => status.context("cannot wait for the command").and_then(|status| {
            if status.success() { Ok(()) } else { bail!("the command failed: {status}") }
        }),
        exit = aws.ended() => Err(anyhow::anyhow!("{exit}")),
        signal = interrupt.received() => Err(anyhow::anyhow!("{signal}")),
    };
    drop(command);
    aws.stop().await;
    ended
}
