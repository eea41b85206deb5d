//! What Teleport cannot express, and on which side it is rounded.

use std::collections::BTreeSet;

use super::super::*;
use super::{asked, line, notes, pool, rest};
use crate::fact::Fact;

fn not_enrolled(name: &str, order: i32) -> Group {
    Group { enrolled: false, ..pool(name, order) }
}

fn time_based(pool: Group) -> Group {
    Group { strategy: Strategy::TimeBased, ..pool }
}

#[test]
fn agents_of_no_pool_wait_in_a_last_group_that_never_begins() {
    assert_eq!(line(&asked(vec![pool("prod", 1)])), "enabled halt-on-error: prod not-enrolled!");
}

#[test]
fn where_everything_is_enrolled_the_last_group_takes_the_rest() {
    assert_eq!(line(&asked(vec![pool("prod", 1), rest(2)])), "enabled halt-on-error: prod rest");
    let early = asked(vec![pool("prod", 2), rest(1)]);
    assert_eq!(line(&early), "enabled halt-on-error: prod rest");
    assert!(notes(&early).contains("AgentPool rest: its agents are updated last"), "{}", notes(&early));
}

#[test]
fn the_rest_waits_as_soon_as_one_pool_is_not_enrolled() {
    let asked = asked(vec![not_enrolled("prod", 1), rest(2)]);
    assert_eq!(line(&asked), "enabled halt-on-error: rest not-enrolled!");
    assert!(notes(&asked).contains("only agents whose updater is told --group rest follow"), "{}", notes(&asked));
}

#[test]
fn a_group_that_a_pool_which_is_not_enrolled_claims_too_is_not_updated() {
    let other = Group { update_groups: vec!["prod".into()], ..not_enrolled("old", 5) };
    let asked = asked(vec![pool("prod", 1), pool("staging", 2), other]);
    assert_eq!(line(&asked), "enabled halt-on-error: staging not-enrolled!");
    assert!(notes(&asked).contains("AgentPool prod: the update group prod is not updated"), "{}", notes(&asked));
}

#[test]
fn a_group_in_which_an_agent_must_be_left_alone_is_not_updated() {
    let bystanders = Bystanders { update_groups: BTreeSet::from(["prod".into()]), old_updaters: false };
    let asked = Asked { bystanders, ..asked(vec![pool("prod", 1), pool("staging", 2)]) };
    assert_eq!(line(&asked), "enabled halt-on-error: staging not-enrolled!");
}

#[test]
fn where_no_group_may_move_updates_are_suspended() {
    let bystanders = Bystanders { update_groups: BTreeSet::from(["prod".into()]), old_updaters: false };
    let asked = Asked { bystanders, ..asked(vec![pool("prod", 1)]) };
    // A first group cannot wait for the one before it, so the one that never begins cannot stand alone.
    assert_eq!(line(&asked), "suspended halt-on-error: ");
}

#[test]
fn a_pool_by_services_is_a_group_of_its_own_name_and_says_what_its_agents_need() {
    let asked = asked(vec![Group { update_groups: vec![], ..pool("nodes", 1) }]);
    assert_eq!(line(&asked), "enabled halt-on-error: nodes not-enrolled!");
    assert!(notes(&asked).contains("only if their updater is told --group nodes"), "{}", notes(&asked));
}

#[test]
fn time_based_groups_need_everything_enrolled() {
    assert_eq!(line(&asked(vec![time_based(pool("prod", 1)), time_based(rest(1))])), "enabled time-based: prod rest");
    let held = asked(vec![time_based(pool("prod", 1))]);
    assert_eq!(line(&held), "enabled halt-on-error: prod not-enrolled!");
    assert!(notes(&held).contains("AgentPool prod: published as HaltOnError: only HaltOnError can hold back"));
}

#[test]
fn of_two_strategies_the_one_that_halts_wins() {
    let mixed = asked(vec![pool("prod", 1), time_based(rest(2))]);
    assert_eq!(line(&mixed), "enabled halt-on-error: prod rest");
    assert!(notes(&mixed).contains("AgentPool rest: published as HaltOnError"), "{}", notes(&mixed));
}

#[test]
fn pools_beyond_what_teleport_takes_wait_or_come_last() {
    let many: Vec<Group> = (0..12).map(|n| pool(&format!("p{n:02}"), n)).collect();
    let held = asked(many.clone());
    assert!(line(&held).ends_with("p08 not-enrolled!"), "{}", line(&held));
    assert!(notes(&held).contains("10 groups at most: agents of p09, p10, p11 are not updated"), "{}", notes(&held));
    let all = asked(many.into_iter().chain([rest(50)]).collect());
    assert!(line(&all).ends_with("p08 rest"), "{}", line(&all));
    assert!(notes(&all).contains("agents of p09, p10, p11 are updated last"), "{}", notes(&all));
}

#[test]
fn a_pool_may_be_called_like_the_group_that_never_begins() {
    let asked = asked(vec![pool("not-enrolled", 1)]);
    assert_eq!(line(&asked), "enabled halt-on-error: not-enrolled not-enrolled-x!");
}

#[test]
fn the_hour_of_the_older_updaters_is_not_published_over_agents_that_must_be_left_alone() {
    let bystanders = Bystanders { update_groups: BTreeSet::new(), old_updaters: true };
    let asked = Asked { bystanders, ..asked(vec![pool("prod", 1)]) };
    assert_eq!(wanted(&asked, &Fact::Unknown).0.maintenance, None);
    assert!(notes(&asked).contains("cluster_maintenance_config: not published"), "{}", notes(&asked));
}
