//! The tables of `operator/docs/cloud.md`, held against what boto3 reads: neither may say more than the other.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use crds::Tenant;
use e2e::testbed::{ACCOUNT, BOUNDARY, INSTALLATION, ISSUER, REGION, ROLE_PATH, root};
use kube::ResourceExt;
use serde_json::Value;

use super::manifest;

/// Attributes by section of the documentation.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Compares; the error lists every difference.
pub fn compare(tenant: &Tenant, read: &Value) -> anyhow::Result<()> {
    let file = root().join("operator/docs/cloud.md");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let documented = parse(&text, tenant)?;
    let read: Sections = serde_json::from_value(read.clone()).context("read_tenant.py prints something else")?;
    let sections: Vec<&String> = documented.keys().collect();
    ensure!(sections == read.keys().collect::<Vec<_>>(), "documented are {sections:?}, read {:?}", read.keys());
    let mut differences = Vec::new();
    for (section, wanted) in &documented {
        let found = &read[section];
        for (attribute, value) in wanted {
            match found.get(attribute) {
                Some(found) if found == value => {}
                Some(found) => {
                    differences.push(format!("{section}: {attribute} is {found:?}, documented as {value:?}"))
                }
                None => differences.push(format!("{section}: {attribute} is documented and not there")),
            }
        }
        let extra = found.iter().filter(|(attribute, _)| !wanted.contains_key(*attribute));
        differences
            .extend(extra.map(|(attribute, value)| format!("{section}: {attribute}={value:?} is not documented")));
    }
    ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

/// Reads the tables of three columns, with the placeholders filled in for a tenant.
fn parse(text: &str, tenant: &Tenant) -> anyhow::Result<Sections> {
    let placeholders = [
        ("<installation>", INSTALLATION.to_owned()),
        ("<tenant id>", manifest::id(tenant)?),
        ("<account>", ACCOUNT.to_owned()),
        ("<role path>", ROLE_PATH.to_owned()),
        ("<boundary>", format!("arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}")),
        ("<oidc provider>", ISSUER.to_owned()),
        ("<region>", REGION.to_owned()),
        ("<namespace>", tenant.namespace().unwrap_or_default()),
        ("<tenant>", tenant.name_any()),
    ];
    let fill = |text: &str| placeholders.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let mut sections = Sections::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_lowercase();
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let [attribute, value, _why] = cells.as_slice() else { continue };
        let code = |cell: &str| cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(fill);
        if let (Some(attribute), Some(value)) = (code(attribute), code(value)) {
            let before = sections.entry(section.clone()).or_default().insert(attribute.clone(), value);
            ensure!(before.is_none(), "{section}: {attribute} is documented twice");
        }
    }
    Ok(sections)
}
