//! Port blocks: which one a tenant asks for, and whether the one it holds is its own for good. Two operators may ask at the same
//! time by views that differ, so a claim is judged once more before anything is published by it: of claims that exclude each other
//! the first one stays.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use crds::tenant_status::Ports;

use super::{Claim, Subject, made};
use crate::names::Identity;
use crate::port_pool::{BLOCK, PortPool};

/// Where a tenant stands with its port block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortsClaim {
    /// Ours, beginning here. Further blocks that are ours too are left over from a lost answer; once this one is recorded they are
    /// given up.
    Held {
        /// The pool.
        pool: String,
        /// First port.
        base: u16,
        /// To be released.
        surplus: Vec<Subject>,
    },
    /// Claim this one. With a resource version it is a rested Lease to be taken over.
    Claim {
        /// The pool.
        pool: String,
        /// First port.
        base: u16,
        /// Resource version of the rested Lease.
        rested: Option<String>,
    },
    /// The recorded block is held by somebody else.
    Lost {
        /// The holder.
        by: String,
    },
    /// The recorded block is held by nobody, and is none of the policy's blocks any more.
    Outside,
    /// No pool has a free block.
    Exhausted(Vec<Full>),
}

/// A pool without a free block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// Its name.
    pub pool: String,
    /// How many blocks it has.
    pub blocks: usize,
    /// How many of them may be held at once, where that is what is reached.
    pub most: Option<usize>,
}

impl std::fmt::Display for Full {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Full { pool, blocks, most } = self;
        match most {
            Some(most) => write!(formatter, "pool {pool} holds all the {most} blocks of its maxBlocks"),
            None => write!(formatter, "all {blocks} blocks of pool {pool} are taken or resting"),
        }
    }
}

/// Judges the block that a tenant has: the only one that will do, since a published address never changes. `policy` is its pool, if
/// the fleet policy still has it: whoever holds a block keeps it, whatever became of the pool.
pub fn recorded(
    claims: &[Claim],
    tenant: &Identity,
    (pool, base): (&str, u16),
    policy: Option<&PortPool>,
    now: DateTime<Utc>,
) -> PortsClaim {
    let own = Subject::Ports { pool: pool.to_owned(), base };
    let mut held = held(claims, tenant);
    if held.contains(&own) {
        held.retain(|subject| *subject != own);
        return PortsClaim::Held { pool: pool.to_owned(), base, surplus: held };
    }
    if !policy.is_some_and(|policy| policy.has(base)) {
        return PortsClaim::Outside;
    }
    let found = claims.iter().find(|claim| claim.subject == own);
    if is_free(&taken(claims, now), base) {
        let rested = found.map(|found| found.resource_version.clone());
        return PortsClaim::Claim { pool: pool.to_owned(), base, rested };
    }
    PortsClaim::Lost { by: found.and_then(|claim| claim.holder.clone()).unwrap_or_else(|| "its quarantine".into()) }
}

