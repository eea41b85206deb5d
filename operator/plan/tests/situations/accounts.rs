//! In which AWS account a new tenant goes, and that it stays there.

use std::collections::BTreeMap;

use plan::Plan;
use plan::fleet::Account;
use serde_json::json;

use super::settled;
use super::world::World;

fn account(id: &str, region: &str, max_tenants: u32) -> Account {
    Account {
        id: id.into(),
        regions: vec![region.into()],
        assume_role_arn: None,
        oidc_provider: "oidc.example.com".into(),
        role_path: "/t/".into(),
        boundary_arn: None,
        max_tenants,
    }
}

fn plan_with(world: &World, accounts: Vec<Account>, held: &[(&str, u32)]) -> Plan {
    let mut observed = world.observe();
    let installation = observed.installation.as_mut().expect("a policy");
    installation.aws.accounts = accounts;
    observed.in_accounts = held.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect::<BTreeMap<_, _>>();
    plan::tenant(&observed)
}

fn chosen(plan: &Plan) -> Option<&str> {
    plan.status.storage.as_ref().map(|storage| storage.account.as_str())
}

fn stalled(plan: &Plan) -> Option<(&str, &str)> {
    let found =
        plan.status.conditions.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True");
    found.map(|condition| (condition.reason.as_str(), condition.message.as_str()))
}

#[test]
fn a_new_tenant_goes_into_the_first_account_with_its_region_and_room() {
    let world = World::new(json!({}));
    let accounts = || {
        vec![
            account("111111111111", "eu-central-1", 10),
            account("222222222222", "us-west-2", 10),
            account("333333333333", "us-west-2", 10),
        ]
    };
    let into = |held: &[(&str, u32)]| chosen(&plan_with(&world, accounts(), held)).map(str::to_owned);
    assert_eq!(into(&[]).as_deref(), Some("222222222222"));
    assert_eq!(into(&[("222222222222", 9), ("111111111111", 10)]).as_deref(), Some("222222222222"));
    assert_eq!(into(&[("222222222222", 10)]).as_deref(), Some("333333333333"));
    let full = plan_with(&world, accounts(), &[("222222222222", 12), ("333333333333", 10)]);
    let (reason, message) = stalled(&full).expect("nowhere to go");
    assert_eq!((reason, chosen(&full)), ("AccountsFull", None));
    assert!(message.contains("222222222222 holds 12 of 10, 333333333333 holds 10 of 10"), "{message}");
    assert!(full.steps.is_empty(), "nothing is made");
}

#[test]
fn a_region_that_no_account_has_is_told_with_those_that_there_are() {
    let world = World::new(json!({}));
    let plan = plan_with(
        &world,
        vec![account("111111111111", "eu-central-1", 10), account("222222222222", "ap-south-1", 9)],
        &[],
    );
    let (reason, message) = stalled(&plan).expect("nowhere to go");
    assert_eq!(reason, "InvalidSpec");
    assert!(
        message.contains("us-west-2 is not one of the regions of the fleet policy (ap-south-1, eu-central-1)"),
        "{message}"
    );
}

#[test]
fn a_tenant_stays_in_its_account() {
    let world = settled(json!({}));
    let own = || world.installation.aws.accounts[0].clone();
    // Others come before it, and its own is over-full.
    let before = vec![account("111111111111", "us-west-2", 1000), Account { max_tenants: 1, ..own() }];
    let plan = plan_with(&world, before, &[(&own().id, 50)]);
    assert_eq!((chosen(&plan), stalled(&plan)), (Some(own().id.as_str()), None));
    let gone = plan_with(&world, vec![account("111111111111", "us-west-2", 1000)], &[]);
    let (reason, message) = stalled(&gone).expect("its account is gone");
    assert_eq!(reason, "FleetPolicyInvalid");
    assert!(message.contains(&own().id) && message.contains("put it back"), "{message}");
    assert!(gone.steps.is_empty() && chosen(&gone) == Some(own().id.as_str()));
}
