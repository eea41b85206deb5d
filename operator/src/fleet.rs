//! All tenants together: how releases fared, who is being updated, and whose turn it is. Read from the tenants' own
//! statuses, so that a restart forgets nothing; only a place that was just claimed, and that the watch may not show yet, is
//! kept in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopResult, Update};
use futures::FutureExt as _;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use plan::clock::from_jiff;
use plan::feed::standing::{Attempt, Outcome, Record, Standing};
use plan::line::{Line, Place, Waiting};
use plan::maintenance_window::Counts;
use plan::version::Version;
use plan::wanted::wave;
use tokio::sync::Notify;

use crate::clock;
use crate::windows::{Windows, name_of};

/// How long a count of the line is good for, unless a window opens or closes; what this process claimed meanwhile is
/// counted on top.
const LINE: Duration = Duration::from_millis(100);
/// How long a summary of all histories is good for.
const STANDING: Duration = Duration::from_secs(5);
/// How long a summary by windows is good for: less than a window waits before it counts, so that it never counts what was
/// before the change that it was told of.
const COUNTS: Duration = Duration::from_millis(250);

/// Hops of each tenant by which the length of a hop is measured.
const MEASURED: usize = 3;

type Tenants = Store<DeserializeGuard<Tenant>>;

/// What is known of all tenants.
pub struct Fleet {
    tenants: Tenants,
    state: Mutex<State>,
    /// Something changed that may make it somebody's turn.
    changed: Notify,
}

#[derive(Default)]
struct State {
    line: Option<(Instant, Arc<View>)>,
    standing: Option<(Instant, Arc<Standing>)>,
    counts: Option<(Instant, Arc<HashMap<String, Summary>>)>,
    /// Places claimed by this process, by uid, with the window.
    claimed: HashMap<String, String>,
}

/// The line as the statuses show it.
struct View {
    /// uid and window of every hop that runs.
    running: HashMap<String, String>,
    /// All of them, in line or running. Built once, and not by each run that asks for its place.
    line: Line,
    /// Which of their windows were open. The count of a moment before a window opens would have nobody in line for it, and
    /// whoever asks first then would go first.
    open: HashMap<String, bool>,
}

/// The tenants of one window.
#[derive(Default)]
struct Summary {
    counts: Counts,
    /// How many missed the window that opened at this instant last.
    missed: BTreeMap<DateTime<Utc>, i64>,
    /// Hops that were measured, and how long they took together.
    hops: i32,
    took: TimeDelta,
}

/// Who asks for a place.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// uid of the Tenant.
    pub uid: &'a str,
    /// Its window, as `namespace/name`.
    pub window: &'a str,
    /// Since when its hop has been due.
    pub due_since: DateTime<Utc>,
}

impl Fleet {
    /// Of the tenants that this watch shows.
    pub fn new(tenants: Tenants) -> Fleet {
        Fleet { tenants, state: Mutex::default(), changed: Notify::new() }
    }

