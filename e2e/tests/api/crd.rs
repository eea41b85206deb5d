//! The CustomResourceDefinitions themselves: accepted without a warning, within the cost budget of their rules, small.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::bed::{Bed, root};
use super::report::Report;

const CHART: &str = "tenant-operator-crds";
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// An object beyond 256 KiB does not fit into the annotation of a client-side apply.
const LARGEST_FILE: u64 = 200_000;

/// Checks the generated files against the server, then installs the chart that ships them.
pub async fn check(bed: &Bed, report: &mut Report) {
    for manifest in crds::manifest::all() {
        report.add(format!("{} is accepted", manifest.file), accepted(bed, manifest.file).await);
    }
    report.add("install the CRD chart", bed.helm_install(CHART, None).await);
    for manifest in crds::manifest::all() {
        let name = manifest.crd.metadata.name.unwrap_or_default();
        report.add(format!("{name} is served"), served(bed, &name).await);
        report.add(format!("{name} outlives its chart"), outlives_its_chart(bed, &name).await);
    }
}

/// A CRD that goes takes every object of its kind with it.
async fn outlives_its_chart(bed: &Bed, name: &str) -> anyhow::Result<()> {
    let path = format!("{PATH}/{name}");
    let uid = |crd: Value| crd["metadata"]["uid"].clone();
    let before = uid(bed.get(&path).await?.success()?);
    bed.helm_uninstall(CHART).await?;
    let left = bed.get(&path).await?.success()?;
    ensure!(left["metadata"].get("deletionTimestamp").is_none(), "helm uninstall deletes it");
    bed.helm_install(CHART, None).await.context("the chart does not take it back")?;
    ensure!(uid(bed.get(&path).await?.success()?) == before, "it is another one after a new install");
    Ok(())
}

/// The server refuses a CRD whose rules may cost more than the budget; what it merely dislikes comes as a warning.
async fn accepted(bed: &Bed, file: &str) -> anyhow::Result<()> {
    let path = root().join("crds").join(file);
    let size = std::fs::metadata(&path)?.len();
    ensure!(size < LARGEST_FILE, "has {size} bytes");
    let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
    let answer = bed.post(&format!("{PATH}?dryRun=All&fieldValidation=Strict"), &crd).await?;
    ensure!(answer.warnings.is_empty(), "the server warns: {:?}", answer.warnings);
    answer.success().map(drop)
}

async fn served(bed: &Bed, name: &str) -> anyhow::Result<()> {
    let path = format!("{PATH}/{name}");
    let crd = bed
        .wait_for(&path, "Established", |crd| condition(crd, "Established").is_some_and(|status| status == "True"))
        .await?;
    ensure!(
        condition(&crd, "NamesAccepted") == Some("True"),
        "its names are not accepted: {}",
        crd["status"]["conditions"]
    );
    let non_structural = condition(&crd, "NonStructuralSchema");
    ensure!(non_structural.is_none_or(|status| status == "False"), "its schema is not structural");
    Ok(())
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}
