//! When objects of a tenant were put back without a word: the next time it is told.

use chrono::{DateTime, Utc};

use super::Memory;

impl Memory {
    /// When objects of a settled tenant were last put back, and its status said nothing of it.
    pub fn mended(&self, uid: &str) -> Option<DateTime<Utc>> {
        self.look(uid, |tenant| tenant.mended)
    }

    /// That is done now.
    pub fn mends(&self, uid: &str, now: DateTime<Utc>) {
        self.with(uid, |tenant| tenant.mended = Some(now));
    }
}
