//! The MaintenanceWindows, from a watch, each evaluated once per change; and the labels of namespaces, which grants go by.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use chrono::{DateTime, Utc};
use crds::Tenant;
use crds::maintenance_window::MaintenanceWindow;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use plan::maintenance_window::allows;
use plan::updates::WindowFact;
use plan::window::Schedule;

use crate::error::{Error, Result};

/// The window that applies where none is named.
const DEFAULT: &str = "default";

/// What is known of windows and namespaces.
#[derive(Clone, Default)]
pub struct Windows {
    state: Arc<RwLock<State>>,
}

#[derive(Default)]
struct State {
    windows: HashMap<String, Known>,
    labels: HashMap<String, BTreeMap<String, String>>,
    synced: (bool, bool),
}

/// One window, evaluated.
#[derive(Clone)]
struct Known {
    /// The object; one that does not parse says why.
    window: Result<Arc<MaintenanceWindow>, String>,
    schedule: Result<Arc<Schedule>, String>,
}

impl Known {
    /// Whether nothing that updates go by differs: a status that was written is no news.
    fn is_as(&self, other: &Known) -> bool {
        match (&self.window, &other.window) {
            (Ok(one), Ok(other)) => one.spec == other.spec,
            (Err(one), Err(other)) => one == other,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    }

    fn limit(&self) -> u32 {
        let limit = self.window.as_ref().map_or(1, |window| window.spec.max_concurrent_updates);
        u32::try_from(limit).unwrap_or(1)
    }
}

/// Whom a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The tenants of this window, `namespace/name`.
    Window(String),
    /// The tenants of this namespace.
    Namespace(String),
}

impl Windows {
    /// Whether both were listed once.
    pub fn is_synced(&self) -> bool {
        let state = self.read();
        state.synced.0 && state.synced.1
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().expect("no holder of this lock panics")
    }

    /// The window that applies to a tenant.
    pub fn of(&self, tenant: &Tenant) -> WindowFact {
        let window = name_of(tenant);
        let state = self.read();
        let Some(known) = state.windows.get(&window) else { return WindowFact::Missing { window } };
        let namespace = tenant.namespace().unwrap_or_default();
        fact(window, known, &namespace, state.labels.get(&namespace))
    }

    /// The same, read now and not from the watch.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read_live(client: &Client, tenant: &Tenant) -> Result<WindowFact> {
        let window = name_of(tenant);
        let (namespace, name) = window.split_once('/').unwrap_or_default();
        let attempt = || format!("read MaintenanceWindow {window}");
        let api: Api<DeserializeGuard<MaintenanceWindow>> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(|source| Error::kube(attempt(), source))?;
        let Some(known) = found.as_ref().map(known) else { return Ok(WindowFact::Missing { window: window.clone() }) };
        let own = tenant.namespace().unwrap_or_default();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let labels = namespaces.get_metadata_opt(&own).await.map_err(|source| Error::kube(attempt(), source))?;
        let labels = labels.map(|found| found.labels().clone());
        Ok(fact(window.clone(), &known, &own, labels.as_ref()))
    }

    /// The labels of a namespace; none before the watch shows it.
    pub fn labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.read().labels.get(namespace).cloned()
    }

    /// How many tenants may be updated at once, by window.
    pub fn limits(&self) -> BTreeMap<String, u32> {
        self.read().windows.iter().map(|(window, known)| (window.clone(), known.limit())).collect()
    }

    /// Whether a window is open.
    pub fn is_open(&self, window: &str, now: DateTime<Utc>) -> bool {
        let known = self.read().windows.get(window).and_then(|known| known.schedule.as_ref().ok().cloned());
        known.is_some_and(|schedule| schedule.open_at(now).is_some())
    }

    /// Knows this window from here on.
    #[cfg(test)]
    pub fn put(&self, window: MaintenanceWindow) {
        let found = DeserializeGuard(Ok(window));
        self.write().windows.insert(path(&found), known(&found));
    }

    /// Follows both kinds; says whom a change concerns.
    pub fn follow(&self, client: &Client) -> impl Stream<Item = Changed> + Send + use<> {
        stream::select(self.follow_windows(client), self.follow_namespaces(client))
    }

    fn follow_windows(&self, client: &Client) -> impl Stream<Item = Changed> + Send + use<> {
        let api: Api<DeserializeGuard<MaintenanceWindow>> = Api::all(client.clone());
        let windows = self.clone();
        let mut listed: HashMap<String, Known> = HashMap::new();
        watcher(api, watcher::Config::default()).default_backoff().flat_map(move |event| {
            let changed = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(found)) => {
                    listed.insert(path(&found), known(&found));
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => {
                    let mut state = windows.write();
                    let before = std::mem::replace(&mut state.windows, std::mem::take(&mut listed));
                    state.synced.0 = true;
                    news(&before, &state.windows).into_iter().map(Changed::Window).collect()
                }
                Ok(watcher::Event::Apply(found)) => {
                    let (path, known) = (path(&found), known(&found));
                    let mut state = windows.write();
                    let same = state.windows.get(&path).is_some_and(|before| before.is_as(&known));
                    state.windows.insert(path.clone(), known);
                    if same { Vec::new() } else { vec![Changed::Window(path)] }
                }
                Ok(watcher::Event::Delete(found)) => {
                    windows.write().windows.remove(&path(&found));
                    vec![Changed::Window(path(&found))]
                }
                Err(error) => {
                    tracing::warn!(%error, "MaintenanceWindows cannot be watched");
                    Vec::new()
                }
            };
            stream::iter(changed)
        })
    }

    fn follow_namespaces(&self, client: &Client) -> impl Stream<Item = Changed> + Send + use<> {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
        let windows = self.clone();
        let mut listed: HashMap<String, BTreeMap<String, String>> = HashMap::new();
        watcher(api, watcher::Config::default()).default_backoff().filter_map(move |event| {
            let changed = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(watcher::Event::InitApply(found)) => {
                    listed.insert(found.name_any(), found.labels().clone());
                    None
                }
                Ok(watcher::Event::InitDone) => {
                    let mut state = windows.write();
                    state.labels = std::mem::take(&mut listed);
                    state.synced.1 = true;
                    None
                }
                Ok(watcher::Event::Apply(found)) => {
                    let before = windows.write().labels.insert(found.name_any(), found.labels().clone());
                    (before.as_ref() != Some(found.labels())).then(|| Changed::Namespace(found.name_any()))
                }
                Ok(watcher::Event::Delete(found)) => {
                    windows.write().labels.remove(&found.name_any());
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "namespaces cannot be watched");
                    None
                }
            };
            futures::future::ready(changed)
        })
    }
}

