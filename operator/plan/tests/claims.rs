//! Many tenants ask for ports and domains at once, by the hands of two operators of which each sees what is claimed with a delay of
//! its own: an operator that was stopped and does not know yet that another one leads. The store decides as the API server does:
//! a name is created once, and a write names the revision that it saw. Nothing may be published twice.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use plan::claims::ports::{self, PortsClaim};
use plan::claims::{self, Claim, DomainClaim, Subject};
use plan::names::{self, Identity};
use plan::port_pool::{BLOCK, PortPool, in_order};

const TENANTS: usize = 24;
const SEEDS: u64 = 300;
/// Far more turns than it takes.
const TURNS: usize = 4_000;

/// The API server's side: every change in its order.
#[derive(Default)]
struct Store {
    claims: BTreeMap<String, Claim>,
    history: Vec<(String, Option<Claim>)>,
    now: DateTime<Utc>,
}

impl Store {
    fn put(&mut self, name: String, claim: Option<Claim>) {
        match &claim {
            Some(claim) => self.claims.insert(name.clone(), claim.clone()),
            None => self.claims.remove(&name),
        };
        self.history.push((name, claim));
    }

    /// Creates a claim, or takes a rested one over; somebody else may be first.
    fn claim(&mut self, tenant: &Identity, subject: &Subject, rested: Option<&str>, late: TimeDelta) {
        let found = self.claims.get(&subject.lease());
        if found.map(|found| found.resource_version.as_str()) != rested {
            return;
        }
        // The clock is read before the store is asked: who is later by the one may be first in the other.
        let created = found.map_or(self.now - late, |found| found.created);
        let claim = Claim {
            subject: subject.clone(),
            holder: Some(tenant.holder()),
            created,
            rests_until: None,
            resource_version: (self.history.len() + 1).to_string(),
        };
        self.put(subject.lease(), Some(claim));
    }

    /// Gives a claim up: a domain at once, a port block with a rest.
    fn release(&mut self, tenant: &Identity, subject: &Subject) {
        let Some(found) = self.claims.get(&subject.lease()).filter(|claim| claim.holder == Some(tenant.holder()))
        else {
            return;
        };
        if matches!(subject, Subject::Domain(_)) {
            return self.put(subject.lease(), None);
        }
        let resource_version = (self.history.len() + 1).to_string();
        let released = Claim { holder: None, rests_until: Some(self.now), resource_version, ..found.clone() };
        self.put(subject.lease(), Some(released));
    }
}

/// What one operator has seen: the first of the changes, in their order.
#[derive(Default)]
struct Operator {
    seen: usize,
    claims: BTreeMap<String, Claim>,
}

impl Operator {
    fn see(&mut self, store: &Store, up_to: usize) {
        for (name, claim) in &store.history[self.seen..up_to] {
            match claim {
                Some(claim) => self.claims.insert(name.clone(), claim.clone()),
                None => self.claims.remove(name),
            };
        }
        self.seen = up_to;
    }
}

struct Tenant {
    identity: Identity,
    domain: String,
    /// What is published: written after the claim, and for good.
    block: Option<(String, u16)>,
    /// Whether anything was made under the domain.
    uses: bool,
    answer: PortsClaim,
}

/// One run for one tenant by one operator. It may die before it records what it found, its view may be old, and what it creates may reach the store late.
fn run(store: &mut Store, view: &[Claim], tenant: &mut Tenant, pools: &[PortPool], (dies, late): (bool, TimeDelta)) {
    let identity = &tenant.identity;
    let own = Subject::Domain(tenant.domain.clone());
    match claims::domain(view, identity, &tenant.domain, tenant.uses) {
        DomainClaim::Free => store.claim(identity, &own, None, late),
        DomainClaim::Taken { ours: true, .. } => store.release(identity, &own),
        DomainClaim::Taken { ours: false, .. } => {}
        DomainClaim::Held => tenant.uses |= !dies,
    }
    let decided = match &tenant.block {
        Some((pool, base)) => {
            let policy = pools.iter().find(|found| found.name == *pool);
            ports::recorded(view, identity, (pool, *base), policy, store.now)
        }
        None => ports::first(view, identity, &in_order(pools, "front"), store.now),
    };
    match &decided {
        PortsClaim::Held { pool, base, surplus } => {
            surplus.iter().for_each(|subject| store.release(identity, subject));
            if !dies {
                tenant.block = Some((pool.clone(), *base));
            }
        }
        PortsClaim::Claim { pool, base, rested } => {
            store.claim(identity, &Subject::Ports { pool: pool.clone(), base: *base }, rested.as_deref(), late);
        }
        PortsClaim::Lost { .. } | PortsClaim::Outside | PortsClaim::Exhausted(_) => {}
    }
    tenant.answer = decided;
}

