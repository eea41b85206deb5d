//! Runs the tables: what must be refused with field and remedy, and what must be accepted.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::bed::{Answer, Bed};
use super::report::Report;
use super::tables::{self, Case, How};

const NAMESPACE: &str = "cases";
const TENANTS: Kind = Kind { path: "/apis/tenancy.dev/v1alpha1/namespaces/cases/tenants", smallest: tables::smallest };
const WINDOWS: Kind =
    Kind { path: "/apis/tenancy.dev/v1alpha1/namespaces/cases/maintenancewindows", smallest: tables::smallest_window };
/// Strict, as kubectl asks for by default; the manager is the one of a GitOps tool.
const STRICT: &str = "fieldManager=gitops&fieldValidation=Strict";

/// What the cases of a table change.
struct Kind {
    path: &'static str,
    /// The smallest valid object of a namespace and a name.
    smallest: fn(&str, &str) -> Value,
}

/// Returns how many refusals were tried.
pub async fn check(bed: &Bed, report: &mut Report) -> usize {
    report.add("namespace of the cases", bed.create_namespace(NAMESPACE, json!({})).await);
    let mut refusals = 0;
    for (kind, table) in [(&TENANTS, include_str!("creates.yaml")), (&WINDOWS, include_str!("windows.yaml"))] {
        for case in &tables::read(table) {
            report.add(format!("refuse {}", case.name), refused_create(bed, kind, case).await);
            refusals += 1;
        }
    }
    for (number, case) in tables::read(include_str!("updates.yaml")).iter().enumerate() {
        report.add(format!("refuse {}", case.name), refused_update(bed, &TENANTS, case, number).await);
        refusals += 1;
    }
    for (kind, table) in [(&TENANTS, include_str!("accepted.yaml")), (&WINDOWS, include_str!("accepted-windows.yaml"))]
    {
        for (number, case) in tables::read(table).iter().enumerate() {
            report.add(format!("accept {}", case.name), accepted(bed, kind, case, number).await);
        }
    }
    refusals
}

async fn refused_create(bed: &Bed, kind: &Kind, case: &Case) -> anyhow::Result<()> {
    let mut object = (kind.smallest)(NAMESPACE, "refused");
    change(&mut object, case);
    // A dry run passes everything that a create passes, and leaves nothing behind when it is not refused.
    let answer = bed.post(&format!("{}?dryRun=All&{STRICT}", kind.path), &object).await?;
    names_field_and_remedy(&answer, case)
}

async fn refused_update(bed: &Bed, kind: &Kind, case: &Case, number: usize) -> anyhow::Result<()> {
    let name = format!("update-{number}");
    let stored = create(bed, kind, &name, &case.from).await?;
    let answer = update(bed, kind, case, &name, stored.clone()).await?;
    names_field_and_remedy(&answer, case)?;
    let after = bed.get(&format!("{}/{name}", kind.path)).await?.success()?;
    ensure!(after["spec"] == stored["spec"], "the refused update changed the spec to {}", after["spec"]);
    Ok(())
}

async fn accepted(bed: &Bed, kind: &Kind, case: &Case, number: usize) -> anyhow::Result<()> {
    let name = format!("accepted-{number}");
    let answer = if case.how.is_some() {
        let stored = create(bed, kind, &name, &case.from).await?;
        update(bed, kind, case, &name, stored).await?
    } else {
        let mut object = (kind.smallest)(NAMESPACE, &name);
        change(&mut object, case);
        bed.post(&format!("{}?{STRICT}", kind.path), &object).await?
    };
    ensure!(answer.warnings.is_empty(), "the server warns: {:?}", answer.warnings);
    let stored = answer.success()?;
    ensure!(tables::contains(&stored, &case.stored), "stored is {}, not {}", stored["spec"], case.stored["spec"]);
    for path in &case.absent {
        ensure!(tables::find(&stored, path).is_none(), "{path} is stored: {}", stored["spec"]);
    }
    Ok(())
}

/// Creates the object of an update case by server-side apply, so that leaving a field out of the next apply removes it.
async fn create(bed: &Bed, kind: &Kind, name: &str, from: &Value) -> anyhow::Result<Value> {
    let mut object = (kind.smallest)(NAMESPACE, name);
    tables::merge(&mut object, from);
    bed.patch(&format!("{}/{name}?{STRICT}&force=true", kind.path), "application/apply-patch+yaml", &object)
        .await?
        .success()
        .context("the object before the update")
}

async fn update(bed: &Bed, kind: &Kind, case: &Case, name: &str, stored: Value) -> anyhow::Result<Answer> {
    let path = format!("{}/{name}?{STRICT}", kind.path);
    match case.how {
        Some(How::Put) => {
            let mut object = stored;
            change(&mut object, case);
            bed.put(&path, &object).await
        }
        Some(How::Merge) => bed.patch(&path, "application/merge-patch+json", &case.set).await,
        Some(How::Apply) => {
            let mut object = (kind.smallest)(NAMESPACE, name);
            tables::merge(&mut object, &case.from);
            change(&mut object, case);
            bed.patch(&format!("{path}&force=true"), "application/apply-patch+yaml", &object).await
        }
        None => bail!("the case does not say how"),
    }
}

fn change(object: &mut Value, case: &Case) {
    tables::merge(object, &case.set);
    for path in &case.unset {
        tables::remove(object, path);
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
