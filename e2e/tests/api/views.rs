//! What people see of a tenant and a window: the columns, field selectors and the explanation of fields.

use anyhow::ensure;
use serde_json::{Value, json};

use super::bed::Bed;
use super::report::Report;
use super::tables;

const NAMESPACE: &str = "views";
const PATH: &str = "/apis/tenancy.dev/v1alpha1/namespaces/views/tenants";
const COLUMNS: &str = "NAME READY VERSION NEXT BLOCKED AGENTS BEHIND WINDOW DOMAIN AGE";
const WIDE_COLUMNS: &str =
    "NAME READY VERSION NEXT BLOCKED AGENTS BEHIND WINDOW DOMAIN AGE PHASE UPDATE CHANNEL REGION PORTS CERT EXPIRY";

const WINDOWS: &str = "/apis/tenancy.dev/v1alpha1/namespaces/views/maintenancewindows";
const WINDOW_COLUMNS: &str = "NAME OPEN NEXT TENANTS DUE UPDATING ZONE AGE";
const WIDE_WINDOW_COLUMNS: &str = "NAME OPEN NEXT TENANTS DUE UPDATING ZONE AGE CAPACITY MISSED";

pub async fn check(bed: &Bed, report: &mut Report) {
    if report.add("tenants to look at", tenants(bed).await).is_none() {
        return;
    }
    for (options, columns, row) in [
        (
            &["get", "tenants"][..],
            COLUMNS,
            "west True 18.1.0 18.2.0 WindowMissing 12 3 platform/sunday west.example.com",
        ),
        (&["get", "tn", "-o", "wide"][..], WIDE_COLUMNS, "Ready us-west-2 11105"),
        (&["get", "tenancy"][..], COLUMNS, "east east.example.com"),
    ] {
        report.add(options.join(" "), shows(bed, options, columns, row));
    }
    for (selector, names) in [
        ("spec.region=us-west-2", "west"),
        ("spec.region=eu-central-1", "east"),
        ("spec.edition=Community", "east west"),
        ("spec.edition=Enterprise", ""),
        ("status.version=18.1.0", "west"),
        ("status.version=18.1.0,spec.region=eu-central-1", ""),
    ] {
        report.add(format!("select {selector}"), selects(bed, selector, names));
    }
    for (field, texts) in [
        ("tenant.spec.network", &["portPool", "five consecutive public ports", "tlsRouting", "exposure"][..]),
        ("tenant.spec", &["domain <string> -required-", "licenseSecretRef <Object>", "enum: Small, Medium, Large"][..]),
        ("tenant.spec.domain", &["Claimed once for the whole installation", "acme.example.com"][..]),
        ("mw.spec.windows", &["days <[]string> -required-", "elapsed time", "24-hour clock"][..]),
        ("mw.spec.timeZone", &["IANA time zone", "America/New_York", "end of the gap"][..]),
        ("tenant.status.conditions", &["status", "True, False, Unknown", "observedGeneration"][..]),
    ] {
        report.add(format!("explain {field}"), explains(bed, field, texts));
    }
    // Last, since `get tenancy` shows it too.
    if report.add("a window to look at", window(bed).await).is_none() {
        return;
    }
    for (options, columns, row) in [
        (&["get", "maintenancewindows"][..], WINDOW_COLUMNS, "night true 2026-06-07T02:00:00Z 120 40 4 UTC"),
        (&["get", "mw", "-o", "wide"][..], WIDE_WINDOW_COLUMNS, "180 2"),
    ] {
        report.add(options.join(" "), shows(bed, options, columns, row));
    }
    report.add("get tenancy with both kinds", shows_both_kinds(bed));
}

async fn window(bed: &Bed) -> anyhow::Result<()> {
    bed.post(WINDOWS, &tables::smallest_window(NAMESPACE, "night")).await?.success()?;
    let status = json!({
        "observedGeneration": 1, "open": true, "tenants": 120, "due": 40, "capacity": 180, "updating": 4, "missed": 2,
        "current": {"start": "2026-05-31T02:00:00Z", "end": "2026-05-31T05:00:00Z"},
        "next": [{"start": "2026-06-07T02:00:00Z", "end": "2026-06-07T05:00:00Z"}],
    });
    let path = format!("{WINDOWS}/night/status");
    let stored = bed.patch(&path, "application/merge-patch+json", &json!({"status": status})).await?.success()?;
    ensure!(stored["status"] == status, "the status is not stored as written: {}", stored["status"]);
    Ok(())
}

fn shows_both_kinds(bed: &Bed) -> anyhow::Result<()> {
    let output = bed.kubectl(&["get", "tenancy", "-n", NAMESPACE])?;
    for name in ["tenant.tenancy.dev/west", "maintenancewindow.tenancy.dev/night"] {
        ensure!(output.contains(name), "{name} is missing:\n{output}");
    }
    Ok(())
}

async fn tenants(bed: &Bed) -> anyhow::Result<()> {
    bed.create_namespace(NAMESPACE, json!({})).await?;
    for (name, region) in [("west", "us-west-2"), ("east", "eu-central-1")] {
        let mut tenant = tables::smallest(NAMESPACE, name);
        tables::merge(&mut tenant, &json!({"spec": {"region": region, "domain": format!("{name}.example.com")}}));
        bed.post(PATH, &tenant).await?.success()?;
    }
    let answer =
        bed.patch(&format!("{PATH}/west/status"), "application/merge-patch+json", &json!({"status": status()})).await?;
    let stored = answer.success()?;
    ensure!(stored["status"] == status(), "the status is not stored as written: {}", stored["status"]);
    Ok(())
}

fn status() -> Value {
    json!({
        "observedGeneration": 1,
        "phase": "Ready",
        "version": "18.1.0",
        "window": "platform/sunday",
        "next": {"kind": "Minor", "to": "18.2.0", "hops": 1, "actionable": true, "missed": 0, "blockers": [{"reason": "WindowMissing", "message": "no window"}]},
        "agents": {"total": 12, "behind": 3, "remembered": 0},
        "ports": {"pool": "default", "ssh": 11105, "tunnel": 11106, "kube": 11107, "mysql": 11108, "postgres": 11109},
        "certificates": [{"name": "web", "notAfter": "2036-01-01T00:00:00Z", "issuer": "west.example.com web"}],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "AsSpecified", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    })
}

fn shows(bed: &Bed, options: &[&str], columns: &str, row: &str) -> anyhow::Result<()> {
    let output = bed.kubectl(&[options, &["-n", NAMESPACE]].concat())?;
    let lines: Vec<String> = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(lines.first().is_some_and(|header| header == columns), "the columns are {:?}", lines.first());
    ensure!(lines[1..].iter().any(|line| line.contains(row)), "no row has {row:?}:\n{output}");
    Ok(())
}

fn selects(bed: &Bed, selector: &str, names: &str) -> anyhow::Result<()> {
    let output = bed.kubectl(&[
        "get",
        "tenants",
        "-n",
        NAMESPACE,
        "--field-selector",
        selector,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])?;
    ensure!(output.trim() == names, "found {output:?} instead of {names:?}");
    Ok(())
}

fn explains(bed: &Bed, field: &str, texts: &[&str]) -> anyhow::Result<()> {
    let output = bed.kubectl(&["explain", field])?;
    // kubectl breaks lines where it likes.
    let words = output.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in texts {
        ensure!(words.contains(text), "does not say {text:?}:\n{output}");
    }
    Ok(())
}
