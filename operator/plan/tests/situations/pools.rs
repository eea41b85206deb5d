//! Port pools: a new tenant gets its block where there is room, and whoever has one keeps it.

use plan::claims::Subject;
use plan::observed::StageName;
use plan::port_pool::PortPool;
use plan::step::Step;
use serde_json::{Value, json};

use super::world::World;
use super::{message, run, settled};

fn pools(value: Value) -> Vec<PortPool> {
    serde_json::from_value(value).expect("pools")
}

/// Other pools in the policy.
fn set(world: &mut World, value: Value) {
    std::sync::Arc::make_mut(&mut world.installation).port_pools = pools(value);
}

fn block() -> Value {
    json!({"network": {"portPool": "default"}})
}

/// Pool and first port as recorded.
fn recorded(world: &World) -> Option<(String, i32)> {
    world.tenant.status.as_ref()?.ports.as_ref().map(|ports| (ports.pool.clone(), ports.ssh))
}

#[test]
fn whatever_becomes_of_a_pool_moves_nobody() {
    let mut world = settled(block());
    let before = recorded(&world).expect("a block");
    for policy in [
        json!([]),
        json!([{"name": "default", "start": 31100, "end": 31199}]),
        json!([{"name": "default", "start": 1024, "end": 1028, "maxBlocks": 1}, {"name": "other", "start": 11100, "end": 31099}]),
    ] {
        set(&mut world, policy.clone());
        let plan = world.plan();
        assert!(plan.open.is_none() && plan.steps.is_empty(), "{policy}: {:?} {:?}", plan.open, plan.steps);
        assert_eq!(recorded(&world), Some(before.clone()), "{policy}");
    }
}

#[test]
fn a_recorded_block_whose_claim_and_pool_are_gone_names_the_remedy_and_stays() {
    let mut world = settled(block());
    let before = recorded(&world);
    world.claims.retain(|claim| !matches!(claim.subject, Subject::Ports { .. }));
    set(&mut world, json!([]));
    run(&mut world);
    assert!(message(&world, "Stalled").contains("put the pool back"), "{}", message(&world, "Stalled"));
    assert_eq!(recorded(&world), before);
    set(&mut world, json!([{"name": "default", "start": 11100, "end": 31099}]));
    run(&mut world);
    assert!(world.plan().open != Some(StageName::Identity), "the same block is claimed again");
    assert_eq!(recorded(&world), before);
}

#[test]
fn a_tenant_that_came_too_late_gets_a_block_of_the_overflow_and_then_gives_its_first_back() {
    let mut world = World::new(block());
    set(
        &mut world,
        json!([{"name": "default", "start": 11100, "end": 11199, "maxBlocks": 1, "overflow": "more"}, {"name": "more", "start": 12000, "end": 12099}]),
    );
    while !world.claims.iter().any(|claim| matches!(claim.subject, Subject::Ports { .. })) {
        let plan = world.plan();
        for (_, step) in &plan.steps {
            world.perform(step).expect("nobody else writes");
        }
        world.write(&plan);
    }
    // Another tenant's claim of another block, made a moment before ours, comes to be seen only now.
    let mut other = world.claims.last().expect("a claim").clone();
    let Subject::Ports { pool, base } = &other.subject else { panic!("ports come last") };
    other.subject = Subject::Ports { pool: pool.clone(), base: if *base == 11100 { 11105 } else { 11100 } };
    other.holder = Some("customers/other/0123456789abcdef".into());
    other.resource_version = "0".into();
    world.claims.push(other);
    let plan = world.plan();
    assert!(plan.steps.iter().all(|(_, step)| matches!(step, Step::Claim { .. })), "{:?}", plan.steps);
    assert!(plan.status.ports.is_none(), "nothing was published by it");
    for _ in 0..4 {
        run(&mut world);
    }
    assert_eq!(recorded(&world).map(|(pool, _)| pool).as_deref(), Some("more"));
    let held = world.claims.iter().filter(|claim| claim.holder == Some(world.identity().holder()));
    assert_eq!(held.filter(|claim| matches!(claim.subject, Subject::Ports { .. })).count(), 1);
    assert!(message(&world, "PortsAllocated").contains("of pool more"), "{}", message(&world, "PortsAllocated"));
}
