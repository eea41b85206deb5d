//! What comes next, case by case. The feed is written as its users write it.

use chrono::TimeDelta;
use expect_test::{Expect, expect};

use super::*;
use crate::feed::hold::WaveWait;
use crate::feed::standing::{Attempt, Outcome, Record};

const FEED: &str = "
releases:
  - {version: 16.4.0, releasedAt: 2026-03-01T00:00:00Z}
  - {version: 16.5.0, releasedAt: 2026-04-01T00:00:00Z}
  - {version: 17.4.0, releasedAt: 2026-05-01T00:00:00Z}
  - {version: 17.5.0, releasedAt: 2026-06-01T00:00:00Z}
  - {version: 18.0.0, releasedAt: 2026-07-01T00:00:00Z}
  - {version: 18.1.0, releasedAt: 2026-08-01T00:00:00Z}
  - {version: 18.1.1, releasedAt: 2026-08-10T00:00:00Z}
channels:
  stable: {}
  old: {maxMajor: 17}
";
/// Months after all of them.
const LATER: &str = "2026-11-01T00:00:00Z";

struct Tenant {
    feed: String,
    goal: Goal,
    running: Version,
    high_water: Option<Version>,
    records: Vec<Record>,
    failed: BTreeMap<Version, DateTime<Utc>>,
    wave: u8,
    reach: Reach,
    now: DateTime<Utc>,
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version")
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn runs(running: &str) -> Tenant {
    Tenant {
        feed: FEED.to_owned(),
        goal: Goal::Channel("stable".into()),
        running: version(running),
        high_water: None,
        records: Vec::new(),
        failed: BTreeMap::new(),
        wave: 2,
        reach: Reach::Any,
        now: instant(LATER),
    }
}

impl Tenant {
    fn follows(mut self, channel: &str) -> Tenant {
        self.goal = Goal::Channel(channel.into());
        self
    }

    fn pins(mut self, goal: &str) -> Tenant {
        self.goal = Goal::Pinned(version(goal));
        self
    }

    fn at(mut self, now: &str) -> Tenant {
        self.now = instant(now);
        self
    }

    /// Changes the text of the feed.
    fn with(mut self, good: &str, other: &str) -> Tenant {
        assert!(self.feed.contains(good), "{good} is not in the feed");
        self.feed = self.feed.replacen(good, other, 1);
        self
    }

    fn failed_here(mut self, failed: &str) -> Tenant {
        self.failed.insert(version(failed), instant("2026-10-01T00:00:00Z"));
        self
    }

    /// Three other tenants failed on it.
    fn halted(mut self, halted: &str) -> Tenant {
        let (to, finished_at) = (version(halted), instant("2026-10-01T00:00:00Z"));
        let attempt = Attempt { to, kind: HopKind::Patch, outcome: Outcome::Failed, finished_at };
        let record = Record { wave: 1, channel: None, version: None, attempts: vec![attempt] };
        self.records.extend(vec![record; 3]);
        self
    }

    /// A tenant of wave 1 runs this.
    fn beside(mut self, running: &str) -> Tenant {
        let version = Some(version(running));
        self.records.push(Record { wave: 1, channel: Some("stable".into()), version, attempts: Vec::new() });
        self
    }

    fn target(&self) -> Target {
        target(&Question {
            feed: &Feed::parse(&self.feed).expect("good"),
            standing: &Standing::new(self.records.clone()),
            goal: &self.goal,
            running: &self.running,
            high_water: self.high_water.as_ref(),
            majors: 16..=18,
            wave: self.wave,
            failed: &self.failed,
            reach: self.reach,
            now: self.now,
        })
    }

