//! Reading the cloud: each part only while it is open, or when its reading has grown old.

use chrono::{DateTime, Utc};
use crds::Tenant;
use plan::Fact;
use plan::cloud::{CloudFacts, CloudNames, Part, all_parts};
use plan::names::Identity;
use plan::observed::{Source, StageName};

use super::failed;
use crate::cloud::CloudError;
use crate::context::Context;
use crate::error::{Class, chain};
use crate::{clock, memory};

/// Reads what is not known, or not any more.
pub(super) async fn read(tenant: &Tenant, identity: &Identity, context: &Context, now: DateTime<Utc>) -> CloudFacts {
    let generation = tenant.metadata.generation;
    let Ok(installation) = context.policy.current() else { return CloudFacts::unknown() };
    // Nothing is made before the names are recorded, and nothing looked for under others: a policy that would name other
    // resources, or an account or region that it does not know, is a matter for the plan.
    let recorded = tenant.status.as_ref().and_then(|status| status.storage.as_ref());
    let Some(account) = recorded.and_then(|recorded| installation.account(&recorded.account)) else {
        return CloudFacts::unknown();
    };
    let names = CloudNames::new(&installation, account, identity, &tenant.spec.region);
    let leaves = tenant.metadata.deletion_timestamp.is_some() && !tenant.spec.deletion_protection;
    if recorded != Some(&names.recorded()) || !account.regions.contains(&names.region) || leaves {
        return CloudFacts::unknown();
    }
    // How often an account is asked is no decision: a day that a test skips is none on which its resources drift.
    let read_at = clock::wall();
    let known = context.memory.cloud(&identity.uid, generation, read_at);
    let (mut facts, parts) = known.unwrap_or_else(|| (CloudFacts::unknown(), all_parts()));
    if parts.is_empty() {
        return facts;
    }
    let account = context.clouds.account(account).await;
    let (region, asked) = (&names.region, |part| parts.contains(&part));
    let (state_table, events_table, bucket, role) = futures::join!(
        asking(asked(Part::StateTable), account.table(region, &names.state_table)),
        asking(asked(Part::EventsTable), account.table(region, &names.events_table)),
        asking(asked(Part::Bucket), account.bucket(region, &names.bucket)),
        asking(asked(Part::Role), account.role(&names.role))
    );
    let mut failure: Option<(Class, String)> = None;
    let read = CloudFacts {
        state_table: believe(state_table, &mut failure),
        events_table: believe(events_table, &mut failure),
        bucket: believe(bucket, &mut failure),
        role: believe(role, &mut failure),
    };
    facts.replace(&parts, read);
    match failure {
        Some((class, message)) => {
            failed(context, identity, (StageName::Cloud, Source::Read), class, message, now);
        }
        None => {
            context.memory.succeeded(&identity.uid, (StageName::Cloud, Source::Read));
            let read = memory::cloud::Read { facts: facts.clone(), parts, generation, at: read_at };
            context.memory.keep_cloud(&identity.uid, read, context.periods.cloud);
        }
    }
    facts
}

/// Asks only for what is not known.
async fn asking<T>(
    asked: bool,
    read: impl Future<Output = Result<Option<T>, CloudError>>,
) -> Option<Result<Option<T>, CloudError>> {
    if asked { Some(read.await) } else { None }
}

fn believe<T>(answer: Option<Result<Option<T>, CloudError>>, failure: &mut Option<(Class, String)>) -> Fact<T> {
    let Some(answer) = answer else { return Fact::Unknown };
    match answer {
        Ok(found) => Fact::answered(found),
        Err(error) => {
            failure.get_or_insert_with(|| (error.class(), chain(&error)));
            Fact::Unknown
        }
    }
}
