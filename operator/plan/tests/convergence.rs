//! A tenant in a simulated world: the planner is asked again and again, its steps are performed, lost or cut off, and it
//! must end settled, stay there, and never break a promise on the way.

#[path = "convergence/agents.rs"]
mod agents;
#[path = "convergence/authorities.rs"]
mod authorities;
#[path = "convergence/hops.rs"]
mod hops;
#[path = "convergence/issuance.rs"]
mod issuance;
#[path = "convergence/managed.rs"]
mod managed;
#[path = "convergence/publish.rs"]
mod publish;
#[path = "convergence/setbacks.rs"]
mod setbacks;
#[path = "convergence/simulation.rs"]
mod simulation;
#[path = "convergence/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use plan::Fact;
use plan::cloud::CloudFacts;
use plan::cloud::facts::TableFacts;
use plan::object::{Kind, Ref};
use plan::observed::{Failure, FailureKind, Observed, Source, StageName};
use plan::step::Step;
use proptest::prelude::*;
use serde_json::{Value, json};
use world::World;

const ENOUGH: usize = 200;

/// One reconcile. `survive` says how many effects (steps, then the status) happen before the process dies.
fn run(world: &mut World, survive: usize) -> (usize, bool) {
    let plan = world.plan();
    check(world, &plan.steps.iter().map(|(_, step)| step.clone()).collect::<Vec<_>>());
    let done = plan.steps.len().min(survive);
    for (_, step) in &plan.steps[..done] {
        world.perform(step).expect("nobody else writes");
    }
    if world.gone {
        return (done, false);
    }
    let written = survive > plan.steps.len() && world.write(&plan);
    (done, written)
}

/// Promises that must hold for every plan.
fn check(world: &World, steps: &[Step]) {
    let status = world.tenant.status.clone().unwrap_or_default();
    for step in steps {
        match step {
            Step::Cloud(_) => assert!(status.storage.is_some(), "{step} before the names are recorded"),
            Step::Claim { .. } => assert!(status.tenant_id.is_some(), "{step} before the id is recorded"),
            Step::CreateAuthorities { .. } => {
                assert!(status.auth_high_water.is_none(), "new authorities after Auth was started");
            }
            Step::Apply(object) if object.reference.kind == Kind::Deployment => {
                assert!(status.auth_high_water.is_some() && status.applied.is_some(), "{step} before it is recorded");
            }
            _ => {}
        }
    }
    let deployments =
        steps.iter().filter(|step| matches!(step, Step::Apply(object) if object.reference.kind == Kind::Deployment));
    assert!(deployments.count() <= 1, "more than one Deployment touched at once");
}

fn converge(world: &mut World) {
    for _ in 0..ENOUGH {
        let (steps, written) = run(world, usize::MAX);
        if steps == 0 && !written && world.ready() {
            return;
        }
        world.tick();
    }
    let plan = world.plan();
    panic!(
        "not settled: {:?}\nsteps {:?}\nchanged {}",
        world.tenant.status,
        plan.steps,
        world.tenant.status.as_ref() != Some(&plan.status)
    );
}

/// Carries a removal out.
fn until_gone(world: &mut World) {
    for _ in 0..ENOUGH {
        run(world, usize::MAX);
        if world.gone {
            return;
        }
        world.tick();
    }
    panic!("it is still there: {:?}", world.tenant.status);
}

fn assert_silent(world: &mut World) {
    for _ in 0..5 {
        assert_eq!(run(world, usize::MAX), (0, false), "a settled tenant writes nothing");
        world.tick();
    }
}

fn block() -> Value {
    json!({"network": {"portPool": "default"}, "deletionProtection": false})
}

#[test]
fn a_tenant_becomes_ready_and_then_silent() {
    let mut world = World::new(block());
    converge(&mut world);
    assert_silent(&mut world);
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!(status.version.as_deref(), Some("18.1.0"));
    assert_eq!(status.endpoints.map(|endpoints| endpoints.addresses), Some(vec!["127.128.0.1".to_owned()]));
}

