//! Polls the state table's stream, as every Auth does: it is how two Auths see each other's writes, and why there must
//! not be more than two of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::Core;
use super::{authority, update};
use crate::cloud::{Answer, ErrorKind};
use crate::rule::Rule;
use crate::state::full_path;

/// Real time whatever the scale: hundreds of Auths share one emulator.
const POLL: Duration = Duration::from_secs(5);
/// All Auths together ask no more often than this many times a second: beside a thousand of them the emulator would have
/// time for nothing else.
const POLLS_A_SECOND: f64 = 20.0;
/// Real time for the same reason as the poll; new shards appear every few hours.
const POLLS_PER_LOOK: u32 = 12;
/// DynamoDB throttles more readers of a shard than this.
const READERS: usize = 2;

/// Runs until it is dropped; `readable` turns true with the first poll that succeeds.
pub(super) async fn follow(core: Arc<Core>, stream: String, readable: watch::Sender<bool>) {
    let mut iterators = BTreeMap::new();
    let mut polls = 0;
    let mut warned = false;
    loop {
        match poll(&core, &stream, &mut iterators, polls % POLLS_PER_LOOK == 0).await {
            Ok(paths) => {
                readable.send_replace(true);
                polls += 1;
                paths.iter().for_each(|path| update::changed(&core, path));
                if paths.iter().any(|path| path.starts_with(&full_path(authority::PREFIX)))
                    && let Err(error) = core.reload_trust().await
                {
                    core.log.error("Failed to reload certificate authorities", &error);
                }
            }
            Err(error) => {
                core.log.error("Poll streams returned with error", &Rule::StreamUnreadable.by(error));
                iterators.clear();
                polls = 0;
            }
        }
        let (_, readers) = core.process.world.share_of(&core.cluster, &core.host_id);
        if readers > READERS && !warned {
            core.log.warn("More than two Auths read one stream: DynamoDB throttles them", json!({ "auths": readers }));
        }
        warned = readers > READERS;
        tokio::time::sleep(pause(core.process.world.serving_auths())).await;
    }
}

/// Between two polls of one Auth among so many.
fn pause(auths: usize) -> Duration {
    POLL.max(Duration::from_secs_f64(auths as f64 / POLLS_A_SECOND))
}

async fn poll(core: &Core, stream: &str, iterators: &mut BTreeMap<String, String>, look: bool) -> Answer<Vec<String>> {
    let cloud = core.state.cloud();
    if look {
        for shard in cloud.shards(stream).await? {
            if !iterators.contains_key(&shard) {
                iterators.insert(shard.clone(), cloud.iterator(stream, &shard).await?);
            }
        }
    }
    let mut paths = Vec::new();
    for (shard, iterator) in iterators.clone() {
        match cloud.records(&iterator).await {
            Ok(records) => {
                paths.extend(records.paths);
                match records.next {
                    Some(next) => iterators.insert(shard, next),
                    // Closed: its successor comes with the next look.
                    None => None,
                };
            }
            Err(error) if error.kind == ErrorKind::Expired => {
                iterators.remove(&shard);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_auths_keep_their_pace_and_many_share_the_emulator() {
        assert_eq!([1, 100, 1000].map(pause), [5, 5, 50].map(Duration::from_secs));
    }
}
