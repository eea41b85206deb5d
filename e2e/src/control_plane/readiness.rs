//! Waiting for a fact about a process that was just started. The wait ends with the fact, with the process, or with a
//! deadline; in the last two cases the error carries the end of the process's log.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::process::{Process, indented, tail};

/// A loaded machine with two cores starts the API server in 20 s; this is for one that is worse.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is a success. `fact` says what is waited for, as in "kube-apiserver answers".
pub(crate) async fn wait<T, F>(process: &Process, fact: &str, mut probe: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut last = None;
    let asking = async {
        loop {
            match probe().await {
                Ok(answer) => return answer,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let outcome = tokio::select! {
        answer = tokio::time::timeout(DEADLINE, asking) => answer,
        exit = process.ended() => bail!("{exit}"),
    };
    if let Ok(answer) = outcome {
        return Ok(answer);
    }
    let log = format!("the end of the log of {}:\n{}", process.name(), indented(&tail(process.log())));
    let error = last.unwrap_or_else(|| anyhow::anyhow!("nothing was answered at all"));
    Err(error.context(log)).with_context(|| format!("waited {} s in vain: {fact}", DEADLINE.as_secs()))
}
