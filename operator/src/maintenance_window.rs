//! One reconcile of one MaintenanceWindow: how its tenants fare, and when it opens. It looks again at the next boundary,
//! and when a tenant of it was written; between two boundaries nothing in its status ticks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use crds::maintenance_window::MaintenanceWindow;
use kube::api::PostParams;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use plan::maintenance_window::{capacity, status};
use plan::names::MANAGER;
use plan::window::Schedule;

use crate::clock;
use crate::context::Context;
use crate::error::{Class, Error, Result, chain};

/// The least time between two runs that nothing asked for.
const LEAST: Duration = Duration::from_secs(1);

/// Reconciles one MaintenanceWindow.
///
/// # Errors
/// When its status cannot be written.
pub async fn reconcile(window: Arc<DeserializeGuard<MaintenanceWindow>>, context: Arc<Context>) -> Result<Action> {
    let started = Instant::now();
    let outcome = match &window.0 {
        Ok(window) => run(window, &context).await,
        Err(invalid) => {
            Err(Error::Unreadable { attempt: "read the MaintenanceWindow".into(), fault: invalid.error.clone() })
        }
    };
    let label = outcome.as_ref().map_or_else(|error| error.class().label(), |_| "ok");
    context.metrics.reconciled("MaintenanceWindow", label, started.elapsed());
    if let Err(error) = &outcome
        && !matches!(error.class(), Class::Conflict)
    {
        tracing::warn!(window = %window.name_any(), class = label, error = %chain(error), "the run failed");
    }
    outcome
}

async fn run(window: &MaintenanceWindow, context: &Context) -> Result<Action> {
    let now = clock::now();
    let schedule = Schedule::parse(&window.spec);
    let path = format!("{}/{}", window.namespace().unwrap_or_default(), window.name_any());
    let last =
        schedule.as_ref().ok().and_then(|schedule| schedule.last_ended(now)).and_then(|ended| ended.known_start());
    let (counts, hop) = context.fleet.counts(&path, last);
    let fits =
        schedule.as_ref().ok().and_then(|schedule| capacity(schedule, now, hop, window.spec.max_concurrent_updates));
    let (status, wake) = status(window, &schedule, now, counts, fits);
    if window.status.as_ref() != Some(&status) {
        if !context.leadership.is_held() {
            return Err(Error::NotLeading { attempt: "write the status of the MaintenanceWindow".into() });
        }
        let mut updated = window.clone();
        updated.metadata.managed_fields = None;
        updated.status = Some(status);
        let api: Api<MaintenanceWindow> =
            Api::namespaced(context.client.clone(), &window.namespace().unwrap_or_default());
        let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        match api.replace_status(&window.name_any(), &parameters, &updated).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
            Err(source) => return Err(Error::kube("write the status of the MaintenanceWindow", source)),
        }
    }
    Ok(match wake.and_then(|wake| (wake + TimeDelta::milliseconds(10)).to_std().ok()) {
        Some(delay) => Action::requeue(delay.max(LEAST)),
        None => Action::await_change(),
    })
}

/// When to look again after a failure.
pub fn delay(window: &DeserializeGuard<MaintenanceWindow>, error: &Error, context: &Context) -> Action {
    match error {
        // Only another object mends it, and that comes through the watch.
        Error::Unreadable { .. } => Action::await_change(),
        _ => Action::requeue(context.memory.delay(&window.uid().unwrap_or_default(), error.class())),
    }
}
