//! Every example is applied as its header says and accepted without a warning; a second apply changes nothing.

use anyhow::{Context, ensure};

use super::bed::{Bed, root};
use super::report::Report;

pub async fn check(bed: &Bed, report: &mut Report) {
    let Some(files) = report.add("examples", files()) else { return };
    for file in files {
        report.add(format!("examples/{file}"), applies(bed, &file));
    }
}

fn files() -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join("examples"))? {
        files.push(entry?.file_name().into_string().ok().context("a file name is not UTF-8")?);
    }
    files.sort();
    ensure!(files.len() >= 4, "only {files:?}");
    Ok(files)
}

fn applies(bed: &Bed, file: &str) -> anyhow::Result<()> {
    let path = format!("examples/{file}");
    let text = std::fs::read_to_string(root().join(&path))?;
    ensure!(text.starts_with("# "), "does not open with its story");
    ensure!(text.contains("\nkind: Tenant\n"), "holds no Tenant");
    let apply = ["apply", "-f", &path, "--validate=strict", "--warnings-as-errors"];
    bed.kubectl(&apply)?;
    let again = bed.kubectl(&apply)?;
    for line in again.lines() {
        // kubectl sends stringData each time, since it cannot find it in what is stored.
        let same = line.ends_with(" unchanged") || (line.starts_with("secret/") && line.ends_with(" configured"));
        ensure!(same, "a second apply changes something: {line}");
    }
    Ok(())
}
