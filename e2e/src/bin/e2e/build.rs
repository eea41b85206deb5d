//! `e2e build`.

use anyhow::bail;
use e2e::cache::Cache;
use e2e::control_plane::prepare;
use e2e::interrupt;

pub(crate) async fn run() -> anyhow::Result<()> {
    let cache = Cache::from_env()?;
    let mut interrupt = interrupt::listen()?;
    tokio::select! {
        built = prepare(&cache) => built?,
        signal = interrupt.received() => bail!("{signal}; what is built so far is kept"),
    };
    println!("everything is built, in {}", cache.root().display());
    Ok(())
}