#[test]
fn proxy_is_not_made_before_auth_serves() {
    let mut world = World::new(block());
    for _ in 0..ENOUGH {
        run(&mut world, usize::MAX);
        let proxy = world.objects.contains_key(&Ref::new(Kind::Deployment, "acme-proxy"));
        let auth = ["acme-auth-0", "acme-auth-1"].iter().all(|name| {
            world
                .objects
                .get(&Ref::new(Kind::Deployment, *name))
                .is_some_and(|live| live["status"]["readyReplicas"] == json!(1))
        });
        assert!(auth || !proxy, "Proxy before Auth");
        world.tick();
    }
    assert!(world.ready());
}

#[test]
fn a_new_version_waits_for_a_window_and_touches_nothing() {
    let mut world = World::new(block());
    converge(&mut world);
    world.tenant.spec.version = Some("18.2.0".into());
    world.tenant.metadata.generation = Some(2);
    let before = world.objects.clone();
    converge(&mut world);
    assert_eq!(world.objects, before);
    let next = world.tenant.status.clone().and_then(|status| status.next).expect("a change is due");
    assert_eq!((next.to.as_str(), next.blockers[0].reason.as_str()), ("18.2.0", "WindowMissing"));
    assert_eq!(world.condition("UpdateBlocked"), Some(("True".into(), "WindowMissing".into())));
}

#[test]
fn an_edit_of_the_pods_is_applied_at_once_and_one_after_the_other() {
    let mut world = World::new(block());
    converge(&mut world);
    world.tenant.spec.size = crds::tenant::Size::Medium;
    world.tenant.metadata.generation = Some(2);
    converge(&mut world);
    for name in ["acme-auth-0", "acme-auth-1", "acme-proxy"] {
        let live = &world.objects[&Ref::new(Kind::Deployment, name)];
        let memory = &live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
        assert_ne!(memory, "1Gi", "{name}");
    }
}

#[test]
fn a_new_rendering_without_an_edit_is_held() {
    let mut world = World::new(block());
    converge(&mut world);
    // What a new operator version would do: the recorded template is another one than is rendered now.
    let status = world.tenant.status.as_mut().expect("a status");
    status.applied.as_mut().expect("applied").template = "rendered-by-another".into();
    let before = world.objects.clone();
    converge(&mut world);
    assert_eq!(world.objects, before);
    assert_eq!(world.condition("UpdateDue"), Some(("True".into(), "TemplateChanged".into())));
}

#[test]
fn what_is_taken_away_comes_back() {
    let mut world = World::new(block());
    converge(&mut world);
    type Taker = Box<dyn Fn(&mut World)>;
    let takers: Vec<(&str, Taker)> = vec![
        ("StorageReady", Box::new(|world| world.bucket().policy = None)),
        ("StorageReady", Box::new(|world| world.tables.values_mut().for_each(|(table, _)| table.stream = None))),
        ("CredentialsReady", Box::new(|world| world.role().policies.clear())),
        ("CredentialsReady", Box::new(|world| world.role = None)),
        ("PortsAllocated", Box::new(|world| world.claims.clear())),
        ("Ready", Box::new(|world| world.objects.retain(|reference, _| reference.kind != Kind::Service))),
        ("Ready", Box::new(|world| world.objects.retain(|reference, _| reference.kind != Kind::ConfigMap))),
        ("AuthAvailable", Box::new(|world| world.objects.retain(|reference, _| reference.kind != Kind::Deployment))),
    ];
    let ports = world.tenant.status.as_ref().and_then(|status| status.ports.clone());
    for (condition, take) in takers {
        take(&mut world);
        run(&mut world, 0);
        let plan = world.plan();
        let found = plan.status.conditions.iter().find(|found| found.type_ == condition).expect("a condition");
        assert_eq!(found.status, "False", "{condition}");
        converge(&mut world);
        assert_silent(&mut world);
        assert_eq!(world.tenant.status.as_ref().and_then(|status| status.ports.clone()), ports);
    }
}

