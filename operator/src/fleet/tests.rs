//! Whose turn it is, at the moment in which a window opens.

use kube::runtime::{reflector, watcher};
use serde_json::{Value, json};

use super::*;

const WINDOW: &str = "n/default";

/// Open at all times, or never again.
fn window(open: bool) -> crds::MaintenanceWindow {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let exclusions: Value = match open {
        true => json!([]),
        false => json!([{"start": "2000-01-01T00:00:00Z", "end": "2200-01-01T00:00:00Z", "reason": "closed"}]),
    };
    let halves = ["00:00", "12:00"].map(|start| json!({"days": days, "start": start, "duration": "12h"}));
    let window = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow",
        "metadata": {"name": "default", "namespace": "n"},
        "spec": {
            "timeZone": "UTC", "maxConcurrentUpdates": 1, "exclusions": exclusions,
            "windows": halves,
        },
    });
    serde_json::from_value(window).expect("a MaintenanceWindow")
}

/// One that waits for its window alone.
fn due(uid: &str, since: &str) -> DeserializeGuard<Tenant> {
    let blocker = json!({"reason": "WindowClosed", "message": "the window is closed"});
    let tenant = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": uid, "namespace": "n", "uid": uid},
        "spec": {"domain": "a.example.com", "edition": "Community", "version": "18.1.1", "region": "r"},
        "status": {"window": WINDOW, "next": {"kind": "Patch", "to": "18.1.1", "hops": 1, "dueSince": since,
            "actionable": false, "missed": 0, "blockers": [blocker]}},
    });
    DeserializeGuard(Ok(serde_json::from_value(tenant).expect("a Tenant")))
}

#[test]
fn the_longest_due_goes_first_also_in_the_moment_in_which_the_window_opens() {
    let (tenants, mut writer) = reflector::store();
    let fleet = Fleet::new(tenants);
    let windows = Windows::default();
    let (old, young) = ("2026-11-01T00:00:00Z", "2026-11-01T00:00:01Z");
    for tenant in [due("old", old), due("young", young)] {
        writer.apply_watcher_event(&watcher::Event::Apply(tenant));
    }
    let ask = |uid, since: &str| {
        let due_since = since.parse().expect("RFC 3339");
        fleet.place(Asker { uid, window: WINDOW, due_since }, &windows, 9)
    };
    windows.put(window(false));
    // Nobody waits for anybody while it is closed; this count is kept for a while.
    assert_eq!((ask("old", old), ask("young", young)), (Place::Free, Place::Free));
    windows.put(window(true));
    assert_eq!((ask("young", young), ask("old", old)), (Place::WindowFull { limit: 1 }, Place::Free));
}
