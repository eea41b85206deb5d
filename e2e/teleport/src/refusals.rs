//! Every rule, broken. A case takes what works, changes exactly one thing and sees the refusal; beside each table stands
//! the control that the unchanged input works.

mod api;
mod bootstrap;
mod client;
mod cluster;
mod config;
mod fixture;
mod proxy;
mod running;
mod storage;

use std::collections::BTreeSet;

use crate::rule::Rule;
use fixture::Good;

/// One way to break a start.
struct Case {
    rule: Rule,
    name: &'static str,
    breaks: fn(&mut Good),
}

const fn case(rule: Rule, name: &'static str, breaks: fn(&mut Good)) -> Case {
    Case { rule, name, breaks }
}

/// Runs each case to its end: it must exit with an error and say the rule.
async fn expect_refusals(cases: &[Case], good: fn() -> Good) {
    for case in cases {
        let mut broken = good();
        (case.breaks)(&mut broken);
        let (code, log) = broken.start().ended().await;
        assert_ne!(code, 0, "{}: exited well\n{log}", case.name);
        assert!(log.contains(case.rule.text()), "{}: {} is not in\n{log}", case.name, case.rule.text());
    }
}

#[test]
fn every_rule_has_a_case() {
    let cases = [config::CASES, storage::CASES, bootstrap::CASES, proxy::CASES];
    let mut proved: BTreeSet<Rule> = cases.iter().flat_map(|cases| cases.iter().map(|case| case.rule)).collect();
    proved.extend(client::CASES.iter().map(|case| case.rule));
    proved.extend(client::ACCESS.iter().map(|case| case.rule));
    proved.extend(api::CASES.iter().map(|case| case.rule));
    proved.extend(proxy::NEVER_READY.iter().map(|case| case.rule));
    proved.extend(storage::NEVER_READY.iter().map(|case| case.rule));
    let missing: Vec<&Rule> = Rule::ALL.iter().filter(|rule| !proved.contains(rule)).collect();
    assert!(missing.is_empty(), "no test breaks {missing:?}");
}

#[test]
fn the_readme_lists_every_rule() {
    let readme = include_str!("../README.md");
    let missing: Vec<&str> =
        Rule::ALL.iter().map(|rule| rule.name()).filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

/// A case looks for the rule's text in the log, so no text may be part of another.
#[test]
fn rules_can_be_told_apart() {
    for one in Rule::ALL {
        let same = Rule::ALL.iter().filter(|other| other.text().contains(one.text())).count();
        assert_eq!(same, 1, "{one:?}");
    }
}
