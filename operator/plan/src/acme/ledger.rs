//! The limits of the ACME server, kept by us: which orders were made, who is in line for the next, and when its turn comes. An
//! order is written down before it is made, so that a lost answer costs a place and never a refusal.
//!
//! The limits are those of Let's Encrypt ("Rate Limits"): certificates for one registered domain in a week, orders of an account
//! in three hours, certificates for the same names in a week. A renewal is none of the first, and one that says what it
//! replaces (ARI) counts against nothing; it takes no place.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The period of the limits on certificates. The server counts from when it issues, which is some minutes after the place was taken.
const WEEK: TimeDelta = TimeDelta::minutes(7 * 24 * 60 + 30);
/// The period of the limit on orders, and as long as a place may be older than its order.
const THREE_HOURS: TimeDelta = TimeDelta::minutes(3 * 60 + 10);
/// A place that was not used by then is taken anew: the server would count the order from another time on than we do.
const FRESH: TimeDelta = TimeDelta::minutes(10);

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First certificates for one registered domain in seven days.
    pub certificates_per_week: usize,
    /// Orders of the account in three hours.
    pub orders_per_three_hours: usize,
    /// Certificates for the same names in seven days.
    pub duplicates_per_week: usize,
}

/// One order.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When its place was taken.
    pub at: DateTime<Utc>,
    /// Tenant id.
    pub tenant: String,
    /// Since when the certificate is wanted: together with the tenant, which certificate it is for.
    pub requested_at: DateTime<Utc>,
    /// Which attempt at it, from 0.
    pub attempt: i32,
    /// The domain.
    pub domain: String,
    /// The registered domain above it.
    pub registered: String,
    /// Whether it is no renewal.
    pub first: bool,
}

/// Who wants to order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Who goes before whom.
    pub rank: Rank,
    /// Tenant id.
    pub tenant: String,
    /// The domain.
    pub domain: String,
    /// Since when the certificate is wanted.
    pub requested_at: DateTime<Utc>,
    /// Which attempt at it.
    pub attempt: i32,
}

/// Certificates that end go first, the one that ends soonest before all; then those that are wanted for the first time, the one
/// that was wanted first before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// When the certificate ends that is there.
    Expiring(DateTime<Utc>),
    /// Since when it is wanted.
    First(DateTime<Utc>),
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The place is taken.
    Taken,
    /// It may be taken.
    Now,
    /// Others go first, or the limits are reached.
    Later {
        /// Place in the line, from 1.
        position: usize,
        /// When the turn comes at the latest, if nobody gives up.
        at: DateTime<Utc>,
    },
}

/// The domain that was registered, by the list of public suffixes; of a suffix itself, the same.
pub fn registered(domain: &str) -> String {
    psl::domain_str(domain).unwrap_or(domain).to_owned()
}

impl Waiting {
    /// What is written down when its turn comes.
    pub fn entry(&self, now: DateTime<Utc>) -> Entry {
        let Waiting { rank, tenant, domain, requested_at, attempt } = self.clone();
        let first = matches!(rank, Rank::First(_));
        Entry { at: now, tenant, requested_at, attempt, registered: registered(&domain), domain, first }
    }
}

/// All orders that still count.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By the time of their places.
    pub orders: Vec<Entry>,
}

impl Ledger {
    /// Takes a place, if there is one; the same place again is the same.
    ///
    /// # Errors
    /// When the next one is free.
    pub fn take(&mut self, asker: &Waiting, limits: Limits, now: DateTime<Utc>) -> Result<(), DateTime<Utc>> {
        let now = self.not_before_the_last(now);
        let entry = asker.entry(now);
        self.orders.retain(|order| order.at > now - WEEK);
        if self.has(&entry.tenant, entry.requested_at, entry.attempt, now) {
            return Ok(());
        }
        let free_at = Places::but(self, &entry, limits, now).next(&entry);
        if free_at > now {
            return Err(free_at);
        }
        self.orders.push(entry);
        Ok(())
    }

    /// Time does not go back here: whoever began to look earlier counts the places that were taken meanwhile.
    fn not_before_the_last(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.orders.last().map_or(now, |last| last.at.max(now))
    }

    fn has(&self, tenant: &str, requested_at: DateTime<Utc>, attempt: i32, now: DateTime<Utc>) -> bool {
        self.orders.iter().any(|order| {
            let same = order.tenant == tenant && order.requested_at == requested_at && order.attempt == attempt;
            same && order.at > now - FRESH
        })
    }

