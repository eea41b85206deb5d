//! Pools to Teleport's update groups. Teleport knows an agent's pool only by the group that its updater was told, and
//! counts agents of groups that it does not list to the last one. So unless everything is enrolled, the last group is one
//! that never begins, and a group with an agent in it that must be left alone is not listed.

use std::collections::BTreeSet;

use super::{Asked, Group, Rounded, Strategy, few};

/// What Teleport accepts of each strategy.
const MOST_HALT_ON_ERROR: usize = 10;
const MOST_TIME_BASED: usize = 20;
/// Ten years: Teleport has no group that never begins. Only `halt-on-error` has groups that wait.
const NEVER_HOURS: i32 = 87_600;
/// Holds agents that are not enrolled.
const HOLD: &str = "not-enrolled";

/// What the pools amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) strategy: Strategy,
    /// Names and hours to wait, in order; empty when no agent may be moved.
    pub(super) groups: Vec<(String, i32)>,
    pub(super) notes: Vec<Rounded>,
}

/// Plans the groups of all enrolled pools.
pub(super) fn schedule(asked: &Asked) -> Schedule {
    let mut notes = Vec::new();
    let mut enrolled: Vec<&Group> = asked.groups.iter().filter(|pool| pool.enrolled).collect();
    enrolled.sort_by_key(|pool| (pool.order, &pool.name));
    let held = held(asked);
    let takes_all = enrolled.iter().rposition(|pool| pool.takes_all);
    let everyone = takes_all.filter(|_| held.is_empty() && asked.groups.iter().all(|pool| pool.enrolled));
    match (takes_all, everyone) {
        (_, Some(index)) => {
            let last = enrolled.remove(index);
            if enrolled.iter().any(|pool| pool.order > last.order) {
                notes.push(Rounded::new(
                    format!("AgentPool {}", last.name),
                    "its agents are updated last: Teleport counts agents without a known update group to the last group",
                ));
            }
            enrolled.push(last);
        }
        (Some(index), None) => notes.push(Rounded::new(
            format!("AgentPool {}", enrolled[index].name),
            format!(
                "Teleport cannot tell agents without a known update group from agents that are not enrolled, so these \
                 wait; only agents whose updater is told --group {} follow",
                enrolled[index].name
            ),
        )),
        (None, None) => {}
    }
    let names = names(&enrolled, &held, &mut notes);
    let strategy = strategy(&enrolled, everyone.is_some(), &mut notes);
    Schedule { strategy, groups: fitted(names, strategy, everyone.is_some(), &mut notes), notes }
}

/// Update groups with agents in them, or with a claim on them, that must be left alone.
fn held(asked: &Asked) -> BTreeSet<&str> {
    let claimed = asked.groups.iter().filter(|pool| !pool.enrolled).flat_map(|pool| &pool.update_groups);
    claimed.chain(&asked.bystanders.update_groups).map(String::as_str).collect()
}

/// The update groups of the pools in their order; a group of two pools goes with the later one.
fn names(enrolled: &[&Group], held: &BTreeSet<&str>, notes: &mut Vec<Rounded>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pool in enrolled {
        if pool.update_groups.is_empty() && !pool.takes_all {
            notes.push(Rounded::new(
                format!("AgentPool {}", pool.name),
                format!(
                    "Teleport knows no pool by its services: its agents follow only if their updater is told --group {}",
                    pool.name
                ),
            ));
        }
        let of_pool = match pool.update_groups.as_slice() {
            [] => std::slice::from_ref(&pool.name),
            groups => groups,
        };
        let (waiting, moving): (Vec<&String>, Vec<&String>) =
            of_pool.iter().filter(|name| !name.is_empty()).partition(|name| held.contains(name.as_str()));
        if !waiting.is_empty() {
            notes.push(Rounded::new(
                format!("AgentPool {}", pool.name),
                format!(
                    "the update group {} is not updated: agents that are not enrolled are in it too",
                    few(&waiting.iter().map(|name| name.as_str()).collect::<Vec<_>>())
                ),
            ));
        }
        names.retain(|name| !moving.contains(&name));
        for name in moving {
            // The same name twice in one pool.
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// One strategy for all: the stricter one, and the only one that can hold agents back.
fn strategy(enrolled: &[&Group], everyone: bool, notes: &mut Vec<Rounded>) -> Strategy {
    let time_based: Vec<&str> =
        enrolled.iter().filter(|pool| pool.strategy == Strategy::TimeBased).map(|pool| pool.name.as_str()).collect();
    if time_based.is_empty() {
        return Strategy::HaltOnError;
    }
    let why = if time_based.len() < enrolled.len() {
        "Teleport has one strategy for all groups, and another pool is HaltOnError"
    } else if !everyone {
        "only HaltOnError can hold back agents that are not enrolled; enrol every pool and one that takes all agents"
    } else {
        if enrolled.iter().any(|pool| pool.order != enrolled[0].order) {
            notes.push(Rounded::new(
                "agents.schedules",
                "TimeBased groups begin in the same hour, whatever their order",
            ));
        }
        return Strategy::TimeBased;
    };
    notes.push(Rounded::new(format!("AgentPool {}", few(&time_based)), format!("published as HaltOnError: {why}")));
    Strategy::HaltOnError
}

/// As many groups as Teleport accepts. What does not fit counts to the last group: it waits, or is updated last.
fn fitted(mut names: Vec<String>, strategy: Strategy, everyone: bool, notes: &mut Vec<Rounded>) -> Vec<(String, i32)> {
    // A first group cannot wait for one before it.
    if names.is_empty() {
        return Vec::new();
    }
    let most = match strategy {
        Strategy::HaltOnError => MOST_HALT_ON_ERROR,
        Strategy::TimeBased => MOST_TIME_BASED,
    };
    let kept = if everyone { names.split_off(names.len() - 1) } else { Vec::new() };
    // One place is the last group's, whichever it is.
    if names.len() > most - 1 {
        let beyond = names.split_off(most - 1);
        let fate = if everyone { "are updated last" } else { "are not updated" };
        notes.push(Rounded::new(
            "agents.schedules",
            format!("Teleport takes {most} groups at most: agents of {} {fate}", few(&beyond)),
        ));
    }
    names.extend(kept);
    let mut groups: Vec<(String, i32)> = names.into_iter().map(|name| (name, 0)).collect();
    if !everyone {
        groups.push((hold(&groups), NEVER_HOURS));
    }
    groups
}

/// A name that no other group has.
fn hold(groups: &[(String, i32)]) -> String {
    let mut name = HOLD.to_owned();
    while groups.iter().any(|(taken, _)| *taken == name) {
        name.push_str("-x");
    }
    name
}
