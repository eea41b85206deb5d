//! Authorities that are lost or rotated: those in Teleport's state table count, and none is made over a cluster that lives.

use plan::Fact;

use super::world::World;
use super::{assert_silent, block, converge, run, status_of};

#[test]
fn lost_authorities_come_back_from_the_state_table_and_are_never_replaced() {
    let mut world = World::new(block());
    converge(&mut world);
    let before = world.objects.clone();
    world.authorities = None;
    world.readable = false;
    for _ in 0..20 {
        run(&mut world, usize::MAX);
        world.tick();
    }
    assert_eq!((world.authorities, world.made_authorities), (None, 1), "nothing is made over a cluster that lives");
    let (_, message) = status_of(&world.plan(), "CertificatesReady");
    assert!(world.plan().steps.is_empty(), "{message}");
    world.readable = true;
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!((world.authorities, world.made_authorities, world.kept_authorities), (Some(1), 1, 1));
    assert_eq!(world.objects, before, "the same keys restart nothing");
}

#[test]
fn authorities_that_are_in_no_state_table_are_lost() {
    let mut world = World::new(block());
    converge(&mut world);
    let mut observed = world.observe();
    observed.secrets.authorities = Fact::Absent;
    observed.stored_authorities = Fact::Absent;
    let plan = plan::tenant(&observed);
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert_eq!(status_of(&plan, "Stalled").0, "True");
}

#[test]
fn rotated_authorities_are_followed_in_a_secret_of_their_own_and_pods_wait_for_a_window() {
    let mut world = World::new(block());
    converge(&mut world);
    let before = world.objects.clone();
    world.stored = Some(2);
    let generation = |world: &World| world.tenant.status.as_ref().and_then(|status| status.authority_generation);
    assert_eq!(generation(&world), None);
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!((world.authorities, world.made_authorities, generation(&world)), (Some(2), 1, Some(2)));
    assert_eq!(world.objects, before);
    assert_eq!(world.condition("UpdateDue"), Some(("True".into(), "TemplateChanged".into())));
}
