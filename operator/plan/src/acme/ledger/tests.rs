//! The book of orders, against the limits that a server would enforce.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { certificates_per_week: 50, orders_per_three_hours: 300, duplicates_per_week: 5 };

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("in range") + TimeDelta::minutes(minute)
}

fn first(tenant: usize, since: i64, domain: &str) -> Waiting {
    let requested_at = at(since);
    Waiting {
        rank: Rank::First(requested_at),
        tenant: format!("{tenant:016x}"),
        domain: domain.into(),
        requested_at,
        attempt: 0,
    }
}

fn renewal(tenant: usize, ends: i64, domain: &str) -> Waiting {
    Waiting { rank: Rank::Expiring(at(ends)), ..first(tenant, 0, domain) }
}

#[test]
fn the_domain_that_was_registered_is_found() {
    for (domain, wanted) in [
        ("acme.teleport.example.com", "example.com"),
        ("acme.example.co.uk", "example.co.uk"),
        ("acme.example.com", "example.com"),
        ("com", "com"),
    ] {
        assert_eq!(registered(domain), wanted);
    }
}

/// Serves a line by the minute, and answers when each tenant ordered.
fn serve(line: &mut BTreeSet<Waiting>, limits: Limits, minutes: i64) -> Vec<(i64, String)> {
    let (mut ledger, mut served) = (Ledger::default(), Vec::new());
    for minute in 0..minutes {
        let now = at(minute);
        for asker in line.clone() {
            if ledger.turn(line, &asker, limits, now) == Turn::Now {
                ledger.take(&asker, limits, now).expect("what was promised is free");
                served.push((minute, asker.tenant.clone()));
                line.remove(&asker);
            }
        }
    }
    served
}

#[test]
fn a_hundred_under_one_domain_come_fifty_a_week_in_the_order_of_their_wishes() {
    let mut line: BTreeSet<_> = (0..100)
        .map(|tenant| first(tenant, i64::try_from(tenant).expect("small"), &format!("t{tenant}.example.com")))
        .collect();
    let served = serve(&mut line, LIMITS, WEEK.num_minutes() + 5);
    let wanted: Vec<String> = (0..100).map(|tenant| format!("{tenant:016x}")).collect();
    assert_eq!(served.iter().map(|(_, tenant)| tenant.clone()).collect::<Vec<_>>(), wanted);
    assert!(served[..50].iter().all(|(minute, _)| *minute == 0));
    assert!(served[50..].iter().all(|(minute, _)| *minute == WEEK.num_minutes()), "{served:?}");
}

#[test]
fn position_and_time_are_told_and_kept() {
    let line: BTreeSet<_> = (0..120).map(|tenant| first(tenant, 0, &format!("t{tenant:03}.example.com"))).collect();
    let turn =
        |tenant| Ledger::default().turn(&line, &first(tenant, 0, &format!("t{tenant:03}.example.com")), LIMITS, at(0));
    assert_eq!(turn(49), Turn::Now);
    assert_eq!(turn(50), Turn::Later { position: 51, at: at(0) + WEEK });
    assert_eq!(turn(119), Turn::Later { position: 120, at: at(0) + WEEK + WEEK });
    let elsewhere = first(500, 9, "a.example.net");
    assert_eq!(Ledger::default().turn(&line, &elsewhere, LIMITS, at(0)), Turn::Now, "another domain waits for nobody");
}

#[test]
fn certificates_that_end_go_first_and_are_no_first_ones() {
    let limits = Limits { orders_per_three_hours: 2, ..LIMITS };
    let line = BTreeSet::from([
        first(1, -900, "a.example.com"),
        renewal(2, 50, "b.example.com"),
        renewal(3, 10, "c.example.com"),
    ]);
    let order: Vec<&str> = line.iter().map(|waiting| waiting.domain.as_str()).collect();
    assert_eq!(order, ["c.example.com", "b.example.com", "a.example.com"]);
    let turn = |asker: &Waiting| Ledger::default().turn(&line, asker, limits, at(0));
    assert_eq!(turn(&first(1, -900, "a.example.com")), Turn::Later { position: 3, at: at(190) });
    assert_eq!(turn(&renewal(2, 50, "b.example.com")), Turn::Now);
    let none = Limits { certificates_per_week: 1, ..LIMITS };
    assert_eq!(Ledger::default().turn(&line, &renewal(2, 50, "b.example.com"), none, at(0)), Turn::Now);
}

