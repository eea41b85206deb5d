//! A complete reading of the inventory in a compact form: what agents have in common is kept once. Auth and Proxy are
//! counted and left out. When Auth last heard of an agent is not read at all: its clock is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;

use chrono::{DateTime, Utc};

use crate::names::Component;
use crate::teleport::Instance;
use crate::version::{Version, parse_reported};

/// More than any cluster has. What runs past it would not end.
pub const MOST_ENTRIES: usize = 200_000;
/// What a reading may keep: 200,000 agents of usual names take half of it.
const MOST_BYTES: usize = 64 << 20;
/// Bound of a server id. It is never cut: two agents must not become one.
pub const ID: usize = 64;
/// Bound of a host name.
pub const HOSTNAME: usize = 253;
/// Bound of a version as reported, and of an update group.
pub const WORD: usize = 64;
/// Bound of the name of a service or an updater.
pub const SERVICE: usize = 32;
/// Services of one agent; Teleport has about as many.
pub const SERVICES: usize = 16;

/// A complete reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// When it was begun, by our clock.
    pub read_at: DateTime<Utc>,
    /// All agents, by id, each once.
    pub agents: Vec<Agent>,
    /// What they have in common, the oldest versions first.
    pub profiles: Vec<Profile>,
    /// Auth and Proxy instances by version as they report it, without a leading `v`.
    pub processes: BTreeMap<(Component, String), u32>,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agent {
    /// Server id.
    pub id: Box<str>,
    /// Index of its profile.
    pub profile: u32,
    /// Host name as it reports it.
    pub hostname: Box<str>,
}

/// What agents have in common. The order is that of their age: what cannot be read may be the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    /// The version without suffixes; none when it cannot be read.
    pub version: Option<Version>,
    /// The version as reported, without a leading `v`.
    pub reported: String,
    /// Services, in order.
    pub services: Vec<String>,
    /// What updates it: `unit`, `kube`, `binary`, or nothing.
    pub updater: String,
    /// Its group of Managed Updates.
    pub update_group: String,
}

/// Why an answer of Auth is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nobody could be told apart by it.
    #[error("has an entry without a server id")]
    NoId,
    /// No Teleport makes such ids.
    #[error("has an entry whose server id has more than {ID} bytes")]
    LongId,
    /// It would not end.
    #[error("has more than {MOST_ENTRIES} entries")]
    TooMany,
    /// It would not fit.
    #[error("has more than {} MiB of names", MOST_BYTES >> 20)]
    TooLarge,
}

impl Profile {
    /// Whether it holds an update beyond `major` back: on an older major, or on who knows which.
    pub fn is_behind(&self, major: u64) -> bool {
        self.version.as_ref().is_none_or(|version| version.major < major)
    }
}

impl Inventory {
    /// What an agent has in common with others.
    pub fn profile(&self, agent: &Agent) -> &Profile {
        &self.profiles[agent.profile as usize]
    }

    /// The agent with this id.
    pub fn get(&self, id: &str) -> Option<&Agent> {
        self.agents.binary_search_by(|agent| (*agent.id).cmp(id)).ok().map(|index| &self.agents[index])
    }

    /// Whether another reading shows the same.
    pub fn shows_the_same(&self, other: &Inventory) -> bool {
        self.profiles == other.profiles && self.agents == other.agents && self.processes == other.processes
    }
}

/// A reading in progress: entries go in one by one, and nothing of them is kept that is not needed.
#[derive(Debug, Default)]
pub struct Reading {
    entries: usize,
    bytes: usize,
    agents: Vec<Agent>,
    profiles: BTreeMap<Profile, u32>,
    processes: BTreeMap<(Component, String), u32>,
}

