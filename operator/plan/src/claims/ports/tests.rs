use super::*;
use crate::names;
use crate::port_pool::PoolBalancer;

const AT: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");

fn tenant(slug: &str) -> Identity {
    Identity { slug: slug.into(), namespace: "ns".into(), uid: slug.into(), id: names::tenant_id(slug) }
}

fn subject(pool: &str, base: u16) -> Subject {
    Subject::Ports { pool: pool.into(), base }
}

/// A claim that was made at this revision.
fn claim(subject: Subject, holder: Option<&Identity>, revision: u64) -> Claim {
    let holder = holder.map(Identity::holder);
    Claim { subject, holder, created: AT, rests_until: None, resource_version: revision.to_string() }
}

fn pool(name: &str, start: u16, end: u16) -> PortPool {
    PortPool {
        name: name.into(),
        start,
        end,
        max_blocks: None,
        overflow: None,
        quarantine: "168h".into(),
        gateway_ref: None,
        load_balancer: PoolBalancer::default(),
    }
}

fn default() -> PortPool {
    pool("default", 11100, 11119)
}

/// What `first` comes to, as `pool base`, or in a word.
fn chosen(claims: &[Claim], of: &Identity, pools: &[&PortPool]) -> String {
    match first(claims, of, pools, AT) {
        PortsClaim::Held { pool, base, .. } => format!("holds {pool} {base}"),
        PortsClaim::Claim { pool, base, rested } => {
            format!("claims {pool} {base}{}", rested.map_or(String::new(), |version| format!(" from {version}")))
        }
        PortsClaim::Exhausted(full) => full.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    }
}

#[test]
fn blocks_are_handed_out_until_the_pool_is_full() {
    let mut claims = Vec::new();
    let mut bases = BTreeSet::new();
    for number in 0..4 {
        let tenant = tenant(&format!("t{number}"));
        let PortsClaim::Claim { pool, base, rested: None } = first(&claims, &tenant, &[&default()], AT) else {
            panic!("no block for {number}")
        };
        assert!(bases.insert(base) && (base - 11100) % BLOCK == 0);
        claims.push(claim(subject(&pool, base), Some(&tenant), number));
    }
    let told = chosen(&claims, &tenant("t9"), &[&default()]);
    assert_eq!(told, "all 4 blocks of pool default are taken or resting");
}

#[test]
fn a_full_pool_overflows_into_the_next_and_both_tell_why_when_they_are_full() {
    let (front, back) = (PortPool { max_blocks: Some(1), ..default() }, pool("back", 12000, 12004));
    let pools = [&front, &back];
    let one = claim(subject("default", 11100), Some(&tenant("one")), 1);
    assert_eq!(chosen(std::slice::from_ref(&one), &tenant("two"), &pools), "claims back 12000");
    let both = [one, claim(subject("back", 12000), Some(&tenant("two")), 2)];
    let told = chosen(&both, &tenant("three"), &pools);
    assert_eq!(
        told,
        "pool default holds all the 1 blocks of its maxBlocks; all 1 blocks of pool back are taken or resting"
    );
    // A block that rests does not burden the address.
    let mut resting = claim(subject("default", 11100), None, 3);
    resting.rests_until = Some(AT + chrono::TimeDelta::hours(1));
    assert!(chosen(&[resting], &tenant("two"), &pools).starts_with("claims default "));
}

#[test]
fn of_claims_that_race_for_the_last_place_the_first_one_stays() {
    const FULL: &str = "pool default holds all the 2 blocks of its maxBlocks";
    let last = PortPool { max_blocks: Some(2), ..default() };
    let names = ["a", "b", "c", "d"].map(tenant);
    // The later, the lower the port and the name: neither decides.
    let bases = [11115, 11110, 11105, 11100];
    let claims: Vec<Claim> =
        (0..4).map(|i| claim(subject("default", bases[i]), Some(&names[i]), 90 + 5 * i as u64)).collect();
    let outcomes = names.each_ref().map(|tenant| chosen(&claims, tenant, &[&last]));
    assert_eq!(outcomes, ["holds default 11115", "holds default 11110", FULL, FULL]);
    // Those wait in line.
    assert_eq!(chosen(&claims[1..], &names[2], &[&last]), "holds default 11105");
    // Whoever has published its block keeps it, also where maxBlocks was lowered since.
    let kept = recorded(&claims, &names[3], ("default", 11100), Some(&last), AT);
    assert!(matches!(kept, PortsClaim::Held { base: 11100, .. }), "{kept:?}");
}

