//! The true world of several tenants: what is, and every state in which it was, since a cache may show an older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc, Weekday};
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopStage, Update};
use crds::{MaintenanceWindowSpec, Tenant};
use kube::ResourceExt;
use plan::feed::Feed;
use plan::fleet::Installation;
use plan::updates::WindowFact;
use plan::window::Schedule;
use serde_json::json;

use super::super::world::{Objects, World};

pub struct Fleet {
    pub now: DateTime<Utc>,
    pub hosted: Vec<Hosted>,
    pub windows: BTreeMap<String, Arc<Window>>,
    pub feed: Arc<Feed>,
    pub installation: Arc<Installation>,
}

/// One tenant with its past.
pub struct Hosted {
    pub world: World,
    /// Every version of the Tenant, with its resource version.
    pub tenants: Vec<(u64, Arc<Tenant>)>,
    /// Every state of its objects.
    pub objects: Vec<Arc<Objects>>,
    /// Agents that were written down as behind: until they catch up or were gone for long, no major may begin.
    pub promised: BTreeMap<String, Promise>,
    /// The generation whose pods a person has edited.
    pub edited: bool,
    /// Times that two operators may both have asked for a backup.
    pub crossed_backups: usize,
}

/// What is known of an agent that is behind.
#[derive(Clone)]
pub struct Promise {
    pub version: String,
    /// Since when it is not in the inventory.
    pub gone: Option<DateTime<Utc>>,
}

/// A window with an oracle of its own.
pub struct Window {
    pub start: u32,
    pub hours: u32,
    pub day: Option<Weekday>,
    pub exclusions: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    pub limit: u32,
    pub schedule: Arc<Schedule>,
}

impl Window {
    pub fn new(
        start: u32,
        hours: u32,
        day: Option<Weekday>,
        exclusions: Vec<(DateTime<Utc>, DateTime<Utc>)>,
        limit: u32,
    ) -> Window {
        let days = match day {
            Some(day) => vec![day.to_string()],
            None => ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].map(str::to_owned).to_vec(),
        };
        let excluded: Vec<_> = exclusions
            .iter()
            .map(|(start, end)| json!({"start": start.to_rfc3339(), "end": end.to_rfc3339(), "reason": "a freeze"}))
            .collect();
        let spec: MaintenanceWindowSpec = serde_json::from_value(json!({
            "timeZone": "UTC", "exclusions": excluded,
            "windows": [{"days": days, "start": format!("{start:02}:00"), "duration": format!("{hours}h")}],
        }))
        .expect("a window");
        let schedule = Arc::new(Schedule::parse(&spec).expect("a schedule"));
        Window { start, hours, day, exclusions, limit, schedule }
    }

    /// Whether it is open: counted here by hand, not asked of the planner.
    pub fn open(&self, instant: DateTime<Utc>) -> bool {
        let begun = |ago: i64| {
            let day = instant.date_naive() - TimeDelta::days(ago);
            let start = day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(i64::from(self.start));
            let due = self.day.is_none_or(|wanted| wanted == day.weekday());
            due && start <= instant && instant < start + TimeDelta::hours(i64::from(self.hours))
        };
        (begun(0) || begun(1)) && !self.exclusions.iter().any(|(start, end)| *start <= instant && instant < *end)
    }
}

/// As `namespace/name`, as the operator reads it.
pub fn window_of(tenant: &Tenant) -> String {
    let own = tenant.namespace().unwrap_or_default();
    match &tenant.spec.maintenance.window_ref {
        Some(named) => format!("{}/{}", named.namespace.as_ref().unwrap_or(&own), named.name),
        None => format!("{own}/default"),
    }
}

pub fn window_fact(windows: &BTreeMap<String, Arc<Window>>, tenant: &Tenant) -> WindowFact {
    let window = window_of(tenant);
    match windows.get(&window) {
        Some(found) => WindowFact::Known { window, schedule: Arc::clone(&found.schedule), limit: found.limit },
        None => WindowFact::Missing { window },
    }
}

/// The hop that runs and takes a place.
pub fn running(tenant: &Tenant) -> Option<&Update> {
    tenant.status.as_ref()?.update.as_ref().filter(|update| update.halted_at.is_none())
}

/// The same, once it touches what runs.
pub fn disrupting(tenant: &Tenant) -> Option<&Update> {
    running(tenant).filter(|update| update.stage >= HopStage::Auth)
}

impl Hosted {
    pub fn new(world: World) -> Hosted {
        let tenants = vec![(world.resource_version, Arc::new(world.tenant.clone()))];
        let objects = vec![Arc::new(world.objects.clone())];
        Hosted { world, tenants, objects, promised: BTreeMap::new(), edited: false, crossed_backups: 0 }
    }

    pub fn name(&self) -> String {
        self.world.tenant.name_any()
    }

    pub fn status(&self) -> &TenantStatus {
        self.world.tenant.status.as_ref().expect("a settled tenant")
    }

    /// Keeps the state in which everything is now.
    pub fn note(&mut self) {
        if self.tenants.last().is_none_or(|(seen, _)| *seen != self.world.resource_version) {
            self.tenants.push((self.world.resource_version, Arc::new(self.world.tenant.clone())));
        }
        if self.objects.last().is_none_or(|seen| **seen != self.world.objects) {
            self.objects.push(Arc::new(self.world.objects.clone()));
        }
    }

    /// Agents left or came back: whoever is promised is gone since now, or is not any more.
    pub fn agents_changed(&mut self) {
        let now = self.world.now;
        for (id, promise) in &mut self.promised {
            match self.world.agents.iter().find(|agent| agent.id == *id) {
                Some(agent) => *promise = Promise { version: agent.version.clone(), gone: None },
                None => promise.gone = promise.gone.or(Some(now)),
            }
        }
    }
}

impl Fleet {
    /// Time passes in all worlds; answers for which of them anything changed.
    pub fn pass(&mut self, by: TimeDelta) -> Vec<bool> {
        self.now += by;
        let now = self.now;
        let turn = |hosted: &mut Hosted| {
            hosted.world.now = now;
            let changed = hosted.world.pass();
            if changed {
                hosted.note();
            }
            changed
        };
        self.hosted.iter_mut().map(turn).collect()
    }

    pub fn install(&mut self, installation: Installation) {
        self.installation = Arc::new(installation);
        for hosted in &mut self.hosted {
            hosted.world.installation = Arc::clone(&self.installation);
        }
    }
}
