//! How fast time passes: durations of a real cluster, divided by one factor.

use std::time::Duration;

/// The factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(f64);

impl Pace {
    pub(super) fn new(scale: f64) -> Pace {
        assert!(scale.is_finite() && scale > 0.0, "time cannot pass at {scale} times its speed");
        Pace(scale)
    }

    /// That of programs of this machine, which do not run faster for being asked.
    pub(super) const REAL: Pace = Pace(1.0);

    /// As a process is told it.
    pub(super) fn scale(self) -> f64 {
        self.0
    }

    /// How long a duration of a real cluster lasts here.
    pub(super) fn of(self, real: Duration) -> Duration {
        real.div_f64(self.0)
    }

    /// The same for a number of seconds from the API; a negative one counts as none.
    pub(super) fn seconds(self, seconds: impl Into<i64>) -> Duration {
        self.of(Duration::from_secs(u64::try_from(seconds.into()).unwrap_or(0)))
    }
}
