//! What is published for which pools. `tests/rounding.rs` has what Teleport cannot express, `tests/edits.rs` what happens
//! to other people's edits and to lost answers, `tests/properties.rs` what must hold for all pools.

mod edits;
mod properties;
mod rounding;

use std::collections::BTreeSet;

use super::*;
use crate::fact::Fact;

pub(super) fn pool(name: &str, order: i32) -> Group {
    Group {
        name: name.to_owned(),
        order,
        strategy: Strategy::HaltOnError,
        enrolled: true,
        update_groups: vec![name.to_owned()],
        takes_all: false,
    }
}

pub(super) fn rest(order: i32) -> Group {
    Group { update_groups: vec![], takes_all: true, ..pool("rest", order) }
}

pub(super) fn asked(groups: Vec<Group>) -> Asked {
    Asked {
        version: Version::new(18, 1, 0),
        window: Some(WindowHour { weekday: Weekday::Sun, utc_hour: 3 }),
        groups,
        bystanders: Bystanders::default(),
        mode: Mode::Enabled,
    }
}

/// The schedule in one line, `!` behind a group that never begins.
pub(super) fn line(asked: &Asked) -> String {
    let (wanted, _) = wanted(asked, &Fact::Unknown);
    let groups = wanted.config.groups.iter().map(|group| {
        let never = if group.wait_hours > 8760 { "!" } else { "" };
        format!("{}{never}", group.name)
    });
    format!("{} {}: {}", wanted.config.mode, wanted.config.strategy, groups.collect::<Vec<_>>().join(" "))
}

pub(super) fn notes(asked: &Asked) -> String {
    let (_, notes) = wanted(asked, &Fact::Unknown);
    notes.iter().map(|note| format!("{}: {}\n", note.what, note.how)).collect()
}

fn told(start: &str, target: &str) -> Fact<Live> {
    let (wanted, _) = wanted(&asked(vec![pool("prod", 1)]), &Fact::Unknown);
    let agents = AutoUpdateVersionSpec { start_version: start.into(), target_version: target.into(), ..wanted.version };
    Fact::Known(Live {
        cloud: false,
        version: Found::There { revision: "r".into(), agents: Some(agents) },
        config: Found::Absent,
        maintenance: Found::Absent,
    })
}

#[test]
fn pools_become_groups_in_their_order_within_the_hour_of_the_window() {
    let (wanted, _) = wanted(&asked(vec![pool("prod", 2), pool("staging", 1)]), &Fact::Unknown);
    assert_eq!(
        wanted.config.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>()[..2],
        ["staging", "prod"]
    );
    for group in &wanted.config.groups {
        assert_eq!((group.days.as_slice(), group.start_hour), (&["Sun".to_owned()][..], 3));
    }
    assert_eq!(wanted.maintenance, Some(Maintenance { utc_start_hour: 3, weekdays: vec!["Sun".into()] }));
    assert_eq!(wanted.version.target_version, "18.1.0");
}

#[test]
fn days_are_written_as_teleport_reads_them() {
    let days = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
    assert_eq!(days.map(spec::day), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]);
}

#[test]
fn without_an_enrolled_pool_updates_are_off() {
    let one = Group { enrolled: false, ..pool("prod", 1) };
    for groups in [vec![], vec![one]] {
        let (wanted, notes) = wanted(&asked(groups), &Fact::Unknown);
        assert_eq!((wanted.config.mode.as_str(), wanted.version.mode.as_str()), ("disabled", "disabled"));
        assert!(wanted.is_idle() && wanted.config.groups.is_empty() && wanted.maintenance.is_none());
        assert_eq!(notes, [], "nothing was asked for");
    }
}

#[test]
fn without_a_window_updates_are_suspended_and_say_so() {
    let asked = Asked { window: None, ..asked(vec![pool("prod", 1)]) };
    let (wanted, _) = wanted(&asked, &Fact::Unknown);
    assert_eq!((wanted.config.mode.as_str(), wanted.version.mode.as_str()), ("suspended", "suspended"));
    assert_eq!(wanted.maintenance, None, "the hour stays as it was");
    assert!(notes(&asked).contains("no hour of a maintenance window can be told"), "{}", notes(&asked));
}

#[test]
fn a_paused_tenant_keeps_its_schedule_and_suspends_it() {
    let asked = Asked { mode: Mode::Suspended, ..asked(vec![pool("prod", 1)]) };
    assert_eq!(line(&asked), "suspended halt-on-error: prod not-enrolled!");
}

#[test]
fn agents_start_from_what_they_were_told_before_if_the_cluster_still_serves_it() {
    let start = |before: &Fact<Live>| wanted(&asked(vec![pool("prod", 1)]), before).0.version.start_version;
    assert_eq!(start(&Fact::Unknown), "18.1.0");
    assert_eq!(start(&told("17.5.1", "17.5.2")), "17.5.2");
    assert_eq!(start(&told("17.5.2", "18.1.0")), "17.5.2", "an unchanged target keeps its start");
    assert_eq!(start(&told("18.0.0", "18.2.0")), "18.2.0", "a patch or minor that was taken back");
    assert_eq!(start(&told("15.0.0", "16.4.3")), "18.1.0", "two majors behind gets no connection");
    assert_eq!(start(&told("18.1.0", "19.0.0")), "18.1.0", "and neither does a newer major");
    assert_eq!(start(&told("x", "v17")), "18.1.0");
}

#[test]
fn steps_are_told_in_a_line() {
    let (wanted, _) = wanted(&asked(vec![pool("prod", 1)]), &Fact::Unknown);
    let step = PublishStep::Version { seen: None, spec: wanted.version };
    assert_eq!(step.to_string(), "PublishVersion 18.1.0 enabled");
    let step = PublishStep::Config { seen: None, spec: wanted.config };
    assert_eq!(step.to_string(), "PublishConfig enabled halt-on-error, groups: 2");
    let step = PublishStep::Maintenance { seen: None, spec: wanted.maintenance.expect("a window") };
    assert_eq!(step.to_string(), "PublishMaintenance Sun 3:00 UTC");
}

#[test]
fn long_lists_of_names_are_cut() {
    assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
    assert_eq!(few(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
}

#[test]
fn nothing_is_known_of_agents_that_report_no_group() {
    let bystanders = Bystanders { update_groups: BTreeSet::from([String::new()]), old_updaters: false };
    let asked = Asked { bystanders, ..asked(vec![pool("prod", 1), rest(2)]) };
    assert_eq!(line(&asked), "enabled halt-on-error: prod rest not-enrolled!");
}
