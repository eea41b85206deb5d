//! Other people's edits are told and left alone; our own writes are known again, whatever was lost on the way.

use crds::published::{LONGEST_HOW, LONGEST_WHAT, MOST_NOTES, Published};
use proptest::prelude::*;

use super::super::{Asked, Difference, Found, Live, Mode, PublishStep, Wanted, WindowHour, diff, wanted};
use super::{asked, pool};
use crate::fact::Fact;
use crate::version::Version;

/// A tenant's Teleport and the status of its Tenant.
struct World {
    live: Live,
    status: Published,
    revision: u32,
}

impl World {
    fn new() -> World {
        let live = Live { cloud: false, version: Found::Absent, config: Found::Absent, maintenance: Found::Absent };
        World { live, status: Published::default(), revision: 0 }
    }

    fn plan(&self, asked: &Asked) -> (Wanted, Difference) {
        let live = Fact::Known(self.live.clone());
        let (wanted, rounded) = wanted(asked, &live);
        let difference = diff(&wanted, &rounded, &live, &self.status);
        (wanted, difference)
    }

    fn perform(&mut self, step: &PublishStep) {
        self.revision += 1;
        let revision = self.revision.to_string();
        match step {
            PublishStep::Version { seen, spec } => {
                assert_eq!(seen.as_deref(), self.live.version.revision());
                self.live.version = Found::There { revision, agents: Some(spec.clone()) };
            }
            PublishStep::Config { seen, spec } => {
                assert_eq!(seen.as_deref(), self.live.config.revision());
                self.live.config = Found::There { revision, agents: Some(spec.clone()) };
            }
            PublishStep::Maintenance { seen, spec } => {
                assert_eq!(seen.as_deref(), self.live.maintenance.revision());
                self.live.maintenance = Found::There { revision, agents: Some(spec.clone()) };
            }
            PublishStep::Alert { .. } => panic!("no alert is part of it"),
        }
    }

    /// One run: steps, then status; the process dies after so many effects.
    fn run(&mut self, asked: &Asked, survive: usize) -> Difference {
        let (_, difference) = self.plan(asked);
        difference.steps.iter().take(survive).for_each(|step| self.perform(step));
        if survive > difference.steps.len() {
            self.status = difference.record.clone();
        }
        difference
    }

    /// Runs until nothing is left to do.
    fn settle(&mut self, asked: &Asked) -> Difference {
        for _ in 0..10 {
            let before = self.status.clone();
            let difference = self.run(asked, usize::MAX);
            if difference.steps.is_empty() && self.status == before {
                return difference;
            }
        }
        panic!("it does not come to rest");
    }
}

fn enrolled() -> Asked {
    asked(vec![pool("prod", 1)])
}

fn settled() -> World {
    let mut world = World::new();
    assert!(world.settle(&enrolled()).settled);
    world
}

#[test]
fn the_intent_is_in_status_before_anything_is_written() {
    let mut world = World::new();
    assert_eq!(world.run(&enrolled(), usize::MAX).steps, []);
    assert!(world.status.config.as_ref().is_some_and(|config| config.intended.is_some()));
    let steps: Vec<&str> = world.run(&enrolled(), usize::MAX).steps.iter().map(PublishStep::label).collect();
    assert_eq!(steps, ["PublishMaintenance", "PublishConfig", "PublishVersion"], "hours before the version");
    assert!(world.settle(&enrolled()).settled);
    assert!(world.status.version.as_ref().is_some_and(|version| version.intended.is_none()));
}

#[test]
fn nothing_is_written_where_nobody_answered() {
    let (wanted, rounded) = wanted(&enrolled(), &Fact::Unknown);
    let last = settled().status;
    for live in [Fact::Unknown, Fact::Absent] {
        let difference = diff(&wanted, &rounded, &live, &last);
        assert_eq!((difference.steps.len(), &difference.record), (0, &last));
    }
}

#[test]
fn a_tenant_without_enrolled_pools_is_told_nothing() {
    let mut world = World::new();
    assert!(world.settle(&asked(vec![])).settled);
    assert_eq!((world.revision, &world.status), (0, &Published::default()));
}

#[test]
fn the_last_pool_that_leaves_takes_back_what_was_published() {
    let mut world = settled();
    assert!(world.settle(&asked(vec![])).settled);
    assert_eq!(world.live.config.agents().map(|config| config.mode.as_str()), Some("disabled"));
    assert_eq!(world.live.version.agents().map(|version| version.mode.as_str()), Some("disabled"));
}

fn pause_by_hand(world: &mut World) {
    let Found::There { agents: Some(config), revision } = &mut world.live.config else { panic!("it is there") };
    config.mode = "suspended".to_owned();
    revision.push('x');
}

