//! Places for running hops: each window has a limit, and so has the fleet. Those that have been due for longest go first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::gate::Blocker;

/// Whether there is a place for one more hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is, and it is this tenant's turn.
    Free,
    /// The window has no place, or others go first.
    WindowFull {
        /// Its limit.
        limit: u32,
    },
    /// The fleet has no place, or others go first.
    FleetFull {
        /// Its limit.
        limit: u32,
    },
}

impl Place {
    /// As a blocker. Its text has no number that changes while one stands in line.
    pub fn blocker(&self) -> Option<Blocker> {
        let of = match self {
            Place::Free => return None,
            Place::WindowFull { limit } => format!("as many tenants as the maintenance window allows ({limit})"),
            Place::FleetFull { limit } => format!("as many tenants as the fleet policy allows ({limit})"),
        };
        Some(Blocker::ConcurrencyReached { of })
    }
}

/// A tenant that stands in line: nothing but time was in its way when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Since when its hop has been due.
    pub due_since: DateTime<Utc>,
    /// uid of the Tenant: who is first of two that are due since the same instant.
    pub tenant: String,
    /// Its window, as `namespace/name`.
    pub window: String,
}

/// The hops that run and the tenants in line. Its clones share what is long.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Running hops by window.
    running: BTreeMap<String, u32>,
    waiting: Arc<BTreeSet<Waiting>>,
    /// Tenants that have left the line since.
    left: BTreeSet<String>,
    limits: Arc<BTreeMap<String, u32>>,
    fleet_limit: u32,
}

impl Line {
    /// A line with its limits; a window without one has that of the fleet.
    pub fn new(fleet_limit: u32, limits: BTreeMap<String, u32>, waiting: impl IntoIterator<Item = Waiting>) -> Line {
        Line {
            running: BTreeMap::new(),
            waiting: Arc::new(waiting.into_iter().collect()),
            left: BTreeSet::new(),
            limits: Arc::new(limits),
            fleet_limit,
        }
    }

    /// A hop runs and takes a place of this window.
    pub fn run(&mut self, window: &str) {
        *self.running.entry(window.to_owned()).or_default() += 1;
    }

    /// The tenant's own place is not counted: it asks for it.
    pub fn stop(&mut self, window: &str) {
        if let Some(running) = self.running.get_mut(window) {
            *running = running.saturating_sub(1);
        }
    }

    /// A tenant has left the line, since it runs.
    pub fn leave(&mut self, tenant: &str) {
        self.left.insert(tenant.to_owned());
    }

    /// How many hops run.
    pub fn running(&self) -> u32 {
        self.running.values().sum()
    }

    fn limit(&self, window: &str) -> u32 {
        self.limits.get(window).copied().unwrap_or(self.fleet_limit)
    }

    /// Whether it is this tenant's turn. It is asked as if it stood in line, whether it did or not.
    pub fn place(&self, tenant: &Waiting) -> Place {
        let mut places = Places::of(self);
        for other in self.waiting.iter().take_while(|other| *other < tenant) {
            // Nobody behind gives anything back: what is full for those in front is full for this one.
            if places.full(&tenant.window).is_some() {
                break;
            }
            if other.tenant != tenant.tenant && !self.left.contains(&other.tenant) {
                places.take(&other.window);
            }
        }
        places.take(&tenant.window)
    }

    /// Those whose turn it is.
    pub fn next(&self) -> Vec<Waiting> {
        let mut places = Places::of(self);
        let line = self.waiting.iter().filter(|waiting| !self.left.contains(&waiting.tenant));
        line.filter(|waiting| places.take(&waiting.window) == Place::Free).cloned().collect()
    }
}

/// The places that are left while a line is served from its head. Those that find their window full hold nobody of another
/// window.
struct Places<'a> {
    line: &'a Line,
    taken: BTreeMap<&'a str, u32>,
    in_all: u32,
}

impl<'a> Places<'a> {
    fn of(line: &'a Line) -> Places<'a> {
        let taken = line.running.iter().map(|(window, running)| (window.as_str(), *running)).collect();
        Places { line, taken, in_all: line.running() }
    }

    /// Why nobody of this window can begin, if nobody can.
    fn full(&self, window: &str) -> Option<Place> {
        let limit = self.line.limit(window);
        if self.taken.get(window).is_some_and(|taken| *taken >= limit) || limit == 0 {
            Some(Place::WindowFull { limit })
        } else if self.in_all >= self.line.fleet_limit {
            Some(Place::FleetFull { limit: self.line.fleet_limit })
        } else {
            None
        }
    }

    fn take(&mut self, window: &'a str) -> Place {
        if let Some(full) = self.full(window) {
            return full;
        }
        *self.taken.entry(window).or_default() += 1;
        self.in_all += 1;
        Place::Free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(tenant: &str, due: i64, window: &str) -> Waiting {
        Waiting {
            due_since: DateTime::from_timestamp(due, 0).expect("in range"),
            tenant: tenant.into(),
            window: window.into(),
        }
    }

    #[test]
    fn the_longest_due_goes_first() {
        let mut line = Line::new(50, [("w".to_owned(), 1)].into(), [waiting("young", 9, "w"), waiting("old", 1, "w")]);
        assert_eq!(line.place(&waiting("young", 9, "w")), Place::WindowFull { limit: 1 });
        assert_eq!(line.place(&waiting("old", 1, "w")), Place::Free);
        assert_eq!(line.next(), [waiting("old", 1, "w")]);
        line.leave("old");
        assert_eq!(line.next(), [waiting("young", 9, "w")]);
        line.run("w");
        assert_eq!(line.next(), []);
        line.stop("w");
        assert_eq!(line.place(&waiting("young", 9, "w")), Place::Free);
    }

    #[test]
    fn a_full_window_holds_nobody_of_another() {
        let limits = [("full".to_owned(), 1), ("free".to_owned(), 1)].into();
        let mut line = Line::new(2, limits, [waiting("first", 1, "full"), waiting("second", 2, "free")]);
        line.run("full");
        assert_eq!(line.place(&waiting("second", 2, "free")), Place::Free);
    }

    #[test]
    fn the_fleet_has_a_limit_of_its_own() {
        let mut line = Line::new(1, [("a".to_owned(), 9), ("b".to_owned(), 9)].into(), []);
        line.run("a");
        assert_eq!(line.place(&waiting("t", 1, "b")), Place::FleetFull { limit: 1 });
    }

    #[test]
    fn one_that_never_stood_in_line_is_put_where_it_belongs() {
        let line = Line::new(9, [("w".to_owned(), 1)].into(), [waiting("other", 5, "w")]);
        assert_eq!(line.place(&waiting("new", 1, "w")), Place::Free);
        assert_eq!(line.place(&waiting("new", 7, "w")), Place::WindowFull { limit: 1 });
    }
}
