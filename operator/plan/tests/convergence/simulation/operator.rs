//! One process of the operator: what it remembers, what it sees of the world, and how it plans. It is the driver of the
//! planner as `operator/src` is, with caches that lag: a process never sees an older state than one that it has seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::Tenant;
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopResult, HopStage};
use kube::ResourceExt;
use plan::agents::{Inventory, Recall};
use plan::clock::from_jiff;
use plan::feed::Feed;
use plan::feed::standing::{Attempt, Outcome, Record, Standing};
use plan::line::{Line, Place, Waiting};
use plan::manifest::kept::Kept;
use plan::step::Step;
use plan::version::Version;
use plan::wanted::wave;
use plan::{Fact, Plan};

use super::fleet::{Fleet, Hosted, Window, running, window_fact, window_of};

/// How often a plan may ask for further objects, as in `operator/src/tenant.rs`.
const READINGS: usize = 4;
/// How often agents are read: while nothing is near, while a hop runs, and directly before it begins.
pub const RELAXED: TimeDelta = TimeDelta::minutes(10);
const CLOSE: TimeDelta = TimeDelta::minutes(2);
const NOW: TimeDelta = TimeDelta::seconds(5);

pub struct Operator {
    pub name: &'static str,
    /// By how much its clock is ahead.
    pub skew: TimeDelta,
    /// Until when Auth hangs when it is asked for agents.
    pub hangs_until: DateTime<Utc>,
    /// Until when its watches of policy, windows and other tenants show nothing new.
    pub blind_until: DateTime<Utc>,
    /// Of each tenant the versions of it and of its objects that were seen last.
    seen: Vec<(usize, usize)>,
    readings: Vec<(Option<Arc<Inventory>>, bool)>,
    /// What it has rendered, kept also over a restart: the planner spends half of its time on that, and finds it by what it
    /// was made from.
    kept: Vec<Kept>,
    /// Places that this process has claimed, by uid, with the window.
    claimed: BTreeMap<String, String>,
    windows: BTreeMap<String, Arc<Window>>,
    feed: Arc<Feed>,
}

/// Which of the things that a run looks at fail or lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    StaleTenant,
    StaleObjects,
    StalePolicy,
    NoCloud,
    NoClaims,
    NoMemory,
    NoPools,
    NoAuth,
    NoWeb,
    NoDeployment,
    NoBackups,
    NoLook,
    NoSkew,
}

impl Lapse {
    /// Each as often as it is to come.
    pub const ALL: [Lapse; 16] = [
        Lapse::StaleTenant,
        Lapse::StaleTenant,
        Lapse::StaleObjects,
        Lapse::StalePolicy,
        Lapse::StalePolicy,
        Lapse::StalePolicy,
        Lapse::NoCloud,
        Lapse::NoClaims,
        Lapse::NoMemory,
        Lapse::NoPools,
        Lapse::NoAuth,
        Lapse::NoWeb,
        Lapse::NoDeployment,
        Lapse::NoBackups,
        Lapse::NoLook,
        Lapse::NoSkew,
    ];
}

/// A plan that was drawn and not carried out yet.
pub struct Draft {
    pub tenant: Arc<Tenant>,
    pub resource_version: u64,
    pub plan: Plan,
    /// By the clock of the process.
    pub now: DateTime<Utc>,
    pub skew: Fact<TimeDelta>,
    pub inventory: Option<Arc<Inventory>>,
    pub memory_known: bool,
}

impl Operator {
    pub fn new(name: &'static str, fleet: &Fleet) -> Operator {
        Operator {
            name,
            skew: TimeDelta::zero(),
            hangs_until: fleet.now,
            blind_until: fleet.now,
            seen: vec![(0, 0); fleet.hosted.len()],
            readings: vec![(None, true); fleet.hosted.len()],
            kept: vec![Kept::default(); fleet.hosted.len()],
            claimed: BTreeMap::new(),
            windows: fleet.windows.clone(),
            feed: Arc::clone(&fleet.feed),
        }
    }

    /// The process died, and the next one begins: it knows nothing, and lists everything anew.
    pub fn restart(&mut self, fleet: &Fleet) {
        let fresh = Operator::new(self.name, fleet);
        let kept = std::mem::take(&mut self.kept);
        let seen = fleet.hosted.iter().map(|hosted| (hosted.tenants.len() - 1, hosted.objects.len() - 1)).collect();
        *self = Operator { skew: self.skew, hangs_until: self.hangs_until, seen, kept, ..fresh };
    }

    /// It has just seen this tenant, and of the policy, the windows and other tenants what it saw when it last acted.
    pub fn knows_only(&mut self, fleet: &Fleet, t: usize) {
        self.blind_until = fleet.now + TimeDelta::minutes(1);
        self.seen[t] = (fleet.hosted[t].tenants.len() - 1, fleet.hosted[t].objects.len() - 1);
    }

