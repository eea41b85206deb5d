//! The cluster alert by which users inside a tenant learn that their agents hold a major update back. It lives for a day
//! and is renewed after half of one while it holds, so that it goes away by itself when the operator does. No call of
//! Teleport's API deletes an alert: one that no longer holds is given an end in a minute.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::step::PublishStep;
use crate::fact::Fact;
use crate::version::Version;

/// The one alert of the operator in a tenant.
pub const NAME: &str = "tenant-operator-update-withheld";

const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Two writes a day at most.
const RENEWED_BELOW: TimeDelta = TimeDelta::hours(12);
const LAST_MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Of Teleport's three severities.
const LOW: i32 = 0;
const MEDIUM: i32 = 5;
/// How many agents the text names.
const NAMED: usize = 5;
/// How much of a name an agent gets to put in front of users: it chose it itself.
const LONGEST_NAME: usize = 64;

/// A major update that agents hold back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The version that waits.
    pub to: Version,
    /// How many agents hold it back.
    pub behind: u32,
    /// The first of them, by host name.
    pub first: Vec<String>,
}

/// What an alert says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The name that it is kept under.
    pub name: String,
    /// 0, 5 or 10.
    pub severity: i32,
    /// One line.
    pub message: String,
    /// Who sees it, and where.
    pub labels: BTreeMap<String, String>,
}

/// An alert as it stands in Teleport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What it says.
    pub alert: Alert,
    /// When it goes away.
    pub expires: Option<DateTime<Utc>>,
}

/// The text for the users of a tenant.
pub fn alert(withheld: Option<&Withheld>) -> Option<Alert> {
    let Withheld { to, behind, first } = withheld?;
    if *behind == 0 {
        return None;
    }
    let named: Vec<String> = first.iter().take(NAMED).map(|name| plain(name)).collect();
    let more = usize::try_from(*behind).unwrap_or(usize::MAX).saturating_sub(named.len());
    let which = match (named.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", named.join(", ")),
        (false, more) => format!(": {} and {more} more", named.join(", ")),
    };
    let (agents, them) =
        if *behind == 1 { ("1 agent that still runs", "it") } else { ("agents that still run", "them") };
    let agents = if *behind == 1 { agents.to_owned() } else { format!("{behind} {agents}") };
    Some(said(
        MEDIUM,
        format!(
            "The update of this cluster to Teleport {to} waits for {agents} an older major version{which}. Update {them}, \
             and it goes ahead in the next maintenance window."
        ),
    ))
}

/// What to write so that the alert stands, is renewed in time, or goes. Nothing where nobody answered.
pub fn raise(wanted: Option<&Alert>, raised: &Fact<Vec<Raised>>, now: DateTime<Utc>) -> Option<PublishStep> {
    let ours = match raised {
        Fact::Unknown => return None,
        Fact::Absent => None,
        Fact::Known(raised) => raised.iter().find(|raised| raised.alert.name == NAME),
    };
    let ends = ours.and_then(|ours| ours.expires);
    match (wanted, ours) {
        (Some(wanted), Some(ours)) if says(ours, wanted) && ends.is_some_and(|ends| ends - now > RENEWED_BELOW) => None,
        (Some(wanted), _) => Some(step(wanted.clone(), now, now + LIFETIME)),
        (None, Some(_)) if ends.is_none_or(|ends| ends - now > LAST_MINUTE) => {
            let over = said(LOW, "Agents no longer hold back the update of this cluster.".to_owned());
            Some(step(over, now, now + LAST_MINUTE))
        }
        (None, _) => None,
    }
}

/// When the alert that stands is to be renewed.
pub fn renewed_at(raised: &Fact<Vec<Raised>>) -> Option<DateTime<Utc>> {
    let ours = raised.known()?.iter().find(|raised| raised.alert.name == NAME)?;
    ours.expires.map(|ends| ends - RENEWED_BELOW)
}

/// Labels that Teleport adds are its own.
fn says(raised: &Raised, wanted: &Alert) -> bool {
    let Alert { name: _, severity, message, labels } = &raised.alert;
    let labelled = wanted.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    *severity == wanted.severity && *message == wanted.message && labelled
}

fn step(alert: Alert, created: DateTime<Utc>, expires: DateTime<Utc>) -> PublishStep {
    PublishStep::Alert { alert, created, expires }
}

