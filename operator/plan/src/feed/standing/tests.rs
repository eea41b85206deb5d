//! Waves and halts as a platform team would tell them.

use chrono::TimeDelta;

use super::*;
use crate::feed::Digests;

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version")
}

fn hour(hours: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(hours)
}

fn tenant(wave: u8, running: &str) -> Record {
    Record { wave, channel: Some("stable".into()), version: Some(version(running)), attempts: Vec::new() }
}

impl Record {
    fn tried(mut self, to: &str, kind: HopKind, outcome: Outcome, at: i64) -> Record {
        self.attempts.push(Attempt { to: version(to), kind, outcome, finished_at: hour(at) });
        self
    }

    fn succeeded(self, to: &str, at: i64) -> Record {
        self.tried(to, HopKind::Minor, Outcome::Succeeded, at)
    }

    fn failed(self, to: &str, at: i64) -> Record {
        self.tried(to, HopKind::Minor, Outcome::Failed, at)
    }
}

fn release(text: &str) -> Release {
    Release {
        version: version(text),
        released_at: hour(0),
        critical: false,
        withdrawn: false,
        resumed_at: None,
        digests: Digests::default(),
    }
}

/// The state of a wave for 18.2.0, a minor update that the channel allows from hour 0 on.
fn wave(records: &[Record], wave: u8, now: i64) -> WaveState {
    let arrival = Arrival { channel: "stable", version: &version("18.2.0"), kind: HopKind::Minor, allowed_at: hour(0) };
    Standing::new(records.iter().cloned()).wave(&arrival, wave, &Waves::default(), hour(now))
}

fn waits_for_earlier(earlier: u8) -> WaveState {
    WaveState::Pending { why: WaveWait::Earlier { wave: earlier }, latest: hour(336) }
}

#[test]
fn the_first_wave_does_not_wait() {
    assert_eq!(wave(&[tenant(1, "18.1.0"), tenant(2, "18.1.0")], 1, 1), WaveState::Open(hour(0)));
}

#[test]
fn the_second_wave_opens_a_soak_after_nine_tenths_of_the_first_came_through() {
    let mut fleet: Vec<Record> = (0..10).map(|_| tenant(1, "18.1.0")).collect();
    for done in 0..9 {
        assert_eq!(wave(&fleet, 2, 100), waits_for_earlier(1), "after {done}");
        fleet[done] = tenant(1, "18.2.0").succeeded("18.2.0", 10 + i64::try_from(done).expect("small"));
    }
    let soak = WaveState::Pending { why: WaveWait::Soak { wave: 1 }, latest: hour(18 + 24) };
    assert_eq!(wave(&fleet, 2, 41), soak);
    assert_eq!(wave(&fleet, 2, 42), WaveState::Open(hour(42)));
    fleet[9] = tenant(1, "18.2.0").succeeded("18.2.0", 41);
    assert_eq!(wave(&fleet, 2, 42), WaveState::Open(hour(42)), "the last tenant begins no new soak");
}

#[test]
fn a_small_wave_must_come_through_whole() {
    let fleet = [tenant(1, "18.2.0").succeeded("18.2.0", 1), tenant(1, "18.1.0")];
    assert_eq!(wave(&fleet, 2, 100), waits_for_earlier(1));
}

#[test]
fn the_longest_wait_opens_every_wave() {
    let fleet = [tenant(1, "18.1.0"), tenant(2, "18.1.0")];
    assert_eq!(wave(&fleet, 3, 335), waits_for_earlier(1));
    assert_eq!(wave(&fleet, 3, 336), WaveState::Open(hour(336)));
}

#[test]
fn a_wave_without_tenants_holds_nobody() {
    assert_eq!(wave(&[], 3, 1), WaveState::Open(hour(0)));
    assert_eq!(wave(&[tenant(1, "18.3.0")], 2, 1), WaveState::Open(hour(0)), "newer tenants are not due");
    let first = tenant(1, "18.2.0").succeeded("18.2.0", 5);
    assert_eq!(wave(&[first], 3, 29), WaveState::Open(hour(29)), "wave 3 follows wave 1 when there is no wave 2");
}

