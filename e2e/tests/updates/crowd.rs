//! Many tenants become due while their window is closed, and it opens for all of them at one instant. `e2e bench updates`
//! does the same with as many as one likes.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crds::MaintenanceWindow;
use e2e::bench::crowd::Crowd;
use e2e::bench::measure::{Spent, total};
use e2e::bench::updates;
use e2e::testbed::{TestBed, wait_until};
use futures::StreamExt;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

use super::super::covered::seen;
use super::setting::SHOWS;

/// How long it may take on two busy cores.
pub const LIMIT: Duration = Duration::from_secs(400);
const TENANTS: usize = 24;
const AT_ONCE: usize = 6;
/// Twice what a tenant takes to be made on two busy cores, while everything is read again every few seconds.
const REQUESTS: usize = 400;
const CALLS: usize = 250;

/// Never more at once than the window allows, the longest due first, and all come through. The window counts them while they
/// are updated and not only afterwards, and is not written for each of them.
pub async fn shares_a_window(bed: &TestBed) -> anyhow::Result<()> {
    let crowd = Crowd { namespace: "crowd".into(), size: TENANTS };
    let since = chrono::Utc::now();
    let counted = std::sync::Mutex::new(Vec::new());
    let windows: Api<MaintenanceWindow> = Api::namespaced(bed.client(), &crowd.namespace);
    let follow = watcher(windows.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let follow = follow.for_each(|window| {
        let updating = window.ok().and_then(|window| window.status).and_then(|status| status.updating);
        counted.lock().expect("no holder of this lock panics").extend(updating);
        futures::future::ready(())
    });
    let (found, _) = tokio::select! {
        found = updates::on(bed, &crowd, AT_ONCE, ["18.1.0", "18.1.1"]) => found?,
        () = follow => bail!("the windows cannot be followed"),
    };
    bed.say(&format!("{:?}", found.hops));
    found.hops.check(TENANTS, AT_ONCE)?;
    let Spent { writes, reads, aws, .. } = &found.made;
    let (requests, calls) = ((total(writes) + total(reads)) / TENANTS, total(aws) / TENANTS);
    ensure!(requests <= REQUESTS, "a tenant took {requests} requests to the API server to be made");
    ensure!(calls <= CALLS, "a tenant took {calls} calls to AWS to be made");
    let counted = counted.into_inner()?;
    ensure!(counted.iter().any(|updating| *updating > 0), "the window never counted one that was being updated");
    ensure!(counted.iter().all(|updating| *updating <= AT_ONCE as i64), "the window counted {counted:?}");
    let written = bed.writes_since(since)?.into_iter().filter(|write| write.resource == "maintenancewindows/status");
    let written = written.filter(|write| write.namespace == crowd.namespace).count();
    ensure!(written <= 2 * TENANTS, "the status of the window was written {written} times");
    let capacity = windows.get("default").await?.status.and_then(|status| status.capacity).context("no capacity")?;
    ensure!(capacity >= AT_ONCE as i64, "only {capacity} updates fit into a window in which {TENANTS} ended");
    seen("MaintenanceWindow", "status.capacity", capacity);
    wait_until("the window to have counted the last", SHOWS, || async {
        let status = windows.get("default").await?.status;
        let counts = status.map(|status| (status.tenants, status.due, status.updating));
        if counts == Some((Some(TENANTS as i64), Some(0), Some(0))) { Ok(Some(())) } else { bail!("{counts:?}") }
    })
    .await
}
