//! The reconcilers that run beside that of the tenants, until they are stopped.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::{Error, Result, chain};

/// Objects of one kind reconciled at the same time; a run is a comparison, and a write only when something changed.
const AT_ONCE: u16 = 8;

/// One kind and how often it is looked at.
pub struct Kind<K: Resource<DynamicType = ()>> {
    /// What its objects are called, in the plural.
    pub name: &'static str,
    /// Events of one object that come this close together lead to one run.
    pub debounce: Duration,
    /// However often an object is named, it is looked at this often.
    pub pace: Duration,
    /// Objects to look at again.
    pub triggered: mpsc::UnboundedReceiver<ObjectRef<K>>,
}

/// Reconciles all objects of a kind until it is stopped.
pub async fn run<K, F>(
    kind: Kind<K>,
    reconcile: impl FnMut(Arc<K>, Arc<Context>) -> F,
    delay: impl Fn(&K, &Error, &Context) -> Action,
    context: Arc<Context>,
    stop: &CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    F: Future<Output = Result<Action>> + Send + 'static,
{
    let api = Api::<K>::all(context.watching.clone());
    let told = Arc::clone(&context);
    Controller::new(api, watcher::Config::default())
        .with_config(Config::default().concurrency(AT_ONCE).debounce(kind.debounce))
        .reconcile_on(paced(kind.triggered, kind.pace))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |object, error, context| delay(&object, error, &context), context)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tell(kind.name, &error, &told);
            }
            futures::future::ready(())
        })
        .await;
}

/// A run tells of its own failures; what is left are those of the queue.
pub fn tell<E>(kind: &'static str, error: &controller::Error<Error, E>, context: &Context)
where
    E: std::error::Error + 'static,
{
    if let controller::Error::QueueError(_) | controller::Error::RunnerError(_) = error {
        context.metrics.queue_failed();
        tracing::warn!(kind, error = %chain(error), "the queue");
    }
}

/// What a channel brings, as a stream.
pub fn queue<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

/// What comes out of a queue, each once in a period however often it was put in. The first comes out at once.
fn paced<T>(receiver: mpsc::UnboundedReceiver<T>, period: Duration) -> impl Stream<Item = T> + Send
where
    T: Hash + Eq + Send + 'static,
{
    let batches = futures::stream::unfold((receiver, None), move |(mut receiver, last)| async move {
        let first = receiver.recv().await?;
        if let Some(last) = last {
            tokio::time::sleep_until(last + period).await;
        }
        let mut batch = HashSet::from([first]);
        while let Ok(next) = receiver.try_recv() {
            batch.insert(next);
        }
        Some((futures::stream::iter(batch), (receiver, Some(tokio::time::Instant::now()))))
    });
    batches.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_in_all_the_time_comes_out_once_a_period() {
        const PERIOD: Duration = Duration::from_millis(200);
        let (queue, queued) = mpsc::unbounded_channel();
        let mut paced = std::pin::pin!(paced(queued, PERIOD));
        let feed = async {
            for _ in 0..50 {
                queue.send("window").expect("it is taken out");
                tokio::time::sleep(PERIOD / 20).await;
            }
            drop(queue);
        };
        let mut at = Vec::new();
        let take = async {
            while paced.next().await.is_some() {
                at.push(tokio::time::Instant::now());
            }
        };
        futures::join!(feed, take);
        assert!(at.len() >= 3, "it came out {} times", at.len());
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= PERIOD), "{at:?}");
    }
}
