//! Says a line for each step of each update, for as long as somebody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::Tenant;
use crds::tenant_status::TenantStatus;
use e2e::testbed::TestBed;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

/// A step is seldom shorter.
const PERIOD: Duration = Duration::from_millis(250);

/// Follows all tenants; ends only when the API server cannot be asked.
pub(super) async fn hops(bed: &TestBed) -> anyhow::Result<()> {
    let api: Api<Tenant> = Api::all(bed.client());
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut first = true;
    let mut interval = tokio::time::interval(PERIOD);
    loop {
        interval.tick().await;
        for tenant in api.list(&ListParams::default()).await? {
            let name = format!("{}/{}", tenant.namespace().unwrap_or_default(), tenant.name_any());
            let line = tenant.status.as_ref().and_then(line).unwrap_or_default();
            let before = said.insert(name.clone(), line.clone());
            if !first && !line.is_empty() && before.is_none_or(|before| before != line) {
                println!("{name}: {line}");
            }
        }
        first = false;
    }
}

/// What the last or running update has come to.
fn line(status: &TenantStatus) -> Option<String> {
    if let Some(update) = &status.update {
        return Some(format!("{:?} from {} to {}: {:?}", update.kind, update.from, update.to, update.stage));
    }
    let record = status.history.first()?;
    let backup = record.recovery_point.as_ref().map(|arn| format!(", recovery point {arn}")).unwrap_or_default();
    Some(format!("{:?} from {} to {}: {:?}{backup}", record.kind, record.from, record.to, record.result))
}