impl Reading {
    /// Takes one entry.
    ///
    /// # Errors
    /// When the whole answer is no report because of it: half an inventory would let an update start that must wait.
    pub fn add(&mut self, instance: &Instance) -> Result<(), Unusable> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(Unusable::TooMany);
        }
        if instance.id.is_empty() {
            return Err(Unusable::NoId);
        }
        if instance.id.len() > ID {
            return Err(Unusable::LongId);
        }
        let reported = text(instance.version.trim().trim_start_matches('v'), WORD);
        let own = [(Component::Auth, "Auth"), (Component::Proxy, "Proxy")];
        let roles = own.into_iter().filter(|(_, service)| instance.services.iter().any(|found| found == service));
        let components: Vec<Component> = roles.map(|(component, _)| component).collect();
        if components.is_empty() {
            self.keep(instance, reported)
        } else {
            for component in components {
                self.bytes += reported.len();
                *self.processes.entry((component, reported.clone())).or_default() += 1;
            }
            self.within_bounds()
        }
    }

    fn keep(&mut self, instance: &Instance, reported: String) -> Result<(), Unusable> {
        let services: BTreeSet<String> = instance.services.iter().map(|service| text(service, SERVICE)).collect();
        let profile = Profile {
            version: parse_reported(&instance.version).map(|found| Version::new(found.major, found.minor, found.patch)),
            reported,
            services: services.into_iter().take(SERVICES).collect(),
            updater: text(&instance.updater, SERVICE),
            update_group: text(&instance.update_group, WORD),
        };
        let next = u32::try_from(self.profiles.len()).map_err(|_| Unusable::TooMany)?;
        let profile = match self.profiles.get(&profile) {
            Some(index) => *index,
            None => {
                self.bytes += size_of::<Profile>() + profile.reported.len() + profile.update_group.len();
                self.bytes += profile.services.iter().map(|service| size_of::<String>() + service.len()).sum::<usize>();
                self.profiles.insert(profile, next);
                next
            }
        };
        let hostname = text(&instance.hostname, HOSTNAME).into_boxed_str();
        self.bytes += size_of::<Agent>() + instance.id.len() + hostname.len();
        self.agents.push(Agent { id: text(&instance.id, ID).into_boxed_str(), profile, hostname });
        self.within_bounds()
    }

    fn within_bounds(&self) -> Result<(), Unusable> {
        if self.bytes > MOST_BYTES { Err(Unusable::TooLarge) } else { Ok(()) }
    }

    /// The whole, once Auth said that it was. Of two entries with one id the one with the older version counts, or the one
    /// whose version cannot be read.
    pub fn finish(self, read_at: DateTime<Utc>) -> Inventory {
        let mut rank = vec![0; self.profiles.len()];
        for (place, index) in (0..).zip(self.profiles.values()) {
            rank[*index as usize] = place;
        }
        let mut agents = self.agents;
        for agent in &mut agents {
            agent.profile = rank[agent.profile as usize];
        }
        agents.sort_unstable();
        agents.dedup_by(|later, earlier| later.id == earlier.id);
        agents.shrink_to_fit();
        Inventory { read_at, agents, profiles: self.profiles.into_keys().collect(), processes: self.processes }
    }
}

