//! The plan of one tenant in situations of its own, in the world of the simulation.

#[path = "situations/accounts.rs"]
mod accounts;
#[path = "situations/at_rest.rs"]
mod at_rest;
#[path = "situations/domains.rs"]
mod domains;
#[path = "situations/gateway.rs"]
mod gateway;
#[path = "situations/license.rs"]
mod license;
#[path = "situations/metrics.rs"]
mod metrics;
#[path = "situations/paused.rs"]
mod paused;
#[path = "situations/pools.rs"]
mod pools;
#[path = "situations/verify.rs"]
mod verify;
#[path = "convergence/world.rs"]
#[allow(dead_code, reason = "the tools of the simulation are shared, and not all of them are needed here")]
mod world;

use std::sync::Arc;

use crds::MaintenanceWindowSpec;
use plan::observed::Observed;
use plan::updates::WindowFact;
use plan::window::Schedule;
use plan::{Fact, Plan};
use serde_json::{Value, json};
use world::World;

const ENOUGH: usize = 200;

/// One reconcile; answers whether anything was done or written.
fn run(world: &mut World) -> bool {
    let plan = world.plan();
    for (_, step) in &plan.steps {
        world.perform(step).expect("nobody else writes");
    }
    world.write(&plan) || !plan.steps.is_empty()
}

/// A tenant that is Ready and has nothing left to do, in a window that is always open.
fn settled(spec: Value) -> World {
    let mut world = World::new(spec);
    world.tenant.spec.deletion_protection = false;
    world.license = world.tenant.spec.license_secret_ref.is_some();
    let always: MaintenanceWindowSpec = serde_json::from_value(json!({
        "timeZone": "UTC",
        "windows": [{"days": ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], "start": "00:00", "duration": "24h"}],
    }))
    .expect("a window");
    let schedule = Arc::new(Schedule::parse(&always).expect("a schedule"));
    world.window = WindowFact::Known { window: "customers/default".into(), schedule, limit: 1 };
    for _ in 0..ENOUGH {
        if !run(&mut world) && world.ready() {
            return world;
        }
        world.tick();
    }
    panic!("not settled: {:#?}", world.tenant.status);
}

/// Plans what was observed; the world answers what is asked for besides.
fn planned(world: &World, mut observed: Observed) -> Plan {
    let mut plan = plan::tenant(&observed);
    while let Some(need) = plan.needs.pop() {
        let found = world.objects.get(&need).map(|live| (**live).clone());
        observed.objects.live.insert(need, Fact::answered(found));
        plan = plan::tenant(&observed);
    }
    plan
}

/// Another generation of the spec.
fn edit(world: &mut World, change: impl FnOnce(&mut crds::TenantSpec)) {
    change(&mut world.tenant.spec);
    world.tenant.metadata.generation = world.tenant.metadata.generation.map(|generation| generation + 1);
}

/// Message of a condition.
fn message(world: &World, type_: &str) -> String {
    let conditions = world.tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().find(|found| found.type_ == type_).map(|found| found.message.clone()).unwrap_or_default()
}
