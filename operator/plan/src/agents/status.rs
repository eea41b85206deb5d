//! The status of an AgentPool: its share of the view of its tenant's agents. While nothing new is known it stands as it is,
//! so that a restart of the operator writes nothing.

use chrono::{DateTime, Utc};
use crds::agent_pool::{self, AgentPool, AgentPoolStatus, UpdaterCount};
use crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::view::{AgentsView, Laggard, Observation, Recall, Share, newest_first, signed};
use crate::clock;

/// Updaters that are counted one by one.
const UPDATERS: usize = 8;

/// What is known of the pool's tenant.
#[derive(Clone, Copy, Debug)]
pub enum Tenant<'a> {
    /// There is none of this name.
    Missing,
    /// It is there, and nothing was seen of its agents since this process started.
    Unseen,
    /// Its agents were looked at.
    Seen(&'a AgentsView),
}

/// The status that a pool should have.
pub fn status(pool: &AgentPool, tenant: Tenant<'_>, now: DateTime<Utc>) -> AgentPoolStatus {
    let before = pool.status.clone().unwrap_or_default();
    let mut after = AgentPoolStatus { observed_generation: pool.metadata.generation, ..before.clone() };
    let name = &pool.spec.tenant_ref.name;
    let mut set = |condition, holds, reason, message| {
        let verdict = Verdict { condition, holds, reason, message };
        put(&mut after.conditions, verdict, pool.metadata.generation, now);
    };
    let (ready, observed) = (ConditionType::Ready, ConditionType::Observed);
    let view = match tenant {
        Tenant::Missing => {
            let message = format!(
                "there is no Tenant {name} in this namespace: create it, or create the AgentPool beside its Tenant"
            );
            set(ready, false, Reason::TenantMissing, message);
            set(observed, false, Reason::TenantMissing, format!("there is no Tenant {name}"));
            return AgentPoolStatus {
                conditions: after.conditions,
                observed_generation: after.observed_generation,
                ..AgentPoolStatus::default()
            };
        }
        Tenant::Unseen => None,
        Tenant::Seen(view) => Some(view),
    };
    set(ready, true, Reason::AsSpecified, format!("its agents are those of Tenant {name}"));
    let observation = view.map_or(Observation::Missing, |view| view.observation);
    match observation {
        Observation::Fresh => set(observed, true, Reason::Observed, "the inventory was read in time".into()),
        Observation::Stale => {
            set(observed, false, Reason::ReportStale, "the inventory was not read in time: see the Tenant".into());
        }
        // What an earlier process observed still stands.
        Observation::Missing if was_observed(&before) => {}
        Observation::Missing => {
            set(observed, false, Reason::ReportMissing, "the inventory was not read yet".into());
        }
    }
    let share = view
        .filter(|view| view.reading.is_some() && view.recall == Recall::Loaded)
        .and_then(|view| view.pools.iter().find(|share| share.pool.as_deref() == Some(&pool.name_any())));
    match share {
        Some(share) => with(after, share),
        None => after,
    }
}

fn was_observed(before: &AgentPoolStatus) -> bool {
    let found = before.conditions.iter().find(|condition| condition.type_ == ConditionType::Observed.to_string());
    found.is_some_and(|condition| condition.reason != Reason::TenantMissing.to_string())
}

fn with(status: AgentPoolStatus, share: &Share) -> AgentPoolStatus {
    let mut updaters: Vec<UpdaterCount> =
        share.updaters.iter().map(|(name, count)| UpdaterCount { name: name.clone(), count: signed(*count) }).collect();
    // Stable, so that equal counts stay in the order of their names.
    updaters.sort_by_key(|updater| std::cmp::Reverse(updater.count));
    updaters.truncate(UPDATERS);
    AgentPoolStatus {
        agents: Some(signed(share.total)),
        behind: Some(signed(share.behind)),
        oldest: share.oldest.as_ref().map(ToString::to_string),
        majors: newest_first(&share.majors),
        laggards: share.laggards.iter().map(shown).collect(),
        updaters,
        enrolled: Some(signed(share.enrolled)),
        ..status
    }
}

