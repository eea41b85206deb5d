//! What must always hold for the release feed, and the example of its page.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crds::tenant_status::HopKind;
use plan::feed::standing::{Arrival, Attempt, Outcome, Record, Standing, WaveState};
use plan::feed::target::{Goal, Hop, Question, Reach, Target, target};
use plan::feed::{Channel, Feed, Release, Soak, Waves};
use plan::version::{Version, change};
use proptest::prelude::*;

const MAJORS: std::ops::RangeInclusive<u64> = 14..=18;

fn hour(hours: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(hours)
}

prop_compose! {
    /// Few enough versions that they meet.
    fn any_version()(major in MAJORS, minor in 0_u64..3, patch in 0_u64..3) -> Version {
        Version::new(major, minor, patch)
    }
}

prop_compose! {
    fn any_release()(
        version in any_version(),
        released in 0_i64..2_000,
        critical in proptest::bool::weighted(0.2),
        withdrawn in proptest::bool::weighted(0.2),
        resumed in proptest::option::weighted(0.2, 0_i64..4_000),
    ) -> Release {
        let resumed_at = resumed.map(hour);
        Release { version, released_at: hour(released), critical, withdrawn, resumed_at, digests: Default::default() }
    }
}

prop_compose! {
    fn any_feed()(
        releases in proptest::collection::vec(any_release(), 0..25),
        max_major in proptest::option::of(MAJORS),
        halt_after_failures in 1_usize..4,
    ) -> Feed {
        let soak = Soak { patch: TimeDelta::hours(24), minor: TimeDelta::hours(72), major: TimeDelta::hours(720) };
        Feed {
            releases: releases.into_iter().map(|release| (release.version.clone(), release)).collect(),
            channels: BTreeMap::from([("stable".to_owned(), Channel { soak, max_major })]),
            waves: Waves { halt_after_failures, ..Waves::default() },
            ..Feed::default()
        }
    }
}

prop_compose! {
    fn any_attempt()(to in any_version(), from in any_version(), succeeded in any::<bool>(), at in 0_i64..4_000) -> Attempt {
        let outcome = if succeeded { Outcome::Succeeded } else { Outcome::Failed };
        Attempt { kind: change(&from, &to), to, outcome, finished_at: hour(at) }
    }
}

prop_compose! {
    fn any_record()(
        wave in 1_u8..=3,
        follows in proptest::bool::weighted(0.9),
        version in proptest::option::weighted(0.9, any_version()),
        attempts in proptest::collection::vec(any_attempt(), 0..4),
    ) -> Record {
        Record { wave, channel: follows.then(|| "stable".to_owned()), version, attempts }
    }
}

fn any_fleet() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec(any_record(), 0..40)
}

fn any_goal() -> impl Strategy<Value = Goal> {
    prop_oneof![Just(Goal::Channel("stable".to_owned())), any_version().prop_map(Goal::Pinned)]
}

/// A tenant of wave 2 that failed on nothing.
fn question<'a>(feed: &'a Feed, standing: &'a Standing, goal: &'a Goal, running: &'a Version) -> Question<'a> {
    static NONE: BTreeMap<Version, DateTime<Utc>> = BTreeMap::new();
    Question {
        feed,
        standing,
        goal,
        running,
        high_water: None,
        majors: MAJORS,
        wave: 2,
        failed: &NONE,
        reach: Reach::Any,
        now: hour(2_500),
    }
}

