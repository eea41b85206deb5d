//! What must hold for any pools: Teleport accepts it, and nobody who must be left alone is moved.

use std::collections::BTreeSet;

use chrono::Weekday;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::super::{Asked, Bystanders, Group, Mode, Strategy as Rollout, WindowHour, wanted};
use crate::fact::Fact;
use crate::version::Version;

const NAMES: [&str; 7] = ["a", "b", "c", "d", "not-enrolled", "default", ""];

fn any_name() -> impl Generator<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned)
}

fn any_group() -> impl Generator<Value = Group> {
    let names = prop::collection::vec(any_name(), 0..4);
    (0_usize..30, 0..3, any::<bool>(), prop::bool::weighted(0.8), names, prop::bool::weighted(0.2)).prop_map(
        |(name, order, halts, enrolled, update_groups, takes_all)| Group {
            name: NAMES.get(name).filter(|name| !name.is_empty()).map_or(format!("p{name}"), |name| (*name).to_owned()),
            order,
            strategy: if halts { Rollout::HaltOnError } else { Rollout::TimeBased },
            enrolled,
            update_groups: if takes_all { vec![] } else { update_groups },
            takes_all,
        },
    )
}

fn any_asked() -> impl Generator<Value = Asked> {
    let bystanders = prop_oneof![Just(BTreeSet::new()), prop::collection::btree_set(any_name(), 0..2),];
    (prop::collection::vec(any_group(), 0..25), bystanders, 0_u32..24, any::<bool>(), any::<bool>()).prop_map(
        |(groups, update_groups, utc_hour, old_updaters, suspended)| Asked {
            version: Version::new(18, 1, 0),
            window: Some(WindowHour { weekday: Weekday::Sun, utc_hour }),
            groups,
            bystanders: Bystanders { update_groups, old_updaters },
            mode: if suspended { Mode::Suspended } else { Mode::Enabled },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn teleport_accepts_whatever_the_pools_are(asked in any_asked()) {
        let (wanted, _) = wanted(&asked, &Fact::Unknown);
        let config = wanted.config;
        let halts = config.strategy == "halt-on-error";
        prop_assert!(halts || config.strategy == "time-based");
        let most = if halts { 10 } else { 20 };
        prop_assert!(config.groups.len() <= most);
        prop_assert_eq!(config.window_seconds, if halts { None } else { Some(3600) });
        let names: BTreeSet<&String> = config.groups.iter().map(|group| &group.name).collect();
        prop_assert_eq!(names.len(), config.groups.len(), "a name twice");
        for (index, group) in config.groups.iter().enumerate() {
            prop_assert!(!group.name.is_empty() && !group.days.is_empty() && (0..24).contains(&group.start_hour));
            prop_assert!(group.wait_hours == 0 || (halts && index > 0), "only a later group can wait");
        }
        prop_assert_eq!(&config.mode, &wanted.version.mode);
        prop_assert!(!wanted.version.target_version.starts_with('v'));
    }

    #[test]
    fn agents_that_are_not_enrolled_are_never_in_a_group_that_begins(asked in any_asked()) {
        let (wanted, _) = wanted(&asked, &Fact::Unknown);
        let begins = |update_group: &str| {
            let groups = &wanted.config.groups;
            let of = groups.iter().find(|group| group.name == update_group).or(groups.last());
            wanted.config.mode == "enabled" && of.is_some_and(|group| group.wait_hours < 8760)
        };
        let claimed = asked.groups.iter().filter(|pool| !pool.enrolled).flat_map(|pool| &pool.update_groups);
        for update_group in claimed.chain(&asked.bystanders.update_groups) {
            prop_assert!(!begins(update_group), "{update_group:?} in {:?}", wanted.config.groups);
        }
        // Nor those of whom nothing is known, unless a pool takes them and all pools are enrolled.
        let all = asked.groups.iter().all(|pool| pool.enrolled) && asked.groups.iter().any(|pool| pool.takes_all);
        prop_assert!(all || !begins("a group that nobody has heard of"));
        prop_assert!(!asked.bystanders.old_updaters || wanted.maintenance.is_none());
    }

    #[test]
    fn what_is_wanted_does_not_depend_on_the_order_in_which_pools_are_listed(mut asked in any_asked()) {
        let mut names = BTreeSet::new();
        asked.groups.retain(|pool| names.insert(pool.name.clone()));
        let mut reversed = asked.clone();
        reversed.groups.reverse();
        prop_assert_eq!(wanted(&asked, &Fact::Unknown), wanted(&reversed, &Fact::Unknown));
    }
}
