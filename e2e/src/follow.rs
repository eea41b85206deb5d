//! Follows all objects of one kind: a watch as a sequence of changes, in which every object that vanished is named even
//! when the watch was interrupted meanwhile. It keeps identities only; what the objects say is for the caller to keep.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Which object, and which of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Identity {
    pub(crate) fn of<K: Resource>(object: &K) -> Identity {
        Identity {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }
}

/// What happened.
#[derive(Debug, PartialEq)]
pub(crate) enum Change<K> {
    /// It is there and looks like this.
    Applied(K),
    /// It is no more.
    Gone(Identity),
    /// Everything that existed when the watch began (or began again) has been told.
    Complete,
}

/// The sequence of changes.
pub(crate) struct Follower<K> {
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    known: HashMap<(String, String), String>,
    relisted: Option<HashSet<String>>,
    queue: VecDeque<Change<K>>,
}

impl<K> Follower<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(crate) fn new(api: Api<K>, config: watcher::Config) -> Follower<K> {
        Follower::over(watcher(api, config).default_backoff())
    }
}

impl<K: Resource> Follower<K> {
    fn over(events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static) -> Follower<K> {
        Follower { events: events.boxed(), known: HashMap::new(), relisted: None, queue: VecDeque::new() }
    }

    /// The next change. Never ends: a lost watch is started again.
    pub(crate) async fn next(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return change;
            }
            match self.events.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => tracing::warn!(%error, "a watch was interrupted"),
                None => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.relisted = Some(HashSet::new()),
            Event::InitApply(object) => {
                if let Some(relisted) = &mut self.relisted {
                    relisted.insert(object.uid().unwrap_or_default());
                }
                self.applied(object);
            }
            Event::InitDone => {
                let relisted = self.relisted.take().unwrap_or_default();
                let vanished = self.known.extract_if(|_, uid| !relisted.contains(uid));
                let gone = vanished.map(|((namespace, name), uid)| Change::Gone(Identity { namespace, name, uid }));
                self.queue.extend(gone);
                self.queue.push_back(Change::Complete);
            }
            Event::Apply(object) => self.applied(object),
            Event::Delete(object) => {
                let Identity { namespace, name, uid } = Identity::of(&object);
                let key = (namespace, name);
                if self.known.get(&key) == Some(&uid) {
                    self.known.remove(&key);
                    self.queue.push_back(Change::Gone(Identity { namespace: key.0, name: key.1, uid }));
                }
            }
        }
    }

    fn applied(&mut self, object: K) {
        let Identity { namespace, name, uid } = Identity::of(&object);
        let key = (namespace, name);
        // The same name with another uid: the deletion between the two was missed.
        if let Some(former) = self.known.insert(key.clone(), uid.clone()).filter(|former| *former != uid) {
            self.queue.push_back(Change::Gone(Identity { namespace: key.0, name: key.1, uid: former }));
        }
        self.queue.push_back(Change::Applied(object));
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, uid: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("n".into()),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    async fn changes(events: Vec<Event<ConfigMap>>, expected: usize) -> Vec<String> {
        let mut follower = Follower::over(stream::iter(events.into_iter().map(Ok)));
        let mut told = Vec::new();
        for _ in 0..expected {
            told.push(match follower.next().await {
                Change::Applied(object) => format!("applied {}", object.uid().unwrap()),
                Change::Gone(identity) => format!("gone {}", identity.uid),
                Change::Complete => "complete".to_owned(),
            });
        }
        assert!(futures::poll!(std::pin::pin!(follower.next())).is_pending(), "there is more than {told:?}");
        told
    }

    #[tokio::test]
    async fn a_deletion_missed_during_an_interruption_is_told() {
        let events = vec![
            Event::Init,
            Event::InitApply(object("a", "1")),
            Event::InitApply(object("b", "2")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(object("b", "2")),
            Event::InitDone,
        ];
        let told = changes(events, 6).await;
        assert_eq!(told, ["applied 1", "applied 2", "complete", "applied 2", "gone 1", "complete"]);
    }

    #[tokio::test]
    async fn a_second_life_ends_the_first() {
        let events =
            vec![Event::Apply(object("a", "1")), Event::Apply(object("a", "2")), Event::Delete(object("a", "1"))];
        assert_eq!(changes(events, 3).await, ["applied 1", "gone 1", "applied 2"]);
    }

    #[tokio::test]
    async fn a_deletion_is_told_once() {
        let events =
            vec![Event::Apply(object("a", "1")), Event::Delete(object("a", "1")), Event::Delete(object("a", "1"))];
        assert_eq!(changes(events, 2).await, ["applied 1", "gone 1"]);
    }
}