/// Judges the block of a tenant that has none yet, out of these pools in their order. No claim is released here, whatever is held
/// besides: by an older or a newer view another operator may be about to record just that one.
pub fn first(claims: &[Claim], tenant: &Identity, pools: &[&PortPool], now: DateTime<Utc>) -> PortsClaim {
    let holder = tenant.holder();
    let mut own: Vec<&Claim> = claims.iter().filter(|claim| claim.holder.as_ref() == Some(&holder)).collect();
    own.sort_by_key(|claim| made(claim));
    let usable = own.into_iter().find_map(|claim| {
        let Subject::Ports { pool: name, base } = &claim.subject else { return None };
        let pool = pools.iter().find(|pool| pool.name == *name)?;
        (!is_too_late(claims, claim, *base, pool)).then_some((name.clone(), *base))
    });
    if let Some((pool, base)) = usable {
        return PortsClaim::Held { pool, base, surplus: Vec::new() };
    }
    let taken = taken(claims, now);
    let mut full = Vec::new();
    for pool in pools {
        let bases: Vec<u16> = pool.bases().collect();
        let most = pool.capacity();
        if in_use(claims, &pool.name).count() >= most {
            let most = Some(most).filter(|most| *most < bases.len());
            full.push(Full { pool: pool.name.clone(), blocks: bases.len(), most });
            continue;
        }
        // Each tenant starts to look at a place of its own, so that a thousand at once do not all ask for the same block.
        let start = tenant.id.get(..8).and_then(|head| usize::from_str_radix(head, 16).ok()).unwrap_or(0) % bases.len();
        let free = (0..bases.len()).map(|step| bases[(start + step) % bases.len()]).find(|base| is_free(&taken, *base));
        match free {
            Some(base) => {
                let subject = Subject::Ports { pool: pool.name.clone(), base };
                let found = claims.iter().find(|claim| claim.subject == subject);
                let rested = found.map(|found| found.resource_version.clone());
                return PortsClaim::Claim { pool: pool.name.clone(), base, rested };
            }
            None => full.push(Full { pool: pool.name.clone(), blocks: bases.len(), most: None }),
        }
    }
    PortsClaim::Exhausted(full)
}

/// The block that begins here.
pub fn block(pool: &str, base: u16) -> Ports {
    let port = |offset: i32| i32::from(base) + offset;
    Ports { pool: pool.to_owned(), ssh: port(0), tunnel: port(1), kube: port(2), mysql: port(3), postgres: port(4) }
}

/// The blocks that a tenant holds, in order.
fn held(claims: &[Claim], tenant: &Identity) -> Vec<Subject> {
    let holder = tenant.holder();
    let mut held: Vec<Subject> = claims
        .iter()
        .filter(|claim| matches!(claim.subject, Subject::Ports { .. }) && claim.holder.as_ref() == Some(&holder))
        .map(|claim| claim.subject.clone())
        .collect();
    held.sort_unstable();
    held
}

/// The first ports of all blocks that are held or rest, whatever the pool was called or wherever it began then.
fn taken(claims: &[Claim], now: DateTime<Utc>) -> BTreeSet<u16> {
    let in_use = |found: &&Claim| found.holder.is_some() || found.rests_until.is_some_and(|until| until > now);
    claims.iter().filter(in_use).filter_map(base).collect()
}

/// A block is free only when no port of it is held or resting.
fn is_free(taken: &BTreeSet<u16>, base: u16) -> bool {
    taken.range(base.saturating_sub(BLOCK - 1)..=base.saturating_add(BLOCK - 1)).next().is_none()
}

/// The claims of a pool that are held.
fn in_use<'a>(claims: &'a [Claim], pool: &'a str) -> impl Iterator<Item = &'a Claim> {
    claims.iter().filter(move |claim| {
        claim.holder.is_some() && matches!(&claim.subject, Subject::Ports { pool: name, .. } if name == pool)
    })
}

/// Whether claims that were made before one of ours leave no place for it: they fill the pool, or share a port with it. Whoever sees
/// a claim of its own sees every one before it, so of several that race for one place exactly the first comes to have it; the others
/// stand in line, and their claims count again when one before them is gone.
fn is_too_late(claims: &[Claim], own: &Claim, of: u16, pool: &PortPool) -> bool {
    let earlier = |claim: &&Claim| claim.holder != own.holder && made(claim) < made(own);
    let overlaps = |claim: &Claim| base(claim).is_some_and(|other| other.abs_diff(of) < BLOCK);
    in_use(claims, &pool.name).filter(earlier).count() >= pool.capacity()
        || claims.iter().filter(earlier).any(|claim| claim.holder.is_some() && overlaps(claim))
}

fn base(claim: &Claim) -> Option<u16> {
    match &claim.subject {
        Subject::Ports { base, .. } => Some(*base),
        Subject::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests;
