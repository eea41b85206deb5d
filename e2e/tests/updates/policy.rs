//! What the fleet policy holds back, row by row: the blocker stands on the object, and the hop begins once it is removed.

use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::super::manifest::edit;
use super::setting::{HOP, SHOWS, always, await_event, make, pause, pinned, set_feed};

/// Longer than anybody waits.
const NEVER: &str = "80000h";

/// A policy that holds everything back, or one that lets it go; the channel `slow` is slow in both.
pub fn feed(holds: bool) -> Value {
    let release = |version: &str, critical: bool| json!({"version": version, "releasedAt": "2026-01-01T00:00:00Z", "critical": critical});
    json!({
        "releases": [
            release("17.5.2", false), release("17.5.3", !holds), release("18.1.0", false), release("18.1.1", false),
        ],
        "channels": {
            "slow": {"soak": {"patch": NEVER}},
            "soak": {"soak": {"patch": if holds { NEVER } else { "24h" }}},
            "waves": {"soak": {"patch": "24h"}},
        },
        "waves": {"soak": if holds { "24h" } else { "0s" }, "maxWait": NEVER},
    })
}

/// Soak, waves and the month's budget. With the policy that lets go everything goes, the last since it is critical.
pub async fn rows(bed: &TestBed) -> anyhow::Result<()> {
    let mut first = pinned("policy", "first", "18.1.0");
    first["metadata"]["labels"] = json!({"tenancy.dev/wave": "1"});
    let tenants = [
        first,
        pinned("policy", "second", "18.1.0"),
        pinned("policy", "soak", "18.1.0"),
        pinned("policy", "budget", "17.5.2"),
    ];
    make(bed, "policy", &[always("policy", "default")], &tenants).await?;

    edit(bed, "policy", "first", json!({"version": null, "channel": "waves"})).await?;
    edit(bed, "policy", "soak", json!({"version": null, "channel": "soak"})).await?;
    bed.await_blockers("policy", "soak", &["SoakPending"], SHOWS).await?;
    // As long as an outage of three quarters of an hour.
    let month = bed.clock().now()?.format("%Y-%m").to_string();
    let spent = json!({"status": {"availability": {"month": month, "downSeconds": 45 * 60}}}).to_string();
    let patch = ["patch", "tenant", "budget", "--subresource=status", "--type=merge", "-p", &spent];
    bed.kubectl(["-n", "policy"].into_iter().chain(patch)).await?;
    edit(bed, "policy", "budget", json!({"version": "17.5.3"})).await?;
    bed.await_blockers("policy", "budget", &["BudgetSpent"], SHOWS).await?;
    // The first wave is open when the soak is over; the second one waits for it, and for what it is like a day later.
    let done = bed.await_version("policy", "first", "18.1.1", HOP).await?;
    pause(bed, "one Auth", &done)?;
    edit(bed, "policy", "second", json!({"version": null, "channel": "waves"})).await?;
    bed.await_blockers("policy", "second", &["WavePending"], SHOWS).await?;

    set_feed(bed, &feed(false)).await?;
    for (name, version) in [("soak", "18.1.1"), ("second", "18.1.1"), ("budget", "17.5.3")] {
        bed.await_version("policy", name, version, HOP).await?;
    }
    await_event(bed, "policy", "UpdateStarted", &["to 17.5.3", "budget of this month is spent", "critical"]).await
}