/// What somebody says of himself, without control characters and cut where a bound asks for it.
pub fn text(said: &str, most: usize) -> String {
    let mut kept = String::with_capacity(said.len().min(most));
    for character in said.chars().map(|character| if character.is_control() { '?' } else { character }) {
        if kept.len() + character.len_utf8() > most {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn instance(id: &str, version: &str, services: &[&str]) -> Instance {
        Instance {
            id: id.into(),
            hostname: format!("host-of-{id}"),
            version: version.into(),
            services: services.iter().map(|service| (*service).to_owned()).collect(),
            updater: String::new(),
            update_group: String::new(),
        }
    }

    pub fn read<'a>(instances: impl IntoIterator<Item = &'a Instance>, read_at: DateTime<Utc>) -> Inventory {
        let mut reading = Reading::default();
        for instance in instances {
            reading.add(instance).expect("a good entry");
        }
        reading.finish(read_at)
    }

    fn at_epoch<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Inventory {
        read(instances, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn auth_and_proxy_are_counted_and_are_no_agents() {
        let inventory = at_epoch(&[
            instance("a", "v18.1.0", &["Auth"]),
            instance("p", "v18.1.0", &["Proxy"]),
            instance("q", "18.1.0", &["Proxy", "Node"]),
            instance("n", "v17.5.2", &["Node", "App"]),
        ]);
        assert_eq!(inventory.agents.len(), 1);
        assert_eq!(inventory.profile(&inventory.agents[0]).services, ["App", "Node"]);
        let expected =
            BTreeMap::from([((Component::Auth, "18.1.0".to_owned()), 1), ((Component::Proxy, "18.1.0".to_owned()), 2)]);
        assert_eq!(inventory.processes, expected);
    }

    #[test]
    fn services_that_nobody_knows_are_those_of_an_agent() {
        assert_eq!(at_epoch(&[instance("x", "18.1.0", &["Quantum"]), instance("y", "18.1.0", &[])]).agents.len(), 2);
    }

    #[test]
    fn of_two_entries_with_one_id_the_older_or_unreadable_one_counts() {
        for (one, other, counts) in
            [("17.5.2", "18.1.0", "17.5.2"), ("18.1.0", "17.5.2", "17.5.2"), ("18.1.0", "weird", "weird")]
        {
            let inventory = at_epoch(&[instance("same", one, &["Node"]), instance("same", other, &["Node"])]);
            assert_eq!(inventory.agents.len(), 1);
            assert_eq!(inventory.profile(&inventory.agents[0]).reported, counts, "{one} and {other}");
        }
    }

    #[test]
    fn an_entry_without_an_id_or_with_an_endless_one_makes_it_no_report() {
        let mut reading = Reading::default();
        assert_eq!(reading.add(&instance("", "18.1.0", &["Node"])), Err(Unusable::NoId));
        assert_eq!(reading.add(&instance(&"i".repeat(65), "18.1.0", &["Node"])), Err(Unusable::LongId));
    }

    #[test]
    fn a_stream_without_end_is_no_report() {
        let mut reading = Reading::default();
        let auth = instance("a", "18.1.0", &["Auth"]);
        for _ in 0..MOST_ENTRIES {
            reading.add(&auth).expect("within the bound");
        }
        assert_eq!(reading.add(&auth), Err(Unusable::TooMany));
    }

    #[test]
    fn what_would_not_fit_into_memory_is_no_report() {
        let mut reading = Reading::default();
        let huge = |number: usize| Instance {
            hostname: "h".repeat(300),
            update_group: format!("{number:0>64}"),
            services: (0..30).map(|service| format!("{service:0>40}")).collect(),
            ..instance(&number.to_string(), "18.1.0", &[])
        };
        let refused = (0..MOST_ENTRIES).find_map(|number| reading.add(&huge(number)).err());
        assert_eq!(refused, Some(Unusable::TooLarge));
    }

    #[test]
    fn what_an_agent_says_of_itself_is_bounded() {
        let long = Instance {
            hostname: format!("a\nb{}", "ü".repeat(300)),
            update_group: "g".repeat(100),
            services: (0..40).map(|number| format!("{number}-{}", "s".repeat(50))).collect(),
            ..instance("x", &format!("18.1.0-{}", "d".repeat(100)), &[])
        };
        let inventory = at_epoch(&[long]);
        let (agent, profile) = (&inventory.agents[0], inventory.profile(&inventory.agents[0]));
        assert!(agent.hostname.starts_with("a?b") && agent.hostname.len() <= HOSTNAME, "{}", agent.hostname);
        assert_eq!(profile.version, Some(Version::new(18, 1, 0)));
        assert_eq!((profile.reported.len(), profile.update_group.len()), (WORD, WORD));
        assert_eq!((profile.services.len(), profile.services[0].len()), (SERVICES, SERVICE));
    }

    #[test]
    fn a_hundred_thousand_agents_take_less_than_40_mib() {
        let instances = (0..100_000).map(|number| Instance {
            hostname: format!("ip-10-{}-{}.us-west-2.compute.internal", number / 256, number % 256),
            updater: "binary".into(),
            update_group: format!("group-{}", number % 10),
            ..instance(&format!("6f1e7f0a-0000-4000-8000-{number:0>12}"), ["17.5.2", "18.1.0"][number % 2], &["Node"])
        });
        let mut reading = Reading::default();
        for instance in instances {
            reading.add(&instance).expect("a good entry");
        }
        let inventory = reading.finish(DateTime::UNIX_EPOCH);
        assert_eq!(
            (inventory.agents.len(), inventory.agents.capacity(), inventory.profiles.len()),
            (100_000, 100_000, 10)
        );
        // An allocator rounds up to 16 bytes and keeps 16 of its own.
        let allocated = |length: usize| length.next_multiple_of(16) + 16;
        let agents: usize = inventory
            .agents
            .iter()
            .map(|agent| size_of::<Agent>() + allocated(agent.id.len()) + allocated(agent.hostname.len()))
            .sum();
        assert!(agents < 20 << 20, "{agents} bytes, and as much again while the next reading comes in");
    }
}