/// The first hand costs nothing but the write that puts it back; who insists is told of, and so is what does not come of it.
#[test]
fn what_a_hand_changes_is_put_back_without_a_word_once() {
    let mut world = World::new(block());
    converge(&mut world);
    let labelled = Ref::new(Kind::Deployment, "acme-proxy");
    let before = world.tenant.status.clone().expect("a status");
    let edit = |world: &mut World| {
        let mut live = (*world.objects[&labelled]).clone();
        live["metadata"]["labels"]["app.kubernetes.io/component"] = "edited".into();
        world.objects.insert(labelled.clone(), live.into());
    };
    edit(&mut world);
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.mends), (1, true), "{:?}", plan.steps);
    assert_eq!(plan.status, before);
    let now = world.now;
    let again = world.plan_with(|observed| observed.mended = Some(now - TimeDelta::minutes(9)));
    let failure = Failure { since: now, kind: FailureKind::Passing, message: "time-out".into() };
    let failed = world.plan_with(|observed| {
        observed.failures.insert((StageName::Proxy, Source::Step), failure);
    });
    for told in [again, failed] {
        assert_eq!((told.steps.len(), told.mends), (1, false));
        assert_eq!(status_of(&told, "Ready").0, "False");
    }
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!(world.tenant.status, Some(before));
}

#[test]
fn enterprise_without_its_licence_stalls_with_the_remedy_until_it_comes() {
    let mut world = World::new(json!({"edition": "Enterprise", "licenseSecretRef": {"name": "license"}}));
    for _ in 0..20 {
        run(&mut world, usize::MAX);
        world.tick();
    }
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "LicenseSecretMissing".into())));
    assert!(!world.objects.keys().any(|reference| reference.kind == Kind::Deployment));
    world.license = true;
    converge(&mut world);
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_protected_tenant_outlives_its_deletion() {
    let mut world = World::new(json!({}));
    converge(&mut world);
    let before = world.objects.clone();
    world.delete();
    for _ in 0..5 {
        run(&mut world, usize::MAX);
        world.tick();
    }
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "DeletionProtection".into())));
    assert_eq!((world.objects.clone(), world.gone), (before, false));
}

#[test]
fn a_removed_tenant_gives_its_address_up_and_keeps_its_data() {
    let mut world = World::new(block());
    converge(&mut world);
    world.delete();
    until_gone(&mut world);
    assert_eq!(
        (world.tables.len(), world.bucket.is_some(), world.role.is_some(), world.authorities),
        (2, true, true, Some(1))
    );
    assert!(world.claims.iter().all(|claim| claim.holder.is_none() && claim.rests_until.is_some()));
}

/// Observes, but without an answer from the cloud, which failed this long ago.
fn without_the_cloud(world: &World, since: TimeDelta) -> Observed {
    let failure = Failure { since: world.now - since, kind: FailureKind::Passing, message: "time-out".into() };
    Observed {
        cloud: CloudFacts::unknown(),
        failures: BTreeMap::from([((StageName::Cloud, Source::Read), failure)]),
        ..world.observe()
    }
}

fn status_of(plan: &plan::Plan, type_: &str) -> (String, String) {
    let found = plan.status.conditions.iter().find(|found| found.type_ == type_).expect("a condition");
    (found.status.clone(), found.message.clone())
}

#[test]
fn an_answer_that_did_not_come_turns_no_condition_before_five_minutes() {
    let mut world = World::new(block());
    converge(&mut world);
    let soon = plan::tenant(&without_the_cloud(&world, TimeDelta::minutes(4)));
    assert!(soon.steps.is_empty(), "{:?}", soon.steps);
    for type_ in ["Ready", "StorageReady", "Available"] {
        assert_eq!(status_of(&soon, type_).0, "True", "{type_}");
    }
    assert!(status_of(&soon, "StorageReady").1.contains("time-out"));
    let late = plan::tenant(&without_the_cloud(&world, TimeDelta::minutes(5)));
    assert_eq!((status_of(&late, "StorageReady").0, status_of(&late, "Ready").0), ("False".into(), "False".into()));
    assert_eq!(status_of(&late, "Available").0, "True");
}

