//! How many containers one kubelet looks after. What it asks of each again and again is asked more rarely where they are
//! many: a thousand tenants at a high pace would have the machine do nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Between two questions to one container, for each that is there.
const EACH: Duration = Duration::from_millis(10);

/// The containers of one kubelet.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<AtomicU32>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct OfCrowd(Crowd);

impl Crowd {
    pub(super) fn join(&self) -> OfCrowd {
        self.0.fetch_add(1, Ordering::Relaxed);
        OfCrowd(self.clone())
    }

    /// Between two questions, if it were alone at its `own` period.
    pub(super) fn period(&self, own: Duration) -> Duration {
        own.max(EACH.saturating_mul(self.0.load(Ordering::Relaxed)))
    }
}

impl Drop for OfCrowd {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_more_rarely_each_is_asked() {
        let (crowd, own) = (Crowd::default(), EACH * 2);
        let joined = [crowd.join(), crowd.join(), crowd.join()];
        assert_eq!(crowd.period(own), EACH * 3);
        drop(joined);
        assert_eq!(crowd.period(own), own);
    }
}
