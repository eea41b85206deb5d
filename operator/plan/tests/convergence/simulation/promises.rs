//! What must hold after every effect and after every turn of the world, judged by the true world and the true clock: the
//! promises of the design. Nothing here asks the planner.

use chrono::{DateTime, TimeDelta, Utc};
use crds::maintenance::Check;
use crds::tenant_status::TenantStatus;
use crds::update_status::{HopKind, HopStage, Update};
use plan::Fact;
use plan::clock::from_jiff;
use plan::names::Component;
use plan::object::Kind;
use plan::step::Step;
use plan::version::{Version, parse_reported};
use serde_json::Value;

use super::fleet::{Fleet, Hosted, Promise, disrupting, running, window_of};
use super::operator::{Draft, fleet_limit};

/// A promise that was broken, in one line.
pub type Broken = String;

/// By how much the clock of the operator may be off while windows are judged by it.
const SKEW: TimeDelta = TimeDelta::seconds(30);
/// `spec.agents.reportTTL` and `spec.agents.rememberFor` of all tenants here, less what clocks may be off.
const REPORT_TTL: TimeDelta = TimeDelta::minutes(15);
const REMEMBER_FOR: TimeDelta = TimeDelta::minutes(24 * 60 - 5);
/// Clocks that differ by more than `SKEW` hold hops back, unless a person overrides just that: then ends are off by this.
const SLACK: TimeDelta = TimeDelta::minutes(2);
/// By how much a hop may be late: clocks differ, and answers get lost.
const LATE: TimeDelta = TimeDelta::minutes(40);
/// Blockers that pass by themselves.
const PASSING: [&str; 9] = [
    "SoakPending",
    "WavePending",
    "Frozen",
    "NotSettled",
    "AgentReportIncomplete",
    "BudgetSpent",
    "WindowClosed",
    "Excluded",
    "ConcurrencyReached",
];

macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

