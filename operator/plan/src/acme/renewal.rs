//! When a certificate is renewed: when the server suggests it (ACME Renewal Information, RFC 9773), else at a fraction of its
//! lifetime. Neither needs a maintenance window: Proxies read a new certificate again without a restart.

use chrono::{DateTime, TimeDelta, Utc};

use super::Validity;
use crate::names;

/// The part of the lifetime that is left: a third, which of 90 days are 30, as Let's Encrypt recommends (Integration Guide).
const LEFT: i32 = 3;

/// The window in which the server wants a certificate renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// First moment.
    pub start: DateTime<Utc>,
    /// Last moment.
    pub end: DateTime<Utc>,
}

/// When it is renewed. Within a window each tenant has a place of its own, so that many do not come at once; the same one
/// whenever it is asked. Never later than with a third of the lifetime left, unless the server says so.
pub fn due(tenant_id: &str, validity: Validity, suggestion: Option<Suggestion>) -> DateTime<Utc> {
    let lifetime = validity.not_after - validity.not_before;
    let by_itself = validity.not_after - lifetime / LEFT;
    let Some(Suggestion { start, end }) = suggestion.filter(|window| window.start < window.end) else {
        return by_itself;
    };
    let digits = &names::digest(format!("tenancy.dev/renewal/v1\n{tenant_id}").as_bytes())[..4];
    let place = i64::from_str_radix(digits, 16).unwrap_or_default();
    let within = TimeDelta::seconds(
        (end - start).num_seconds() / 0x1_0000 * place + (end - start).num_seconds() % 0x1_0000 * place / 0x1_0000,
    );
    (start + within).min(validity.not_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    const NINETY: fn() -> Validity = || Validity { not_before: at(0), not_after: at(90) };

    #[test]
    fn without_a_suggestion_a_third_of_the_lifetime_is_left() {
        assert_eq!(due("a", NINETY(), None), at(60));
        let short = Validity { not_before: at(0), not_after: at(6) };
        assert_eq!(due("a", short, None), at(4));
    }

    #[test]
    fn a_suggestion_goes_first_and_spreads_tenants_over_its_window() {
        let window = Suggestion { start: at(50), end: at(54) };
        let dues: Vec<_> = (0..200).map(|tenant| due(&format!("{tenant:016x}"), NINETY(), Some(window))).collect();
        assert!(dues.iter().all(|due| (at(50)..=at(54)).contains(due)));
        for day in 50..54 {
            let on = dues.iter().filter(|due| (at(day)..at(day + 1)).contains(*due)).count();
            assert!((25..=75).contains(&on), "{on} of 200 on day {day}");
        }
        let revoked = Suggestion { start: at(1), end: at(2) };
        assert!(due("a", NINETY(), Some(revoked)) <= at(2), "the server can call for an early renewal");
        assert_eq!(
            due("a", NINETY(), Some(Suggestion { start: at(5), end: at(5) })),
            at(60),
            "an empty window says nothing"
        );
    }
}
