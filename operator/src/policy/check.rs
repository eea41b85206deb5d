//! `tenant-operator fleet check`: what the operator would make of a fleet policy, told before it is in force.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use plan::feed::Feed;
use plan::fleet::Installation;
use serde_json::Value;

use super::text::{self, INSTALLATION, RELEASES};

/// What a policy comes to, one line each.
type Lines = Vec<String>;

/// Reads a file, `-` for standard input, and checks it: a manifest with the policy's ConfigMap, as `helm template` or
/// `kubectl get -o yaml` writes it, or the text of one key under that key's name.
///
/// # Errors
/// When the file cannot be read; with every fault as a line when the policy is refused.
pub fn file(path: &Path) -> anyhow::Result<Result<Lines, Lines>> {
    let mut content = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut content).context("cannot read standard input")?;
    } else {
        content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(check(name, &content))
}

fn check(file: &str, content: &str) -> Result<Lines, Lines> {
    match file {
        INSTALLATION => return Installation::parse(content).map(|installation| vec![of_installation(&installation)]),
        RELEASES => return Feed::parse(content).map(|feed| vec![of_feed(&feed)]),
        _ => {}
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(content).map_err(|error| vec![error.to_string()])?;
    let policies: Vec<_> = documents.into_iter().flat_map(items).filter_map(policy).collect();
    if policies.is_empty() {
        return Err(vec![format!(
            "there is no ConfigMap with the key {INSTALLATION} or {RELEASES}: give a manifest that has one, or the text of \
             a key in a file of its name"
        )]);
    }
    let (mut lines, mut faults) = (Lines::new(), Lines::new());
    for (name, data) in policies {
        let (installation, feed) = text::read(Some(&data), &name);
        let parts = [
            (INSTALLATION, installation.map(|installation| of_installation(&installation))),
            (RELEASES, feed.map(|feed| of_feed(&feed))),
        ];
        for (key, part) in parts {
            match part {
                Ok(line) => lines.push(line),
                Err(all) => faults.extend(all.iter().map(|fault| format!("ConfigMap {name}, {key}: {fault}"))),
            }
        }
    }
    if faults.is_empty() { Ok(lines) } else { Err(faults) }
}

/// A list stands for what it holds.
fn items(document: Value) -> Vec<Value> {
    match document.get("items").and_then(Value::as_array) {
        Some(items) if document["kind"] == "List" || document["kind"] == "ConfigMapList" => items.clone(),
        _ => vec![document],
    }
}

/// Name and data of a ConfigMap that holds a policy.
fn policy(object: Value) -> Option<(String, BTreeMap<String, String>)> {
    if object["kind"] != "ConfigMap" {
        return None;
    }
    let data: BTreeMap<String, String> = serde_json::from_value(object["data"].clone()).ok()?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    (data.contains_key(INSTALLATION) || data.contains_key(RELEASES)).then_some((name, data))
}

fn of_installation(installation: &Installation) -> String {
    let Installation { id, aws, domains, port_pools, .. } = installation;
    let domains: Vec<&str> = domains.iter().map(|rule| rule.suffix.as_str()).collect();
    let domains = if domains.is_empty() { "any".to_owned() } else { domains.join(", ") };
    let pools: Vec<String> = port_pools
        .iter()
        .map(|pool| {
            let then = pool.overflow.as_ref().map_or(String::new(), |next| format!(", then {next}"));
            format!("{} ({} blocks{then})", pool.name, pool.capacity())
        })
        .collect();
    let pools = if pools.is_empty() { "none".to_owned() } else { pools.join(", ") };
    let accounts: Vec<String> = aws
        .accounts
        .iter()
        .map(|account| format!("{} in {} ({} tenants)", account.id, account.regions.join(", "), account.max_tenants))
        .collect();
    format!(
        "{INSTALLATION}: installation {id}, AWS accounts: {}, domains: {domains}, port pools: {pools}",
        accounts.join(", ")
    )
}

fn of_feed(feed: &Feed) -> String {
    let newest = feed.releases.keys().next_back().map_or("none".to_owned(), ToString::to_string);
    let channels: Vec<&str> = feed.channels.keys().map(String::as_str).collect();
    let channels = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    format!("{RELEASES}: {} releases, the newest {newest}, channels: {channels}", feed.releases.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLATION_TEXT: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com, rolePath: /t/}]}
portPools: [{name: default, start: 11100, end: 31099, maxBlocks: 9, overflow: more}, {name: more, start: 31100, end: 31199}]
images: {enterprise: example.com/ent, community: example.com/oss}
"#;
    const RELEASES_TEXT: &str =
        "releases: [{version: 18.1.0, releasedAt: 2026-10-12T00:00:00Z}]\nchannels: {stable: {}}\n";

    fn manifest(installation: &str, releases: &str) -> String {
        let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        format!(
            "kind: Namespace\n---\nkind: ConfigMap\nmetadata: {{name: fleet}}\ndata:\n  installation.yaml: |\n{}  releases.yaml: |\n{}",
            indented(installation),
            indented(releases)
        )
    }

    #[test]
    fn a_good_policy_is_summed_up() {
        let lines = check("all.yaml", &manifest(INSTALLATION_TEXT, RELEASES_TEXT)).expect("good");
        assert_eq!(
            lines,
            [
                "installation.yaml: installation eu1, AWS accounts: 123456789012 in us-west-2 (900 tenants), domains: any, port pools: default (9 blocks, then more), more (20 blocks)",
                "releases.yaml: 1 releases, the newest 18.1.0, channels: stable",
            ]
        );
        assert_eq!(check(INSTALLATION, INSTALLATION_TEXT).as_deref(), Ok(&lines[..1]));
        assert_eq!(check(RELEASES, RELEASES_TEXT).as_deref(), Ok(&lines[1..]));
    }

    #[test]
    fn every_fault_of_both_keys_is_told() {
        let text = manifest(&INSTALLATION_TEXT.replace("eu1", "EU1").replace("[us-west-2]", "[]"), "releases: [{}]");
        let faults = check("all.yaml", &text).expect_err("three faults");
        let expected = [
            "installation.yaml: id:",
            "installation.yaml: aws.accounts[0].regions:",
            "releases.yaml: releases.yaml cannot",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(expected) {
            assert!(fault.starts_with(&format!("ConfigMap fleet, {start}")), "{fault}");
        }
    }

    #[test]
    fn a_list_is_looked_into() {
        let list = r#"{"kind": "List", "items": [{"kind": "ConfigMap", "metadata": {"name": "f"}, "data": {"releases.yaml": ""}}]}"#;
        let faults = check("list.json", list).expect_err("half a policy");
        assert_eq!(faults, ["ConfigMap f, installation.yaml: ConfigMap f has no key installation.yaml"]);
    }

    #[test]
    fn a_file_without_a_policy_is_refused_with_the_remedy() {
        let faults = check("values.yaml", "fleet: {}").expect_err("no policy");
        assert!(faults[0].contains("give a manifest that has one"), "{faults:?}");
        assert!(check("broken.yaml", "a: [").is_err());
    }
}
