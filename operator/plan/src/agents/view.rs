//! What a gate, a status and a person see of a tenant's agents: counts per pool, and the first few who are behind. One pass
//! over the agents, since what decides about them is decided once per profile.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use crds::tenant_status::MajorCount;

use super::inventory::Inventory;
use super::memory::{Entry, Memory, Overflow, hour};
use super::pool::{Pool, in_order, place};
use crate::version::{Version, parse_reported};

/// Laggards that are named per pool.
pub const LAGGARDS: usize = 20;
/// Laggards that a blocker names.
const FIRST_FEW: usize = 3;
/// Majors that are counted one by one.
const MAJORS: usize = 16;

/// The whole view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentsView {
    /// Whether there is a reading, and whether it is recent enough.
    pub observation: Observation,
    /// When the last complete reading was begun; none = none since this process started.
    pub reading: Option<DateTime<Utc>>,
    /// Whether the memory of vanished agents can be used. Until it can, nobody knows who is missing.
    pub recall: Recall,
    /// More agents were behind than are remembered one by one: somebody may have left unseen.
    pub overflow: Option<Overflow>,
    /// Agents in the inventory.
    pub total: u64,
    /// Of all pools: agents that are behind, unreadable and remembered ones included.
    pub behind: u64,
    /// Of `behind`: those that left and are remembered.
    pub remembered: u64,
    /// As `behind`, in required pools only: these hold a major update back.
    pub required_behind: u64,
    /// Of `required_behind`: those whose version cannot be read.
    pub required_unknown: u64,
    /// The first three of `required_behind`: unreadable ones first, then the oldest.
    pub first_few: Vec<Laggard>,
    /// Pools in their order, each agent in one of them; the last is the implicit one.
    pub pools: Vec<Share>,
    /// Auth and Proxy instances by version, as they report it.
    pub processes: BTreeMap<(crate::names::Component, String), u32>,
}

/// How good the last reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// There is none.
    Missing,
    /// It is older than `spec.agents.reportTTL`.
    Stale,
    /// It counts.
    Fresh,
}

/// How far the memory of vanished agents can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recall {
    /// It is loaded.
    Loaded,
    /// It could not be read; it is tried again.
    NotLoaded,
    /// It is there and makes no sense: what a person must do.
    Broken(String),
}

/// One pool's agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Name of the AgentPool; none for the implicit pool.
    pub pool: Option<String>,
    /// Whether its laggards hold a major update back.
    pub required: bool,
    /// Agents in the inventory.
    pub total: u64,
    /// Agents that are behind, unreadable and remembered ones included.
    pub behind: u64,
    /// Of `behind`: those whose version cannot be read.
    pub unknown: u64,
    /// Of `behind`: those that left and are remembered.
    pub remembered: u64,
    /// Agents in the inventory that are updated automatically.
    pub enrolled: u64,
    /// The oldest version in the inventory.
    pub oldest: Option<Version>,
    /// Agents in the inventory by major.
    pub majors: BTreeMap<u64, u64>,
    /// Agents in the inventory by what updates them.
    pub updaters: BTreeMap<String, u64>,
    /// The first of those that are behind: unreadable ones first, then the oldest.
    pub laggards: Vec<Laggard>,
}

/// An agent that is behind. The order is the one in which they are named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Laggard {
    /// The version without suffixes; none when it cannot be read.
    pub age: Option<Version>,
    /// Server id.
    pub id: String,
    /// Host name as it reports it.
    pub hostname: String,
    /// Version as it reports it, without a leading `v`.
    pub version: String,
    /// Its services.
    pub services: Vec<String>,
    /// The hour in which it was first missing; none while it is in the inventory.
    pub left: Option<DateTime<Utc>>,
}

impl fmt::Display for Laggard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.hostname.is_empty() { &self.id } else { &self.hostname };
        match self.left {
            None => write!(formatter, "{name} ({})", self.version),
            Some(left) => write!(formatter, "{name} ({}, left {})", self.version, left.format("%Y-%m-%d %H:00 UTC")),
        }
    }
}

impl AgentsView {
    /// Looks at the inventory, at who of the remembered is missing from it, and at the pools. `major` is the tenant's.
    pub fn new(
        inventory: Option<&Inventory>,
        observation: Observation,
        memory: (Recall, &Memory),
        pools: &[Pool],
        major: u64,
    ) -> AgentsView {
        let (recall, memory) = memory;
        let ordered = in_order(pools);
        let mut shares: Vec<Share> = ordered.iter().map(|pool| Share::empty(Some(*pool))).collect();
        shares.push(Share::empty(None));
        if let Some(inventory) = inventory {
            count(inventory, &ordered, major, &mut shares);
        }
        for (id, entry) in &memory.entries {
            let missing = inventory.is_none_or(|inventory| inventory.get(id).is_none());
            if missing && entry.is_behind(major) {
                let share = &mut shares[place(&ordered, &entry.services, &entry.update_group)];
                share.recall(id, entry, inventory.map(|inventory| inventory.read_at));
            }
        }
        let sum = |of: fn(&Share) -> u64| shares.iter().map(of).sum::<u64>();
        let required = || shares.iter().filter(|share| share.required);
        let mut first_few: Vec<Laggard> = required().flat_map(|share| share.laggards.iter().cloned()).collect();
        first_few.sort();
        first_few.truncate(FIRST_FEW);
        AgentsView {
            observation,
            reading: inventory.map(|inventory| inventory.read_at),
            recall,
            overflow: memory.overflow,
            total: sum(|share| share.total),
            behind: sum(|share| share.behind),
            remembered: sum(|share| share.remembered),
            required_behind: required().map(|share| share.behind).sum(),
            required_unknown: required().map(|share| share.unknown).sum(),
            first_few,
            processes: inventory.map(|inventory| inventory.processes.clone()).unwrap_or_default(),
            pools: shares,
        }
    }

