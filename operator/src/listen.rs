//! Asks a tenant's Teleport what it tells agents and users, when a plan needs to know. Both questions are asked at once
//! and have time-outs of their own; a Teleport that fails is left in peace for a while.

use std::time::Duration;

use plan::Fact;
use plan::names::Identity;
use plan::observed::{Observed, Source, StageName, Told};
use plan::step::{Plan, Step};

use crate::clock;
use crate::context::Context;
use crate::error::chain;
use crate::observe::{self, auth_target};
use crate::teleport::{Teleport, TeleportError};

const ROW: (StageName, Source) = (StageName::Publish, Source::Process);
/// What somebody else changed is looked at this many times as often: it may have been put back.
const WATCHFUL: u32 = 12;

/// Draws the plan again with what Teleport says now.
pub async fn plan_again(observed: &mut Observed, plan: Plan, identity: &Identity, context: &Context) -> Plan {
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
    let plan = plan::tenant(observed);
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
async fn ask(teleport: &dyn Teleport, target: &crate::teleport::AuthTarget) -> (Told, Option<TeleportError>) {
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
