//! What a seed begins with, and what people and the world do meanwhile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use crds::maintenance::{Check, Exemption};
use fastrand::Rng;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use plan::agents::Pool;
use plan::clock::to_jiff;
use plan::feed::{Freeze, Release};
use plan::fleet::Installation;
use plan::object::Kind;
use plan::teleport::Instance;
use plan::version::Version;
use serde_json::json;

use super::super::world::World;
use super::super::world::fixtures::INSTALLED;
use super::super::{block, converge};
use super::fleet::{Fleet, Hosted, Window};
use super::operator::Operator;
use super::promises::OPTIONAL;

const SLUGS: [&str; 5] = ["anna", "berta", "carla", "doris", "emma"];
pub const NIGHT: &str = "customers/default";
pub const PLATFORM: &str = "platform/weekly";

thread_local! {
    /// Settled tenants, by place and version: made once for all seeds of a thread.
    static SETTLED: RefCell<BTreeMap<(usize, String), World>> = const { RefCell::new(BTreeMap::new()) };
}

/// A tenant that settled at a version without any disturbance.
pub fn settled(place: usize, version: &str) -> World {
    let key = (place, version.to_owned());
    if let Some(found) = SETTLED.with_borrow(|settled| settled.get(&key).cloned()) {
        return found;
    }
    let mut spec = block();
    spec["version"] = json!(version);
    let number = u32::try_from(place).expect("few tenants") + 1;
    let mut world = World::named(SLUGS[place], number, spec);
    // As one that was asked to settle at a release of which the others know nothing.
    if !world.feed.releases.contains_key(&version.parse::<Version>().expect("a version")) {
        let release = release(version, world.now - TimeDelta::days(90));
        Arc::make_mut(&mut world.feed).releases.insert(release.version.clone(), release);
    }
    without_faults(|| converge(&mut world));
    SETTLED.with_borrow_mut(|settled| settled.insert(key, world.clone()));
    world
}

/// What a disturbed run is compared with is made by the planner as it is.
fn without_faults(work: impl FnOnce()) {
    #[cfg(feature = "mutants")]
    let active = plan::mutant::Mutant::ALL.into_iter().find(|mutant| plan::mutant::is_active(*mutant));
    #[cfg(feature = "mutants")]
    plan::mutant::activate(None);
    work();
    #[cfg(feature = "mutants")]
    plan::mutant::activate(active);
}

