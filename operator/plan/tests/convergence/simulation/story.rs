//! What happened, one line per event: what a person reads when a seed fails.

use std::fmt;

use chrono::{DateTime, Utc};

/// Lines that are kept: the end is what matters, and the beginning says how it all came.
const HEAD: usize = 20;
const TAIL: usize = 60;

#[derive(Default)]
pub struct Story {
    lines: Vec<String>,
    left_out: usize,
    /// Whether everything is kept, for one seed that is looked at.
    pub whole: bool,
}

impl Story {
    pub fn tell(&mut self, now: DateTime<Utc>, who: &str, what: impl fmt::Display) {
        self.lines.push(format!("{} {who:<8} {what}", now.format("%b %d %H:%M:%S")));
        if !self.whole && self.lines.len() > HEAD + TAIL {
            self.lines.remove(HEAD);
            self.left_out += 1;
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines.iter().enumerate() {
            if index == HEAD && self.left_out > 0 {
                writeln!(formatter, "  … {} more …", self.left_out)?;
            }
            writeln!(formatter, "  {line}")?;
        }
        Ok(())
    }
}
