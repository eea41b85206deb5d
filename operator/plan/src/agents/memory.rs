//! The memory of agents that may have vanished before they reached the tenant's major. It lists every agent below it,
//! live or gone, so that a restart between two readings forgets nobody, and changes only when an agent does. It is kept in
//! one ConfigMap per tenant.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};

use super::inventory::{HOSTNAME, ID, Inventory, SERVICE, SERVICES, WORD, text};
use crate::names::Identity;
use crate::observed::Contents;
use crate::version::parse_reported;

/// Agents that are remembered one by one; beyond it nobody is, and the gate stays closed.
pub const MOST: usize = 500;
/// Stands for all ids.
const EVERYBODY: &str = "*";
const AGENTS: &str = "agents";
const OVERFLOW: &str = "overflow";
const LASTING: &str = "lasting";
const FORGOTTEN: &str = "forgotten";
const HOUR: TimeDelta = TimeDelta::hours(1);

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By server id.
    pub entries: BTreeMap<String, Entry>,
    /// Set when there were too many to remember.
    pub overflow: Option<Overflow>,
    /// The last request to forget that was carried out.
    pub forgotten: Option<DateTime<Utc>>,
}

/// An agent below the tenant's major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Version as reported, without a leading `v`.
    pub version: String,
    /// Host name as it reported it.
    #[serde(default)]
    pub hostname: String,
    /// Its services.
    #[serde(default)]
    pub services: Vec<String>,
    /// Its group of Managed Updates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub update_group: String,
    /// The hour of the reading in which it was first missing; none while it is in the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<DateTime<Utc>>,
}

/// There were more agents below the tenant's major than are remembered one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// There still are. Without an hour, so that nothing changes while nothing changes.
    Lasting,
    /// There were until this hour: somebody may have left unseen.
    Ended(DateTime<Utc>),
}

/// A request to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Whom; `*` is everybody.
    pub ids: BTreeSet<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
}

/// What is remembered, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// For a conditional write.
    pub resource_version: String,
    /// The contents, or what is wrong with them.
    pub memory: Contents<Memory>,
}

/// By which an agent is remembered or forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The tenant's major.
    pub major: u64,
    /// How long one that left counts.
    pub remember_for: TimeDelta,
    /// The request to forget, if there is one.
    pub forget: Option<&'a Forget>,
}

impl Rules<'_> {
    /// An hour more than asked for, since only the hour is known.
    fn is_over(&self, left: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now - left >= self.remember_for + HOUR
    }
}

impl Forget {
    fn covers(&self, id: &str, left: DateTime<Utc>) -> bool {
        (self.ids.contains(id) || self.ids.contains(EVERYBODY)) && left <= self.requested_at
    }
}

impl Overflow {
    /// When the gate opens again by itself, if it is known.
    pub fn ends(self, remember_for: TimeDelta) -> Option<DateTime<Utc>> {
        match self {
            Overflow::Lasting => None,
            Overflow::Ended(at) => Some(at + remember_for + HOUR),
        }
    }
}

impl Entry {
    /// Whether it holds an update beyond `major` back.
    pub fn is_behind(&self, major: u64) -> bool {
        parse_reported(&self.version).is_none_or(|version| version.major < major)
    }
}

/// The memory after a reading. The same reading a second time changes nothing.
pub fn remember(before: &Memory, reading: &Inventory, rules: &Rules<'_>, now: DateTime<Utc>) -> Memory {
    let asked = rules.forget.filter(|forget| {
        forget.requested_at <= now && before.forgotten.is_none_or(|carried_out| carried_out < forget.requested_at)
    });
    let mut entries: BTreeMap<String, Entry> = before
        .entries
        .iter()
        .filter(|(id, entry)| reading.get(id).is_none() && entry.is_behind(rules.major))
        .filter_map(|(id, entry)| {
            // Nobody left in the future, whatever an edit says.
            let left = entry.left.unwrap_or_else(|| hour(reading.read_at)).min(hour(now));
            let goes = rules.is_over(left, now) || asked.is_some_and(|forget| forget.covers(id, left));
            (!goes).then(|| (id.clone(), Entry { left: Some(left), ..entry.clone() }))
        })
        .collect();
    let behind: Vec<bool> = reading.profiles.iter().map(|profile| profile.is_behind(rules.major)).collect();
    let live = || reading.agents.iter().filter(|agent| behind[agent.profile as usize]);
    let fits = live().take(MOST + 1).count() + entries.len() <= MOST;
    // While they do not fit, those that left are still named; the others are in the inventory.
    if fits {
        entries.extend(live().map(|agent| {
            let profile = reading.profile(agent);
            let entry = Entry {
                version: profile.reported.clone(),
                hostname: agent.hostname.to_string(),
                services: profile.services.clone(),
                update_group: profile.update_group.clone(),
                left: None,
            };
            (agent.id.to_string(), entry)
        }));
    }
    let overflow = match before.overflow {
        _ if !fits => Some(Overflow::Lasting),
        None => None,
        Some(Overflow::Lasting) => Some(Overflow::Ended(hour(reading.read_at))),
        Some(Overflow::Ended(at)) => Some(Overflow::Ended(at.min(hour(now)))),
    };
    let goes = |overflow: &Overflow| match *overflow {
        Overflow::Lasting => false,
        Overflow::Ended(at) => rules.is_over(at, now) || asked.is_some_and(|forget| forget.covers(EVERYBODY, at)),
    };
    Memory {
        entries,
        overflow: overflow.filter(|overflow| !goes(overflow)),
        forgotten: asked.map(|forget| forget.requested_at).or(before.forgotten),
    }
}

