//! Places for running hops: each window has a limit, and so has the fleet. Those that have been due for longest go first.

use std::collections::{BTreeMap, BTreeSet};

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

/// The hops that run and the tenants in line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Running hops by window.
    running: BTreeMap<String, u32>,
    waiting: BTreeSet<Waiting>,
    limits: BTreeMap<String, u32>,
    fleet_limit: u32,
}

impl Line {
    /// An empty line with its limits; a window without one has that of the fleet.
    pub fn new(fleet_limit: u32, limits: BTreeMap<String, u32>) -> Line {
        Line { running: BTreeMap::new(), waiting: BTreeSet::new(), limits, fleet_limit }
    }

    /// A hop runs and takes a place of this window.
    pub fn run(&mut self, window: &str) {
        *self.running.entry(window.to_owned()).or_default() += 1;
    }

    /// A tenant stands in line.
    pub fn wait(&mut self, tenant: Waiting) {
        self.waiting.insert(tenant);
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
        let before = self.waiting.iter().take_while(|other| *other < tenant);
        let others = before.filter(|other| other.tenant != tenant.tenant);
        self.serve(others.chain([tenant])).last().map_or(Place::Free, |(_, place)| place)
    }

    /// Those whose turn it is.
    pub fn next(&self) -> Vec<Waiting> {
        let served = self.serve(self.waiting.iter());
        served.filter(|(_, place)| *place == Place::Free).map(|(waiting, _)| waiting.clone()).collect()
    }

    /// Serves a line from its head. Those that find their window full hold nobody of another window.
    fn serve<'a>(&self, line: impl Iterator<Item = &'a Waiting>) -> impl Iterator<Item = (&'a Waiting, Place)> {
        let mut taken = self.running.clone();
        let mut in_all = self.running();
        line.map(move |waiting| {
            let limit = self.limit(&waiting.window);
            let of_window = taken.entry(waiting.window.clone()).or_default();
            let place = if *of_window >= limit {
                Place::WindowFull { limit }
            } else if in_all >= self.fleet_limit {
                Place::FleetFull { limit: self.fleet_limit }
            } else {
                *of_window += 1;
                in_all += 1;
                Place::Free
            };
            (waiting, place)
        })
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
        let mut line = Line::new(50, [("w".to_owned(), 1)].into());
        line.wait(waiting("young", 9, "w"));
        line.wait(waiting("old", 1, "w"));
        assert_eq!(line.place(&waiting("young", 9, "w")), Place::WindowFull { limit: 1 });
        assert_eq!(line.place(&waiting("old", 1, "w")), Place::Free);
        assert_eq!(line.next(), [waiting("old", 1, "w")]);
    }

    #[test]
    fn a_full_window_holds_nobody_of_another() {
        let mut line = Line::new(2, [("full".to_owned(), 1), ("free".to_owned(), 1)].into());
        line.run("full");
        line.wait(waiting("first", 1, "full"));
        line.wait(waiting("second", 2, "free"));
        assert_eq!(line.place(&waiting("second", 2, "free")), Place::Free);
    }

    #[test]
    fn the_fleet_has_a_limit_of_its_own() {
        let mut line = Line::new(1, [("a".to_owned(), 9), ("b".to_owned(), 9)].into());
        line.run("a");
        assert_eq!(line.place(&waiting("t", 1, "b")), Place::FleetFull { limit: 1 });
    }

    #[test]
    fn one_that_never_stood_in_line_is_put_where_it_belongs() {
        let mut line = Line::new(9, [("w".to_owned(), 1)].into());
        line.wait(waiting("other", 5, "w"));
        assert_eq!(line.place(&waiting("new", 1, "w")), Place::Free);
        assert_eq!(line.place(&waiting("new", 7, "w")), Place::WindowFull { limit: 1 });
    }
}
