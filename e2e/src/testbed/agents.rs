//! The agents of clusters, in as few words as a scenario needs.

use sha2::{Digest, Sha256};
use teleport_standin::{Agent, World};

use super::TestBed;

/// An agent by its host name, version and services. Its id follows from the host name, so that one that comes back is
/// known again.
pub fn agent(hostname: &str, version: &str, services: &[&str]) -> Agent {
    let digest = hex::encode(Sha256::digest(hostname));
    let id = [
        &digest[..8],
        &digest[8..12],
        &format!("4{}", &digest[13..16]),
        &format!("8{}", &digest[17..20]),
        &digest[20..32],
    ];
    Agent {
        id: id.join("-"),
        hostname: hostname.to_owned(),
        version: version.to_owned(),
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        ..Agent::default()
    }
}

/// Gives these agents of a cluster another version, or all of them where none is named; answers how many that were.
pub fn move_agents(world: &World, domain: &str, hostnames: &[String], version: &str) -> usize {
    let mut agents = world.agents(domain);
    let mut moved = 0;
    for agent in &mut agents {
        if hostnames.is_empty() || hostnames.contains(&agent.hostname) {
            agent.version = version.to_owned();
            moved += 1;
        }
    }
    world.set_agents(domain, agents);
    moved
}

impl TestBed {
    /// Replaces the agents of a cluster: host name, version, services.
    pub fn agents(&self, domain: &str, agents: &[(&str, &str, &[&str])]) {
        let agents = agents.iter().map(|(hostname, version, services)| agent(hostname, version, services));
        self.world().set_agents(domain, agents.collect());
    }

    /// Gives all agents of a cluster this version.
    pub fn agents_move_to(&self, domain: &str, version: &str) {
        move_agents(self.world(), domain, &[], version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_keeps_its_id_under_another_version() {
        let (old, new) = (agent("node-1", "17.5.2", &["Node"]), agent("node-1", "18.1.0", &["Node", "App"]));
        assert_eq!(old.id, new.id);
        assert_ne!(old.id, agent("node-2", "17.5.2", &["Node"]).id);
        let lengths: Vec<usize> = old.id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{}", old.id);
    }

    #[test]
    fn those_that_are_named_move_or_all() {
        let world = World::new();
        let nodes = ["a", "b", "c"].map(|name| agent(name, "17.5.2", &["Node"]));
        world.set_agents("acme.example.com", nodes.to_vec());
        let versions = || world.agents("acme.example.com").into_iter().map(|agent| agent.version).collect::<Vec<_>>();
        assert_eq!(move_agents(&world, "acme.example.com", &["b".into(), "x".into()], "18.1.0"), 1);
        assert_eq!(versions(), ["17.5.2", "18.1.0", "17.5.2"]);
        assert_eq!(move_agents(&world, "acme.example.com", &[], "18.2.0"), 3);
        assert_eq!(versions(), ["18.2.0"; 3]);
    }
}
