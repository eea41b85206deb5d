//! Asks a tenant's Teleport what it tells agents and users, when a plan needs to know. Both questions are asked at once
//! and have time-outs of their own; a Teleport that fails is left in peace for a while.

use std::time::Duration;

use plan::Fact;
use plan::manifest::kept::Kept;
use plan::names::Identity;
use plan::observed::{Observed, Source, StageName, Told};
use plan::step::{Plan, Step};

use crate::clock;
use crate::context::Context;
use crate::error::chain;
use crate::observe::{self, auth_target};
use crate::teleport::{AuthTarget, Teleport, TeleportError};

const ROW: (StageName, Source) = (StageName::Publish, Source::Process);
/// What somebody else changed is looked at this many times as often: it may have been put back.
const WATCHFUL: u32 = 12;

/// Draws the plan again with what Teleport says now.
pub async fn plan_again(
    observed: &mut Observed,
    kept: &mut Kept,
    plan: Plan,
    identity: &Identity,
    context: &Context,
) -> Plan {
    let now = clock::wall();
    if !context.memory.may_listen(&identity.uid, now) {
        return plan;
    }
    let Some(target) = auth_target(observed) else { return plan };
    let (told, failure) = ask(&*context.teleport, &target).await;
    context.memory.listened(&identity.uid, failure.is_none(), now);
    match &failure {
        Some(error) => observe::failed(context, identity, ROW, error.class(), chain(error), observed.now),
        None => context.memory.succeeded(&identity.uid, ROW),
    }
    observed.teleport.told = told.clone();
    observed.failures = context.memory.failures(&identity.uid);
    let plan = plan::tenant_again(observed, kept);
    if plan.listen || failure.is_some() {
        context.memory.forget_told(&identity.uid);
        return plan;
    }
    if !plan.steps.iter().any(|(_, step)| matches!(step, Step::Publish(_))) {
        context.memory.succeeded(&identity.uid, (StageName::Publish, Source::Step));
    }
    let foreign = plan.status.published.as_ref().is_some_and(|published| !published.foreign.is_empty());
    context.memory.keep_told(&identity.uid, told, now, period(context.periods.cloud, foreign));
    plan
}

/// How long a reading is good for.
fn period(drift: Duration, foreign: bool) -> Duration {
    if foreign { drift / WATCHFUL } else { drift }
}

/// Whatever was answered, and the first failure.
async fn ask(teleport: &dyn Teleport, target: &AuthTarget) -> (Told, Option<TeleportError>) {
    let (agents, alerts) = futures::join!(teleport.published(target), teleport.alerts(target));
    let mut failure = None;
    let told = Told { agents: believe(agents, &mut failure), alerts: believe(alerts, &mut failure) };
    (told, failure)
}