#[test]
fn of_blocks_that_overlap_the_first_one_stays() {
    let (moved, first, second) = (pool("default", 11103, 11122), tenant("first"), tenant("second"));
    let claims =
        [claim(subject("default", 11100), Some(&first), 7), claim(subject("default", 11103), Some(&second), 8)];
    let other = chosen(&claims, &second, &[&moved]);
    assert!(other.starts_with("claims default "), "{other}");
    assert_eq!(chosen(&claims, &first, &[&default()]), "holds default 11100");
}

#[test]
fn what_is_held_of_a_pool_that_is_no_more_the_tenants_is_of_use_only_where_it_is_recorded() {
    let acme = tenant("acme");
    let claims = [claim(subject("former", 12000), Some(&acme), 1)];
    assert!(chosen(&claims, &acme, &[&default()]).starts_with("claims default "));
    let kept = recorded(&claims, &acme, ("former", 12000), None, AT);
    assert_eq!(kept, PortsClaim::Held { pool: "former".into(), base: 12000, surplus: Vec::new() });
}

#[test]
fn a_recorded_block_is_claimed_again_and_no_other() {
    let (acme, thief) = (tenant("acme"), tenant("thief"));
    let of = |claims: &[Claim]| recorded(claims, &acme, ("default", 11110), Some(&default()), AT);
    assert_eq!(of(&[]), PortsClaim::Claim { pool: "default".into(), base: 11110, rested: None });
    let claims = [claim(subject("default", 11110), Some(&thief), 0)];
    assert_eq!(of(&claims), PortsClaim::Lost { by: thief.holder() });
}

#[test]
fn blocks_never_overlap_also_after_the_pool_was_moved_or_renamed() {
    let held = [claim(subject("former", 11103), Some(&tenant("other")), 0)];
    let narrow = pool("default", 11100, 11109);
    assert_eq!(chosen(&held, &tenant("acme"), &[&narrow]), "all 2 blocks of pool default are taken or resting");
}

#[test]
fn a_recorded_block_that_is_none_is_not_claimed() {
    let of = |base| recorded(&[], &tenant("acme"), ("default", base), Some(&default()), AT);
    assert_eq!((of(11101), of(5)), (PortsClaim::Outside, PortsClaim::Outside));
    assert_eq!(recorded(&[], &tenant("acme"), ("gone", 11100), None, AT), PortsClaim::Outside);
}

#[test]
fn a_released_block_rests_before_it_is_reused() {
    let acme = tenant("acme");
    let mut resting = claim(subject("default", 11100), None, 7);
    let single = pool("default", 11100, 11104);
    resting.rests_until = Some(AT + chrono::TimeDelta::seconds(1));
    let told = chosen(std::slice::from_ref(&resting), &acme, &[&single]);
    assert_eq!(told, "all 1 blocks of pool default are taken or resting");
    resting.rests_until = Some(AT);
    assert_eq!(chosen(&[resting], &acme, &[&single]), "claims default 11100 from 7");
}

#[test]
fn a_second_block_of_ours_is_surplus_once_the_first_is_recorded() {
    let acme = tenant("acme");
    let claims = [11105, 11100].map(|base| claim(subject("default", base), Some(&acme), 1));
    let held = |base, surplus| PortsClaim::Held { pool: "default".into(), base, surplus };
    assert_eq!(first(&claims, &acme, &[&default()], AT), held(11100, Vec::new()));
    let kept = recorded(&claims, &acme, ("default", 11105), Some(&default()), AT);
    assert_eq!(kept, held(11105, vec![subject("default", 11100)]));
}