/// Takes every hop that nothing holds; answers where the way ended and the hops.
fn walk(feed: &Feed, standing: &Standing, goal: &Goal, from: &Version) -> (Version, Vec<Hop>) {
    let (mut running, mut hops) = (from.clone(), Vec::new());
    while let Target::Hop(hop) = target(&question(feed, standing, goal, &running)) {
        if !hop.holds.is_empty() || hops.len() > 100 {
            break;
        }
        running = hop.to.clone();
        hops.push(hop);
    }
    (running, hops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_hop_never_passes_over_a_major_and_leads_to_a_listed_release(
        feed in any_feed(), fleet in any_fleet(), goal in any_goal(), running in any_version(),
        highest in proptest::option::of(any_version()),
    ) {
        let standing = Standing::new(fleet);
        let question = Question { high_water: highest.as_ref(), ..question(&feed, &standing, &goal, &running) };
        if let Target::Hop(hop) = target(&question) {
            prop_assert!(hop.to.major >= running.major && hop.to.major <= running.major + 1, "{hop:?}");
            prop_assert!(highest.as_ref().is_none_or(|highest| hop.to.major >= highest.major), "{hop:?}");
            prop_assert!(hop.to != running);
            prop_assert_eq!(hop.kind, change(&running, &hop.to));
            prop_assert!(feed.releases.contains_key(&hop.to) && feed.releases.contains_key(&hop.goal));
            prop_assert!(hop.hops >= 1);
        }
    }

    #[test]
    fn what_is_withdrawn_or_halted_is_never_started(
        feed in any_feed(), fleet in any_fleet(), goal in any_goal(), running in any_version(),
    ) {
        let standing = Standing::new(fleet);
        if let Target::Hop(hop) = target(&question(&feed, &standing, &goal, &running)) && hop.holds.is_empty() {
            for version in [&hop.to, &hop.goal] {
                let release = &feed.releases[version];
                prop_assert!(!release.withdrawn);
                prop_assert_eq!(standing.halted(release, &feed.waves), None);
            }
        }
    }

    #[test]
    fn a_channel_never_goes_back_nor_beyond_its_majors_nor_before_the_soak(
        feed in any_feed(), fleet in any_fleet(), running in any_version(),
    ) {
        let (standing, goal) = (Standing::new(fleet), Goal::Channel("stable".to_owned()));
        if let Target::Hop(hop) = target(&question(&feed, &standing, &goal, &running)) {
            let channel = &feed.channels["stable"];
            prop_assert!(hop.to > running && hop.goal >= hop.to);
            prop_assert!(channel.max_major.is_none_or(|highest| hop.goal.major <= highest));
            if hop.holds.is_empty() {
                let release = &feed.releases[&hop.to];
                let soak = if hop.critical && release.critical { TimeDelta::zero() } else { channel.soak.of(hop.kind) };
                prop_assert!(release.released_at + soak <= hour(2_500));
                prop_assert!(hop.due_since.is_some_and(|since| since <= hour(2_500)));
            } else {
                prop_assert_eq!(hop.due_since, None);
            }
        }
    }

    #[test]
    fn where_nothing_holds_a_pin_is_reached_in_as_many_hops_as_were_told(
        mut feed in any_feed(), running in any_version(), wanted in any_version(),
    ) {
        prop_assume!(wanted.major >= running.major && wanted != running);
        complete(&mut feed, &wanted);
        let goal = Goal::Pinned(wanted.clone());
        let (end, hops) = walk(&feed, &Standing::default(), &goal, &running);
        prop_assert_eq!(&end, &wanted);
        let left: Vec<u64> = hops.iter().map(|hop| hop.hops).collect();
        let expected: Vec<u64> = (1..=u64::try_from(hops.len()).expect("few")).rev().collect();
        prop_assert_eq!(left, expected);
    }

    #[test]
    fn where_nothing_holds_a_channel_reaches_its_newest_release_and_rests(
        mut feed in any_feed(), running in any_version(), wanted in any_version(),
    ) {
        complete(&mut feed, &wanted);
        feed.releases.values_mut().for_each(|release| release.released_at = hour(0));
        let highest = feed.channels["stable"].max_major.unwrap_or(u64::MAX);
        let listed = feed.releases.values().filter(|release| !release.withdrawn && release.version.major <= highest);
        let newest = listed.map(|release| release.version.clone()).max();
        let (end, _) = walk(&feed, &Standing::default(), &Goal::Channel("stable".to_owned()), &running);
        prop_assert_eq!(Some(end), newest.max(Some(running)));
    }

    #[test]
    fn the_order_of_the_tenants_changes_nothing(
        (fleet, shuffled) in any_fleet().prop_flat_map(|fleet| (Just(fleet.clone()), Just(fleet).prop_shuffle())),
    ) {
        let reversed = shuffled.into_iter().map(|mut record| { record.attempts.reverse(); record });
        prop_assert_eq!(Standing::new(fleet), Standing::new(reversed));
    }

    #[test]
    fn a_success_never_closes_a_wave(
        fleet in any_fleet(), version in any_version(), from in any_version(), which in any::<prop::sample::Index>(),
        wave in 1_u8..=3, at in 0_i64..4_000, now in 0_i64..4_000,
    ) {
        let kind = change(&from, &version);
        prop_assume!(kind != HopKind::Template);
        let arrival = Arrival { channel: "stable", version: &version, kind, allowed_at: hour(100) };
        let state = |fleet: Vec<Record>| Standing::new(fleet).wave(&arrival, wave, &Waves::default(), hour(now));
        let due = |record: &Record| record.version.as_ref().is_some_and(|running| *running < version);
        let places: Vec<usize> = (0..fleet.len()).filter(|place| due(&fleet[*place])).collect();
        prop_assume!(!places.is_empty());
        let mut then = fleet.clone();
        let tenant = &mut then[*which.get(&places)];
        let before = tenant.version.replace(version.clone()).expect("it is due");
        let kind = change(&before, &version);
        tenant.attempts.push(Attempt { to: version.clone(), kind, outcome: Outcome::Succeeded, finished_at: hour(at) });
        match (state(fleet), state(then)) {
            (WaveState::Open(since), WaveState::Open(later)) => prop_assert!(later <= since),
            (WaveState::Open(_), closed) => prop_assert!(false, "{closed:?}"),
            _ => {}
        }
    }
}

/// Lists the version, and a release of every major, none of them withdrawn.
fn complete(feed: &mut Feed, wanted: &Version) {
    for version in MAJORS.map(|major| Version::new(major, 2, 2)).chain([wanted.clone()]) {
        let (released_at, resumed_at) = (hour(0), None);
        let release = Release {
            version: version.clone(),
            released_at,
            critical: false,
            withdrawn: false,
            resumed_at,
            digests: Default::default(),
        };
        feed.releases.insert(version, release);
    }
}

#[test]
fn ten_thousand_tenants_are_summed_up_and_asked_about() {
    let fleet = (0..10_000_u32).map(|number| {
        let attempts = (0..10).map(|patch| Attempt {
            to: Version::new(18, 1, patch),
            kind: HopKind::Patch,
            outcome: Outcome::Succeeded,
            finished_at: hour(i64::from(number)),
        });
        let wave = u8::try_from(number % 3 + 1).expect("1 to 3");
        Record {
            wave,
            channel: Some("stable".into()),
            version: Some(Version::new(18, 1, 9)),
            attempts: attempts.collect(),
        }
    });
    let standing = Standing::new(fleet);
    let version = Version::new(18, 1, 9);
    let arrival = Arrival { channel: "stable", version: &version, kind: HopKind::Patch, allowed_at: hour(0) };
    let waves = Waves { max_wait: TimeDelta::hours(100_000), ..Waves::default() };
    // Of 3,334 tenants the 3,001st came through in hour 9,000; a day later the next wave begins.
    assert_eq!(standing.wave(&arrival, 2, &waves, hour(9_024)), WaveState::Open(hour(9_024)));
    assert_ne!(standing.wave(&arrival, 2, &waves, hour(9_023)), WaveState::Open(hour(9_024)));
}

/// The example of the page uses every key, so that each is read at least once as its users will write it.
#[test]
fn the_example_of_the_page_is_read() {
    let page = include_str!("../../docs/releases.md");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let feed = Feed::parse(example).expect("the example is good");
    let Feed { releases, channels, waves, max_concurrent_updates, freeze, monthly_downtime_budget } = feed;
    let any = |has: fn(&Release) -> bool| releases.values().any(has);
    assert!(any(|release| release.critical) && any(|release| release.withdrawn));
    assert!(any(|release| release.resumed_at.is_some()));
    assert!(any(|release| release.digests.enterprise.is_some() && release.digests.community.is_some()));
    assert!(channels.values().any(|channel| channel.max_major.is_some()));
    assert!(freeze.is_some());
    // The defaults are written out, which keeps the page's table of them honest.
    let defaults = Feed::default();
    assert_eq!(waves, defaults.waves);
    assert_eq!(max_concurrent_updates, defaults.max_concurrent_updates);
    assert_eq!(monthly_downtime_budget, defaults.monthly_downtime_budget);
    let soak = Feed::parse("channels: {stable: {}}").expect("good").channels["stable"].soak;
    assert_eq!(channels["stable"].soak, soak);
}