fn believe<T>(answer: Result<T, TeleportError>, failure: &mut Option<TeleportError>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::Known(value),
        Err(error) => {
            failure.get_or_insert(error);
            Fact::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use chrono::{DateTime, TimeDelta, Utc, Weekday};
    use crds::published::Published;
    use plan::keys::{Authority, Sensitive};
    use plan::publish::alert::{Alert, Raised, Withheld, alert, raise};
    use plan::publish::{Asked, Bystanders, Found, Group, Live, Mode, Strategy, WindowHour, diff, wanted};
    use plan::version::Version;

    use super::*;
    use crate::teleport::memory::Memory;

    const DOMAIN: &str = "acme.example.com";

    fn target() -> AuthTarget {
        let nothing = || Sensitive(String::new());
        let host = Authority {
            certificate: String::new(),
            key: nothing(),
            ssh_public: String::new(),
            ssh_key: nothing(),
            trusted: String::new(),
        };
        AuthTarget { address: SocketAddr::from(([127, 0, 0, 1], 9)), domain: DOMAIN.into(), host }
    }

    fn untold() -> Memory {
        let teleport = Memory::default();
        let live = Live { cloud: false, version: Found::Absent, config: Found::Absent, maintenance: Found::Absent };
        teleport.state().published.insert(DOMAIN.into(), live);
        teleport.state().alerts.insert(DOMAIN.into(), vec![]);
        teleport
    }

    fn asked() -> Asked {
        let prod = Group {
            name: "prod".into(),
            order: 1,
            strategy: Strategy::HaltOnError,
            enrolled: true,
            update_groups: vec![],
            takes_all: true,
        };
        Asked {
            version: Version::new(18, 1, 0),
            window: Some(WindowHour { weekday: Weekday::Sun, utc_hour: 2 }),
            groups: vec![prod],
            bystanders: Bystanders::default(),
            mode: Mode::Enabled,
        }
    }

    #[tokio::test]
    async fn both_are_asked_and_what_one_answers_counts_without_the_other() {
        let teleport = untold();
        let (told, failure) = ask(&teleport, &target()).await;
        assert!(failure.is_none() && told.agents.known().is_some() && told.alerts == Fact::Known(vec![]));
        teleport.state().alerts.clear();
        let (told, failure) = ask(&teleport, &target()).await;
        assert!(failure.is_some() && told.agents.known().is_some());
        assert_eq!(told.alerts, Fact::Unknown);
    }

    /// Told step by step, each time by what Teleport says then, whatever of it gets lost on the way.
    #[tokio::test]
    async fn what_agents_are_told_is_read_back_and_known_again_after_a_crash_anywhere() {
        for survive in 0..4 {
            let (teleport, mut status, mut runs) = (untold(), Published::default(), 0);
            loop {
                let (told, _) = ask(&teleport, &target()).await;
                let (wanted, rounded) = wanted(&asked(), &told.agents);
                let difference = diff(&wanted, &rounded, &told.agents, &status);
                assert_eq!(difference.foreign, vec![]);
                if difference.settled && difference.record == status {
                    break;
                }
                // The second run is the one with the steps, and the one that dies.
                let effects = if runs == 1 { survive } else { usize::MAX };
                for step in difference.steps.iter().take(effects) {
                    teleport.publish(&target(), step).await.expect("written");
                }
                if effects > difference.steps.len() {
                    status = difference.record;
                }
                runs += 1;
                assert!(runs < 8, "it does not come to rest");
            }
            let target_version = |live: &Live| live.version.agents().map(|version| version.target_version.clone());
            assert_eq!(target_version(&teleport.state().published[DOMAIN]).as_deref(), Some("18.1.0"));
            let writes = teleport.state().log.iter().filter(|line| line.starts_with("Publish")).count();
            assert_eq!(writes, 3, "each once: {:?}", teleport.state().log);
        }
    }

    #[tokio::test]
    async fn an_alert_is_raised_once_and_ends_when_it_no_longer_holds() {
        let (teleport, now): (_, DateTime<Utc>) = (untold(), clock::wall());
        let withheld = Withheld { to: Version::new(18, 1, 0), behind: 1, first: vec!["node-1".into()] };
        let tell = async |wanted: Option<&Alert>| {
            let (told, _) = ask(&teleport, &target()).await;
            let step = raise(wanted, &told.alerts, now);
            if let Some(step) = &step {
                teleport.publish(&target(), step).await.expect("written");
            }
            step.is_some()
        };
        let wanted = alert(Some(&withheld));
        assert_eq!((tell(wanted.as_ref()).await, tell(wanted.as_ref()).await), (true, false));
        assert_eq!((tell(None).await, tell(None).await), (true, false));
        let left: Vec<Raised> = teleport.state().alerts[DOMAIN].clone();
        assert!(left.iter().all(|raised| raised.expires.is_some_and(|ends| ends <= now + TimeDelta::minutes(1))));
    }

    #[test]
    fn an_edit_of_somebody_else_is_watched_more_closely() {
        assert_eq!(period(Duration::from_secs(3600), false), Duration::from_secs(3600));
        assert_eq!(period(Duration::from_secs(3600), true), Duration::from_secs(300));
    }
}
