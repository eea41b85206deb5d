//! Claims: a domain or a port block is a Lease in the operator's namespace, and creating it is the claim. The API server
//! decides who was first; this module decides what to ask for.

use chrono::{DateTime, Utc};
use crds::tenant_status::Ports;

use crate::fleet::PortPool;
use crate::names::{self, Identity};

/// Ports in a block: ssh, tunnel, kube, mysql, postgres.
pub const BLOCK: u16 = 5;

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A domain, and with it everything above and below it.
    Domain(String),
    /// Five consecutive ports.
    Ports {
        /// The pool.
        pool: String,
        /// The first of the five.
        base: u16,
    },
}

impl Subject {
    /// Name of the Lease.
    pub fn lease(&self) -> String {
        match self {
            Subject::Domain(domain) => names::domain_claim(domain),
            Subject::Ports { pool, base } => names::ports_claim(pool, *base),
        }
    }
}

/// A claim as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub subject: Subject,
    /// namespace/name/tenant id; absent once it was released.
    pub holder: Option<String>,
    /// When it was made, by the API server's clock.
    pub created: DateTime<Utc>,
    /// After its release: until when it rests.
    pub rests_until: Option<DateTime<Utc>>,
    /// For a conditional write.
    pub resource_version: String,
}

/// Where a tenant stands with its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainClaim {
    /// Ours.
    Held,
    /// Nobody's: claim it.
    Free,
    /// Another tenant was first, with this domain.
    Taken {
        /// The holder.
        by: String,
        /// What the holder claimed.
        domain: String,
    },
}

/// Judges a domain. Equal, above and below count as the same; of two that were claimed at the same moment the older
/// Lease wins, then the one whose name sorts first, so that both sides come to the same answer.
pub fn domain(claims: &[Claim], tenant: &Identity, domain: &str) -> DomainClaim {
    let holder = tenant.holder();
    let own = claims.iter().find(|claim| {
        matches!(&claim.subject, Subject::Domain(claimed) if claimed == domain)
            && claim.holder.as_ref() == Some(&holder)
    });
    let rank = |claim: &Claim| (claim.created, claim.subject.lease());
    for claim in claims {
        let (Subject::Domain(claimed), Some(by)) = (&claim.subject, &claim.holder) else { continue };
        if *by == holder || !overlap(claimed, domain) {
            continue;
        }
        if own.is_none_or(|own| rank(claim) < rank(own)) {
            return DomainClaim::Taken { by: by.clone(), domain: claimed.clone() };
        }
    }
    if own.is_some() { DomainClaim::Held } else { DomainClaim::Free }
}

/// Whether two domains are equal or one lies below the other.
fn overlap(one: &str, other: &str) -> bool {
    let below = |child: &str, parent: &str| child.strip_suffix(parent).is_some_and(|head| head.ends_with('.'));
    one == other || below(one, other) || below(other, one)
}

/// Where a tenant stands with its port block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortsClaim {
    /// Ours, beginning here. Further blocks that are ours too are left over from a lost answer.
    Held {
        /// First port.
        base: u16,
        /// To be released.
        surplus: Vec<u16>,
    },
    /// Claim this one. With a resource version it is a rested Lease to be taken over.
    Claim {
        /// First port.
        base: u16,
        /// Resource version of the rested Lease.
        rested: Option<String>,
    },
    /// The recorded block is held by somebody else.
    Lost {
        /// First port.
        base: u16,
        /// The holder.
        by: String,
    },
    /// No block is free.
    Exhausted {
        /// How many blocks the pool has.
        blocks: usize,
    },
}

