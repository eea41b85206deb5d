//! Claims: a domain or a port block is a Lease in the operator's namespace, and creating it is the claim. The API server
//! decides who was first; this module decides what to ask for.

use chrono::{DateTime, Utc};

use crate::names::{self, Identity};

pub mod ports;

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
        /// Whether a claim of ours stands beside it, by which nothing was made yet: to be released.
        ours: bool,
    },
}

/// Judges a domain. Equal, above and below count as the same, so two tenants may each hold a Lease of their own for names that
/// exclude each other. Whoever sees its own claim sees every one before it, and gives its own up for an earlier one before anything is
/// made by it; who `uses` a domain keeps it. Where the revision of the store and the API server's clock disagree about which is
/// the earlier one, both give up and ask again: by a later edit of a Lease nobody comes to be first.
pub fn domain(claims: &[Claim], tenant: &Identity, domain: &str, uses: bool) -> DomainClaim {
    let holder = tenant.holder();
    let own = claims.iter().find(|claim| {
        matches!(&claim.subject, Subject::Domain(claimed) if claimed == domain)
            && claim.holder.as_ref() == Some(&holder)
    });
    if own.is_some() && uses {
        return DomainClaim::Held;
    }
    for claim in claims {
        let (Subject::Domain(claimed), Some(by)) = (&claim.subject, &claim.holder) else { continue };
        if *by == holder || !overlap(claimed, domain) {
            continue;
        }
        if own.is_none_or(|own| made(claim) < made(own) || claim.created < own.created) {
            return DomainClaim::Taken { by: by.clone(), domain: claimed.clone(), ours: own.is_some() };
        }
    }
    if own.is_some() { DomainClaim::Held } else { DomainClaim::Free }
}

/// The order in which claims were made: the revision of the store, which the API server counts up (resource versions are numbers,
/// and may be compared); by its clock where they are none.
fn made(claim: &Claim) -> (Option<u64>, DateTime<Utc>, &Subject) {
    (claim.resource_version.parse().ok(), claim.created, &claim.subject)
}

/// Whether two domains are equal or one lies below the other.
fn overlap(one: &str, other: &str) -> bool {
    let below = |child: &str, parent: &str| child.strip_suffix(parent).is_some_and(|head| head.ends_with('.'));
    one == other || below(one, other) || below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(slug: &str) -> Identity {
        Identity { slug: slug.into(), namespace: "ns".into(), uid: slug.into(), id: names::tenant_id(slug) }
    }

    /// A claim that was made at this revision, in this second.
    fn claim(domain: &str, holder: &Identity, revision: u64, second: i64) -> Claim {
        Claim {
            subject: Subject::Domain(domain.into()),
            holder: Some(holder.holder()),
            created: DateTime::from_timestamp(1_700_000_000 + second, 0).expect("in range"),
            rests_until: None,
            resource_version: revision.to_string(),
        }
    }

    #[test]
    fn a_domain_equal_above_or_below_a_claimed_one_is_taken() {
        let (acme, other) = (tenant("acme"), tenant("other"));
        let claims = [claim("acme.example.com", &acme, 7, 0)];
        for wanted in ["acme.example.com", "example.com", "deep.acme.example.com"] {
            let found = domain(&claims, &other, wanted, false);
            assert!(matches!(found, DomainClaim::Taken { ours: false, .. }), "{wanted}");
        }
        for free in ["notacme.example.com", "other.example.com", "acme.example.org"] {
            assert_eq!(domain(&claims, &other, free, false), DomainClaim::Free, "{free}");
        }
        assert_eq!(domain(&claims, &acme, "acme.example.com", false), DomainClaim::Held);
    }

    #[test]
    fn of_two_overlapping_claims_the_later_one_is_given_up_before_it_is_used() {
        let (parent, child) = (tenant("parent"), tenant("child"));
        let of = |claims: &[Claim; 2], uses| {
            let parent = domain(claims, &parent, "example.com", uses);
            (parent, domain(claims, &child, "a.example.com", uses))
        };
        let taken = |claims: &[Claim; 2], uses| {
            let (parent, child) = of(claims, uses);
            [parent, child].map(|found| matches!(found, DomainClaim::Taken { ours: true, .. }))
        };
        let both = |revisions: [u64; 2], seconds: [i64; 2]| {
            [
                claim("example.com", &parent, revisions[0], seconds[0]),
                claim("a.example.com", &child, revisions[1], seconds[1]),
            ]
        };
        // 100 is later than 99, whatever the letters say.
        assert_eq!(taken(&both([100, 99], [5, 5]), false), [true, false]);
        assert_eq!(taken(&both([99, 100], [5, 6]), false), [false, true]);
        // The parent's Lease was edited since: neither is first beyond doubt.
        assert_eq!(taken(&both([100, 99], [4, 5]), false), [true, true]);
        assert_eq!(of(&both([100, 99], [5, 5]), true), (DomainClaim::Held, DomainClaim::Held), "what is used is kept");
    }
}
