//! First stage: the finalizer, the tenant id, the domain and the port block. Nothing outside is made before the names
//! that outlive the process stand in status.

use crds::network::Exposure;
use crds::tenant_status::Ports;
use crds::{ConditionType, Reason};
use kube::ResourceExt;

use super::{Answer, RETRY, Scope, Stage};
use crate::account;
use crate::claims::ports::{self, PortsClaim};
use crate::claims::{self, DomainClaim, Subject};
use crate::domains;
use crate::fact::Fact;
use crate::names::FINALIZER;
use crate::port_pool::{self, PortPool};
use crate::step::Step;

/// What the later stages build on.
#[derive(Debug)]
pub struct Outcome {
    /// The stage.
    pub stage: Stage,
    /// The port block, once it is ours.
    pub ports: Option<Ports>,
}

/// Plans the stage.
pub fn plan(scope: &Scope<'_>) -> Outcome {
    let mut stage = Stage::default();
    let status = scope.observed.tenant.status.clone().unwrap_or_default();
    let leaving = scope.observed.tenant.metadata.deletion_timestamp.is_some();
    // The API server takes no new finalizer on an object that is leaving.
    if !leaving && !scope.observed.tenant.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        stage.steps.push(Step::AddFinalizer);
    }
    match &status.storage {
        None => stage.waits("the tenant id and the names of its resources to be recorded"),
        Some(recorded) if *recorded == scope.cloud.recorded() => {}
        // Another id, account or path in the policy would name other resources: empty ones.
        Some(recorded) => stage.stalls(
            Reason::FleetPolicyInvalid,
            format!(
                "the tenant's resources are recorded as {} in account {} with role {}, which is not what the fleet policy says now: put its id and rolePath back",
                recorded.state_table, recorded.account, recorded.role_arn
            ),
            RETRY,
        ),
    }
    if !scope.account.regions.contains(&scope.cloud.region) {
        let regions: Vec<&str> = scope.account.regions.iter().map(String::as_str).collect();
        stage.stalls(Reason::InvalidSpec, account::unlisted(&scope.cloud.region, &regions), RETRY);
    }
    // No claim before the finalizer and the id are stored: what is claimed must be released again.
    let recorded = stage.is_settled();
    let claims = match &scope.observed.claims {
        Fact::Known(claims) => claims.as_slice(),
        Fact::Absent => &[],
        Fact::Unknown => {
            stage.polls("the claims of the installation to be read");
            ports_unknown(scope, &mut stage);
            return Outcome { stage, ports: None };
        }
    };
    let domain = domain(scope, claims, recorded, &mut stage);
    let ports = match &scope.wanted.port_pool {
        Some(pool) => ports(scope, claims, pool, (recorded, domain), &mut stage),
        None => None,
    };
    Outcome { stage, ports }
}

/// Sees to the domain; answers whether it is the tenant's.
fn domain(scope: &Scope<'_>, claims: &[claims::Claim], recorded: bool, stage: &mut Stage) -> bool {
    let domain = &scope.wanted.domain;
    let status = scope.observed.tenant.status.as_ref();
    // A block is recorded only beside a domain that is held.
    let uses = status.is_some_and(|status| status.applied.is_some() || status.ports.is_some());
    match claims::domain(claims, &scope.tenant, domain, uses) {
        DomainClaim::Held => return true,
        // Whoever holds a domain keeps it, whatever the policy says later: a published address never changes.
        DomainClaim::Free if !admitted(scope, domain, stage) => {}
        DomainClaim::Free if recorded => {
            stage.steps.push(Step::Claim { subject: Subject::Domain(domain.clone()), rested: None });
        }
        DomainClaim::Free => stage.waits(format!("the domain {domain} to be claimed")),
        DomainClaim::Taken { by, domain: taken, ours } => {
            if ours {
                stage.steps.push(Step::Release { subject: Subject::Domain(domain.clone()), rests_until: None });
            }
            let message = format!(
                "spec.domain: {taken} belongs to {by}, and no other tenant may use it or a name above or below it: create the Tenant with another domain, or remove that tenant first"
            );
            stage.stalls(Reason::DomainTaken, message, RETRY);
        }
    }
    false
}

/// Whether the policy lets this namespace use the domain.
fn admitted(scope: &Scope<'_>, domain: &str, stage: &mut Stage) -> bool {
    let rules = &scope.installation.domains;
    let labels = match &scope.observed.namespace_labels {
        Some(labels) => labels,
        None if rules.is_empty() => return true,
        None => {
            stage.polls("the labels of the namespace to be read");
            return false;
        }
    };
    match domains::admit(rules, domain, labels) {
        Ok(()) => true,
        Err(message) => {
            stage.stalls(Reason::DomainNotAllowed, message, RETRY);
            false
        }
    }
}

