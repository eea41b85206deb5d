//! Every field has an effect that some scenario sees. What a scenario saw it says with the value that it found there, and
//! the audit log must show that somebody stored that value in that field: a field that nobody sets, or whose effect nobody
//! looked at, is found out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use e2e::testbed::{NAMESPACE, TestBed};
use serde_json::Value;

use super::fields::{self, Kind, Step};

/// By kind and path: the values that were seen, as JSON.
static SEEN: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Fields whose effects are seen where updates are; all others where tenants are made.
const OF_UPDATES: [&str; 18] = [
    "Tenant.spec.agents.forget",
    "Tenant.spec.agents.rememberFor",
    "Tenant.spec.channel",
    "Tenant.spec.maintenance.",
    "Tenant.status.appliedNow",
    "Tenant.status.availability.",
    "Tenant.status.history[]",
    "Tenant.status.next.",
    "Tenant.status.published.",
    "Tenant.status.update.",
    "MaintenanceWindow.spec.allowedNamespaces.",
    "MaintenanceWindow.spec.exclusions[].reason",
    "MaintenanceWindow.spec.maxConcurrentUpdates",
    "MaintenanceWindow.status.capacity",
    "MaintenanceWindow.status.current.",
    "AgentPool.status.laggards[].left",
    "AgentPool.spec.automaticUpdates.",
    "AgentPool.spec.required",
];
/// Fields whose effects are seen where an ACME server issues.
const OF_CERTIFICATES: [&str; 1] = ["Tenant.status.issuance."];

/// Where scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each suite makes one of them")]
pub enum Suite {
    /// `tests/tenant.rs`.
    Tenants,
    /// `tests/updates.rs`.
    Updates,
    /// `tests/acme.rs`.
    Certificates,
}

/// A field of a spec had its effect, which is told by this value: the one that was asked for, found where it matters. To be
/// called once that was compared.
pub fn seen(kind: &str, path: &str, value: impl Into<Value>) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.entry(format!("{kind}.{path}")).or_default().insert(value.into().to_string());
}

/// A status says all of this, and whatever else. Texts that begin with `~` are patterns. What was compared counts as seen.
pub fn says(kind: &str, found: &Value, expected: &Value) -> anyhow::Result<()> {
    let mut compared = BTreeSet::new();
    compare(found, expected, "status", &mut compared)?;
    for path in compared {
        seen(kind, &path, Value::Null);
    }
    Ok(())
}

fn compare(found: &Value, expected: &Value, path: &str, compared: &mut BTreeSet<String>) -> anyhow::Result<()> {
    match expected {
        Value::Object(fields) => {
            for (name, inner) in fields {
                compare(&found[name], inner, &format!("{path}.{name}"), compared)?;
            }
        }
        Value::Array(items) => {
            ensure!(found.as_array().map(Vec::len) == Some(items.len()), "{path} is {found}, not {expected}");
            for (index, inner) in items.iter().enumerate() {
                compare(&found[index], inner, &format!("{path}[]"), compared)?;
            }
        }
        Value::String(pattern) if pattern.starts_with('~') => {
            let text = found.as_str().with_context(|| format!("{path} is {found}"))?;
            let matches = regex::Regex::new(&pattern[1..])?.is_match(text);
            ensure!(matches, "{path} is {found}, which is not like {pattern}");
            compared.insert(path.to_owned());
        }
        _ => {
            ensure!(found == expected, "{path} is {found}, not {expected}");
            if !expected.is_null() {
                compared.insert(path.to_owned());
            }
        }
    }
    Ok(())
}

/// To be run last.
pub async fn every_field(bed: &TestBed, suite: Suite) -> anyhow::Result<()> {
    let kinds = fields::kinds(bed).await?;
    let stored = stored(bed, &kinds)?;
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (mut faults, mut counted, mut known) = (Vec::new(), 0, BTreeSet::new());
    for kind in &kinds {
        for part in ["spec", "status"] {
            for path in paths(kind, part) {
                let name = format!("{}.{path}", kind.name);
                known.insert(name.clone());
                let of = |fields: &[&str]| fields.iter().any(|prefix| name.starts_with(prefix));
                let home = match (of(&OF_UPDATES), of(&OF_CERTIFICATES)) {
                    (true, _) => Suite::Updates,
                    (false, true) => Suite::Certificates,
                    (false, false) => Suite::Tenants,
                };
                let Some(values) = seen.get(&name) else {
                    if home == suite {
                        faults.push(format!("nobody saw an effect of {name}"));
                    }
                    continue;
                };
                counted += 1;
                let never = values.iter().filter(|value| !stored.get(&name).is_some_and(|all| all.contains(*value)));
                if part == "spec" {
                    faults.extend(never.map(|value| format!("{name} never was {value}, which was seen")));
                }
            }
        }
    }
    faults.extend(seen.keys().filter(|name| !known.contains(*name)).map(|name| format!("there is no {name}")));
    println!("counted: effects of {counted} fields of {} were seen here", known.len());
    if faults.is_empty() { Ok(()) } else { bail!("{} faults:\n{}", faults.len(), faults.join("\n")) }
}

/// The fields of a kind; what Kubernetes explains counts as one, and so do the keys of a map with its values.
fn paths(kind: &Kind, part: &str) -> BTreeSet<String> {
    let leaves = fields::leaves(kind, part).into_iter();
    leaves.map(|leaf| shortened(&leaf.steps)).collect()
}

fn shortened(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Property(name) if path.is_empty() => path.push_str(name),
            Step::Property(name) => path.extend([".", name]),
            Step::Item => path.push_str("[]"),
            Step::Key | Step::Entry => {}
        }
        if [".affinity", ".tolerations", ".topologySpreadConstraints"].iter().any(|end| path.ends_with(end)) {
            break;
        }
    }
    path
}

/// What everybody but the operator stored in each field of a spec, by kind and path.
fn stored(bed: &TestBed, kinds: &[Kind]) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let audit = bed.control_plane().audit_log().context("this cluster has no audit log")?;
    let text = std::fs::read_to_string(audit).context("cannot read the audit log")?;
    let operator = format!("system:serviceaccount:{NAMESPACE}:tenant-operator");
    let mut stored = BTreeMap::new();
    // Its last line may be half written.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let dry = entry["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun"));
        let accepted = !dry && entry["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300);
        let kind = kinds.iter().find(|kind| entry["objectRef"]["resource"] == kind.plural.as_str());
        let Some(kind) = kind.filter(|_| accepted && entry["user"]["username"] != operator.as_str()) else { continue };
        collect(&entry["requestObject"]["spec"], &format!("{}.spec", kind.name), &paths(kind, "spec"), &mut stored);
    }
    Ok(stored)
}

/// Values by their path; a path that is a field is one whatever stands below.
fn collect(value: &Value, path: &str, fields: &BTreeSet<String>, stored: &mut BTreeMap<String, BTreeSet<String>>) {
    let is_field = path.split_once('.').is_some_and(|(_, path)| fields.contains(path));
    if is_field {
        stored.entry(path.to_owned()).or_default().insert(value.to_string());
    }
    match value {
        Value::Object(inner) if !is_field => {
            for (name, inner) in inner {
                collect(inner, &format!("{path}.{name}"), fields, stored);
            }
        }
        Value::Array(items) if !is_field => {
            for item in items {
                collect(item, &format!("{path}[]"), fields, stored);
            }
        }
        _ => {}
    }
}
