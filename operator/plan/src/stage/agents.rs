//! Sixth stage: the inventory of agents.

use std::collections::BTreeMap;

use crds::tenant_status::{AgentCounts, MajorCount};
use crds::{ConditionType, Reason};

use super::{Answer, Scope, Stage};
use crate::teleport::Instance;
use crate::version::{Version, parse_reported};

/// What the later stages build on.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// Counts of the last complete reading.
    pub counts: Option<AgentCounts>,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>, version: &Version) -> Outcome {
    let mut stage = Stage::default();
    let condition = ConditionType::AgentsObserved;
    let ttl = scope.wanted.report_ttl;
    let Some(inventory) = &scope.observed.teleport.inventory else {
        stage.verdict(condition, Answer::False, Reason::ReportMissing, "the inventory was not read yet");
        stage.polls("the inventory to be read");
        return Outcome { stage, counts: None };
    };
    let age = scope.observed.now - inventory.read_at;
    if age > ttl {
        stage.verdict(
            condition,
            Answer::False,
            Reason::ReportStale,
            format!("the inventory was last read more than {} minutes ago", ttl.num_minutes()),
        );
        stage.polls("the inventory to be read again");
    } else {
        stage.verdict(condition, Answer::True, Reason::Observed, "the inventory was read in time");
        stage.wakes_in(ttl - age);
    }
    Outcome { stage, counts: Some(count(&inventory.instances, version)) }
}

/// Counts agents by major. An unreadable version counts as behind, since nothing says that it is not.
pub fn count(instances: &[Instance], version: &Version) -> AgentCounts {
    let agents: Vec<&Instance> = instances.iter().filter(|instance| instance.is_agent()).collect();
    let versions: Vec<Option<Version>> = agents.iter().map(|agent| parse_reported(&agent.version)).collect();
    let mut majors: BTreeMap<u64, i64> = BTreeMap::new();
    for found in versions.iter().flatten() {
        *majors.entry(found.major).or_default() += 1;
    }
    let behind = versions.iter().filter(|found| found.as_ref().is_none_or(|found| found.major < version.major)).count();
    AgentCounts {
        total: i64::try_from(agents.len()).unwrap_or(i64::MAX),
        behind: i64::try_from(behind).unwrap_or(i64::MAX),
        // Without its suffixes, which an agent may choose at any length.
        oldest: versions
            .iter()
            .flatten()
            .min()
            .map(|oldest| format!("{}.{}.{}", oldest.major, oldest.minor, oldest.patch)),
        majors: majors
            .into_iter()
            .rev()
            .take(16)
            .map(|(major, count)| MajorCount { major: i64::try_from(major).unwrap_or(i64::MAX), count })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(version: &str, services: &[&str]) -> Instance {
        Instance {
            id: "id".into(),
            hostname: "host".into(),
            version: version.into(),
            services: services.iter().map(|service| (*service).to_owned()).collect(),
            last_seen: None,
            updater: String::new(),
            update_group: String::new(),
        }
    }

    #[test]
    fn auth_and_proxy_are_no_agents() {
        let counts = count(
            &[instance("v18.1.0", &["Auth"]), instance("v18.1.0", &["Proxy"]), instance("v17.5.2", &["Node", "App"])],
            &Version::new(18, 1, 0),
        );
        assert_eq!((counts.total, counts.behind, counts.oldest.as_deref()), (1, 1, Some("17.5.2")));
    }

    #[test]
    fn an_unreadable_version_counts_as_behind() {
        let counts = count(&[instance("mystery", &["Node"]), instance("18.0.0", &["Node"])], &Version::new(18, 1, 0));
        assert_eq!((counts.total, counts.behind), (2, 1));
        assert_eq!(counts.majors, [MajorCount { major: 18, count: 1 }]);
    }
}