pub fn release(version: &str, released_at: DateTime<Utc>) -> Release {
    Release {
        version: version.parse().expect("a version"),
        released_at,
        critical: false,
        withdrawn: false,
        resumed_at: None,
        digests: plan::feed::Digests::default(),
    }
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

/// The fleet with which a seed begins.
pub fn fleet(rng: &mut Rng) -> Fleet {
    let many = [2, 2, 2, 3, 3, 4, 5][rng.usize(0..7)];
    let mut hosted = Vec::new();
    for place in 0..many {
        let version = ["17.5.2", "17.5.2", "18.1.0", "18.1.0", "16.4.3"][rng.usize(0..5)];
        let mut world = settled(place, version);
        world.slowness = rng.u32(0..3);
        if chance(rng, 40) {
            world.edit(|spec| (spec.version, spec.channel) = (None, Some("stable".into())));
        }
        let wave = ["1", "2", "3"][rng.usize(0..3)].to_owned();
        world.tenant.metadata.labels.get_or_insert_default().insert(plan::names::WAVE.into(), wave);
        if chance(rng, 40) {
            let reference = json!({"windowRef": {"name": "weekly", "namespace": "platform"}});
            world.edit(|spec| spec.maintenance = serde_json::from_value(reference).expect("good"));
        }
        if chance(rng, 25) {
            let services = vec!["Kube".to_owned()];
            world.pools = vec![Pool {
                name: "optional".into(),
                created: world.now,
                services,
                update_groups: Vec::new(),
                required: false,
                enrolled: true,
                strategy: crds::agent_pool::Strategy::default(),
                order: 1,
            }];
        }
        world.resource_version += 1;
        hosted.push(Hosted::new(world));
    }
    let now = hosted[0].world.now.date_naive().and_hms_opt(0, 0, 0).expect("a time").and_utc()
        + TimeDelta::days(1)
        + TimeDelta::minutes(rng.i64(0..1440));
    let mut feed = (*hosted[0].world.feed).clone();
    feed.max_concurrent_updates = rng.usize(1..4);
    let window = |rng: &mut Rng| Arc::new(Window::new(rng.u32(0..24), rng.u32(2..6), None, Vec::new(), rng.u32(1..3)));
    let windows = BTreeMap::from([(NIGHT.to_owned(), window(rng)), (PLATFORM.to_owned(), window(rng))]);
    let mut fleet = Fleet { now, hosted, windows, feed: Arc::new(feed), installation: Arc::new(INSTALLED.clone()) };
    let (broken, refused) = (chance(rng, 25), chance(rng, 15));
    let bad = ["18.1.1", "18.2.0", "17.5.3"][rng.usize(0..3)].to_owned();
    for hosted in &mut fleet.hosted {
        hosted.world.now = fleet.now;
        if broken {
            hosted.world.broken = vec![bad.clone()];
        } else if refused {
            hosted.world.refused = vec![bad.clone()];
        }
        hosted.note();
    }
    fleet
}

/// One thing that somebody does; answers in words whom it concerns (all, where it is none of the tenants) and what it is.
pub fn happen(rng: &mut Rng, fleet: &mut Fleet, operators: &mut [Operator]) -> (Option<usize>, String) {
    let t = rng.usize(0..fleet.hosted.len());
    let now = fleet.now;
    let hosted = &mut fleet.hosted[t];
    let told = match rng.u32(0..100) {
        0..=29 => {
            let version =
                ["18.1.0", "18.1.1", "18.2.0", "17.5.3", "17.5.2", "18.7.7", "16.4.3", "18.1.1"][rng.usize(0..8)];
            hosted.world.edit(|spec| (spec.version, spec.channel) = (Some(version.into()), None));
            (Some(t), format!("somebody pins {version}"))
        }
        30..=35 => {
            hosted.world.edit(|spec| (spec.version, spec.channel) = (None, Some("stable".into())));
            (Some(t), "somebody lets it follow the channel".into())
        }
        36..=51 => (Some(t), agents(rng, hosted)),
        52..=60 => return (None, feed(rng, fleet)),
        61..=70 => return (None, windows(rng, fleet)),
        71..=75 => {
            hosted.world.edit(|spec| spec.maintenance.apply_now = Some(Time(to_jiff(now))));
            (Some(t), "somebody asks to apply it now".into())
        }
        76..=79 => {
            let all = [Check::Window, Check::Agents, Check::Policy];
            let checks: Vec<Check> = all.into_iter().filter(|_| rng.bool()).collect();
            let until = now + TimeDelta::minutes(rng.i64(5..600));
            let told = format!("somebody overrides {checks:?} until {}", until.format("%b %d %H:%M"));
            let exemption = Exemption { checks, reason: "a test".into(), until: Time(to_jiff(until)) };
            hosted.world.edit(|spec| spec.maintenance.exemption = Some(exemption));
            (Some(t), told)
        }
        80..=84 => {
            let installation = mirrored(fleet.installation.images.community == INSTALLED.images.community);
            fleet.install(installation);
            return (None, "the operator renders other templates".into());
        }
        85..=87 => {
            let other = if hosted.world.tenant.spec.size == crds::tenant::Size::Small { "Medium" } else { "Small" };
            let size = serde_json::from_value(json!(other)).expect("a size");
            hosted.world.edit(|spec| spec.size = size);
            hosted.edited = true;
            (Some(t), format!("somebody makes it {other}"))
        }
        88..=90 => {
            hosted.world.remembered = None;
            hosted.world.memory_writes += 1;
            // Where status did not say yet that somebody is behind, nobody can know what was lost.
            if hosted.status().agents.as_ref().is_none_or(|counts| counts.behind == 0) {
                hosted.promised.clear();
            }
            (Some(t), "somebody deletes the memory of agents".into())
        }
        91..=93 => {
            let which = rng.usize(0..3);
            let mut deployments = hosted.world.objects.keys().filter(|reference| reference.kind == Kind::Deployment);
            let Some(reference) = deployments.nth(which).cloned() else { return (None, "nothing".into()) };
            // It is made as templates are rendered now, and once more where the next rendering is that of the others.
            let mut images = (hosted.world.objects.values())
                .filter_map(|live| live["spec"]["template"]["spec"]["containers"][0]["image"].as_str());
            hosted.edited |= images.any(|image| !image.starts_with(&fleet.installation.images.community));
            hosted.world.objects.remove(&reference);
            hosted.world.running.remove(&reference.name);
            (Some(t), format!("somebody deletes {reference}"))
        }
        94..=96 => {
            let skew = [0, 20, 90, -90, 0][rng.usize(0..5)];
            operators[0].skew = TimeDelta::seconds(skew);
            return (None, format!("the operator's clock is {skew} s ahead"));
        }
        _ => {
            operators[0].hangs_until = now + TimeDelta::minutes(rng.i64(5..120));
            (None, "Auth hangs when it is asked for agents".into())
        }
    };
    fleet.hosted[t].note();
    told
}

/// Another registry: every template changes, and nobody has edited a Tenant.
pub fn mirrored(mirror: bool) -> Installation {
    let mut installation = INSTALLED.clone();
    if mirror {
        installation.images.community = "mirror.example.com/teleport-distroless".into();
    }
    installation
}

fn agents(rng: &mut Rng, hosted: &mut Hosted) -> String {
    let world = &mut hosted.world;
    let told = match rng.u32(0..6) {
        0..=2 => {
            let version = ["16.4.3", "17.5.2", "v17.5.3", "18.1.0", "odd", "18.1.0-dev.1"][rng.usize(0..6)];
            let optional = rng.u32(0..4) == 0;
            let id = format!("{}-{}", if optional { OPTIONAL } else { "agent" }, rng.u32(0..4));
            world.agents.retain(|agent| agent.id != id);
            world.agents.push(Instance {
                hostname: format!("host-of-{id}"),
                version: version.into(),
                services: vec![if optional { "Kube" } else { "Node" }.into()],
                updater: String::new(),
                update_group: String::new(),
                id: id.clone(),
            });
            format!("{id} runs {version}")
        }
        3 => {
            let version = world.auth_pod_versions().into_iter().max().unwrap_or_else(|| Version::new(18, 0, 0));
            world.agents.iter_mut().for_each(|agent| agent.version = version.to_string());
            format!("all agents run {version}")
        }
        _ => {
            let gone = (!world.agents.is_empty()).then(|| world.agents.remove(rng.usize(0..world.agents.len())));
            gone.map_or("no agent leaves".into(), |agent| format!("{} leaves as {}", agent.id, agent.version))
        }
    };
    hosted.agents_changed();
    told
}

fn feed(rng: &mut Rng, fleet: &mut Fleet) -> String {
    let now = fleet.now;
    let feed = Arc::make_mut(&mut fleet.feed);
    let versions: Vec<Version> = feed.releases.keys().cloned().collect();
    let any = versions[rng.usize(0..versions.len())].clone();
    match rng.u32(0..8) {
        0..=1 => {
            let version = ["18.2.1", "18.1.2", "17.5.4"][rng.usize(0..3)];
            let critical = rng.bool();
            let new = Release { critical, ..release(version, now - TimeDelta::hours(rng.i64(0..60))) };
            feed.releases.insert(new.version.clone(), new);
            format!("{version} is released (critical: {critical})")
        }
        2..=3 => {
            let release = feed.releases.get_mut(&any).expect("a release");
            release.withdrawn = !release.withdrawn;
            format!("{any} is withdrawn: {}", release.withdrawn)
        }
        4 => {
            feed.releases.remove(&any);
            format!("{any} leaves the feed")
        }
        5 => {
            let until = now + TimeDelta::hours(rng.i64(1..30));
            feed.freeze = Some(Freeze { until, reason: "holidays".into() });
            format!("the fleet is frozen until {}", until.format("%b %d %H:%M"))
        }
        6 => {
            feed.max_concurrent_updates = rng.usize(1..4);
            format!("{} tenants may be updated at once", feed.max_concurrent_updates)
        }
        _ => {
            feed.channels.values_mut().for_each(|channel| channel.max_major = Some(17 + rng.u64(0..2)));
            "the channel takes another highest major".into()
        }
    }
}

fn windows(rng: &mut Rng, fleet: &mut Fleet) -> String {
    let name = if rng.bool() { NIGHT } else { PLATFORM };
    let Some(before) = fleet.windows.get(name).cloned() else {
        let window = Window::new(rng.u32(0..24), rng.u32(2..6), None, Vec::new(), rng.u32(1..3));
        fleet.windows.insert(name.to_owned(), Arc::new(window));
        return format!("{name} is made anew");
    };
    let (mut exclusions, mut limit, mut start) = (before.exclusions.clone(), before.limit, before.start);
    let told = match rng.u32(0..4) {
        0 => {
            fleet.windows.remove(name);
            return format!("{name} is deleted");
        }
        1 => {
            let from = fleet.now + TimeDelta::minutes(rng.i64(-60..300));
            exclusions.push((from, from + TimeDelta::hours(rng.i64(1..40))));
            format!("{name} is excluded from {}", from.format("%b %d %H:%M"))
        }
        2 => {
            limit = rng.u32(1..3);
            format!("{name} takes {limit} tenants")
        }
        _ => {
            start = rng.u32(0..24);
            format!("{name} begins at {start}:00")
        }
    };
    let window = Window::new(start, before.hours, before.day, exclusions, limit);
    fleet.windows.insert(name.to_owned(), Arc::new(window));
    told
}

/// All becomes well: what is broken is withdrawn, agents catch up, windows come back. Answers what each tenant should run in
/// the end.
pub fn heal(rng: &mut Rng, fleet: &mut Fleet, operators: &mut [Operator]) -> Vec<Version> {
    for operator in operators {
        (operator.skew, operator.hangs_until) = (TimeDelta::zero(), fleet.now);
    }
    let now = fleet.now;
    for name in [NIGHT, PLATFORM] {
        let (start, hours, limit) =
            fleet.windows.get(name).map_or((2, 3, 1), |window| (window.start, window.hours, window.limit));
        fleet.windows.insert(name.to_owned(), Arc::new(Window::new(start, hours, None, Vec::new(), limit)));
    }
    let feed = Arc::make_mut(&mut fleet.feed);
    feed.freeze = None;
    feed.channels.values_mut().for_each(|channel| channel.max_major = None);
    for version in ["18.1.1", "18.2.0", "17.5.3"] {
        feed.releases.remove(&version.parse::<Version>().expect("a version"));
    }
    for version in ["17.9.9", "18.9.9"] {
        let release = release(version, now - TimeDelta::days(60));
        feed.releases.insert(release.version.clone(), release);
    }
    let mut goals = Vec::new();
    for hosted in &mut fleet.hosted {
        hosted.world.agents.iter_mut().for_each(|agent| agent.version = "18.9.9".into());
        hosted.agents_changed();
        let status = hosted.status();
        let known = [status.version.as_deref(), status.auth_high_water.as_deref()];
        let major = known.into_iter().flatten().map(|text| text.parse::<Version>().expect("a version").major).max();
        let newest = if major <= Some(17) && rng.bool() { Version::new(17, 9, 9) } else { Version::new(18, 9, 9) };
        let follows = newest.major == 18 && rng.u32(0..3) == 0;
        hosted.world.edit(|spec| {
            spec.maintenance.exemption = None;
            spec.maintenance.apply_now = None;
            (spec.version, spec.channel) =
                if follows { (None, Some("stable".into())) } else { (Some(newest.to_string()), None) };
        });
        goals.push(newest);
        hosted.note();
    }
    goals
}
