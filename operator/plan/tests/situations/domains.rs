//! Whether a namespace may use a domain is asked before the claim, and never again.

use std::collections::BTreeMap;

use plan::Plan;
use plan::domains::DomainRule;
use plan::observed::StageName;
use plan::step::Step;
use serde_json::json;

use super::settled;
use super::world::World;

fn plan_under(world: &World, suffix: &str, labels: Option<&[(&str, &str)]>) -> Plan {
    let mut observed = world.observe();
    let rule: DomainRule =
        serde_json::from_value(json!({"suffix": suffix, "namespaceSelector": {"matchLabels": {"team": "a"}}}))
            .expect("a rule");
    observed.installation.as_mut().expect("a policy").domains = vec![rule];
    let owned = |labels: &[(&str, &str)]| {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    observed.namespace_labels = labels.map(owned);
    plan::tenant(&observed)
}

fn claims_domain(plan: &Plan) -> bool {
    plan.steps.iter().any(|(_, step)| matches!(step, Step::Claim { .. }) && step.to_string().contains("domain"))
}

fn stalled(plan: &Plan) -> Option<&str> {
    let found =
        plan.status.conditions.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True");
    found.map(|condition| condition.reason.as_str())
}

/// A tenant whose names are recorded and that has claimed nothing yet.
fn recorded() -> World {
    let mut world = World::new(json!({}));
    let plan = world.plan();
    for (_, step) in &plan.steps {
        world.perform(step).expect("nobody else writes");
    }
    world.write(&plan);
    world
}

#[test]
fn a_domain_is_claimed_only_where_the_policy_lets_the_namespace() {
    let world = recorded();
    let domain = world.tenant.spec.domain.clone();
    let (_, parent) = domain.split_once('.').expect("a parent");
    let admitted = plan_under(&world, parent, Some(&[("team", "a")]));
    assert!(claims_domain(&admitted) && stalled(&admitted).is_none(), "{:?}", admitted.steps);
    for (suffix, labels) in [(parent, Some(&[("team", "b")][..])), ("example.invalid", Some(&[("team", "a")][..]))] {
        let refused = plan_under(&world, suffix, labels);
        assert!(!claims_domain(&refused), "{suffix}");
        assert_eq!(stalled(&refused), Some("DomainNotAllowed"), "{suffix}");
    }
    let unknown = plan_under(&world, parent, None);
    assert!(!claims_domain(&unknown) && stalled(&unknown).is_none() && unknown.wake.is_some(), "it is asked for again");
}

#[test]
fn whoever_holds_a_domain_keeps_it() {
    let world = settled(json!({}));
    let plan = plan_under(&world, "example.invalid", Some(&[]));
    assert_eq!(stalled(&plan), None);
    assert_ne!(plan.open, Some(StageName::Identity), "nothing is left to do there");
}
