//! Beside the stages: what scrapers read. It never makes a tenant unready, and holds no update up; what is in its way is told by a
//! condition of its own (`remark::metrics`).

use super::{Scope, Stage};
use crate::manifest::MetricsObjects;
use crate::manifest::metrics::is_served;
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
