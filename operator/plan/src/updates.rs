//! Facts about everything outside a tenant that its updates depend on: the feed, the window, the other tenants, the clock.

use std::sync::Arc;

use crate::cloud::backup::BackupFacts;
use crate::fact::Fact;
use crate::feed::Feed;
use crate::feed::standing::Standing;
use crate::line::Place;
use crate::window::Schedule;

/// What an update of a tenant depends on.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The release feed: the last good one, or why there never was one.
    pub feed: Result<Arc<Feed>, String>,
    /// What is wrong with the fleet policy as it is written now, while the last good one is in force.
    pub policy_fault: Option<String>,
    /// How releases fared on all tenants.
    pub standing: Arc<Standing>,
    /// The maintenance window that applies.
    pub window: WindowFact,
    /// Whether there is a place for one more hop.
    pub place: Place,
    /// Backups of the state table, while a hop asks for them, and once a day.
    pub backups: Fact<Vec<BackupFacts>>,
    /// Whether window, feed, agents and slots were just read, and not taken from a cache.
    pub live: bool,
}

/// The maintenance window of a tenant.
#[derive(Clone, Debug)]
pub enum WindowFact {
    /// There is none.
    Missing {
        /// The one that was looked for, `namespace/name`.
        window: String,
    },
    /// It is not for the tenant's namespace.
    NotGranted {
        /// Which.
        window: String,
    },
    /// It cannot be evaluated, or could not be read.
    Invalid {
        /// Which.
        window: String,
        /// Why.
        fault: String,
    },
    /// It can be evaluated.
    Known {
        /// Which.
        window: String,
        /// When it is open.
        schedule: Arc<Schedule>,
        /// How many tenants may be updated in it at once.
        limit: u32,
    },
}

impl WindowFact {
    /// Its name, as `namespace/name`.
    pub fn name(&self) -> &str {
        match self {
            WindowFact::Missing { window }
            | WindowFact::NotGranted { window }
            | WindowFact::Invalid { window, .. }
            | WindowFact::Known { window, .. } => window,
        }
    }

    /// Its name, if there is such a window.
    pub fn named(&self) -> Option<&str> {
        match self {
            WindowFact::Missing { .. } => None,
            found => Some(found.name()),
        }
    }

    /// When it is open.
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            WindowFact::Known { schedule, .. } => Some(schedule),
            WindowFact::Missing { .. } | WindowFact::NotGranted { .. } | WindowFact::Invalid { .. } => None,
        }
    }
}
