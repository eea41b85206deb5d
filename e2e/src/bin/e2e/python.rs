//! `e2e python`: the Python that has the emulator's packages, for its own tests.

use e2e::cache::Cache;
use e2e::venv::Venv;

pub(crate) async fn run() -> anyhow::Result<()> {
    let venv = Venv::ensure(&Cache::from_env()?).await?;
    println!("{}", venv.python().display());
    Ok(())
}
