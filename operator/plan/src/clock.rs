//! The one place where the time types meet: Kubernetes speaks jiff, everything else chrono.

use chrono::{DateTime, Utc};
use jiff::Timestamp;

/// To the type of Kubernetes, in whole seconds, which is all that the API keeps.
pub fn to_jiff(instant: DateTime<Utc>) -> Timestamp {
    Timestamp::from_second(instant.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// From the type of Kubernetes.
pub fn from_jiff(instant: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.as_second(), u32::try_from(instant.subsec_nanosecond()).unwrap_or(0))
        .unwrap_or_default()
}

/// An instant as status has it: RFC 3339 in UTC, to the second.
pub fn rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