fn pools(yaml: &str) -> Vec<PortPool> {
    let pools: Vec<PortPool> = serde_saphyr::from_str(yaml).expect("pools");
    assert!(plan::port_pool::faults(&pools).is_empty());
    pools
}

/// What must hold at any time: no port is published twice, no pool carries more than it can.
fn check(tenants: &[Tenant], pools: &[PortPool], seed: u64) {
    let published: Vec<&(String, u16)> = tenants.iter().filter_map(|tenant| tenant.block.as_ref()).collect();
    for (index, (_, base)) in published.iter().enumerate() {
        let twice = published[..index].iter().any(|(_, other)| other.abs_diff(*base) < BLOCK);
        assert!(!twice, "SEED={seed}: a port of the block at {base} is published twice");
    }
    for pool in pools {
        let carried = published.iter().filter(|(name, _)| *name == pool.name).count();
        assert!(carried <= pool.capacity(), "SEED={seed}: pool {} carries {carried}", pool.name);
    }
    domains(tenants, seed);
}

#[test]
fn nothing_is_published_twice_whatever_two_operators_have_seen() {
    // 4 + 6 + 5 blocks for 24 tenants: all pools come to be full.
    let pools = pools(
        "[{name: front, start: 11100, end: 11199, maxBlocks: 4, overflow: middle}, {name: middle, start: 12000, end: 12029, overflow: back}, {name: back, start: 13000, end: 13099, maxBlocks: 5}]",
    );
    let most: usize = pools.iter().map(PortPool::capacity).sum();
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let mut store = Store::default();
        let mut operators = [Operator::default(), Operator::default()];
        let mut tenants: Vec<Tenant> = (0..TENANTS).map(tenant).collect();
        for turn in 0..TURNS {
            // Time stands still now and then: the API server's clock has whole seconds.
            if random.u8(..20) == 0 {
                store.now += TimeDelta::seconds(1);
            }
            let operator = &mut operators[random.usize(..2)];
            let latest = store.history.len();
            let up_to = if turn > TURNS / 2 { latest } else { random.usize(operator.seen..=latest) };
            operator.see(&store, up_to);
            let view: Vec<Claim> = operator.claims.values().cloned().collect();
            let tenant = &mut tenants[random.usize(..TENANTS)];
            run(&mut store, &view, tenant, &pools, (random.u8(..5) == 0, TimeDelta::seconds(random.i64(0..2))));
            check(&tenants, &pools, seed);
            if turn % 64 == 0 && turn > TURNS / 2 && settled(&tenants) {
                break;
            }
        }
        assert!(settled(&tenants), "SEED={seed}: somebody neither has a block nor is told that all are full");
        let with = tenants.iter().filter(|tenant| tenant.block.is_some()).count();
        assert_eq!(with, most, "SEED={seed}: what is free is given away");
        for tenant in &tenants {
            let Some((pool, base)) = &tenant.block else { continue };
            let lease = &store.claims[&Subject::Ports { pool: pool.clone(), base: *base }.lease()];
            assert_eq!(lease.holder, Some(tenant.identity.holder()), "SEED={seed}: what is published is claimed");
        }
        assert_eq!(tenants.iter().filter(|tenant| tenant.uses).count(), TENANTS / 3, "SEED={seed}: one of each family");
    }
}

/// Of tenants with names that are equal, or lie below one another, at most one uses its own.
fn domains(tenants: &[Tenant], seed: u64) {
    for family in tenants.chunks(3) {
        let used = family.iter().filter(|tenant| tenant.uses).map(|tenant| tenant.domain.as_str());
        let used: Vec<&str> = used.collect();
        assert!(used.len() <= 1, "SEED={seed}: {used:?} are used");
    }
}

/// Three of a family want a name, the same once more, and one above it.
fn tenant(number: usize) -> Tenant {
    let family = number / 3;
    let domain = if number % 3 == 2 { format!("f{family}.example.com") } else { format!("a.f{family}.example.com") };
    let slug = format!("t{number}");
    let id = names::tenant_id(&slug);
    let identity = Identity { namespace: format!("n{}", number % 2), uid: slug.clone(), slug, id };
    Tenant { identity, domain, block: None, uses: false, answer: PortsClaim::Outside }
}

fn settled(tenants: &[Tenant]) -> bool {
    let of_each_family = tenants.chunks(3).all(|family| family.iter().any(|tenant| tenant.uses));
    of_each_family
        && tenants.iter().all(|tenant| tenant.block.is_some() || matches!(tenant.answer, PortsClaim::Exhausted(_)))
}
