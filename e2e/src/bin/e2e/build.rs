//! `e2e build`.

use anyhow::bail;
use e2e::cache::Cache;
use e2e::cert_manager;
use e2e::control_plane::prepare;
use e2e::interrupt;

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also what only the tests need.
    #[arg(long)]
    tests: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let cache = Cache::from_env()?;
    let mut interrupt = interrupt::listen()?;
    let built = async {
        prepare(&cache).await?;
        if arguments.tests {
            cert_manager::ensure(&cache).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        built = built => built?,
        signal = interrupt.received() => bail!("{signal}; what is built so far is kept"),
    };
    println!("everything is built, in {}", cache.root().display());
    Ok(())
}
