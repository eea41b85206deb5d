//! Every condition and every reason stands in the documentation with its cause and its remedy, and none that does not exist.

use std::collections::BTreeMap;

use crds::{ConditionType, Reason};
use strum::IntoEnumIterator;

const PAGE: &str = include_str!("../../operator/docs/conditions.md");

/// The rows of the table under a heading, by the word in their first cell.
fn rows(heading: &str) -> BTreeMap<String, Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        let word = cells.next().unwrap_or_default().trim_matches('`').to_owned();
        assert!(rows.insert(word, cells.collect()).is_none(), "twice: {line}");
    }
    rows
}

fn same(heading: &str, cells: usize, exist: impl Iterator<Item = String>) {
    let rows = rows(heading);
    let exist: Vec<String> = exist.collect();
    for word in &exist {
        let row = rows.get(word).unwrap_or_else(|| panic!("{word} is not documented under {heading}"));
        assert!(row.len() == cells && row.iter().all(|cell| !cell.is_empty()), "{word} is documented as {row:?}");
    }
    let unknown: Vec<&String> = rows.keys().filter(|word| !exist.contains(word)).collect();
    assert!(unknown.is_empty(), "documented, and not there: {unknown:?}");
}

#[test]
fn every_condition_is_documented() {
    same("Conditions", 3, ConditionType::iter().map(|condition| condition.to_string()));
}

#[test]
fn every_reason_is_documented_with_its_remedy() {
    same("Reasons", 2, Reason::iter().map(|reason| reason.to_string()));
}