/// What runs: one major of Auth at most, two pods at most, and no Proxy that is newer.
pub fn processes(hosted: &Hosted) -> Result<(), Broken> {
    let auth = hosted.world.auth_processes();
    hold!(auth.len() <= 2, "{} Auth pods run on one table: {auth:?}", auth.len());
    let majors: std::collections::BTreeSet<u64> = auth.iter().map(|version| version.major).collect();
    hold!(majors.len() <= 1, "Auth of majors {majors:?} run on one table");
    let newest = hosted.world.proxy_processes().into_iter().max();
    if let (Some(proxy), Some(oldest)) = (newest, auth.iter().min()) {
        hold!(proxy <= *oldest, "Proxy {proxy} runs beside Auth {oldest}, which is older");
    }
    let mut names: Vec<&str> = hosted.world.backups.iter().map(|backup| backup.name.as_str()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    hold!(all <= names.len() + hosted.crossed_backups, "{all} backups for {} hops over a major", names.len());
    Ok(())
}

/// A hop that has begun comes through, goes back or halts in its time, whatever window and agents say meanwhile.
pub fn deadline(hosted: &Hosted) -> Result<(), Broken> {
    let Some(update) = running(&hosted.world.tenant) else { return Ok(()) };
    let Some(deadline) = update.deadline.as_ref().filter(|_| update.stage < HopStage::RevertProxy) else {
        return Ok(());
    };
    let over = hosted.world.now - from_jiff(deadline.0);
    hold!(over < LATE, "the hop to {} still runs {over} after its deadline", update.to);
    Ok(())
}

/// After a step; `before` is the object as it was.
pub fn step(hosted: &Hosted, step: &Step, before: Option<&Value>) -> Result<(), Broken> {
    processes(hosted)?;
    let Step::Apply(object) = step else { return Ok(()) };
    if object.reference.kind != Kind::Deployment {
        return Ok(());
    }
    let live = &hosted.world.objects[&object.reference];
    let version = |live: &Value| super::super::world::image_version(live).parse::<Version>().expect("a version");
    let (status, now) = (hosted.status(), version(live));
    if live["metadata"]["labels"]["app.kubernetes.io/component"] == Component::Auth.label() {
        let highest = status.auth_high_water.as_deref().and_then(|text| Version::parse(text).ok());
        let Some(highest) = highest else { return Err(format!("Auth {now} starts, and authHighWater says nothing")) };
        hold!(now <= highest, "Auth {now} starts before authHighWater ({highest}) says so");
        hold!(now.major >= highest.major, "Auth {now} starts on a table that {highest} has written");
    }
    let Some(before) = before else { return Ok(()) };
    hold!(
        now.major.abs_diff(version(before).major) <= 1,
        "{} goes from {} to {now}",
        object.reference,
        version(before)
    );
    let replaced = before["spec"]["template"] != live["spec"]["template"];
    let hop = status.update.as_ref().is_some_and(|update| update.stage >= HopStage::Auth);
    hold!(!replaced || hop || hosted.edited, "the pods of {} are replaced, and no hop runs", object.reference);
    Ok(())
}

/// After the status was written.
pub fn status(fleet: &Fleet, t: usize, before: &TenantStatus, draft: &Draft) -> Result<(), Broken> {
    let hosted = &fleet.hosted[t];
    let after = hosted.status();
    if let Some(update) = &after.update {
        let (from, to) = majors(update);
        hold!(from <= to && to <= from + 1, "a hop from {} to {}", update.from, update.to);
        let begins = before.update.as_ref().is_none_or(|before| before.stage < HopStage::Auth);
        if begins && update.stage >= HopStage::Auth {
            may_begin(fleet, t, update, draft)?;
        }
    }
    let highest = |status: &TenantStatus| status.auth_high_water.as_deref().and_then(|text| Version::parse(text).ok());
    hold!(highest(before) <= highest(after), "authHighWater falls from {:?}", before.auth_high_water);
    if after.version != before.version {
        let wanted = after.version.as_deref().and_then(|text| Version::parse(text).ok());
        let (auth, proxies) = (hosted.world.auth_processes(), hosted.world.proxy_processes());
        for found in auth.iter().chain(&proxies) {
            hold!(Some(found) == wanted.as_ref(), "status.version says {:?} while {found} runs", after.version);
        }
    }
    if let Some(next) = &after.next {
        let passing = |reason: &str| PASSING.contains(&reason);
        let words: Vec<&str> = next.blockers.iter().map(|blocker| blocker.reason.as_str()).collect();
        let sorted = words.is_sorted_by_key(|word| passing(word));
        hold!(sorted, "what a person must do does not stand first: {words:?}");
    }
    Ok(())
}

fn majors(update: &Update) -> (u64, u64) {
    let major = |text: &str| Version::parse(text).expect("a version").major;
    (major(&update.from), major(&update.to))
}

/// A hop begins to touch what runs: may it, by what is true now?
fn may_begin(fleet: &Fleet, t: usize, update: &Update, draft: &Draft) -> Result<(), Broken> {
    let hosted = &fleet.hosted[t];
    let tenant = &hosted.world.tenant;
    let exempt = |check: Check| {
        let exemption = tenant.spec.maintenance.exemption.as_ref();
        exemption.is_some_and(|exemption| {
            exemption.checks.contains(&check) && fleet.now - SLACK < from_jiff(exemption.until.0)
        })
    };
    hold!(fleet.feed.frozen(fleet.now + SLACK).is_none(), "a hop begins while the fleet is frozen");
    if update.kind != HopKind::Template {
        let release = Version::parse(&update.to).ok().and_then(|to| fleet.feed.releases.get(&to));
        let Some(release) = release else { return Err(format!("a hop begins to {}, which is no release", update.to)) };
        hold!(!release.withdrawn || exempt(Check::Policy), "a hop begins to {}, which was withdrawn", update.to);
    }
    if !exempt(Check::Window) && !applied_now(hosted, fleet.now) {
        let skew = matches!(draft.skew, Fact::Known(skew) if skew.abs() <= SKEW);
        hold!(skew, "a hop begins with clocks that differ by {:?}", draft.skew);
        let window = fleet.windows.get(&window_of(tenant));
        let open = window.is_some_and(|window| {
            [-SKEW, TimeDelta::zero(), SKEW].into_iter().any(|skew| window.open(fleet.now + skew))
        });
        hold!(open, "a hop begins while {} is not open", window_of(tenant));
    }
    if !exempt(Check::Policy) {
        places(fleet, t)?;
    }
    if update.kind == HopKind::Major && !exempt(Check::Agents) {
        agents(hosted, update, draft, fleet.now)?;
    }
    Ok(())
}

/// `applyNow` was acted upon, by this very hop, while it was good.
fn applied_now(hosted: &Hosted, now: DateTime<Utc>) -> bool {
    let asked = hosted.world.tenant.spec.maintenance.apply_now.as_ref();
    let Some(asked) = asked.filter(|asked| hosted.status().applied_now.as_ref() == Some(asked)) else { return false };
    // It is enough that it was good when the hop was claimed.
    now < from_jiff(asked.0) + TimeDelta::hours(26)
}

fn places(fleet: &Fleet, t: usize) -> Result<(), Broken> {
    let others: Vec<&Update> = fleet
        .hosted
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != t)
        .filter_map(|(_, hosted)| disrupting(&hosted.world.tenant))
        .collect();
    let (all, limit) = (others.len() as u32 + 1, fleet_limit(&fleet.feed));
    hold!(all <= limit, "{all} tenants of the fleet are updated at once, and {limit} may be");
    let window = window_of(&fleet.hosted[t].world.tenant);
    let Some(limit) = fleet.windows.get(&window).map(|window| window.limit) else { return Ok(()) };
    let beside = others.iter().filter(|other| other.window.as_ref() == Some(&window)).count() as u32 + 1;
    hold!(beside <= limit, "{beside} tenants of {window} are updated at once, and {limit} may be");
    Ok(())
}

fn agents(hosted: &Hosted, update: &Update, draft: &Draft, now: DateTime<Utc>) -> Result<(), Broken> {
    hold!(draft.memory_known, "a major begins, and the memory of agents was not read");
    let Some(inventory) = &draft.inventory else { return Err("a major begins, and no inventory was read".into()) };
    hold!(draft.now - inventory.read_at <= REPORT_TTL, "a major begins with a stale inventory");
    let (major, _) = majors(update);
    let behind = |version: &str| parse_reported(version).is_none_or(|version| version.major < major);
    for agent in &hosted.world.agents {
        let listed = inventory.get(&agent.id).is_some_and(|found| inventory.profile(found).is_behind(major));
        let open = !(listed && behind(&agent.version) && required(hosted, &agent.id));
        hold!(open, "a major begins while agent {} runs {}", agent.id, agent.version);
    }
    for (id, Promise { version, gone }) in &hosted.promised {
        let counts = gone.is_some_and(|gone| now - gone < REMEMBER_FOR) && required(hosted, id);
        hold!(
            !counts || !behind(version),
            "a major begins though agent {id} left as {version} {:?} ago",
            now - gone.unwrap_or(now)
        );
    }
    Ok(())
}

/// Agents of this name are in a pool that is not required, where there is one.
pub const OPTIONAL: &str = "optional";

fn required(hosted: &Hosted, id: &str) -> bool {
    hosted.world.pools.is_empty() || !id.starts_with(OPTIONAL)
}
