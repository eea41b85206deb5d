//! Collects what was checked, so that one run shows every fault and not only the first.

use std::fmt::Display;

/// All checks of one run.
#[derive(Default)]
pub struct Report {
    checks: usize,
    faults: Vec<String>,
}

impl Report {
    /// Records one check; `Err` says what was wrong.
    pub fn add<T, E: Display>(&mut self, name: impl Display, result: Result<T, E>) -> Option<T> {
        self.checks += 1;
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.faults.push(format!("{name}: {fault:#}"));
                None
            }
        }
    }

    /// How many checks were made.
    pub fn checks(&self) -> usize {
        self.checks
    }

    /// Fails the test if any check failed, with all of them.
    pub fn finish(self) {
        let count = self.faults.len();
        assert!(count == 0, "{count} of {} checks failed:\n{}", self.checks, self.faults.join("\n"));
    }
}
