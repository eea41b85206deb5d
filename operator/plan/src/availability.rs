//! How long users could not log in this month. Written on transitions only; an interruption that lasts is known by the
//! transition time of the condition `Available`.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use crds::ConditionType;
use crds::tenant_status::TenantStatus;
use crds::update_status::Availability;

use crate::clock::from_jiff;

/// The account after `Available` was judged; `before` is the last status.
pub fn account(before: &TenantStatus, available: bool, now: DateTime<Utc>) -> Option<Availability> {
    let begun = interrupted_since(before);
    match (available, begun) {
        (true, Some(_)) => Some(Availability { month: month(now), down_seconds: spent(before, now) }),
        (true, None) | (false, _) => before.availability.clone(),
    }
}

/// Seconds of this month in which users could not log in, an interruption that lasts included.
pub fn spent(status: &TenantStatus, now: DateTime<Utc>) -> i64 {
    let recorded = status.availability.as_ref().filter(|account| account.month == month(now));
    let begun = interrupted_since(status).map(|since| since.max(start_of_month(now)));
    recorded.map_or(0, |account| account.down_seconds) + begun.map_or(0, |since| (now - since).num_seconds().max(0))
}

/// When the next account begins.
pub fn next_month(now: DateTime<Utc>) -> DateTime<Utc> {
    start_of_month(now) + Months::new(1)
}

/// Since when users cannot log in. Before the tenant was ready for the first time there were none.
fn interrupted_since(status: &TenantStatus) -> Option<DateTime<Utc>> {
    status.version.as_ref()?;
    let name = ConditionType::Available.to_string();
    let found = status.conditions.iter().find(|condition| condition.type_ == name)?;
    (found.status != "True").then(|| from_jiff(found.last_transition_time.0))
}

fn month(now: DateTime<Utc>) -> String {
    now.format("%Y-%m").to_string()
}

fn start_of_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(now.year(), now.month(), 1).unwrap_or_default();
    first.and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::clock::to_jiff;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("RFC 3339")
    }

    fn status(available: bool, since: &str) -> TenantStatus {
        TenantStatus {
            version: Some("18.1.0".into()),
            conditions: vec![Condition {
                type_: "Available".into(),
                status: if available { "True" } else { "False" }.into(),
                reason: "Serving".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: Time(to_jiff(at(since))),
            }],
            ..TenantStatus::default()
        }
    }

    #[test]
    fn an_interruption_is_added_when_it_ends() {
        let down = status(false, "2026-11-10T10:00:00Z");
        let now = at("2026-11-10T10:00:40Z");
        assert_eq!(account(&down, false, now), None);
        assert_eq!(account(&down, true, now), Some(Availability { month: "2026-11".into(), down_seconds: 40 }));
    }

    #[test]
    fn a_month_counts_its_own_part_of_an_interruption() {
        let mut down = status(false, "2026-10-31T23:59:00Z");
        down.availability = Some(Availability { month: "2026-10".into(), down_seconds: 500 });
        assert_eq!(spent(&down, at("2026-11-01T00:00:30Z")), 30);
    }

    #[test]
    fn nothing_is_written_while_users_can_log_in() {
        let mut up = status(true, "2026-10-01T00:00:00Z");
        up.availability = Some(Availability { month: "2026-10".into(), down_seconds: 5 });
        assert_eq!(account(&up, true, at("2026-11-03T00:00:00Z")), up.availability);
        assert_eq!(spent(&up, at("2026-11-03T00:00:00Z")), 0);
    }

    #[test]
    fn before_it_was_ever_ready_there_was_nobody_to_interrupt() {
        let young = TenantStatus { version: None, ..status(false, "2026-11-10T10:00:00Z") };
        assert_eq!(account(&young, true, at("2026-11-10T11:00:00Z")), None);
    }
}
