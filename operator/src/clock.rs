//! The operator's two times. By [`now`] it decides: windows, the gate, ages, soak. By [`wall`] others judge it, with clocks
//! of their own: certificates, signatures, leases. They are one and the same in every build but that of the tests, which
//! has the feature `test-clock`; without it nothing can move either. No other file of this crate reads a clock
//! (`clippy.toml`).

use chrono::{DateTime, Utc};
use futures::Stream;
use k8s_openapi::jiff::Timestamp;

#[cfg(not(feature = "test-clock"))]
mod fixed;
#[cfg(feature = "test-clock")]
mod settable;

#[cfg(not(feature = "test-clock"))]
use fixed as build;
#[cfg(feature = "test-clock")]
use settable as build;

/// Whether tests can set the clock of this build.
pub const SETTABLE: bool = build::SETTABLE;

/// The version, and what else a person should know of this build.
pub const VERSION: &str = build::VERSION;

/// The time by which the operator decides.
pub fn now() -> DateTime<Utc> {
    from_wall(wall())
}

/// The real time: for whatever others judge by their own clocks.
#[expect(clippy::disallowed_methods, reason = "everybody else asks here")]
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// The real time in the type of Kubernetes, with its fractions of a second.
#[expect(clippy::disallowed_methods, reason = "everybody else asks here")]
pub fn wall_timestamp() -> Timestamp {
    Timestamp::now()
}

/// A moment by somebody else's clock, as [`now`] would have called it: a heartbeat of a minute ago is a minute old by
/// either time.
pub fn from_wall(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment + build::read().offset
}

/// The clock as it is set, whenever it was set anew: everything that was decided by the former time is to be looked at
/// again. Never, where nothing can set it.
pub fn settings() -> impl Stream<Item = Setting> + Send {
    build::settings()
}

/// How the clock is set.
pub fn setting() -> Setting {
    build::read()
}

/// By how much this clock is not the real one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// [`now`] less [`wall`].
    pub offset: chrono::TimeDelta,
    /// By how much this process claims to be ahead of the API server, beside what was measured.
    pub skew: chrono::TimeDelta,
}