    /// Whose turn it is, as if `asker` stood in line whether it does or not.
    pub fn turn(&self, line: &BTreeSet<Waiting>, asker: &Waiting, limits: Limits, now: DateTime<Utc>) -> Turn {
        let now = self.not_before_the_last(now);
        if self.has(&asker.tenant, asker.requested_at, asker.attempt, now) {
            return Turn::Taken;
        }
        let mut places = Places::but(self, &asker.entry(now), limits, now);
        let mut position = 1;
        for other in line.iter().take_while(|other| *other < asker) {
            if other.tenant == asker.tenant || self.has(&other.tenant, other.requested_at, other.attempt, now) {
                continue;
            }
            let entry = other.entry(now);
            let at = places.next(&entry);
            places.put(&entry, at);
            position += 1;
        }
        match places.next(&asker.entry(now)) {
            at if at <= now => Turn::Now,
            at => Turn::Later { position, at },
        }
    }
}

/// When places were or will be taken, each list in order.
struct Places {
    limits: Limits,
    now: DateTime<Utc>,
    orders: Vec<DateTime<Utc>>,
    by_registered: BTreeMap<String, Vec<DateTime<Utc>>>,
    by_domain: BTreeMap<String, Vec<DateTime<Utc>>>,
}

impl Places {
    /// At most one certificate comes of what a tenant wants, however often it was ordered: the last order counts for it.
    fn of(ledger: &Ledger, limits: Limits, now: DateTime<Utc>) -> Places {
        let (orders, by_registered, by_domain) = Default::default();
        let mut places = Places { limits, now, orders, by_registered, by_domain };
        let mut last = BTreeMap::new();
        for entry in &ledger.orders {
            last.insert((&entry.tenant, entry.requested_at), entry.at);
        }
        for entry in &ledger.orders {
            if last.get(&(&entry.tenant, entry.requested_at)) == Some(&entry.at) {
                places.put(entry, entry.at);
            } else {
                insert(&mut places.orders, entry.at);
            }
        }
        places
    }

    /// The same for one that orders again: its earlier orders brought no certificate.
    fn but(ledger: &Ledger, asker: &Entry, limits: Limits, now: DateTime<Utc>) -> Places {
        let own = |entry: &&Entry| (&entry.tenant, entry.requested_at) == (&asker.tenant, asker.requested_at);
        let others = Ledger { orders: ledger.orders.iter().filter(|entry| !own(entry)).cloned().collect() };
        let mut places = Places::of(&others, limits, now);
        for entry in ledger.orders.iter().filter(own) {
            insert(&mut places.orders, entry.at);
        }
        places
    }

    fn put(&mut self, entry: &Entry, at: DateTime<Utc>) {
        insert(&mut self.orders, at);
        insert(self.by_domain.entry(entry.domain.clone()).or_default(), at);
        if entry.first {
            insert(self.by_registered.entry(entry.registered.clone()).or_default(), at);
        }
    }

    /// The earliest moment at which this order is within all limits.
    fn next(&self, entry: &Entry) -> DateTime<Utc> {
        let Limits { certificates_per_week, orders_per_three_hours, duplicates_per_week } = self.limits;
        let duplicates = listed(&self.by_domain, &entry.domain);
        let certificates = if entry.first { listed(&self.by_registered, &entry.registered) } else { &[] };
        let mut at = self.now;
        loop {
            let before = at;
            at = free(duplicates, duplicates_per_week, WEEK, at);
            at = free(certificates, certificates_per_week, WEEK, at);
            at = free(&self.orders, orders_per_three_hours, THREE_HOURS, at);
            if at == before {
                return at;
            }
        }
    }
}

fn listed<'a>(lists: &'a BTreeMap<String, Vec<DateTime<Utc>>>, key: &str) -> &'a [DateTime<Utc>] {
    lists.get(key).map_or(&[], Vec::as_slice)
}

fn insert(times: &mut Vec<DateTime<Utc>>, at: DateTime<Utc>) {
    let index = times.partition_point(|time| *time <= at);
    times.insert(index, at);
}

/// The earliest moment from `from` on before which, within `period`, fewer than `limit` of these lie. Those that lie behind it do
/// not count: they come later.
fn free(times: &[DateTime<Utc>], limit: usize, period: TimeDelta, from: DateTime<Utc>) -> DateTime<Utc> {
    let until = times.partition_point(|time| *time <= from);
    match until.checked_sub(limit.max(1)) {
        // One that lies exactly a period back does not count any more.
        Some(oldest) if times[oldest] > from - period => free(times, limit, period, times[oldest] + period),
        Some(_) | None => from,
    }
}

#[cfg(test)]
mod tests;
