//! AgentPools: what must be refused with field and remedy, what is stored of the smallest one, and what people see.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::bed::{Answer, Bed};
use super::report::Report;
use super::tables::{self, Case};

const NAMESPACE: &str = "pools";
const PATH: &str = "/apis/tenancy.dev/v1alpha1/namespaces/pools/agentpools";
const STRICT: &str = "fieldManager=gitops&fieldValidation=Strict";
const COLUMNS: &str = "NAME TENANT AGENTS BEHIND OLDEST ENROLLED AGE";
const WIDE_COLUMNS: &str = "NAME TENANT AGENTS BEHIND OLDEST ENROLLED AGE REQUIRED ORDER";

/// Returns how many refusals were tried.
pub async fn check(bed: &Bed, report: &mut Report) -> usize {
    report.add("namespace of the pools", bed.create_namespace(NAMESPACE, json!({})).await);
    report.add("the smallest pool takes its defaults", takes_defaults(bed).await);
    let cases = tables::read(include_str!("agent_pools.yaml"));
    for case in &cases {
        report.add(format!("refuse a pool: {}", case.name), refused(bed, case).await);
    }
    report.add("a pool to look at", with_status(bed).await);
    for (options, columns, row) in [
        (&["get", "agentpools"][..], COLUMNS, "nodes acme 120 3 16.4.3 100"),
        (&["get", "ap", "-o", "wide"][..], WIDE_COLUMNS, "true 1"),
        (&["get", "ap", "--field-selector", "spec.tenantRef.name=acme"][..], COLUMNS, "nodes"),
    ] {
        report.add(options.join(" "), shows(bed, options, columns, row));
    }
    cases.len()
}

fn smallest(name: &str) -> Value {
    json!({
        "apiVersion": "tenancy.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"tenantRef": {"name": "acme"}},
    })
}

async fn takes_defaults(bed: &Bed) -> anyhow::Result<()> {
    let answer = bed.post(&format!("{PATH}?{STRICT}"), &smallest("nodes")).await?;
    ensure!(answer.warnings.is_empty(), "the server warns: {:?}", answer.warnings);
    let stored = answer.success()?;
    let wanted = json!({"spec": {
        "required": true, "match": {},
        "automaticUpdates": {"enrolled": true, "strategy": "HaltOnError", "order": 1},
    }});
    ensure!(tables::contains(&stored, &wanted), "stored is {}", stored["spec"]);
    Ok(())
}

async fn refused(bed: &Bed, case: &Case) -> anyhow::Result<()> {
    let answer = if case.how.is_some() {
        bed.patch(&format!("{PATH}/nodes?{STRICT}"), "application/merge-patch+json", &case.set).await?
    } else {
        let mut pool = smallest("refused");
        tables::merge(&mut pool, &case.set);
        case.unset.iter().for_each(|path| tables::remove(&mut pool, path));
        bed.post(&format!("{PATH}?dryRun=All&{STRICT}"), &pool).await?
    };
    let lines = lines(&answer);
    ensure!(answer.code >= 400, "was accepted: {}", answer.body["spec"]);
    ensure!(
        lines.iter().any(|line| line.contains(&case.field) && line.contains(&case.remedy)),
        "no line names {:?} and {:?}:\n  {}",
        case.field,
        case.remedy,
        lines.join("\n  ")
    );
    Ok(())
}

/// One line per cause, and the message itself for refusals of the decoder, which have no causes.
fn lines(answer: &Answer) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = answer.body["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"])));
    causes.chain([text(&answer.body["message"])]).collect()
}

async fn with_status(bed: &Bed) -> anyhow::Result<()> {
    let status = json!({
        "observedGeneration": 1, "agents": 120, "behind": 3, "oldest": "16.4.3", "enrolled": 100,
        "majors": [{"major": 17, "count": 117}, {"major": 16, "count": 3}],
        "laggards": [{"id": "a", "hostname": "host", "version": "16.4.3", "services": ["Node"], "left": "2026-11-22T10:00:00Z"}],
        "updaters": [{"name": "unit", "count": 100}, {"name": "none", "count": 20}],
    });
    let answer =
        bed.patch(&format!("{PATH}/nodes/status"), "application/merge-patch+json", &json!({"status": status})).await?;
    let stored = answer.success().context("the status is refused")?;
    ensure!(stored["status"] == status, "the status is not stored as written: {}", stored["status"]);
    Ok(())
}

fn shows(bed: &Bed, options: &[&str], columns: &str, row: &str) -> anyhow::Result<()> {
    let output = bed.kubectl(&[options, &["-n", NAMESPACE]].concat())?;
    let lines: Vec<String> = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(lines.first().is_some_and(|header| header == columns), "the columns are {:?}", lines.first());
    ensure!(lines[1..].iter().any(|line| line.contains(row)), "no row has {row:?}:\n{output}");
    Ok(())
}