/// The hour that an instant is in.
pub fn hour(instant: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = instant.timestamp();
    DateTime::from_timestamp(seconds - seconds.rem_euclid(3600), 0).unwrap_or(instant)
}

/// An entry with its id: one line of the ConfigMap.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    #[serde(flatten)]
    entry: Entry,
}

impl Memory {
    /// Nobody knows who has left: the memory that there was is gone.
    pub fn lost(now: DateTime<Utc>) -> Memory {
        Memory { overflow: Some(Overflow::Ended(hour(now))), ..Memory::default() }
    }

    /// The contents of the ConfigMap: one line of JSON per agent, for people to read and, at need, to mend.
    ///
    /// # Panics
    /// Never in practice: an entry is made of texts and times, which serialize.
    pub fn render(&self) -> BTreeMap<String, String> {
        let line = |(id, entry): (&String, &Entry)| {
            let line = Line { id: id.clone(), entry: entry.clone() };
            serde_json::to_string(&line).expect("texts and times serialize") + "\n"
        };
        let overflow = self.overflow.map(|overflow| match overflow {
            Overflow::Lasting => LASTING.to_owned(),
            Overflow::Ended(at) => at.to_rfc3339(),
        });
        let agents = Some(self.entries.iter().map(line).collect());
        [(AGENTS, agents), (OVERFLOW, overflow), (FORGOTTEN, self.forgotten.map(|at| at.to_rfc3339()))]
            .into_iter()
            .filter_map(|(key, text)| Some((key.to_owned(), text?)))
            .collect()
    }

    /// Reads the contents of the ConfigMap.
    ///
    /// # Errors
    /// What is wrong with them, in one line. Nothing is taken from a text that is wrong anywhere: it might be the agent that
    /// counts.
    pub fn parse(data: &BTreeMap<String, String>) -> Contents<Memory> {
        let agents = data.get(AGENTS).ok_or(format!("has no key {AGENTS}"))?;
        let mut entries = BTreeMap::new();
        for (number, line) in (1..).zip(agents.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let Line { id, entry } = serde_json::from_str(line)
                .map_err(|error| format!("line {number} of {AGENTS} cannot be read: {error}"))?;
            if id.is_empty() || id.len() > ID || entries.insert(id, entry.bounded()).is_some() {
                return Err(format!("line {number} of {AGENTS} has no id of its own"));
            }
        }
        if entries.len() > MOST {
            return Err(format!("{AGENTS} has more than {MOST} lines"));
        }
        let time = |key: &str, text: &String| {
            let instant = DateTime::parse_from_rfc3339(text.trim());
            instant.map(|instant| instant.to_utc()).map_err(|error| format!("{key} is no time: {error}"))
        };
        let overflow = match data.get(OVERFLOW) {
            None => None,
            Some(text) if text.trim() == LASTING => Some(Overflow::Lasting),
            Some(text) => Some(Overflow::Ended(hour(time(OVERFLOW, text)?))),
        };
        let forgotten = data.get(FORGOTTEN).map(|text| time(FORGOTTEN, text)).transpose()?;
        Ok(Memory { entries, overflow, forgotten })
    }

    /// The object that holds it.
    pub fn config_map(&self, tenant: &Identity) -> ConfigMap {
        ConfigMap {
            metadata: tenant.metadata(tenant.agents(), tenant.labels()),
            data: Some(self.render()),
            ..ConfigMap::default()
        }
    }
}

impl Entry {
    /// As it would have been read from the inventory.
    fn bounded(self) -> Entry {
        Entry {
            version: text(&self.version, WORD),
            hostname: text(&self.hostname, HOSTNAME),
            services: self.services.iter().take(SERVICES).map(|service| text(service, SERVICE)).collect(),
            update_group: text(&self.update_group, WORD),
            left: self.left.map(hour),
        }
    }
}

/// Keys that a memory may have; one that it has no more is taken away.
pub const KEYS: [&str; 3] = [AGENTS, OVERFLOW, FORGOTTEN];

#[cfg(test)]
mod tests;
