//! The book of orders, in a ConfigMap of the operator's namespace, and the line of those that wait for a place in it. A place is taken
//! by writing to exactly the book that was read: the API server decides who was first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crds::Tenant;
use crds::certificates::Issuer;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use plan::acme::course::waiting;
use plan::acme::ledger::{Ledger, Limits, Turn, Waiting};
use plan::names::MANAGER;
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::fleet::Fleet;

/// Name of the ConfigMap.
const NAME: &str = "tenant-operator-acme-orders";
const KEY: &str = "orders.json";
/// How long the book is good for, as it was read; what this process writes it knows at once.
const BOOK: Duration = Duration::from_secs(5);
/// How long a count of the line is good for.
const LINE: Duration = Duration::from_millis(500);

/// The book and the line as they were read.
#[derive(Default)]
pub(super) struct Orders {
    book: Mutex<Option<(Instant, Ledger)>>,
    line: Mutex<Option<(Instant, BTreeSet<Waiting>)>>,
}

impl Orders {
    /// Whose turn it is.
    pub(super) async fn turn(
        &self,
        api: &Api<ConfigMap>,
        fleet: &Fleet,
        asker: &Waiting,
        limits: Limits,
        now: DateTime<Utc>,
    ) -> Result<Turn> {
        // Nobody takes a place in between: who has left the line since would stand in neither.
        let mut book = self.book.lock().await;
        book.take_if(|(at, _)| at.elapsed() >= BOOK);
        let (_, ledger) = match &mut *book {
            Some(known) => known,
            none => none.insert((Instant::now(), read(api).await?.0)),
        };
        let mut line = self.line.lock().await;
        line.take_if(|(at, _)| at.elapsed() >= LINE);
        let (_, line) = line.get_or_insert_with(|| (Instant::now(), in_line(fleet, now)));
        Ok(ledger.turn(line, asker, limits, now))
    }

    /// Takes a place, if it is still this tenant's turn. Else somebody was faster: the next look decides anew.
    pub(super) async fn take(
        &self,
        api: &Api<ConfigMap>,
        fleet: &Fleet,
        asker: &Waiting,
        limits: Limits,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let attempt = || format!("take a place for the order of {}", asker.domain);
        let mut book = self.book.lock().await;
        *book = None;
        let (mut ledger, found) = read(api).await?;
        let turn = ledger.turn(&in_line(fleet, now), asker, limits, now);
        if matches!(turn, Turn::Later { .. }) || ledger.take(asker, limits, now).is_err() {
            return Err(Error::Overtaken { attempt: attempt() });
        }
        let text = serde_json::to_string(&ledger)
            .map_err(|error| Error::Unreadable { attempt: attempt(), fault: error.to_string() })?;
        write(api, &text, found.as_ref(), &attempt()).await?;
        *book = Some((Instant::now(), ledger));
        // Whoever has a place stands in line no longer.
        *self.line.lock().await = None;
        Ok(())
    }
}

async fn read(api: &Api<ConfigMap>) -> Result<(Ledger, Option<ConfigMap>)> {
    let attempt = || format!("read ConfigMap {NAME}");
    let found = api.get_opt(NAME).await.map_err(|source| Error::kube(attempt(), source))?;
    let text = found.as_ref().and_then(|found| found.data.as_ref()?.get(KEY));
    let ledger = match text {
        // With an empty book every order would be allowed.
        Some(text) => serde_json::from_str(text).map_err(|error| Error::Unreadable {
            attempt: attempt(),
            fault: format!("{KEY} is no list of orders ({error}): remove the key, and wait a week or lower the budgets of acme in the fleet policy"),
        })?,
        None => Ledger::default(),
    };
    Ok((ledger, found))
}

async fn write(api: &Api<ConfigMap>, text: &str, found: Option<&ConfigMap>, attempt: &str) -> Result<()> {
    let data = BTreeMap::from([(KEY.to_owned(), text.to_owned())]);
    let outcome = match found {
        None => {
            let labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())]);
            let metadata = ObjectMeta { name: Some(NAME.into()), labels: Some(labels), ..ObjectMeta::default() };
            let config_map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
            let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            api.create(&parameters, &config_map).await
        }
        Some(found) => {
            let metadata = serde_json::json!({"resourceVersion": found.resource_version(), "uid": found.uid()});
            let patch = serde_json::json!({"metadata": metadata, "data": data});
            let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch(NAME, &parameters, &Patch::Merge(patch)).await
        }
    };
    outcome.map(drop).map_err(|source| Error::kube(attempt, source))
}

/// All tenants that want to order and could.
fn in_line(fleet: &Fleet, now: DateTime<Utc>) -> BTreeSet<Waiting> {
    let tenants = fleet.tenants().state();
    tenants.iter().filter_map(|tenant| tenant.0.as_ref().ok()).filter_map(|tenant| stands(tenant, now)).collect()
}

fn stands(tenant: &Tenant, now: DateTime<Utc>) -> Option<Waiting> {
    let goes = tenant.metadata.deletion_timestamp.is_some() && !tenant.spec.deletion_protection;
    if tenant.spec.paused || goes || tenant.spec.certificates.web.issuer != Issuer::Acme {
        return None;
    }
    of(tenant, now)
}

/// As who a tenant asks; none while it has nothing to order.
pub(super) fn of(tenant: &Tenant, now: DateTime<Utc>) -> Option<Waiting> {
    let status = tenant.status.as_ref()?;
    let ends = status.certificates.iter().find(|certificate| certificate.name == "web");
    let ends = ends.and_then(|certificate| certificate.not_after.parse().ok());
    waiting(status.tenant_id.as_deref()?, &tenant.spec.domain, status.issuance.as_ref()?, ends, now)
}