/// Judges the port block. A recorded block is the only one that will do: a published address never changes.
pub fn ports(
    claims: &[Claim],
    tenant: &Identity,
    pool: &PortPool,
    recorded: Option<u16>,
    now: DateTime<Utc>,
) -> PortsClaim {
    let holder = tenant.holder();
    let of_pool = |base: u16| {
        claims.iter().find(move |claim| {
            matches!(&claim.subject, Subject::Ports { pool: name, base: claimed } if *name == pool.name && *claimed == base)
        })
    };
    let in_use = |found: &Claim| found.holder.is_some() || found.rests_until.is_some_and(|until| until > now);
    // A block is free only when no port of it is held or resting, whatever the pool was called or wherever it began then.
    let taken: Vec<u16> = claims
        .iter()
        .filter(|found| in_use(found))
        .filter_map(|found| match &found.subject {
            Subject::Ports { base, .. } => Some(*base),
            Subject::Domain(_) => None,
        })
        .collect();
    let claim = |base: u16| {
        let free = taken.iter().all(|taken| taken.abs_diff(base) >= BLOCK);
        free.then(|| PortsClaim::Claim { base, rested: of_pool(base).map(|found| found.resource_version.clone()) })
    };
    let mut held: Vec<u16> = claims
        .iter()
        .filter(|claim| claim.holder.as_ref() == Some(&holder))
        .filter_map(|claim| match &claim.subject {
            Subject::Ports { pool: name, base } if *name == pool.name => Some(*base),
            Subject::Ports { .. } | Subject::Domain(_) => None,
        })
        .collect();
    held.sort_unstable();
    let first = usize::from(pool.start)..=usize::from(pool.end - (BLOCK - 1));
    if let Some(base) = recorded {
        if held.contains(&base) {
            held.retain(|other| *other != base);
            return PortsClaim::Held { base, surplus: held };
        }
        if !first.contains(&usize::from(base)) || !(base - pool.start).is_multiple_of(BLOCK) {
            return PortsClaim::Lost { base, by: "nobody, and is no block of the pool".into() };
        }
        return claim(base).unwrap_or_else(|| PortsClaim::Lost {
            base,
            by: of_pool(base).and_then(|claim| claim.holder.clone()).unwrap_or_else(|| "its quarantine".into()),
        });
    }
    if !held.is_empty() {
        let base = held.remove(0);
        return PortsClaim::Held { base, surplus: held };
    }
    // Each tenant starts to look at a place of its own, so that a thousand at once do not all ask for the same block.
    let bases: Vec<u16> = (pool.start..=pool.end - (BLOCK - 1)).step_by(usize::from(BLOCK)).collect();
    let start = tenant.id.get(..8).and_then(|head| usize::from_str_radix(head, 16).ok()).unwrap_or(0) % bases.len();
    (0..bases.len())
        .find_map(|step| claim(bases[(start + step) % bases.len()]))
        .unwrap_or(PortsClaim::Exhausted { blocks: bases.len() })
}