/// Windows that came, went, or are others than before.
fn news(before: &HashMap<String, Known>, after: &HashMap<String, Known>) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let other = after.iter().filter(|(path, known)| !before.get(*path).is_some_and(|before| before.is_as(known)));
    gone.chain(other.map(|(path, _)| path)).cloned().collect()
}

/// The window that a tenant names, or the default one of its namespace, as `namespace/name`.
pub fn name_of(tenant: &Tenant) -> String {
    let own = tenant.namespace().unwrap_or_default();
    match &tenant.spec.maintenance.window_ref {
        Some(named) => format!("{}/{}", named.namespace.as_ref().unwrap_or(&own), named.name),
        None => format!("{own}/{DEFAULT}"),
    }
}

fn path(window: &DeserializeGuard<MaintenanceWindow>) -> String {
    format!("{}/{}", window.namespace().unwrap_or_default(), window.name_any())
}

fn known(found: &DeserializeGuard<MaintenanceWindow>) -> Known {
    match &found.0 {
        Ok(window) => Known {
            window: Ok(Arc::new(window.clone())),
            schedule: Schedule::parse(&window.spec)
                .map(Arc::new)
                .map_err(|refusals| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        },
        Err(invalid) => Known { window: Err(invalid.error.clone()), schedule: Err(invalid.error.clone()) },
    }
}

fn fact(window: String, known: &Known, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> WindowFact {
    match (&known.window, &known.schedule) {
        (Ok(found), _) if !allows(found, namespace, labels) => WindowFact::NotGranted { window },
        (Ok(_), Ok(schedule)) => WindowFact::Known { window, schedule: Arc::clone(schedule), limit: known.limit() },
        (Ok(_), Err(fault)) | (Err(fault), _) => WindowFact::Invalid { window, fault: fault.clone() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn window(name: &str, limit: i32, status: Value) -> (String, Known) {
        let found = json!({
            "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow",
            "metadata": {"name": name, "namespace": "n"},
            "spec": {
                "timeZone": "UTC", "maxConcurrentUpdates": limit,
                "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
            },
            "status": status,
        });
        let found = DeserializeGuard(Ok(serde_json::from_value(found).expect("a MaintenanceWindow")));
        (path(&found), known(&found))
    }

    #[test]
    fn a_status_that_was_written_concerns_nobody() {
        let before = HashMap::from(["same", "other", "gone"].map(|name| window(name, 1, json!({"due": 1}))));
        let new = [("same", 1), ("other", 2), ("new", 1)].map(|(name, limit)| window(name, limit, json!({"due": 2})));
        let mut concerned = news(&before, &HashMap::from(new));
        concerned.sort();
        assert_eq!(concerned, ["n/gone", "n/new", "n/other"]);
    }
}