/// A step of Proxy failed under an earlier spec; what is wrong now is the bucket.
#[test]
fn the_summary_tells_no_failure_that_the_open_stage_does_not_wait_for() {
    let mut world = World::new(block());
    converge(&mut world);
    world.bucket().policy = None;
    let failure = |message: &str| Failure { since: world.now, kind: FailureKind::Defect, message: message.into() };
    let mut observed = world.observe();
    observed.failures = BTreeMap::from([((StageName::Proxy, Source::Step), failure("an old toleration"))]);
    observed.failures.insert((StageName::Identity, Source::Step), failure("an old domain"));
    let (status, message) = status_of(&plan::tenant(&observed), "Ready");
    assert!(status == "False" && !message.contains("an old"), "{message}");
    observed.failures.insert((StageName::Cloud, Source::Step), failure("no bucket"));
    assert!(status_of(&plan::tenant(&observed), "Ready").1.contains("no bucket"));
}

#[test]
fn a_lost_state_table_is_not_replaced_by_an_empty_one() {
    let mut world = World::new(block());
    converge(&mut world);
    world.tables.retain(|name, _| !name.ends_with("-state"));
    for _ in 0..5 {
        run(&mut world, usize::MAX);
        world.tick();
    }
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "StorageLost".into())));
    assert_eq!(world.tables.len(), 1);
}

/// What `operator/docs/cloud.md` tells a person to do after a major hop: the same table from before the hop, and a status
/// that says no newer Auth was started on it.
#[test]
fn a_tenant_that_is_taken_back_by_hand_runs_the_old_major_on_the_restored_table() {
    let mut world = World::new(block());
    converge(&mut world);
    let restored = |world: &mut World, change: &dyn Fn(&mut TableFacts)| {
        let state = world.tables.iter_mut().find(|(name, _)| name.ends_with("-state"));
        change(&mut state.expect("a state table").1.0);
    };
    let before = world.tables.clone();
    restored(&mut world, &|table| {
        *table = TableFacts {
            tags: BTreeMap::new(),
            stream: None,
            ttl: None,
            point_in_time_recovery: false,
            deletion_protection: false,
            ..table.clone()
        };
    });
    let bare = world.tables.clone();
    run(&mut world, usize::MAX);
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "NameTaken".into())));
    assert_eq!(world.tables, bare, "a table without tags is left alone");

    let tags = before.values().next().expect("a table").0.tags.clone();
    restored(&mut world, &|table| table.tags.clone_from(&tags));
    world.tenant.spec.version = Some("17.5.2".into());
    world.tenant.metadata.generation = Some(2);
    let status = world.tenant.status.as_mut().expect("a status");
    status.auth_high_water = Some("17.5.2".into());
    status.applied = None;
    converge(&mut world);
    assert_silent(&mut world);
    assert_eq!(world.tables, before, "armed again as it was");
    let status = world.tenant.status.clone().expect("a status");
    assert_eq!((status.version.as_deref(), status.auth_high_water.as_deref()), (Some("17.5.2"), Some("17.5.2")));
    for name in ["acme-auth-0", "acme-auth-1", "acme-proxy"] {
        let image =
            &world.objects[&Ref::new(Kind::Deployment, name)]["spec"]["template"]["spec"]["containers"][0]["image"];
        assert!(image.as_str().is_some_and(|image| image.ends_with(":17.5.2")), "{name} runs {image}");
    }
}

#[test]
fn a_status_of_another_object_leads_to_nothing() {
    let mut world = World::new(block());
    converge(&mut world);
    world.tenant.status.as_mut().expect("a status").tenant_id = Some("0123456789abcdef".into());
    let plan = world.plan();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert_eq!(status_of(&plan, "Stalled").0, "True");
}

#[test]
fn another_installation_id_in_the_policy_makes_nothing_new() {
    let mut world = World::new(block());
    converge(&mut world);
    let mut observed = world.observe();
    observed.installation.as_mut().expect("a policy").id = "eu2".into();
    observed.cloud =
        CloudFacts { state_table: Fact::Absent, events_table: Fact::Absent, bucket: Fact::Absent, role: Fact::Absent };
    let plan = plan::tenant(&observed);
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert_eq!(status_of(&plan, "Stalled").0, "True");
}