/// The block that begins here.
pub fn block(pool: &str, base: u16) -> Ports {
    let port = |offset: i32| i32::from(base) + offset;
    Ports { pool: pool.to_owned(), ssh: port(0), tunnel: port(1), kube: port(2), mysql: port(3), postgres: port(4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(slug: &str) -> Identity {
        Identity { slug: slug.into(), namespace: "ns".into(), uid: slug.into(), id: names::tenant_id(slug) }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("in range")
    }

    fn claim(subject: Subject, holder: Option<&Identity>, second: i64) -> Claim {
        Claim {
            subject,
            holder: holder.map(Identity::holder),
            created: at(second),
            rests_until: None,
            resource_version: "7".into(),
        }
    }

    fn pool() -> PortPool {
        PortPool { name: "default".into(), start: 11100, end: 11119, quarantine: "168h".into() }
    }

    #[test]
    fn a_domain_equal_above_or_below_a_claimed_one_is_taken() {
        let (acme, other) = (tenant("acme"), tenant("other"));
        let claims = [claim(Subject::Domain("acme.example.com".into()), Some(&acme), 0)];
        for wanted in ["acme.example.com", "example.com", "deep.acme.example.com"] {
            assert!(matches!(domain(&claims, &other, wanted), DomainClaim::Taken { .. }), "{wanted}");
        }
        for free in ["notacme.example.com", "other.example.com", "acme.example.org"] {
            assert_eq!(domain(&claims, &other, free), DomainClaim::Free, "{free}");
        }
        assert_eq!(domain(&claims, &acme, "acme.example.com"), DomainClaim::Held);
    }

    #[test]
    fn of_two_overlapping_claims_both_sides_agree_on_the_older() {
        let (parent, child) = (tenant("parent"), tenant("child"));
        let claims = [
            claim(Subject::Domain("example.com".into()), Some(&parent), 5),
            claim(Subject::Domain("a.example.com".into()), Some(&child), 4),
        ];
        assert_eq!(domain(&claims, &child, "a.example.com"), DomainClaim::Held);
        assert!(matches!(domain(&claims, &parent, "example.com"), DomainClaim::Taken { .. }));
    }

    #[test]
    fn blocks_are_handed_out_until_the_pool_is_full() {
        let mut claims = Vec::new();
        let mut bases = std::collections::BTreeSet::new();
        for number in 0..4 {
            let tenant = tenant(&format!("t{number}"));
            let PortsClaim::Claim { base, rested: None } = ports(&claims, &tenant, &pool(), None, at(0)) else {
                panic!("no block for {number}")
            };
            assert!(bases.insert(base) && (base - 11100) % BLOCK == 0);
            claims.push(claim(Subject::Ports { pool: "default".into(), base }, Some(&tenant), 0));
        }
        assert_eq!(ports(&claims, &tenant("t9"), &pool(), None, at(0)), PortsClaim::Exhausted { blocks: 4 });
    }

    #[test]
    fn a_recorded_block_is_claimed_again_and_no_other() {
        let (acme, thief) = (tenant("acme"), tenant("thief"));
        assert_eq!(ports(&[], &acme, &pool(), Some(11110), at(0)), PortsClaim::Claim { base: 11110, rested: None });
        let claims = [claim(Subject::Ports { pool: "default".into(), base: 11110 }, Some(&thief), 0)];
        assert_eq!(
            ports(&claims, &acme, &pool(), Some(11110), at(0)),
            PortsClaim::Lost { base: 11110, by: thief.holder() }
        );
    }

    #[test]
    fn blocks_never_overlap_also_after_the_pool_was_moved_or_renamed() {
        let (acme, other) = (tenant("acme"), tenant("other"));
        let held = [claim(Subject::Ports { pool: "former".into(), base: 11103 }, Some(&other), 0)];
        let narrow = PortPool { end: 11109, ..pool() };
        assert_eq!(ports(&held, &acme, &narrow, None, at(0)), PortsClaim::Exhausted { blocks: 2 });
    }

    #[test]
    fn a_recorded_block_that_is_none_is_not_claimed() {
        assert!(matches!(ports(&[], &tenant("acme"), &pool(), Some(11101), at(0)), PortsClaim::Lost { .. }));
        assert!(matches!(ports(&[], &tenant("acme"), &pool(), Some(5), at(0)), PortsClaim::Lost { .. }));
    }

    #[test]
    fn a_released_block_rests_before_it_is_reused() {
        let acme = tenant("acme");
        let mut resting = claim(Subject::Ports { pool: "default".into(), base: 11100 }, None, 0);
        resting.rests_until = Some(at(100));
        let single = PortPool { end: 11104, ..pool() };
        assert_eq!(
            ports(std::slice::from_ref(&resting), &acme, &single, None, at(99)),
            PortsClaim::Exhausted { blocks: 1 }
        );
        assert_eq!(
            ports(&[resting], &acme, &single, None, at(100)),
            PortsClaim::Claim { base: 11100, rested: Some("7".into()) }
        );
    }

    #[test]
    fn a_second_block_of_ours_is_surplus() {
        let acme = tenant("acme");
        let claims = [11105, 11100].map(|base| claim(Subject::Ports { pool: "default".into(), base }, Some(&acme), 0));
        assert_eq!(ports(&claims, &acme, &pool(), None, at(0)), PortsClaim::Held { base: 11100, surplus: vec![11105] });
        assert_eq!(
            ports(&claims, &acme, &pool(), Some(11105), at(0)),
            PortsClaim::Held { base: 11105, surplus: vec![11100] }
        );
    }
}