    /// Observes and plans, with what fails or lags.
    pub fn draw(
        &mut self,
        fleet: &Fleet,
        t: usize,
        lapse: Option<Lapse>,
        pick: &mut impl FnMut(usize) -> usize,
    ) -> Draft {
        let hosted = &fleet.hosted[t];
        let (seen_tenant, seen_objects) = self.seen[t];
        let mut state = |stale: Lapse, seen: usize, states: usize| {
            if lapse == Some(stale) { seen + pick(states - seen) } else { states - 1 }
        };
        let tenant_at = state(Lapse::StaleTenant, seen_tenant, hosted.tenants.len());
        let objects_at = state(Lapse::StaleObjects, seen_objects, hosted.objects.len());
        self.seen[t] = (tenant_at, objects_at);
        if lapse == Some(Lapse::StalePolicy) {
            self.blind_until = fleet.now + TimeDelta::minutes(i64::try_from(pick(40)).unwrap_or(0) + 1);
        }
        if fleet.now >= self.blind_until {
            self.windows.clone_from(&fleet.windows);
            self.feed = Arc::clone(&fleet.feed);
            for (other, seen) in self.seen.iter_mut().enumerate().filter(|(other, _)| *other != t) {
                seen.0 = fleet.hosted[other].tenants.len() - 1;
            }
        }
        let (resource_version, tenant) = hosted.tenants[tenant_at].clone();
        let objects = Arc::clone(&hosted.objects[objects_at]);
        let now = fleet.now + self.skew;
        self.read_agents(hosted, t, &tenant, now);
        let mut observed = hosted.world.look_at(&tenant, &objects, false);
        observed.now = now;
        observed.clock_skew = Fact::Known(self.skew);
        observed.teleport.inventory.clone_from(&self.readings[t].0);
        observed.updates.feed = Ok(Arc::clone(&self.feed));
        observed.updates.window = window_fact(&self.windows, &tenant);
        observed.updates.standing = Arc::new(self.standing(fleet));
        observed.updates.place = self.place(fleet, t, &tenant, now);
        let asks = tenant.status.as_ref().and_then(|status| status.update.as_ref());
        if asks.is_none_or(|update| update.stage != HopStage::RecoveryPoint) {
            observed.updates.backups = Fact::Unknown;
        }
        match lapse {
            Some(Lapse::NoCloud) => observed.cloud = plan::cloud::CloudFacts::unknown(),
            Some(Lapse::NoClaims) => observed.claims = Fact::Unknown,
            Some(Lapse::NoMemory) => observed.memory = Fact::Unknown,
            Some(Lapse::NoPools) => observed.pools = Fact::Unknown,
            Some(Lapse::NoAuth) => observed.teleport.auth = Fact::Unknown,
            Some(Lapse::NoWeb) => observed.teleport.web = Fact::Unknown,
            Some(Lapse::NoBackups) => observed.updates.backups = Fact::Unknown,
            Some(Lapse::NoSkew) => observed.clock_skew = Fact::Unknown,
            Some(Lapse::NoDeployment) => {
                let which = pick(observed.objects.live.len());
                if let Some(fact) = observed.objects.live.values_mut().nth(which) {
                    *fact = Fact::Unknown;
                }
            }
            Some(Lapse::StaleTenant | Lapse::StaleObjects | Lapse::StalePolicy | Lapse::NoLook) | None => {}
        }
        let kept = &mut self.kept[t];
        let mut plan = plan::tenant_again(&observed, kept);
        for _ in 0..READINGS {
            if plan.needs.is_empty() {
                break;
            }
            for need in &plan.needs {
                let fact = Fact::answered(objects.get(need).map(|live| (**live).clone()));
                observed.objects.live.insert(need.clone(), fact);
            }
            plan = plan::tenant_again(&observed, kept);
        }
        if plan.look && lapse != Some(Lapse::NoLook) {
            look(fleet, t, &tenant, &mut observed.updates);
            plan = plan::tenant_again(&observed, kept);
        }
        // Now and then: renderings that are kept change nothing.
        if fleet.now.timestamp() % 64 == 0 {
            assert_eq!(plan, plan::tenant(&observed));
        }
        Draft {
            resource_version,
            plan,
            now,
            skew: observed.clock_skew,
            inventory: observed.teleport.inventory,
            memory_known: observed.memory != Fact::Unknown,
            tenant,
        }
    }

    fn read_agents(&mut self, hosted: &Hosted, t: usize, tenant: &Tenant, now: DateTime<Utc>) {
        let update = tenant.status.as_ref().and_then(|status| status.update.as_ref());
        let period = match update.map(|update| update.stage) {
            Some(HopStage::Confirm) => NOW,
            Some(_) => CLOSE,
            None => RELAXED,
        };
        let (reading, settled) = &mut self.readings[t];
        let due = reading.as_ref().is_none_or(|reading| *settled && now - reading.read_at >= period);
        if due && hosted.world.now >= self.hangs_until && hosted.world.auth().known().is_some() {
            let mut read = hosted.world.reading();
            read.read_at = now;
            (*reading, *settled) = (Some(Arc::new(read)), false);
        }
    }

