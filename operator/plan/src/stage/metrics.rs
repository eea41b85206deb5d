//! Beside the stages: what scrapers read. It never makes a tenant unready, and holds no update up; what is in its way is told by a
//! condition of its own (`remark::metrics`).

use chrono::{DateTime, Utc};

use super::{Scope, Stage};
use crate::fact::Fact;
use crate::manifest::MetricsObjects;
use crate::manifest::metrics::{is_served, until};
use crate::object::{Kind, Ref};

/// Plans it. What scrapers get follows what the pods serve with: `rendered`, or, while that waits for a window, `in_use`, which they
/// have since they started.
pub fn plan(scope: &Scope<'_>, rendered: Option<&MetricsObjects>, in_use: Option<&MetricsObjects>) -> Stage {
    let mut stage = Stage::default();
    let proxy = Ref::new(Kind::Deployment, scope.tenant.proxy_deployment());
    let Some(live) = scope.observed.objects.known(&proxy) else { return stage };
    let served = [rendered, in_use].into_iter().flatten().find(|objects| is_served(live, &objects.served));
    let Some(MetricsObjects { served, scraper, monitor, .. }) = served else { return stage };
    // A pod that is moved to another node mounts it again.
    stage.ensure(scope, served);
    stage.ensure(scope, scraper);
    if scope.observed.pod_monitors {
        stage.ensure(scope, monitor);
    }
    stage
}

/// The earliest end of those that the tenant's pods have read; none where no pod has one. Unknown while a Deployment could not be read.
pub fn earliest(scope: &Scope<'_>) -> Fact<DateTime<Utc>> {
    let tenant = &scope.tenant;
    let deployments = [tenant.auth_deployment(0), tenant.auth_deployment(1), tenant.proxy_deployment()];
    let mut ends = Vec::new();
    for name in deployments {
        match scope.observed.objects.read(&Ref::new(Kind::Deployment, name)) {
            Some(Fact::Known(live)) => ends.extend(until(live)),
            Some(Fact::Absent) => {}
            Some(Fact::Unknown) | None => return Fact::Unknown,
        }
    }
    Fact::answered(ends.into_iter().min())
}