#[test]
fn an_object_of_somebody_else_is_named_and_left_alone() {
    let mut world = World::new(block());
    let service = Ref::new(Kind::Service, "acme");
    let foreign = json!({"metadata": {"name": "acme", "uid": "theirs"}, "spec": {"type": "ClusterIP"}});
    world.objects.insert(service.clone(), Arc::new(foreign.clone()));
    for _ in 0..40 {
        run(&mut world, usize::MAX);
        world.tick();
    }
    assert_eq!(world.condition("Stalled"), Some(("True".into(), "NameTaken".into())));
    assert_eq!(world.objects[&service]["metadata"]["uid"], foreign["metadata"]["uid"]);
}

#[test]
fn an_edit_reaches_the_auth_that_is_down_before_the_one_that_serves() {
    let mut world = World::new(block());
    converge(&mut world);
    world.tenant.spec.size = crds::tenant::Size::Medium;
    world.tenant.metadata.generation = Some(2);
    run(&mut world, usize::MAX);
    let down = Ref::new(Kind::Deployment, "acme-auth-1");
    let live = world.objects.get_mut(&down).expect("a Deployment");
    Arc::make_mut(live)["status"] = json!({"observedGeneration": 1, "replicas": 1});
    let steps: Vec<String> = world.plan().steps.iter().map(|(_, step)| step.to_string()).collect();
    assert!(steps.iter().any(|step| step.contains("acme-auth-1")), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("acme-auth-0")), "{steps:?}");
}

#[test]
fn a_first_start_with_a_wrong_version_can_be_mended() {
    let mut world = World::new(json!({"version": "18.7.77"}));
    // Its image does not exist: no pod ever runs.
    for _ in 0..20 {
        run(&mut world, usize::MAX);
    }
    world.tenant.spec.version = Some("18.1.0".into());
    world.tenant.metadata.generation = Some(2);
    converge(&mut world);
    assert_eq!(world.tenant.status.clone().and_then(|status| status.version).as_deref(), Some("18.1.0"));
}

#[test]
fn the_same_inputs_of_a_newer_digest_restart_nothing() {
    let mut world = World::new(block());
    converge(&mut world);
    // What a new field in the digest would look like to the next operator version.
    let applied = world.tenant.status.as_mut().and_then(|status| status.applied.as_mut()).expect("applied");
    applied.pod_inputs = "of-another-version".into();
    applied.template = "rendered-by-another".into();
    let before = world.objects.clone();
    converge(&mut world);
    assert_eq!(world.objects, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Killed after any effect, any number of times, it ends in the same state as if it had not been.
    #[test]
    fn killed_anywhere_it_ends_the_same(deaths in proptest::collection::vec(0_usize..6, 0..40)) {
        let mut undisturbed = World::new(block());
        converge(&mut undisturbed);
        let mut world = World::new(block());
        for survive in deaths {
            run(&mut world, survive);
            world.tick();
        }
        converge(&mut world);
        assert_silent(&mut world);
        prop_assert_eq!(world.made_authorities, 1);
        prop_assert_eq!(world.claims.len(), 2);
        prop_assert_eq!(&world.tables.keys().collect::<Vec<_>>(), &undisturbed.tables.keys().collect::<Vec<_>>());
        let specs = |world: &World| world.objects.iter().map(|(reference, live)| (reference.clone(), live["spec"].clone())).collect::<Vec<_>>();
        prop_assert_eq!(specs(&world), specs(&undisturbed));
    }

    /// Planning twice gives the same plan.
    #[test]
    fn planning_twice_is_planning_once(runs in 0_usize..40) {
        let mut world = World::new(block());
        for _ in 0..runs {
            run(&mut world, usize::MAX);
            world.tick();
        }
        prop_assert_eq!(world.plan(), world.plan());
    }
}
