//! The AWS account of a tenant: chosen once, when its names are recorded, and never again.

use crds::Reason;

use crate::fleet::{Account, Installation};
use crate::observed::Observed;
use crate::stage::Stall;

/// The account that is recorded, or the first one of the policy with this region and room.
///
/// # Errors
/// Why there is none, with what to do.
pub fn of<'a>(observed: &Observed, installation: &'a Installation, region: &str) -> Result<&'a Account, Stall> {
    let recorded = observed.tenant.status.as_ref().and_then(|status| status.storage.as_ref());
    if let Some(recorded) = recorded {
        return installation.account(&recorded.account).ok_or_else(|| Stall {
            reason: Reason::FleetPolicyInvalid,
            message: format!(
                "the tenant's data is in account {}, which the fleet policy does not list any more: put it back into aws.accounts",
                recorded.account
            ),
        });
    }
    let accounts = &installation.aws.accounts;
    let in_region = accounts.iter().filter(|account| account.regions.iter().any(|listed| listed == region));
    let mut full = Vec::new();
    for account in in_region {
        let tenants = observed.in_accounts.get(&account.id).copied().unwrap_or_default();
        if tenants < account.max_tenants {
            return Ok(account);
        }
        full.push(format!("{} holds {tenants} of {}", account.id, account.max_tenants));
    }
    if full.is_empty() {
        let mut regions: Vec<&str> = accounts.iter().flat_map(|account| &account.regions).map(String::as_str).collect();
        regions.sort_unstable();
        regions.dedup();
        return Err(Stall { reason: Reason::InvalidSpec, message: unlisted(region, &regions) });
    }
    Err(Stall {
        reason: Reason::AccountsFull,
        message: format!(
            "no account of the fleet policy has room for another tenant in {region}: {}. Add an account to aws.accounts, or raise maxTenants where the quotas of AWS are higher",
            full.join(", ")
        ),
    })
}

/// A region that the policy does not have.
pub fn unlisted(region: &str, regions: &[&str]) -> String {
    format!(
        "spec.region: {region} is not one of the regions of the fleet policy ({}): create the Tenant in one of them, or add the region to the policy",
        regions.join(", ")
    )
}