fn shown(laggard: &Laggard) -> agent_pool::Laggard {
    agent_pool::Laggard {
        id: laggard.id.clone(),
        hostname: laggard.hostname.clone(),
        version: laggard.version.clone(),
        services: laggard.services.clone(),
        left: laggard.left.map(|left| left.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    }
}

struct Verdict {
    condition: ConditionType,
    holds: bool,
    reason: Reason,
    message: String,
}

/// Sets a condition; its transition time moves only with its status.
fn put(conditions: &mut Vec<Condition>, verdict: Verdict, generation: Option<i64>, now: DateTime<Utc>) {
    let type_ = verdict.condition.to_string();
    let status = if verdict.holds { "True" } else { "False" };
    let before = conditions.iter().position(|found| found.type_ == type_);
    let last_transition_time = match before.map(|index| &conditions[index]) {
        Some(found) if found.status == status => found.last_transition_time.clone(),
        Some(_) | None => Time(clock::to_jiff(now)),
    };
    let condition = Condition {
        type_,
        status: status.into(),
        reason: verdict.reason.to_string(),
        message: verdict.message,
        observed_generation: generation,
        last_transition_time,
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::inventory::tests::{instance, read};
    use super::super::memory::Memory;
    use super::super::pool::Pool;
    use super::*;

    fn pool() -> AgentPool {
        serde_json::from_value(json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "AgentPool",
            "metadata": {"name": "nodes", "namespace": "customers", "generation": 3},
            "spec": {"tenantRef": {"name": "acme"}, "match": {"services": ["Node"]}},
        }))
        .expect("an AgentPool")
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("in range")
    }

    fn view(observation: Observation) -> AgentsView {
        let agents = [
            instance("a", "18.1.0", &["Node"]),
            instance("b", "v17.5.2", &["Node", "App"]),
            instance("c", "16.0.0", &["App"]),
        ];
        let inventory = read(&agents, at(0));
        AgentsView::new(Some(&inventory), observation, (Recall::Loaded, &Memory::default()), &[Pool::from(&pool())], 18)
    }

    fn condition(status: &AgentPoolStatus, type_: &str) -> (String, String) {
        let found = status.conditions.iter().find(|condition| condition.type_ == type_).expect("a condition");
        (found.status.clone(), found.reason.clone())
    }

    #[test]
    fn a_pool_shows_its_share_and_the_same_again_is_no_change() {
        let shown = status(&pool(), Tenant::Seen(&view(Observation::Fresh)), at(5));
        assert_eq!((shown.agents, shown.behind, shown.enrolled), (Some(2), Some(1), Some(0)));
        assert_eq!(shown.oldest.as_deref(), Some("17.5.2"));
        assert_eq!(shown.laggards[0].hostname, "host-of-b");
        assert_eq!(condition(&shown, "Observed"), ("True".into(), "Observed".into()));
        let settled = AgentPool { status: Some(shown.clone()), ..pool() };
        assert_eq!(status(&settled, Tenant::Seen(&view(Observation::Fresh)), at(99)), shown);
    }

    #[test]
    fn a_restart_changes_nothing_before_the_first_reading() {
        let shown = status(&pool(), Tenant::Seen(&view(Observation::Fresh)), at(5));
        let settled = AgentPool { status: Some(shown.clone()), ..pool() };
        assert_eq!(status(&settled, Tenant::Unseen, at(99)), shown);
    }

    #[test]
    fn a_stale_reading_is_told_and_its_counts_stay() {
        let shown = status(&pool(), Tenant::Seen(&view(Observation::Stale)), at(5));
        assert_eq!(condition(&shown, "Observed"), ("False".into(), "ReportStale".into()));
        assert_eq!(shown.agents, Some(2));
    }

    #[test]
    fn a_pool_without_its_tenant_says_so_and_counts_nobody() {
        let shown = status(&pool(), Tenant::Seen(&view(Observation::Fresh)), at(5));
        let orphan = status(&AgentPool { status: Some(shown), ..pool() }, Tenant::Missing, at(9));
        assert_eq!(condition(&orphan, "Ready"), ("False".into(), "TenantMissing".into()));
        assert_eq!((orphan.agents, orphan.laggards.len(), orphan.observed_generation), (None, 0, Some(3)));
    }
}
