//! A tenant behind a Gateway: Ready when the Gateway takes its route, and not torn down when the policy loses it.

use std::sync::Arc;

use plan::object::{Kind, Ref};
use plan::step::Step;
use serde_json::{Value, json};

use super::world::World;
use super::{ENOUGH, message, run};

fn pool(gateway: Value) -> Value {
    json!([{"name": "edge", "start": 32000, "end": 32099, "gatewayRef": gateway}])
}

fn set(world: &mut World, pools: Value) {
    let pools = serde_json::from_value(pools).expect("pools");
    Arc::make_mut(&mut world.installation).port_pools = pools;
}

/// A tenant that is Ready behind this Gateway.
fn behind() -> World {
    let mut world =
        World::new(json!({"network": {"exposure": "Gateway", "portPool": "edge"}, "deletionProtection": false}));
    set(&mut world, pool(json!({"name": "edge", "namespace": "gateways"})));
    for _ in 0..ENOUGH {
        if !run(&mut world) && world.ready() {
            return world;
        }
        world.tick();
    }
    panic!("not settled: {:#?}", world.tenant.status);
}

#[test]
fn the_block_has_an_address_and_443_is_the_gateways() {
    let world = behind();
    let numbers = |name: &str| {
        let service = &world.objects[&Ref::new(Kind::Service, name)];
        service["spec"]["ports"].as_array().expect("ports").iter().map(|port| port["port"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("acme"), [json!(443)]);
    assert_eq!(numbers("acme-proxy").len(), 5);
    let endpoints = world.tenant.status.as_ref().and_then(|status| status.endpoints.clone()).expect("endpoints");
    assert_eq!(endpoints.addresses, ["127.128.0.1"]);
}

#[test]
fn a_route_that_is_refused_later_is_told() {
    let mut world = behind();
    let route = Ref::new(Kind::TLSRoute, "acme");
    let live = Arc::make_mut(world.objects.get_mut(&route).expect("a route"));
    live["status"]["parents"][0]["conditions"][0]["status"] = json!("False");
    run(&mut world);
    assert_eq!(world.condition("Ready"), Some(("False".to_owned(), "RouteNotAccepted".to_owned())));
    assert!(message(&world, "Stalled").contains("Gateway gateways/edge"), "{}", message(&world, "Stalled"));
    world.tick();
    while run(&mut world) {}
    assert!(world.ready(), "{:?}", world.condition("Ready"));
}

#[test]
fn a_policy_without_the_gateway_stalls_and_takes_nothing_away() {
    let mut world = behind();
    let before = world.objects.clone();
    for pools in [json!([]), pool(Value::Null)] {
        set(&mut world, pools);
        let plan = world.plan();
        assert!(plan.steps.iter().all(|(_, step)| !matches!(step, Step::Delete { .. })), "{:?}", plan.steps);
        run(&mut world);
        assert!(message(&world, "Stalled").contains("gatewayRef"), "{}", message(&world, "Stalled"));
        assert_eq!(world.objects.len(), before.len());
    }
    set(&mut world, pool(json!({"name": "edge", "namespace": "gateways"})));
    while run(&mut world) {}
    assert!(world.ready());
}
