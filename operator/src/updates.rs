//! What an update of a tenant depends on, as it is known now; and the same, read live, for the last look before a hop
//! begins to touch what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use crds::update_status::{HopKind, HopStage};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use plan::Fact;
use plan::clock::from_jiff;
use plan::cloud::CloudNames;
use plan::cloud::backup::{self, BackupFacts};
use plan::feed::Feed;
use plan::line::{Line, Place, Waiting};
use plan::names::Identity;
use plan::observed::{Source, StageName};
use plan::updates::{Updates, WindowFact};

use crate::context::Context;
use crate::error::{Error, Result, chain};
use crate::fleet::Asker;
use crate::inventory::Pace;
use crate::memory::Backups;
use crate::observe::failed;
use crate::windows::{self, Windows};

/// A window that opens within this time is near.
const NEAR: TimeDelta = TimeDelta::hours(1);
/// Tenants whose update has begun: the selectable field is empty where there is none.
const UPDATING: &str = "status.update.stage!=";

/// What is known from watches.
pub async fn observe(tenant: &Tenant, identity: &Identity, context: &Context, now: DateTime<Utc>) -> Updates {
    let feed = context.policy.feed();
    let window = context.windows.of(tenant);
    let asked = windows::name_of(tenant);
    let asker = Asker { uid: &identity.uid, window: &asked, due_since: due_since(tenant, now) };
    Updates {
        place: context.fleet.place(asker, &context.windows, fleet_limit(&feed)),
        feed,
        policy_fault: context.policy.fault(),
        standing: context.fleet.standing(),
        window,
        backups: backups(tenant, identity, context, now).await,
        live: false,
    }
}

/// The same, asked of the API server now.
///
/// # Errors
/// When any of it cannot be read: then nothing is known, and nothing starts.
pub async fn look(tenant: &Tenant, identity: &Identity, context: &Context, known: &Updates) -> Result<Updates> {
    let (window, feed, running) = futures::join!(
        Windows::read_live(&context.client, tenant),
        context.policy.read_live(&context.client, &context.namespace, &context.fleet_config_map),
        running(context)
    );
    let (window, feed, running) = (window?, feed?, running?);
    let own = windows::name_of(tenant);
    let mut limits = BTreeMap::new();
    if let WindowFact::Known { window, limit, .. } = &window {
        limits.insert(window.clone(), *limit);
    }
    let mut line = Line::new(fleet_limit(&feed), limits, []);
    for (uid, window) in &running {
        if *uid != identity.uid {
            line.run(window);
        }
    }
    let asker = Waiting { due_since: DateTime::<Utc>::MIN_UTC, tenant: identity.uid.clone(), window: own };
    let place: Place = line.place(&asker);
    Ok(Updates {
        feed,
        policy_fault: context.policy.fault(),
        window,
        place,
        standing: context.fleet.standing(),
        backups: known.backups.clone(),
        live: true,
    })
}

/// Since when a tenant has been due, as its status says; now, where it does not.
pub fn due_since(tenant: &Tenant, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = tenant.status.as_ref().and_then(|status| status.next.as_ref());
    next.and_then(|next| next.due_since.as_ref()).map_or(now, |since| from_jiff(since.0))
}

/// How soon the agents are to be read again. They hold back major updates alone: a thousand tenants that wait for their turn
/// in a patch would otherwise be read every minute for nothing.
pub fn pace(tenant: &Tenant, context: &Context, now: DateTime<Utc>) -> Pace {
    let status = tenant.status.as_ref();
    if let Some(update) = status.and_then(|status| status.update.as_ref()) {
        return match (update.kind, update.stage) {
            (HopKind::Major, HopStage::Confirm) => Pace::Now,
            (HopKind::Major, _) => Pace::Close,
            (HopKind::Patch | HopKind::Minor | HopKind::Template, _) => Pace::Relaxed,
        };
    }
    let next = status.and_then(|status| status.next.as_ref());
    let due = next.is_some_and(|next| next.kind == HopKind::Major);
    let window = context.windows.of(tenant);
    let near = window.schedule().is_some_and(|schedule| {
        schedule.open_at(now).is_some() || schedule.next_start_after(now).is_some_and(|opens| opens - now <= NEAR)
    });
    if due && near { Pace::Close } else { Pace::Relaxed }
}

/// How many hops may run in the fleet.
pub fn fleet_limit(feed: &Result<Arc<Feed>, String>) -> u32 {
    let limit =
        feed.as_ref().map_or_else(|_| Feed::default().max_concurrent_updates, |feed| feed.max_concurrent_updates);
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// uid and window of every tenant that is being updated, in a list that no cache of this process has touched.
async fn running(context: &Context) -> Result<Vec<(String, String)>> {
    let api: Api<Tenant> = Api::all(context.client.clone());
    let found = api.list(&ListParams::default().fields(UPDATING)).await;
    let found = found.map_err(|source| Error::kube("list the tenants that are being updated", source))?;
    Ok(found
        .iter()
        .filter_map(|tenant| {
            let update = tenant.status.as_ref()?.update.as_ref().filter(|update| update.halted_at.is_none())?;
            Some((tenant.uid()?, update.window.clone().unwrap_or_default()))
        })
        .collect())
}

/// The backups of the state table: on every run while a hop makes one, and once a day while none runs.
async fn backups(
    tenant: &Tenant,
    identity: &Identity,
    context: &Context,
    now: DateTime<Utc>,
) -> Fact<Vec<BackupFacts>> {
    let Ok(installation) = context.policy.current() else { return Fact::Unknown };
    let status = tenant.status.as_ref();
    let recorded = status.and_then(|status| status.storage.as_ref());
    let Some(account) = recorded.and_then(|recorded| installation.account(&recorded.account)) else {
        return Fact::Unknown;
    };
    let names = CloudNames::new(&installation, account, identity, &tenant.spec.region);
    let listed_for = match status.and_then(|status| status.update.as_ref()) {
        Some(update) if update.stage == HopStage::RecoveryPoint => None,
        Some(_) => return Fact::Unknown,
        None => {
            let day = backup::day(identity, now);
            let known = context.memory.backups(&identity.uid, day);
            // Only under the names that were recorded, and not for one that is still being made or that leaves.
            let recorded = recorded.filter(|_| status.is_some_and(|status| status.version.is_some()));
            if recorded != Some(&names.recorded()) || tenant.metadata.deletion_timestamp.is_some() {
                return Fact::Unknown;
            }
            match known {
                Backups::Done => return Fact::Unknown,
                Backups::Listed(found) => return Fact::Known(found),
                Backups::Due => Some(day),
            }
        }
    };
    let account = context.clouds.account(account).await;
    let row = (StageName::Update, Source::Read);
    match account.backups(&names.region, &names.state_table).await {
        Ok(found) => {
            context.memory.succeeded(&identity.uid, row);
            if let Some(day) = listed_for {
                context.memory.keep_backups(&identity.uid, day, found.clone());
            }
            Fact::Known(found)
        }
        Err(error) => {
            failed(context, identity, row, error.class(), chain(&error), now);
            Fact::Unknown
        }
    }
}
