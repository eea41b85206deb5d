//! Runs the tables: what must be refused with field and remedy, and what must be accepted.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::bed::{Answer, Bed};
use super::report::Report;
use super::tables::{self, Case, How};

const NAMESPACE: &str = "cases";
const PATH: &str = "/apis/tenancy.dev/v1alpha1/namespaces/cases/tenants";
/// Strict, as kubectl asks for by default; the manager is the one of a GitOps tool.
const STRICT: &str = "fieldManager=gitops&fieldValidation=Strict";

/// Returns how many refusals were tried.
pub async fn check(bed: &Bed, report: &mut Report) -> usize {
    report.add("namespace of the cases", bed.create_namespace(NAMESPACE, json!({})).await);
    let creates = tables::read(include_str!("creates.yaml"));
    for case in &creates {
        report.add(format!("refuse {}", case.name), refused_create(bed, case).await);
    }
    let updates = tables::read(include_str!("updates.yaml"));
    for (number, case) in updates.iter().enumerate() {
        report.add(format!("refuse {}", case.name), refused_update(bed, case, number).await);
    }
    for (number, case) in tables::read(include_str!("accepted.yaml")).iter().enumerate() {
        report.add(format!("accept {}", case.name), accepted(bed, case, number).await);
    }
    creates.len() + updates.len()
}

async fn refused_create(bed: &Bed, case: &Case) -> anyhow::Result<()> {
    let mut tenant = tables::smallest(NAMESPACE, "refused");
    change(&mut tenant, case);
    // A dry run passes everything that a create passes, and leaves nothing behind when it is not refused.
    let answer = bed.post(&format!("{PATH}?dryRun=All&{STRICT}"), &tenant).await?;
    names_field_and_remedy(&answer, case)
}

async fn refused_update(bed: &Bed, case: &Case, number: usize) -> anyhow::Result<()> {
    let name = format!("update-{number}");
    let stored = create(bed, &name, &case.from).await?;
    let answer = update(bed, case, &name, stored.clone()).await?;
    names_field_and_remedy(&answer, case)?;
    let after = bed.get(&format!("{PATH}/{name}")).await?.success()?;
    ensure!(after["spec"] == stored["spec"], "the refused update changed the spec to {}", after["spec"]);
    Ok(())
}

async fn accepted(bed: &Bed, case: &Case, number: usize) -> anyhow::Result<()> {
    let name = format!("accepted-{number}");
    let tenant = if case.how.is_some() {
        let stored = create(bed, &name, &case.from).await?;
        update(bed, case, &name, stored).await?
    } else {
        let mut tenant = tables::smallest(NAMESPACE, &name);
        change(&mut tenant, case);
        bed.post(&format!("{PATH}?{STRICT}"), &tenant).await?
    };
    ensure!(tenant.warnings.is_empty(), "the server warns: {:?}", tenant.warnings);
    let tenant = tenant.success()?;
    ensure!(tables::contains(&tenant, &case.stored), "stored is {}, not {}", tenant["spec"], case.stored["spec"]);
    for path in &case.absent {
        ensure!(tables::find(&tenant, path).is_none(), "{path} is stored: {}", tenant["spec"]);
    }
    Ok(())
}

/// Creates the tenant of an update case by server-side apply, so that leaving a field out of the next apply removes it.
async fn create(bed: &Bed, name: &str, from: &Value) -> anyhow::Result<Value> {
    let mut tenant = tables::smallest(NAMESPACE, name);
    tables::merge(&mut tenant, from);
    bed.patch(&format!("{PATH}/{name}?{STRICT}&force=true"), "application/apply-patch+yaml", &tenant)
        .await?
        .success()
        .context("the tenant before the update")
}

async fn update(bed: &Bed, case: &Case, name: &str, stored: Value) -> anyhow::Result<Answer> {
    let path = format!("{PATH}/{name}?{STRICT}");
    match case.how {
        Some(How::Put) => {
            let mut tenant = stored;
            change(&mut tenant, case);
            bed.put(&path, &tenant).await
        }
        Some(How::Merge) => bed.patch(&path, "application/merge-patch+json", &case.set).await,
        Some(How::Apply) => {
            let mut tenant = tables::smallest(NAMESPACE, name);
            tables::merge(&mut tenant, &case.from);
            change(&mut tenant, case);
            bed.patch(&format!("{path}&force=true"), "application/apply-patch+yaml", &tenant).await
        }
        None => bail!("the case does not say how"),
    }
}

fn change(tenant: &mut Value, case: &Case) {
    tables::merge(tenant, &case.set);
    for path in &case.unset {
        tables::remove(tenant, path);
    }
}

/// One cause must carry both, so that a reader of that line alone knows what to do. Refusals of the decoder have no
/// causes; there the message is one line.
fn names_field_and_remedy(answer: &Answer, case: &Case) -> anyhow::Result<()> {
    ensure!(answer.code >= 400, "was accepted: {}", answer.body["spec"]);
    // A server-side apply with an unknown field is refused before validation, which answers 500 with the right words.
    let undeclared =
        answer.body["message"].as_str().is_some_and(|message| message.contains("failed to create typed patch object"));
    ensure!(answer.code < 500 || undeclared, "the server answers {}: {}", answer.code, answer.body["message"]);
    let message = answer.body["message"].as_str().unwrap_or_default().to_owned();
    let causes = answer.body["details"]["causes"].as_array().into_iter().flatten().map(|cause| {
        let text = |key: &str| cause[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", text("field"), text("message"))
    });
    let lines: Vec<String> = causes.chain([message]).collect();
    ensure!(
        lines.iter().any(|line| line.contains(&case.field) && line.contains(&case.remedy)),
        "no line names {:?} and {:?}:\n  {}",
        case.field,
        case.remedy,
        lines.join("\n  ")
    );
    Ok(())
}
