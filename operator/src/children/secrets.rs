//! Secrets of pods, which no watch shows since nobody may list them: they are read by their names, and a reading is good for a
//! moment, as that of the authorities is. While a tenant is made, and at rest, run follows upon run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Key;

/// How long a reading is good.
const MOMENT: Duration = Duration::from_secs(10);

/// Those that were read and are there. One that is missing is looked for each time.
#[derive(Default)]
pub(super) struct Secrets(HashMap<Key, (Instant, Arc<Value>)>);

impl Secrets {
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Value>> {
        let (read_at, value) = self.0.get(key)?;
        is_young(*read_at, now).then(|| Arc::clone(value))
    }

    /// Keys stay in memory no longer than they are of use.
    pub(super) fn keep(&mut self, key: Key, value: Arc<Value>, now: Instant) {
        self.0.retain(|_, (read_at, _)| is_young(*read_at, now));
        self.0.insert(key, (now, value));
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

fn is_young(read_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(read_at) < MOMENT
}

#[cfg(test)]
mod tests {
    use plan::object::{Kind, Ref};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reading_is_good_for_a_moment() {
        let key = |name: &str| ("ns".to_owned(), Ref::new(Kind::Secret, name));
        let (mut secrets, began) = (Secrets::default(), Instant::now());
        secrets.keep(key("a"), Arc::new(json!({"data": {}})), began);
        assert!(secrets.get(&key("a"), began + MOMENT / 2).is_some());
        assert!(secrets.get(&key("a"), began + MOMENT).is_none() && secrets.get(&key("b"), began).is_none());
        secrets.keep(key("b"), Arc::new(json!({})), began + MOMENT);
        assert_eq!(secrets.0.len(), 1, "what is old is not kept");
        secrets.forget(&key("b"));
        assert!(secrets.get(&key("b"), began + MOMENT).is_none());
    }
}