/// Shown to those who may read the inventory: they can do something about it, and host names are nobody else's business.
fn said(severity: i32, message: String) -> Alert {
    let labels =
        [("teleport.internal/alert-on-login", "yes"), ("teleport.internal/alert-verb-permit", "instance:read")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Alert { name: NAME.to_owned(), severity, message, labels: BTreeMap::from(labels) }
}

/// Without what Teleport refuses in a message, and not longer than a name may be.
fn plain(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(behind: u32, first: &[&str]) -> Withheld {
        let first = first.iter().map(|name| (*name).to_owned()).collect();
        Withheld { to: Version::new(18, 1, 0), behind, first }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")
    }

    fn raised(alert: &Alert, hours: i64) -> Fact<Vec<Raised>> {
        Fact::Known(vec![Raised { alert: alert.clone(), expires: Some(now() + TimeDelta::hours(hours)) }])
    }

    #[test]
    fn users_learn_how_many_agents_hold_which_update_back() {
        let text = |behind, first: &[&str]| alert(Some(&withheld(behind, first))).expect("an alert").message;
        assert_eq!(
            text(3, &["a", "b"]),
            "The update of this cluster to Teleport 18.1.0 waits for 3 agents that still run an older major version: a, b \
             and 1 more. Update them, and it goes ahead in the next maintenance window."
        );
        assert!(text(1, &["a"]).contains("waits for 1 agent that still runs an older major version: a. Update it,"));
        assert!(text(9, &["a", "b", "c", "d", "e", "f"]).contains("a, b, c, d, e and 4 more"));
        assert!(text(2, &[]).contains("major version. Update them"));
    }

    #[test]
    fn nothing_withheld_is_no_alert() {
        assert_eq!(alert(None), None);
        assert_eq!(alert(Some(&withheld(0, &[]))), None);
    }

    #[test]
    fn an_agent_cannot_break_the_alert_with_its_name() {
        let name = format!("a\nb\u{1b}[31m{}", "x".repeat(1000));
        let message = alert(Some(&withheld(1, &[&name]))).expect("an alert").message;
        assert!(!message.chars().any(char::is_control), "{message:?}");
        assert!(message.len() < 400, "{message}");
    }

    #[test]
    fn labels_hold_only_what_teleport_accepts() {
        let labels = alert(Some(&withheld(1, &["A b"]))).expect("an alert").labels;
        for value in labels.values() {
            let accepted = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_/:|".contains(c);
            assert!(value.chars().all(accepted), "{value}");
        }
    }

    #[test]
    fn an_alert_is_renewed_when_half_of_its_day_is_over() {
        let wanted = alert(Some(&withheld(1, &["a"]))).expect("an alert");
        for (hours, writes) in [(24, false), (13, false), (12, true), (1, true), (-1, true)] {
            assert_eq!(raise(Some(&wanted), &raised(&wanted, hours), now()).is_some(), writes, "{hours} h left");
        }
        let Some(PublishStep::Alert { expires, .. }) = raise(Some(&wanted), &Fact::Absent, now()) else {
            panic!("nothing is there yet");
        };
        assert_eq!(expires - now(), TimeDelta::hours(24));
    }

    #[test]
    fn an_alert_with_another_text_is_replaced() {
        let wanted = alert(Some(&withheld(1, &["a"]))).expect("an alert");
        let before = alert(Some(&withheld(2, &["a", "b"]))).expect("an alert");
        assert!(raise(Some(&wanted), &raised(&before, 24), now()).is_some());
    }

    #[test]
    fn an_alert_that_no_longer_holds_goes_within_a_minute() {
        let before = alert(Some(&withheld(1, &["a"]))).expect("an alert");
        let Some(PublishStep::Alert { alert, created, expires }) = raise(None, &raised(&before, 5), now()) else {
            panic!("it must go");
        };
        assert_eq!(expires - now(), TimeDelta::minutes(1));
        let leaving = Fact::Known(vec![Raised { alert, expires: Some(expires) }]);
        assert_eq!(raise(None, &leaving, created), None, "it goes by itself");
        assert_eq!(raise(None, &Fact::Known(vec![]), now()), None);
    }

    #[test]
    fn nothing_is_raised_where_nobody_answered() {
        let wanted = alert(Some(&withheld(1, &["a"])));
        assert_eq!(raise(wanted.as_ref(), &Fact::Unknown, now()), None);
        assert_eq!(raise(None, &Fact::Unknown, now()), None);
    }
}