    /// In one line for the hop, and one for each hold.
    fn next(&self) -> String {
        let (mut lines, holds) = match self.target() {
            Target::Settled => return "settled".to_owned(),
            Target::Nowhere(Nowhere { goal, holds }) => {
                (vec![format!("nowhere: {}", goal.map_or("?".to_owned(), |goal| goal.to_string()))], holds)
            }
            Target::Hop(hop) => {
                let Hop { kind, from, to, goal, hops, critical, due_since, holds } = hop;
                let urgent = if critical { " critical" } else { "" };
                let since = due_since.map_or(String::new(), |since| format!(", due since {}", since.date_naive()));
                (vec![format!("{kind:?}{urgent} {from} -> {to}, 1 of {hops} to {goal}{since}")], holds)
            }
        };
        lines.extend(holds.iter().map(ToString::to_string));
        lines.join("\n")
    }

    fn expects(&self, expected: Expect) {
        expected.assert_eq(&self.next());
    }
}

#[test]
fn a_tenant_on_the_newest_release_is_settled() {
    runs("18.1.1").expects(expect!["settled"]);
    runs("18.2.0").expects(expect!["settled"]);
    runs("17.5.0").follows("old").expects(expect!["settled"]);
}

#[test]
fn within_the_major_the_way_is_direct() {
    runs("18.1.0").expects(expect!["Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-11"]);
    runs("18.0.0").expects(expect!["Minor 18.0.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-13"]);
}

#[test]
fn the_next_major_is_reached_directly() {
    runs("17.4.0").expects(expect!["Major 17.4.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-09-09"]);
}

#[test]
fn a_higher_major_is_reached_over_the_newest_release_of_each_one_between() {
    runs("16.4.0").expects(expect!["Major 16.4.0 -> 17.5.0, 1 of 2 to 18.1.1, due since 2026-09-09"]);
    runs("16.4.0").pins("18.0.0").expects(expect!["Major 16.4.0 -> 17.5.0, 1 of 2 to 18.0.0"]);
}

#[test]
fn a_release_that_soaks_is_passed_over_for_an_older_one() {
    runs("18.0.0")
        .at("2026-08-10T12:00:00Z")
        .expects(expect!["Minor 18.0.0 -> 18.1.0, 1 of 1 to 18.1.0, due since 2026-08-04"]);
}

#[test]
fn what_soaks_is_shown_with_its_end() {
    runs("18.1.0").at("2026-08-10T12:00:00Z").expects(expect![[r#"
        Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1
        18.1.1 is taken by this channel from 2026-08-11T00:00:00Z on"#]]);
}

#[test]
fn of_two_that_soak_the_one_that_comes_first_is_shown() {
    runs("17.4.0").at("2026-06-03T00:00:00Z").with("2026-07-01", "2026-06-02").expects(expect![[r#"
        Minor 17.4.0 -> 17.5.0, 1 of 1 to 17.5.0
        17.5.0 is taken by this channel from 2026-06-04T00:00:00Z on"#]]);
}

#[test]
fn a_major_between_must_have_soaked_too() {
    runs("16.5.0")
        .with("2026-06-01", "2026-10-20")
        .expects(expect!["Major 16.5.0 -> 17.4.0, 1 of 2 to 18.1.1, due since 2026-09-09"]);
}

#[test]
fn a_missing_major_between_is_named_once_nothing_else_is_left_to_do() {
    let mut without = runs("16.5.0").with("17.4.0", "15.4.0").with("17.5.0", "15.5.0");
    without.expects(expect![[r#"
        nowhere: 18.1.1
        the way to 18.1.1 leads over major 17, and the release feed lists no release of it that may be started: let the platform team add one to releases.yaml"#]]);
    without.running = version("16.4.0");
    without.expects(expect!["Minor 16.4.0 -> 16.5.0, 1 of 1 to 16.5.0, due since 2026-04-04"]);
}

#[test]
fn a_withdrawn_release_is_nothing_to_a_channel_and_holds_a_pin() {
    let withdrawn = |tenant: Tenant| tenant.with("2026-08-10T00:00:00Z", "2026-08-10T00:00:00Z, withdrawn: true");
    withdrawn(runs("18.1.0")).expects(expect!["settled"]);
    withdrawn(runs("18.1.0").pins("18.1.1")).expects(expect![[r#"
        Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1
        18.1.1 is withdrawn from the release feed: choose another release"#]]);
}

#[test]
fn a_halted_release_holds_channel_and_pin() {
    runs("18.0.0").halted("18.1.1").expects(expect!["Minor 18.0.0 -> 18.1.0, 1 of 1 to 18.1.0, due since 2026-08-04"]);
    let held = expect![[r#"
        Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1
        18.1.1 is halted for the whole fleet, since it failed on 3 tenants or more: let the platform team publish a newer release, or set resumedAt of this one in releases.yaml once the cause is mended"#]];
    held.assert_eq(&runs("18.1.0").halted("18.1.1").next());
    held.assert_eq(&runs("18.1.0").pins("18.1.1").halted("18.1.1").next());
}

#[test]
fn a_halted_release_between_is_passed_over() {
    runs("16.5.0").pins("18.1.1").halted("17.5.0").expects(expect!["Major 16.5.0 -> 17.4.0, 1 of 2 to 18.1.1"]);
}

#[test]
fn a_release_that_failed_here_is_not_tried_again_until_it_is_resumed() {
    runs("18.1.0").failed_here("18.1.1").expects(expect![[r#"
        Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1
        18.1.1 failed on this tenant at 2026-10-01T00:00:00Z and is not tried again by itself: mend what status.history names and edit the spec or set spec.maintenance.applyNow, or wait for a newer release"#]]);
    runs("18.1.0")
        .with("2026-08-10T00:00:00Z", "2026-08-10T00:00:00Z, resumedAt: 2026-10-02T00:00:00Z")
        .failed_here("18.1.1")
        .expects(expect!["Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-11"]);
}

#[test]
fn a_later_wave_waits_and_says_until_when() {
    runs("18.1.0").beside("18.1.0").at("2026-08-12T00:00:00Z").expects(expect![[r#"
        Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1
        wave 2 gets 18.1.1 after most tenants of wave 1, at the latest at 2026-08-25T00:00:00Z"#]]);
    runs("18.1.0").beside("18.1.0").expects(expect!["Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-25"]);
}

#[test]
fn a_critical_patch_skips_soak_and_waves() {
    runs("18.1.0")
        .with("2026-08-10T00:00:00Z", "2026-08-10T00:00:00Z, critical: true")
        .beside("18.1.0")
        .at("2026-08-10T01:00:00Z")
        .expects(expect!["Patch critical 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-10"]);
}

#[test]
fn a_critical_release_hurries_no_change_of_the_major() {
    let tenant = || runs("17.5.0").with("2026-08-10T00:00:00Z", "2026-08-10T00:00:00Z, critical: true");
    tenant()
        .at("2026-08-20T00:00:00Z")
        .expects(expect!["Major 17.5.0 -> 18.0.0, 1 of 1 to 18.0.0, due since 2026-07-31"]);
}

#[test]
fn a_critical_release_of_the_major_goes_before_a_change_of_the_major() {
    runs("17.4.0")
        .with("2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z, critical: true")
        .expects(expect!["Minor critical 17.4.0 -> 17.5.0, 1 of 1 to 17.5.0, due since 2026-06-01"]);
}

#[test]
fn a_critical_release_that_is_passed_on_the_way_makes_the_hop_critical() {
    runs("18.0.0")
        .with("2026-08-01T00:00:00Z", "2026-08-01T00:00:00Z, critical: true")
        .expects(expect!["Minor critical 18.0.0 -> 18.1.1, 1 of 1 to 18.1.1, due since 2026-08-13"]);
}

#[test]
fn within_its_major_a_tenant_whose_agents_hold_it_back_still_gets_patches() {
    let mut tenant = runs("17.4.0");
    tenant.reach = Reach::SameMajor;
    tenant.expects(expect!["Minor 17.4.0 -> 17.5.0, 1 of 1 to 17.5.0, due since 2026-06-04"]);
    tenant.goal = Goal::Pinned(version("18.1.0"));
    tenant.expects(expect!["settled"]);
}

#[test]
fn a_pin_waits_for_neither_soak_nor_wave() {
    runs("18.1.0")
        .pins("18.1.1")
        .beside("18.1.0")
        .at("2026-08-10T00:00:00Z")
        .expects(expect!["Patch 18.1.0 -> 18.1.1, 1 of 1 to 18.1.1"]);
}

#[test]
fn a_pin_may_go_back_within_the_major_alone() {
    runs("18.1.1").pins("18.0.0").expects(expect!["Minor 18.1.1 -> 18.0.0, 1 of 1 to 18.0.0"]);
    runs("18.1.1").pins("17.5.0").expects(expect![[r#"
        nowhere: 17.5.0
        17.5.0 is older than the tenant's state, which major 18 has written and no older major can read: choose a release of major 18 or a later one"#]]);
}

#[test]
fn a_major_whose_auth_was_once_started_is_never_left() {
    let mut tenant = runs("17.4.0").pins("17.5.0");
    tenant.high_water = Some(version("18.0.0"));
    tenant.expects(expect![[r#"
        nowhere: 17.5.0
        17.5.0 is older than the tenant's state, which major 18 has written and no older major can read: choose a release of major 18 or a later one"#]]);
    tenant.goal = Goal::Channel("old".into());
    tenant.expects(expect!["settled"]);
}

#[test]
fn a_pin_outside_the_feed_names_the_remedy() {
    runs("18.1.0").pins("18.9.9").expects(expect![[r#"
        nowhere: 18.9.9
        the release feed does not list 18.9.9: choose a listed release, or let the platform team add it to releases.yaml"#]]);
    runs("18.1.0").pins("18.2.0-rc.1").expects(expect![[r#"
        nowhere: 18.2.0-rc.1
        18.2.0-rc.1 is no release: choose one without a suffix, such as 18.2.0"#]]);
    runs("18.1.0").pins("18.1.0").with("18.1.0", "18.1.9").expects(expect!["settled"]);
}

#[test]
fn a_major_that_the_operator_cannot_run_is_told_to_pins_and_channels() {
    let newer = |tenant: Tenant| tenant.with("18.1.1", "19.0.0");
    let told = expect![[r#"
        nowhere: 19.0.0
        major 19 cannot be run by this operator: choose a release of majors 16 to 18, or upgrade the operator"#]];
    told.assert_eq(&newer(runs("18.1.0").pins("19.0.0")).next());
    told.assert_eq(&newer(runs("18.1.0")).next());
    newer(runs("18.0.0")).expects(expect!["Minor 18.0.0 -> 18.1.0, 1 of 1 to 18.1.0, due since 2026-08-04"]);
}

#[test]
fn an_unknown_channel_leads_nowhere() {
    runs("18.1.0").follows("stabel").expects(expect![[r#"
        nowhere: ?
        spec.channel: there is no channel "stabel": choose one of old, stable, or pin a release with spec.version"#]]);
}

#[test]
fn every_hold_is_listed() {
    let tenant = runs("18.1.0").beside("18.1.0").halted("18.1.1").failed_here("18.1.1").at("2026-08-10T12:00:00Z");
    let Target::Hop(hop) = tenant.target() else { panic!("{}", tenant.next()) };
    assert!(
        matches!(
            hop.holds.as_slice(),
            [
                Hold::Halted { after: 3, .. },
                Hold::FailedHere { .. },
                Hold::SoakPending { .. },
                Hold::WavePending { wave: 2, why: WaveWait::Earlier { wave: 1 }, .. }
            ]
        ),
        "{:?}",
        hop.holds
    );
    assert_eq!(hop.due_since, None);
}

#[test]
fn a_release_of_the_future_waits_even_when_it_is_critical() {
    let tenant = runs("18.1.0").with("2026-08-10T00:00:00Z", "2026-12-01T00:00:00Z, critical: true");
    let Target::Hop(hop) = tenant.target() else { panic!("{}", tenant.next()) };
    assert_eq!(hold::until(&hop.holds), Some(instant(LATER) + TimeDelta::days(30)));
}