    /// What a reading says is written down; the next one may take its place.
    pub fn settle_reading(&mut self, t: usize, plan: &Plan) {
        let open = plan.steps.iter().any(|(_, step)| matches!(step, Step::RememberAgents { .. }));
        let (reading, settled) = &mut self.readings[t];
        let used = plan.agents.as_ref().filter(|view| !open && view.recall == Recall::Loaded);
        *settled |= used.is_some_and(|view| view.reading == reading.as_ref().map(|reading| reading.read_at));
    }

    fn others<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = &'a Tenant> {
        self.seen.iter().zip(&fleet.hosted).map(|((seen, _), hosted)| &*hosted.tenants[*seen].1)
    }

    fn standing(&self, fleet: &Fleet) -> Standing {
        Standing::new(self.others(fleet).map(record))
    }

    fn line(&self, fleet: &Fleet, but: &str, now: DateTime<Utc>) -> Line {
        let limits = self.windows.iter().map(|(name, window)| (name.clone(), window.limit)).collect();
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for tenant in self.others(fleet) {
            if let Some(update) = running(tenant) {
                places.insert(tenant.uid().unwrap_or_default(), update.window.clone().unwrap_or_default());
            }
        }
        places.extend(self.claimed.clone());
        let waiting = self.others(fleet).filter_map(|tenant| {
            let (uid, status) = (tenant.uid().unwrap_or_default(), tenant.status.as_ref()?);
            if places.contains_key(&uid) {
                return None;
            }
            let due_since = self.stands_in_line(status, now)?;
            Some(Waiting { due_since, tenant: uid, window: status.window.clone().unwrap_or_default() })
        });
        let mut line = Line::new(fleet_limit(&self.feed), limits, waiting);
        for (_, window) in places.iter().filter(|(uid, _)| *uid != but) {
            line.run(window);
        }
        line
    }

    fn stands_in_line(&self, status: &TenantStatus, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = status.next.as_ref()?;
        let due_since = from_jiff(next.due_since.as_ref()?.0);
        let open = status.window.as_ref().and_then(|window| self.windows.get(window));
        let open = open.is_some_and(|window| window.schedule.open_at(now).is_some());
        let passed = |reason: &str| match reason {
            "ConcurrencyReached" => true,
            "WindowClosed" | "Excluded" => open,
            _ => false,
        };
        next.blockers.iter().all(|blocker| passed(&blocker.reason)).then_some(due_since)
    }

    fn place(&self, fleet: &Fleet, t: usize, tenant: &Tenant, now: DateTime<Utc>) -> Place {
        let uid = fleet.hosted[t].world.identity().uid;
        let next = tenant.status.as_ref().and_then(|status| status.next.as_ref());
        let due_since = next.and_then(|next| next.due_since.as_ref()).map_or(now, |since| from_jiff(since.0));
        self.line(fleet, &uid, now).place(&Waiting { due_since, tenant: uid, window: window_of(tenant) })
    }

    /// Takes a place for a claim, if one is still free.
    pub fn claim(&mut self, fleet: &Fleet, t: usize, draft: &Draft) -> bool {
        let free = self.place(fleet, t, &draft.tenant, draft.now) == Place::Free;
        if free {
            self.claimed.insert(fleet.hosted[t].world.identity().uid, window_of(&draft.tenant));
        }
        free
    }

    pub fn release(&mut self, uid: &str) {
        self.claimed.remove(uid);
    }
}

/// Window, feed and places as they are, not as a cache has them.
fn look(fleet: &Fleet, t: usize, tenant: &Tenant, updates: &mut plan::updates::Updates) {
    let window = window_fact(&fleet.windows, tenant);
    let mut limits = BTreeMap::new();
    if let plan::updates::WindowFact::Known { window, limit, .. } = &window {
        limits.insert(window.clone(), *limit);
    }
    let mut line = Line::new(fleet_limit(&fleet.feed), limits, []);
    for (_, other) in fleet.hosted.iter().enumerate().filter(|(other, _)| *other != t) {
        if let Some(update) = running(&other.world.tenant) {
            line.run(&update.window.clone().unwrap_or_default());
        }
    }
    let uid = tenant.uid().unwrap_or_default();
    let asker = Waiting { due_since: DateTime::<Utc>::MIN_UTC, tenant: uid, window: window_of(tenant) };
    updates.place = line.place(&asker);
    updates.feed = Ok(Arc::clone(&fleet.feed));
    updates.window = window;
    updates.live = true;
}

pub fn fleet_limit(feed: &Feed) -> u32 {
    u32::try_from(feed.max_concurrent_updates).unwrap_or(u32::MAX)
}

/// What a tenant adds to what is known of releases.
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
    let halted = status.and_then(|status| status.update.as_ref()).and_then(|update| {
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