#[test]
fn the_third_wave_waits_for_both() {
    let first = tenant(1, "18.2.0").succeeded("18.2.0", 5);
    assert_eq!(wave(&[first.clone(), tenant(2, "18.1.0")], 3, 100), waits_for_earlier(2));
    let second = tenant(2, "18.2.0").succeeded("18.2.0", 50);
    assert_eq!(wave(&[first, second], 3, 100), WaveState::Open(hour(74)));
}

#[test]
fn tenants_of_other_channels_and_pinned_ones_hold_no_wave() {
    let pinned = Record { channel: None, ..tenant(1, "18.1.0") };
    let other = Record { channel: Some("early".into()), ..tenant(1, "18.1.0") };
    assert_eq!(wave(&[pinned, other], 2, 1), WaveState::Open(hour(0)));
}

#[test]
fn a_tenant_that_first_needs_a_new_major_holds_no_minor_update() {
    assert_eq!(wave(&[tenant(1, "17.5.0")], 2, 1), WaveState::Open(hour(0)));
}

#[test]
fn a_tenant_that_came_through_and_went_back_counts_once() {
    let went_back = tenant(1, "18.1.0").succeeded("18.2.0", 5);
    assert_eq!(wave(&[went_back], 2, 29), WaveState::Open(hour(29)));
}

#[test]
fn a_failed_tenant_is_due_and_not_through() {
    assert_eq!(wave(&[tenant(1, "18.1.0").failed("18.2.0", 5)], 2, 100), waits_for_earlier(1));
}

#[test]
fn failures_on_three_tenants_halt_a_release_for_all() {
    let mut fleet = vec![
        tenant(1, "18.1.0").failed("18.2.0", 1).failed("18.2.0", 2),
        Record { channel: None, ..tenant(2, "18.1.0").failed("18.2.0", 3) },
        tenant(3, "18.1.0").failed("18.3.0", 4),
    ];
    let halted = |fleet: &[Record]| Standing::new(fleet.to_vec()).halted(&release("18.2.0"), &Waves::default());
    assert_eq!(halted(&fleet), None, "two tenants, one of them twice");
    fleet.push(tenant(1, "18.1.0").failed("18.2.0", 9));
    assert_eq!(halted(&fleet), Some(3));
    fleet[3] = tenant(1, "18.2.0").failed("18.2.0", 9).succeeded("18.2.0", 10);
    assert_eq!(halted(&fleet), None, "its last attempt succeeded");
}

#[test]
fn a_failure_at_the_time_of_a_success_is_the_last_word() {
    let both = tenant(1, "18.1.0").succeeded("18.2.0", 5).failed("18.2.0", 5);
    let waves = Waves { halt_after_failures: 1, ..Waves::default() };
    assert_eq!(Standing::new([both]).halted(&release("18.2.0"), &waves), Some(1));
}

#[test]
fn a_resumed_release_counts_only_what_failed_since() {
    let standing = Standing::new((1..=4).map(|at| tenant(1, "18.1.0").failed("18.2.0", at)));
    let resumed = |at| Release { resumed_at: Some(hour(at)), ..release("18.2.0") };
    assert_eq!(standing.halted(&resumed(0), &Waves::default()), Some(4));
    assert_eq!(standing.halted(&resumed(2), &Waves::default()), Some(3));
    assert_eq!(standing.halted(&resumed(3), &Waves::default()), None);
}

#[test]
fn template_changes_say_nothing_about_a_release() {
    let failed = tenant(1, "18.2.0").tried("18.2.0", HopKind::Template, Outcome::Failed, 1);
    let waves = Waves { halt_after_failures: 1, ..Waves::default() };
    assert_eq!(Standing::new([failed]).halted(&release("18.2.0"), &waves), None);
}