#[test]
fn a_foreign_edit_is_told_and_left_alone_and_holds_the_version_back() {
    let mut world = settled();
    pause_by_hand(&mut world);
    let newer = Asked { version: Version::new(18, 2, 0), ..enrolled() };
    let (before, live) = (world.revision, world.live.clone());
    let difference = world.settle(&newer);
    assert_eq!((world.revision, &world.live), (before, &live));
    assert!(!difference.settled);
    assert_eq!(difference.foreign.len(), 1);
    assert_eq!(world.status.foreign[0].what, "autoupdate_config");
    assert_eq!(
        world.status.foreign[0].how,
        "somebody changed it: agents.mode is \"suspended\", not \"enabled\". It is left alone; put it back, and the \
         operator goes on"
    );
    let Found::There { agents: Some(config), .. } = &mut world.live.config else { panic!("it is there") };
    config.mode = "enabled".to_owned();
    assert!(world.settle(&newer).settled, "it was put back");
    assert_eq!(world.live.version.agents().map(|version| version.target_version.as_str()), Some("18.2.0"));
    assert_eq!(world.status.foreign, []);
}

#[test]
fn a_group_added_by_hand_is_named() {
    let mut world = settled();
    let Found::There { agents: Some(config), .. } = &mut world.live.config else { panic!("it is there") };
    config.groups.push(config.groups[0].clone());
    let foreign = world.settle(&enrolled()).foreign;
    assert!(foreign[0].how.contains("agents.schedules.regular[2] is \"prod on Sun at 3:00 after 0 h\", not \"\""));
}

#[test]
fn what_was_there_before_us_is_not_overwritten() {
    let mut world = settled();
    world.status = Published::default();
    let other = asked(vec![pool("staging", 1)]);
    let before = world.revision;
    assert_eq!(world.settle(&other).foreign.len(), 1, "the schedule alone differs");
    assert_eq!(world.revision, before);
}

#[test]
fn parts_that_are_not_ours_do_not_count_as_there() {
    let mut world = World::new();
    // Somebody set the tools' part.
    world.live.config = Found::There { revision: "theirs".into(), agents: None };
    assert!(world.settle(&enrolled()).settled);
}

#[test]
fn a_deleted_resource_is_not_made_again() {
    let mut world = settled();
    world.live.maintenance = Found::Absent;
    let difference = world.settle(&enrolled());
    assert!(difference.foreign[0].how.contains("somebody deleted it"), "{:?}", difference.foreign);
    assert!(difference.foreign[0].how.contains("agent_upgrades.utc_start_hour=3"), "{:?}", difference.foreign);
}

#[test]
fn an_edit_where_the_operator_has_no_say_is_nobodys_business() {
    let mut world = settled();
    pause_by_hand(&mut world);
    let difference = world.settle(&asked(vec![]));
    assert!(difference.settled && difference.foreign.is_empty());
    assert_eq!(world.status.config, None, "it is theirs now");
}

#[test]
fn a_licence_with_the_cloud_feature_is_left_to_teleport() {
    let mut world = World::new();
    world.live.cloud = true;
    assert!(world.settle(&enrolled()).settled);
    assert_eq!(world.revision, 0);
    assert!(world.status.rounded.iter().any(|note| note.how.contains("Cloud feature")), "{:?}", world.status);
}

#[test]
fn a_teleport_without_the_resource_is_told_and_holds_the_version_back() {
    let mut world = World::new();
    world.live.config = Found::NotOffered;
    let difference = world.settle(&enrolled());
    assert!(!difference.settled);
    assert_eq!(world.live.version, Found::Absent);
    assert!(world.status.rounded.iter().any(|note| note.what == "autoupdate_config"), "{:?}", world.status);
}

#[test]
fn notes_are_cut_to_what_status_holds() {
    let pools =
        (0..40).map(|n| super::super::Group { update_groups: vec![], ..pool(&format!("{n:0300}"), n) }).collect();
    let mut world = World::new();
    world.settle(&asked(pools));
    assert_eq!(world.status.rounded.len(), MOST_NOTES);
    assert!(world.status.rounded.iter().all(|note| note.what.len() <= LONGEST_WHAT && note.how.len() <= LONGEST_HOW));
    let last = &world.status.rounded[MOST_NOTES - 1];
    assert!(last.what == "more" && last.how.contains("more notes find no room"), "{last:?}");
}

proptest! {
    /// Whatever is asked for meanwhile and wherever the process dies, the operator knows its own writes.
    #[test]
    fn the_operator_never_takes_its_own_write_for_somebody_elses(
        runs in prop::collection::vec((0_usize..5, 0_u32..4, 0_u64..3, any::<bool>(), prop::bool::weighted(0.8)), 1..40),
    ) {
        let mut world = World::new();
        let mut last = enrolled();
        for (survive, utc_hour, minor, suspended, pools) in runs {
            last = Asked {
                version: Version::new(18, minor, 0),
                window: Some(WindowHour { weekday: chrono::Weekday::Sun, utc_hour }),
                mode: if suspended { Mode::Suspended } else { Mode::Enabled },
                groups: if pools { vec![pool("prod", 1)] } else { vec![] },
                ..last
            };
            let difference = world.run(&last, survive);
            prop_assert_eq!(difference.foreign, vec![]);
        }
        prop_assert!(world.settle(&last).settled);
        let (wanted, difference) = world.plan(&last);
        prop_assert_eq!(difference.steps.len(), 0);
        if !wanted.is_idle() {
            prop_assert_eq!(world.live.config.agents(), Some(&wanted.config));
            prop_assert_eq!(world.live.version.agents(), Some(&wanted.version));
        }
    }
}