#[test]
fn a_place_that_was_taken_stays_taken_and_a_failed_order_is_no_certificate() {
    let limits = Limits { certificates_per_week: 1, ..LIMITS };
    let mut ledger = Ledger::default();
    let asker = first(1, 0, "a.example.com");
    assert_eq!(ledger.take(&asker, limits, at(0)), Ok(()));
    assert_eq!(ledger.take(&asker, limits, at(1)), Ok(()), "after a lost answer");
    let mut later = ledger.clone();
    assert_eq!(later.take(&asker, limits, at(30)), Ok(()), "one certificate takes one place, however late");
    assert_eq!(later.orders.len(), 2, "each is an order");
    assert_eq!(later.take(&first(2, 0, "b.example.com"), limits, at(31)), Err(at(30) + WEEK));
    assert_eq!((ledger.orders.len(), ledger.turn(&BTreeSet::new(), &asker, limits, at(1))), (1, Turn::Taken));
    let other = first(2, 0, "b.example.com");
    assert_eq!(ledger.take(&other, limits, at(2)), Err(at(0) + WEEK));
    let again = Waiting { attempt: 1, ..asker };
    assert_eq!(ledger.take(&again, limits, at(3)), Ok(()), "the attempt that failed brought no certificate");
    let roomy = Limits { certificates_per_week: 2, ..LIMITS };
    assert_eq!(ledger.take(&other, roomy, at(4)), Ok(()), "the first attempt counts as an order alone");
    let orders = Limits { orders_per_three_hours: 3, ..LIMITS };
    assert!(ledger.take(&first(3, 0, "c.example.com"), orders, at(5)).is_err());
}

#[test]
fn whoever_began_to_look_earlier_counts_the_places_that_were_taken_meanwhile() {
    let limits = Limits { certificates_per_week: 1, ..LIMITS };
    let mut ledger = Ledger::default();
    ledger.take(&first(1, 0, "a.example.com"), limits, at(9)).expect("the only place");
    let late = first(2, 0, "b.example.com");
    assert_eq!(ledger.turn(&BTreeSet::new(), &late, limits, at(8)), Turn::Later { position: 1, at: at(9) + WEEK });
    assert_eq!(ledger.take(&late, limits, at(8)), Err(at(9) + WEEK));
    let roomy = Limits { certificates_per_week: 2, ..LIMITS };
    assert_eq!(ledger.take(&late, roomy, at(8)), Ok(()));
    assert_eq!(ledger.orders.iter().map(|order| order.at).collect::<Vec<_>>(), [at(9), at(9)], "in their order");
}

#[test]
fn the_same_names_come_five_times_a_week() {
    let mut ledger = Ledger::default();
    for minute in 0..5 {
        let asker = first(1, minute, "a.example.com");
        assert_eq!(ledger.take(&asker, LIMITS, at(minute)), Ok(()));
    }
    let sixth = first(9, 6, "a.example.com");
    assert_eq!(ledger.take(&sixth, LIMITS, at(6)), Err(at(0) + WEEK), "also of another tenant of that name");
}

proptest! {
    /// Whatever is asked for and whenever: the server would never have refused.
    #[test]
    fn no_limit_is_ever_exceeded(
        asks in prop::collection::vec((0..9usize, 0..400i64, any::<bool>()), 1..80),
        (certificates, orders, duplicates) in (1..5usize, 1..8usize, 1..4usize),
    ) {
        let limits = Limits { certificates_per_week: certificates, orders_per_three_hours: orders, duplicates_per_week: duplicates };
        let mut ledger = Ledger::default();
        let mut all: Vec<Entry> = Vec::new();
        let mut now = at(0);
        for (number, (tenant, gap, is_first)) in asks.into_iter().enumerate() {
            now += TimeDelta::minutes(gap * 9);
            let since = i64::try_from(number).expect("small");
            let domain = format!("t{}.example{}.com", tenant, tenant % 2);
            let asker = if is_first { first(tenant, since, &domain) } else { Waiting { requested_at: at(since), ..renewal(tenant, since, &domain) } };
            if ledger.take(&asker, limits, now).is_ok() {
                all.push(asker.entry(now));
            }
        }
        for entry in &all {
            let within = |period: TimeDelta| all.iter().filter(move |other| other.at <= entry.at && other.at > entry.at - period);
            prop_assert!(within(THREE_HOURS).count() <= orders);
            prop_assert!(within(WEEK).filter(|other| other.domain == entry.domain).count() <= duplicates);
            prop_assert!(within(WEEK).filter(|other| other.first && other.registered == entry.registered).count() <= certificates);
        }
    }
}
