//! Rights that nobody uses are rights that only a thief uses: each action of each statement of a policy is held against what was
//! really called.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use e2e::testbed::{INSTALLATION, TestBed, aws_policy};
use plan::cloud::rights::RIGHTS;
use serde_json::Value;

use super::cloud;
use super::hostile::object::KMS_KEY;
use super::manifest::id;
use super::remedies::NO_KEY;

/// One action of one statement.
type Grant = (String, String);

/// Statements of the operator's policy that only a major update uses.
const OF_UPDATES: [&str; 2] = ["RecoveryPoints", "RecoveryPointsThatExpired"];

/// Of the operator and of Auth.
pub async fn rights(bed: &TestBed) -> anyhow::Result<()> {
    by_the_operator(bed)?;
    let mut robbed = Vec::new();
    for name in ["taken-cloud", "drift"] {
        robbed.push(id(&bed.tenants(name).get(name).await?)?);
    }
    by_auth(bed, &robbed)
}

/// Without any single action of its policy some call would have been refused; and it never asked for more than that.
fn by_the_operator(bed: &TestBed) -> anyhow::Result<()> {
    let mut statements = Vec::new();
    for file in ["operator-policy.json", "dns-policy.json"] {
        let policy: Value = serde_json::from_str(&aws_policy(file)?)?;
        statements.extend(policy["Statement"].as_array().context("statements")?.iter().cloned());
    }
    let calls = cloud::calls(bed, DateTime::<Utc>::MIN_UTC)?;
    // A key that a user names and that is not there is refused, as it should be.
    let hostile = KMS_KEY.rsplit('/').next().and_then(|id| id.get(..8)).unwrap_or(KMS_KEY);
    let named = |call: &Value| cloud::concerns(call, NO_KEY) || cloud::concerns(call, hostile);
    let refused: Vec<&Value> = calls.iter().filter(|call| call["outcome"] == "denied" && !named(call)).collect();
    ensure!(refused.is_empty(), "{} calls were refused, such as {}", refused.len(), refused[0]);
    let mut needed: BTreeSet<Grant> = BTreeSet::new();
    for (action, resource) in calls.iter().flat_map(asked) {
        let granted: Vec<&Value> =
            statements.iter().filter(|statement| grants(statement, &action, &resource)).collect();
        // Two statements that grant one call are each to be done without.
        if let [statement] = granted.as_slice() {
            needed.insert((text(&statement["Sid"]), action));
        }
    }
    let all = statements.iter().flat_map(|statement| {
        let actions = statement["Action"].as_array().into_iter().flatten();
        actions.map(|action| (text(&statement["Sid"]), text(action)))
    });
    let unused: Vec<Grant> = all
        .filter(|(sid, action)| !OF_UPDATES.contains(&sid.as_str()) && !needed.contains(&(sid.clone(), action.clone())))
        .collect();
    ensure!(unused.is_empty(), "no call needed {unused:?}");
    Ok(())
}

/// Of Auth: all that it called stands in the table of its rights, and nothing was refused but to those whose rights a scenario
/// had taken.
fn by_auth(bed: &TestBed, robbed: &[String]) -> anyhow::Result<()> {
    let role = format!("assumed-role/{INSTALLATION}-");
    let tried = ["/verify-isolation", "/onlooker"];
    let calls = cloud::log(bed)?.into_iter().filter(|call| {
        let principal = call["principal_arn"].as_str().unwrap_or_default();
        principal.contains(&role) && !tried.iter().any(|session| principal.ends_with(session))
    });
    let calls: Vec<Value> = calls.collect();
    ensure!(calls.len() > 100, "only {} calls of Auth were logged", calls.len());
    for call in &calls {
        let principal = call["principal_arn"].as_str().unwrap_or_default();
        let robbed = robbed.iter().any(|tenant_id| principal.contains(tenant_id));
        ensure!(call["outcome"] != "denied" || robbed, "refused: {call}");
        for (action, _) in asked(call) {
            ensure!(RIGHTS.iter().any(|right| right.action == action), "not in the table of rights: {call}");
        }
    }
    Ok(())
}

/// What a call needed: actions and their resources.
fn asked(call: &Value) -> Vec<Grant> {
    let needs = call["needs"].as_array().into_iter().flatten();
    needs.map(|need| (text(&need[0]), text(&need[1]))).collect()
}

fn grants(statement: &Value, action: &str, resource: &str) -> bool {
    let actions = statement["Action"].as_array().into_iter().flatten();
    let pattern = text(&statement["Resource"]);
    actions.into_iter().any(|granted| granted == action) && matches(&pattern, resource)
}

/// `*` in a policy stands for any characters. The operator's policy uses no other wildcard.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