    /// The Tenants, from their controller's watch.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Whether all of them were listed once.
    pub fn is_listed(&self) -> bool {
        self.tenants.wait_until_ready().now_or_never().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn all(&self) -> Vec<Arc<DeserializeGuard<Tenant>>> {
        self.tenants.state()
    }

    /// How releases fared.
    pub fn standing(&self) -> Arc<Standing> {
        if let Some((_, standing)) = self.state().standing.as_ref().filter(|(at, _)| at.elapsed() < STANDING) {
            return Arc::clone(standing);
        }
        let tenants = self.all();
        let records = tenants.iter().filter_map(|tenant| tenant.0.as_ref().ok()).map(record);
        let standing = Arc::new(Standing::new(records));
        self.state().standing = Some((Instant::now(), Arc::clone(&standing)));
        standing
    }

    /// A hop ended or was halted: whoever asks next must know, since it may halt the release for all.
    pub fn fared(&self) {
        self.state().standing = None;
    }

    /// Whether it is this tenant's turn.
    pub fn place(&self, asker: Asker<'_>, windows: &Windows, fleet_limit: u32) -> Place {
        let view = self.view(windows, fleet_limit, Some(asker.window));
        let state = self.state();
        line(&view, &state, Some(asker.uid)).place(&waiting(asker))
    }

    /// Takes the place for this tenant, if it is still its turn. From here on it counts, whatever the watch shows.
    pub fn claim(&self, asker: Asker<'_>, windows: &Windows, fleet_limit: u32) -> bool {
        let view = self.view(windows, fleet_limit, Some(asker.window));
        let mut state = self.state();
        let free = line(&view, &state, Some(asker.uid)).place(&waiting(asker)) == Place::Free;
        if free {
            state.claimed.insert(asker.uid.to_owned(), asker.window.to_owned());
        }
        free
    }

    /// Gives the place back: the claim did not come about, or the hop has ended.
    pub fn release(&self, uid: &str) {
        if self.state().claimed.remove(uid).is_some() {
            self.changed.notify_one();
        }
    }

    /// A status changed that may make it another tenant's turn.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Waits for such a change.
    pub async fn wait(&self) {
        self.changed.notified().await;
    }

    /// Those whose turn it is and who do not run yet.
    pub fn next(&self, windows: &Windows, fleet_limit: u32) -> Vec<ObjectRef<Tenant>> {
        let view = self.view(windows, fleet_limit, None);
        let next = {
            let state = self.state();
            line(&view, &state, None).next()
        };
        if next.is_empty() {
            return Vec::new();
        }
        let turn: std::collections::BTreeSet<&str> = next.iter().map(|waiting| waiting.tenant.as_str()).collect();
        let tenants = self.all();
        let theirs = tenants.iter().filter(|tenant| tenant.uid().is_some_and(|uid| turn.contains(uid.as_str())));
        theirs
            .map(|tenant| ObjectRef::new(&tenant.name_any()).within(&tenant.namespace().unwrap_or_default()))
            .collect()
    }

    /// How the tenants of a window fare, and how long their last hops took on average. `last` is the beginning of the
    /// interval that ended last.
    pub fn counts(&self, window: &str, last: Option<DateTime<Utc>>) -> (Counts, Option<TimeDelta>) {
        let summaries = self.summaries();
        let Some(Summary { counts, missed, hops, took }) = summaries.get(window) else {
            return (Counts::default(), None);
        };
        let missed = last.and_then(|last| missed.get(&last)).copied().unwrap_or_default();
        (Counts { missed, ..*counts }, (*hops > 0).then(|| *took / *hops))
    }

    /// All windows in one pass: with as many windows as tenants, one pass for each would be as many as their product.
    fn summaries(&self) -> Arc<HashMap<String, Summary>> {
        if let Some((_, counts)) = self.state().counts.as_ref().filter(|(at, _)| at.elapsed() < COUNTS) {
            return Arc::clone(counts);
        }
        let at = Instant::now();
        let mut summaries: HashMap<String, Summary> = HashMap::new();
        for tenant in self.all() {
            let Ok(tenant) = &tenant.0 else { continue };
            summaries.entry(name_of(tenant)).or_default().add(tenant);
        }
        let summaries = Arc::new(summaries);
        self.state().counts = Some((at, Arc::clone(&summaries)));
        summaries
    }

    /// Forgets the places of tenants that are gone.
    pub fn retain(&self, uids: &std::collections::HashSet<String>) {
        self.state().claimed.retain(|uid, _| uids.contains(uid));
    }

    fn view(&self, windows: &Windows, fleet_limit: u32, asked: Option<&str>) -> Arc<View> {
        let now = clock::now();
        let is_as =
            |view: &View, window| view.open.get(window).is_none_or(|open| *open == windows.is_open(window, now));
        let known = self.state().line.as_ref().filter(|(at, _)| at.elapsed() < LINE).map(|(_, view)| Arc::clone(view));
        if let Some(view) = known.filter(|view| asked.is_none_or(|window| is_as(view, window))) {
            return view;
        }
        let (mut running, mut in_line, mut open) = (HashMap::new(), Vec::new(), HashMap::new());
        for tenant in self.all() {
            let Ok(tenant) = &tenant.0 else { continue };
            let (Some(uid), Some(status)) = (tenant.uid(), &tenant.status) else { continue };
            if let Some(update) = status.update.as_ref().filter(|update| update.halted_at.is_none()) {
                running.insert(uid, update.window.clone().unwrap_or_default());
            } else if let Some(due_since) = status.next.as_ref().and_then(|next| next.due_since.as_ref()) {
                let window = status.window.clone().unwrap_or_default();
                let open = *open.entry(window.clone()).or_insert_with(|| windows.is_open(&window, now));
                if stands_in_line(status, open) {
                    in_line.push(Waiting { due_since: from_jiff(due_since.0), tenant: uid, window });
                }
            }
        }
        let mut line = Line::new(fleet_limit, windows.limits(), in_line);
        running.values().for_each(|window| line.run(window));
        let view = Arc::new(View { running, line, open });
        self.state().line = Some((Instant::now(), Arc::clone(&view)));
        view
    }
}

impl Summary {
    fn add(&mut self, tenant: &Tenant) {
        let Summary { counts, missed, hops, took } = self;
        counts.tenants += 1;
        let Some(status) = &tenant.status else { return };
        let next = status.next.as_ref();
        counts.updating += i64::from(status.update.is_some());
        counts.due += i64::from(next.is_some_and(|next| next.due_since.is_some()));
        if let Some(last) = next.and_then(|next| next.last_missed.as_ref()) {
            *missed.entry(from_jiff(last.start.0)).or_default() += 1;
        }
        let whole = status.history.iter().filter(|record| record.result == HopResult::Succeeded);
        for record in whole.take(MEASURED) {
            *took += from_jiff(record.finished_at.0) - from_jiff(record.started_at.0);
            *hops += 1;
        }
    }
}

fn waiting(asker: Asker<'_>) -> Waiting {
    Waiting { due_since: asker.due_since, tenant: asker.uid.to_owned(), window: asker.window.to_owned() }
}

/// The line with what this process knows better than the watch: who has claimed a place. `but` asks, and is not counted.
fn line(view: &View, state: &State, but: Option<&str>) -> Line {
    let mut line = view.line.clone();
    for (uid, window) in &state.claimed {
        if !view.running.contains_key(uid) {
            line.run(window);
        }
        line.leave(uid);
    }
    if let Some(window) = but.and_then(|uid| view.running.get(uid).or_else(|| state.claimed.get(uid))) {
        line.stop(window);
    }
    line
}

/// Whether nothing held a tenant back when it was last looked at but a place, or a window that is open by now.
fn stands_in_line(status: &TenantStatus, open: bool) -> bool {
    let passed = |reason: &str| match reason {
        "ConcurrencyReached" => true,
        "WindowClosed" | "Excluded" => open,
        _ => false,
    };
    status.next.iter().flat_map(|next| &next.blockers).all(|blocker| passed(&blocker.reason))
}

/// What a tenant adds to what is known of releases. A hop that is halted has failed, whatever becomes of it.
fn record(tenant: &Tenant) -> Record {
    let status = tenant.status.as_ref();
    let ended = status.into_iter().flat_map(|status| &status.history).filter_map(|record| {
        let outcome = match record.result {
            HopResult::Succeeded => Outcome::Succeeded,
            HopResult::RolledBack | HopResult::Halted | HopResult::PreflightFailed => Outcome::Failed,
        };
        let (to, finished_at) = (Version::parse(&record.to).ok()?, from_jiff(record.finished_at.0));
        Some(Attempt { to, kind: record.kind, outcome, finished_at })
    });
    let halted = status.and_then(|status| status.update.as_ref()).and_then(|update: &Update| {
        let finished_at = from_jiff(update.halted_at.as_ref()?.0);
        Some(Attempt { to: Version::parse(&update.to).ok()?, kind: update.kind, outcome: Outcome::Failed, finished_at })
    });
    Record {
        wave: wave(tenant),
        channel: tenant.spec.channel.clone(),
        version: status.and_then(|status| status.version.as_deref()).and_then(|text| Version::parse(text).ok()),
        attempts: ended.chain(halted).collect(),
    }
}

#[cfg(test)]
mod tests;
