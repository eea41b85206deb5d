//! Who may use which domains: `domains` of the fleet policy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern;

/// A domain with everything below it, and who may use it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DomainRule {
    /// The domain, such as `example.com`: it and every name below it is meant, unless another rule has a longer suffix.
    #[schemars(regex(pattern = pattern::DOMAIN), length(max = 200))]
    pub suffix: String,
    /// The namespaces whose tenants may use it; absent = all.
    #[serde(default)]
    pub namespace_selector: NamespaceSelector,
}

/// Namespaces by their labels.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that a namespace must have, all of them; none = every namespace.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
}

impl DomainRule {
    fn covers(&self, domain: &str) -> bool {
        domain.strip_suffix(&self.suffix).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }

    fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.namespace_selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// What is wrong with it.
    pub fn faults(&self, field: &str) -> Vec<String> {
        let DomainRule { suffix, namespace_selector } = self;
        let mut faults = Vec::new();
        if !pattern::matches(pattern::DOMAIN, suffix) || suffix.len() > 200 {
            faults.push(format!(
                "{field}.suffix: {suffix:?} must be a lower-case domain such as example.com, without a wildcard and dots at its ends"
            ));
        }
        for (key, value) in &namespace_selector.match_labels {
            if !pattern::matches(pattern::LABEL_KEY, key) || !pattern::matches(pattern::LABEL_VALUE, value) {
                faults.push(format!("{field}.namespaceSelector.matchLabels: {key:?}: {value:?} is no label"));
            }
        }
        faults
    }
}

/// Whether tenants of a namespace with these labels may use a domain. Of the rules that cover it those with the longest
/// suffix decide, and one of them is enough. Without any rule everybody may use everything.
///
/// # Errors
/// Why not, with what to do.
pub fn admit(rules: &[DomainRule], domain: &str, labels: &BTreeMap<String, String>) -> Result<(), String> {
    if rules.is_empty() {
        return Ok(());
    }
    let covering = rules.iter().filter(|rule| rule.covers(domain));
    let Some(longest) = covering.clone().map(|rule| rule.suffix.len()).max() else {
        let suffixes: Vec<&str> = rules.iter().map(|rule| rule.suffix.as_str()).collect();
        return Err(format!(
            "spec.domain: {domain} lies under none of the domains of the fleet policy ({}): create the Tenant with a domain under one of them, or add one to domains of the policy",
            suffixes.join(", ")
        ));
    };
    let deciding: Vec<&DomainRule> = covering.filter(|rule| rule.suffix.len() == longest).collect();
    if deciding.iter().any(|rule| rule.admits(labels)) {
        return Ok(());
    }
    let wanted: Vec<String> = deciding
        .iter()
        .map(|rule| {
            let labels = rule.namespace_selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
            labels.collect::<Vec<_>>().join(",")
        })
        .collect();
    Err(format!(
        "spec.domain: {domain} lies under {}, which is for namespaces with the labels {}: label the namespace, or create the Tenant with another domain",
        deciding.first().map(|rule| rule.suffix.as_str()).unwrap_or_default(),
        wanted.join(" or ")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Vec<DomainRule> {
        serde_json::from_value(json!([
            {"suffix": "example.com"},
            {"suffix": "corp.example.com", "namespaceSelector": {"matchLabels": {"team": "corp", "env": "prod"}}},
            {"suffix": "corp.example.com", "namespaceSelector": {"matchLabels": {"team": "platform"}}},
        ]))
        .expect("rules")
    }

    fn of(domain: &str, labels: &[(&str, &str)]) -> Result<(), String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        admit(&rules(), domain, &labels)
    }

    #[test]
    fn the_longest_suffix_decides() {
        assert_eq!(of("acme.example.com", &[]), Ok(()));
        assert_eq!(of("example.com", &[]), Ok(()));
        assert_eq!(of("a.corp.example.com", &[("team", "corp"), ("env", "prod")]), Ok(()));
        assert_eq!(of("corp.example.com", &[("team", "platform")]), Ok(()));
        let refusal = of("a.corp.example.com", &[("team", "corp")]).expect_err("half of the labels");
        assert!(refusal.contains("labels env=prod,team=corp or team=platform: label the namespace"), "{refusal}");
        assert_eq!(admit(&[], "anything.test", &BTreeMap::new()), Ok(()), "no rule, no limit");
    }

    #[test]
    fn what_lies_under_none_is_refused_with_those_that_there_are() {
        for domain in ["acme.example.org", "notexample.com", "example.com.test"] {
            let refusal = of(domain, &[]).expect_err(domain);
            assert!(
                refusal.contains("none of the domains of the fleet policy (example.com, corp.example.com"),
                "{refusal}"
            );
        }
    }
}