    /// The oldest version in the inventory.
    pub fn oldest(&self) -> Option<&Version> {
        self.pools.iter().filter_map(|share| share.oldest.as_ref()).min()
    }

    /// Agents in the inventory by major, newest first.
    pub fn majors(&self) -> Vec<MajorCount> {
        let mut majors: BTreeMap<u64, u64> = BTreeMap::new();
        for (major, count) in self.pools.iter().flat_map(|share| &share.majors) {
            *majors.entry(*major).or_default() += count;
        }
        newest_first(&majors)
    }
}

/// The newest majors, as a status has them.
pub fn newest_first(majors: &BTreeMap<u64, u64>) -> Vec<MajorCount> {
    let count = |(major, count): (&u64, &u64)| MajorCount { major: signed(*major), count: signed(*count) };
    majors.iter().rev().take(MAJORS).map(count).collect()
}

/// As the API has numbers.
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Goes through the inventory once.
fn count(inventory: &Inventory, ordered: &[&Pool], major: u64, shares: &mut [Share]) {
    let places: Vec<(usize, bool)> = inventory
        .profiles
        .iter()
        .map(|profile| (place(ordered, &profile.services, &profile.update_group), profile.is_behind(major)))
        .collect();
    let mut counts = vec![0_u64; inventory.profiles.len()];
    // Agents are in the order of their ids.
    let mut named: Vec<Vec<(&Option<Version>, usize)>> = vec![Vec::new(); shares.len()];
    for (index, agent) in inventory.agents.iter().enumerate() {
        counts[agent.profile as usize] += 1;
        let (place, behind) = places[agent.profile as usize];
        if behind {
            keep_first(&mut named[place], (&inventory.profile(agent).version, index), LAGGARDS);
        }
    }
    for ((profile, (place, behind)), count) in inventory.profiles.iter().zip(&places).zip(counts) {
        let share = &mut shares[*place];
        // Of a profile that only a doubled entry had nobody is left.
        if count == 0 {
            continue;
        }
        share.total += count;
        share.behind += if *behind { count } else { 0 };
        let updater = if profile.updater.is_empty() { "none" } else { &profile.updater };
        *share.updaters.entry(updater.to_owned()).or_default() += count;
        let enrolls = ordered.get(*place).is_some_and(|pool| pool.enrolled);
        share.enrolled += if enrolls && !profile.updater.is_empty() { count } else { 0 };
        match &profile.version {
            None => share.unknown += count,
            Some(version) => {
                *share.majors.entry(version.major).or_default() += count;
                if share.oldest.as_ref().is_none_or(|oldest| version < oldest) {
                    share.oldest = Some(version.clone());
                }
            }
        }
    }
    for (share, named) in shares.iter_mut().zip(named) {
        share.laggards = named.into_iter().map(|(_, index)| laggard(inventory, index)).collect();
    }
}

fn laggard(inventory: &Inventory, index: usize) -> Laggard {
    let agent = &inventory.agents[index];
    let profile = inventory.profile(agent);
    Laggard {
        age: profile.version.clone(),
        id: agent.id.to_string(),
        hostname: agent.hostname.to_string(),
        version: profile.reported.clone(),
        services: profile.services.clone(),
        left: None,
    }
}

/// Puts an item in its place, if it is among the first.
fn keep_first<T: Ord>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() < most || list.last().is_some_and(|last| item < *last) {
        let place = list.binary_search(&item).unwrap_or_else(|place| place);
        list.insert(place, item);
        list.truncate(most);
    }
}

impl Share {
    fn empty(pool: Option<&Pool>) -> Share {
        Share {
            pool: pool.map(|pool| pool.name.clone()),
            required: pool.is_none_or(|pool| pool.required),
            total: 0,
            behind: 0,
            unknown: 0,
            remembered: 0,
            enrolled: 0,
            oldest: None,
            majors: BTreeMap::new(),
            updaters: BTreeMap::new(),
            laggards: Vec::new(),
        }
    }

    /// Counts one that left. Before its departure is stored, the reading says when.
    fn recall(&mut self, id: &str, entry: &Entry, read_at: Option<DateTime<Utc>>) {
        let age = parse_reported(&entry.version);
        self.behind += 1;
        self.remembered += 1;
        self.unknown += u64::from(age.is_none());
        let laggard = Laggard {
            age: age.map(|found| Version::new(found.major, found.minor, found.patch)),
            id: id.to_owned(),
            hostname: entry.hostname.clone(),
            version: entry.version.clone(),
            services: entry.services.clone(),
            left: entry.left.or(read_at.map(hour)),
        };
        keep_first(&mut self.laggards, laggard, LAGGARDS);
    }
}

#[cfg(test)]
mod tests;