/// Sees to the block. `recorded` says whether what is claimed can be given up again, `domain` whether the domain is the tenant's:
/// one that cannot have it gets no block, which would burden an address for nothing.
fn ports(
    scope: &Scope<'_>,
    claims: &[claims::Claim],
    pool: &str,
    (recorded, domain): (bool, bool),
    stage: &mut Stage,
) -> Option<Ports> {
    let hopeless = stage.stalled.is_some() && !domain;
    let condition = ConditionType::PortsAllocated;
    let mut refuse = |reason, message: String| {
        stage.verdict(condition, Answer::False, reason, &message);
        stage.stalls(reason, message, RETRY);
    };
    let before = scope.observed.tenant.status.as_ref().and_then(|status| status.ports.as_ref());
    let before = before.and_then(|ports| Some((ports.pool.as_str(), u16::try_from(ports.ssh).ok()?)));
    let decided = match before {
        Some((pool, base)) => {
            let policy = scope.installation.pool(pool);
            let gateway = policy.and_then(|pool| pool.gateway_ref.as_ref());
            if scope.wanted.exposure == Exposure::Gateway && gateway.is_none() {
                let message = format!(
                    "port 443 of the tenant goes through the Gateway of pool {pool}, which the fleet policy does not name any more: put the pool back there with its gatewayRef"
                );
                refuse(Reason::FleetPolicyInvalid, message);
                return None;
            }
            ports::recorded(claims, &scope.tenant, (pool, base), policy, scope.observed.now)
        }
        None => {
            let pools = port_pool::in_order(&scope.installation.port_pools, pool);
            if pools.is_empty() {
                let message = format!(
                    "spec.network.portPool: the fleet policy has no port pool {pool:?}: add it there, or create the Tenant with one of its pools"
                );
                refuse(Reason::InvalidSpec, message);
                return None;
            }
            // Asked before a block is claimed that could not be published. A pool that takes over may be of another kind, and is
            // passed over then.
            let serves = |pool: &&PortPool| pool.serves(scope.wanted.exposure, &scope.installation.network.node_ports);
            if let Err(message) = pools.first().map_or(Ok(()), serves) {
                refuse(Reason::InvalidSpec, format!("spec.network.portPool: {message}"));
                return None;
            }
            let pools: Vec<&PortPool> = pools.into_iter().filter(|pool| serves(pool).is_ok()).collect();
            ports::first(claims, &scope.tenant, &pools, scope.observed.now)
        }
    };
    match decided {
        PortsClaim::Held { pool, base, .. } if before.is_none() && !domain => {
            let message = format!("the block at {base} of pool {pool} is claimed, and the domain is not");
            stage.verdict(condition, Answer::False, Reason::InProgress, message);
            if hopeless {
                give_back(scope, vec![Subject::Ports { pool, base }], stage);
            }
        }
        PortsClaim::Held { pool, base, surplus } => {
            let block = ports::block(&pool, base);
            let message = format!("ports {} to {} of pool {pool}", block.ssh, block.postgres);
            stage.verdict(condition, Answer::True, Reason::AsSpecified, message);
            give_back(scope, surplus, stage);
            return Some(block);
        }
        PortsClaim::Claim { pool, base, rested } => {
            let message = format!("the block at {base} of pool {pool} is being claimed");
            stage.verdict(condition, Answer::False, Reason::InProgress, message);
            if recorded && !hopeless {
                stage.steps.push(Step::Claim { subject: Subject::Ports { pool, base }, rested });
            } else {
                stage.waits(format!("the block at {base} of pool {pool} to be claimed"));
            }
        }
        PortsClaim::Lost { by } => {
            let (pool, base) = before.unwrap_or_default();
            let message = format!(
                "the recorded block at {base} of pool {pool} is held by {by}, and a published port never changes: delete the Lease {} if that tenant does not use it",
                Subject::Ports { pool: pool.to_owned(), base }.lease()
            );
            refuse(Reason::NameTaken, message);
        }
        PortsClaim::Outside => {
            let (pool, base) = before.unwrap_or_default();
            let message = format!(
                "the recorded block at {base} of pool {pool} is claimed by nobody, and the fleet policy has no such block to claim it again: put the pool back there with its range"
            );
            refuse(Reason::FleetPolicyInvalid, message);
        }
        PortsClaim::Exhausted(full) => {
            let full = full.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let message = format!(
                "{full}: in the fleet policy, enlarge a pool, or name one with an address of its own as the overflow of the last; or remove tenants"
            );
            refuse(Reason::PoolExhausted, message);
        }
    }
    None
}

/// Gives up blocks by which nothing was published: they need no rest.
fn give_back(scope: &Scope<'_>, subjects: Vec<Subject>, stage: &mut Stage) {
    let release = |subject| Step::Release { subject, rests_until: Some(scope.observed.now) };
    stage.steps.extend(subjects.into_iter().map(release));
}

fn ports_unknown(scope: &Scope<'_>, stage: &mut Stage) {
    if scope.wanted.port_pool.is_some() {
        stage.verdict(
            ConditionType::PortsAllocated,
            Answer::Unknown,
            Reason::InProgress,
            "the claims could not be read yet",
        );
    }
}
