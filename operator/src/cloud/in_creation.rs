//! How many tables may be in creation at once. AWS counts tables, not calls: a table with a secondary index is "in
//! creation" until it is active, and an account may have 250 of those. Whoever asks for more is refused and retried
//! by everybody at once, so the limit is kept here.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A table that was not seen active after this long no longer counts: the process may never read it again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The tables that this process created and has not yet seen active.
#[derive(Debug)]
pub struct InCreation {
    limit: usize,
    tables: Mutex<HashMap<(String, String), Instant>>,
}

impl InCreation {
    /// At most `limit` at once.
    pub fn new(limit: usize) -> InCreation {
        InCreation { limit, tables: Mutex::new(HashMap::new()) }
    }

    /// How many at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a place for a table; `false` when there is none. A table that has a place keeps it.
    pub fn enter(&self, region: &str, table: &str, now: Instant) -> bool {
        let mut tables = self.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = (region.to_owned(), table.to_owned());
        if !tables.contains_key(&key) && tables.len() >= self.limit {
            tables.retain(|_, since| now.saturating_duration_since(*since) < FORGOTTEN_AFTER);
            if tables.len() >= self.limit {
                return false;
            }
        }
        tables.insert(key, now);
        true
    }

    /// Gives the place back: the table is active, gone, or was never created.
    pub fn leave(&self, region: &str, table: &str) {
        let mut tables = self.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        tables.remove(&(region.to_owned(), table.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_table_is_active() {
        let (tables, now) = (InCreation::new(2), Instant::now());
        assert!(tables.enter("r", "a", now) && tables.enter("r", "b", now));
        assert!(!tables.enter("r", "c", now), "two of two places are taken");
        assert!(tables.enter("r", "a", now), "a table keeps its place");
        tables.leave("r", "a");
        assert!(tables.enter("r", "c", now));
    }

    #[test]
    fn a_table_that_nobody_looks_at_loses_its_place() {
        let (tables, now) = (InCreation::new(1), Instant::now());
        assert!(tables.enter("r", "a", now));
        assert!(!tables.enter("r", "b", now + FORGOTTEN_AFTER / 2));
        assert!(tables.enter("r", "b", now + FORGOTTEN_AFTER));
    }
}
