//! The JSON Schema of the fleet policy: the chart ships it, and it refuses what the operator would refuse. After a wanted
//! change of the policy: `make golden`, and read the difference before accepting it.
#![expect(clippy::disallowed_methods, reason = "the test reads the chart")]

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use plan::feed::Feed;
use plan::fleet::Installation;
use plan::schema;
use serde_json::{Value, json};

fn chart() -> PathBuf {
    Path::new(env!("TENANT_OPERATOR_ROOT")).join("charts/tenant-operator/values.schema.json")
}

#[test]
fn the_values_of_the_chart_have_the_schema_of_the_policy() {
    let text = std::fs::read_to_string(chart()).expect("the chart has a schema");
    let mut values: Value = serde_json::from_str(&text).expect("JSON");
    values["definitions"]["installation"] = schema::installation();
    values["definitions"]["releases"] = schema::releases();
    let mut wanted = serde_json::to_string_pretty(&values).expect("JSON");
    wanted.push('\n');
    expect_file![chart()].assert_eq(&wanted);
}

/// Whether the schema takes a text, and whether the operator does.
fn verdicts(schema: &Value, text: &str, faults: Result<(), Vec<String>>) -> (bool, bool) {
    let value: Value = serde_saphyr::from_str(text).expect("YAML");
    let schema = jsonschema::draft7::new(schema).expect("a schema of draft 7");
    (schema.is_valid(&value), faults.is_ok())
}

/// Sets one field of a good policy and puts both to the question.
fn both(good: &Value, pointer: &str, value: &Value) -> (String, (bool, bool)) {
    let mut changed = good.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = changed.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match parent {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value.clone(),
        parent => parent[key] = value.clone(),
    }
    let text = changed.to_string();
    let verdicts = if good.get("id").is_some() {
        verdicts(&schema::installation(), &text, Installation::parse(&text).map(drop))
    } else {
        verdicts(&schema::releases(), &text, Feed::parse(&text).map(drop))
    };
    (text, verdicts)
}

fn installation() -> Value {
    json!({
        "id": "eu1",
        "aws": {"accounts": [{
            "id": "123456789012", "regions": ["us-west-2", "eu-central-1"],
            "oidcProvider": "oidc.example.com/id/1", "rolePath": "/tenancy/eu1/",
        }]},
        "portPools": [{"name": "default", "start": 11100, "end": 31099}],
        "images": {"enterprise": "example.com/teleport-ent", "community": "example.com/teleport"},
    })
}

fn releases() -> Value {
    json!({
        "releases": [{"version": "18.1.0", "releasedAt": "2026-10-12T00:00:00Z", "digests": {}}],
        "channels": {"stable": {"soak": {"patch": "24h"}, "maxMajor": 18}},
        "waves": {"soak": "24h"},
        "freeze": {"until": "2027-01-04T00:00:00Z", "reason": "holidays"},
    })
}

#[test]
fn what_the_operator_takes_the_schema_takes() {
    let cases = [
        (installation(), "/aws/accounts/0/rolePath", json!("/")),
        (installation(), "/aws/accounts/0/boundaryArn", json!("arn:aws:iam::123456789012:policy/boundary")),
        (installation(), "/aws/accounts/0/oidcProvider", json!("127.31.0.1:6443")),
        (installation(), "/aws/accounts/0/assumeRoleArn", json!("arn:aws:iam::123456789012:role/provisioner")),
        (installation(), "/aws/accounts/0/maxTenants", json!(1)),
        (installation(), "/portPools", json!([])),
        (installation(), "/portPools/0/quarantine", json!("1h30m")),
        (installation(), "/portPools/0/maxBlocks", json!(9)),
        (
            installation(),
            "/portPools",
            json!([{"name": "a", "start": 11100, "end": 11199, "overflow": "b"}, {"name": "b", "start": 11200, "end": 11299}]),
        ),
        (installation(), "/network", json!({"nodePorts": {"start": 30000, "end": 40000}})),
        (installation(), "/clusterDomain", json!("cluster.example")),
        (
            installation(),
            "/domains",
            json!([{"suffix": "example.com", "namespaceSelector": {"matchLabels": {"team": "a"}}}]),
        ),
        (installation(), "/pod", json!({})),
        (
            installation(),
            "/pod",
            json!({"nodeSelector": {"pool": ""}, "tolerations": [{"operator": "Exists"}], "labels": {"example.com/team": "a"},
                "affinity": {"nodeAffinity": {}}, "imagePullSecrets": [{"name": "registry"}], "annotations": {"a": "b c"}}),
        ),
        (installation(), "/images/community", json!("localhost:5000/teleport")),
        (releases(), "/releases", json!([])),
        (releases(), "/releases/0/critical", json!(true)),
        (releases(), "/releases/0/resumedAt", json!("2026-10-12T02:00:00+02:00")),
        (releases(), "/releases/0/digests/community", json!(format!("sha256:{}", "0a".repeat(32)))),
        (releases(), "/channels/stable", json!({})),
        (releases(), "/monthlyDowntimeBudget", json!("44m")),
    ];
    for (good, pointer, value) in cases {
        let (text, verdicts) = both(&good, pointer, &value);
        assert_eq!(verdicts, (true, true), "{text}");
    }
}

#[test]
fn what_one_refuses_the_other_refuses() {
    let long = "/".to_owned() + &"a".repeat(512) + "/";
    let texts: Vec<(Value, &str, Value)> = [
        ("/id", json!("EU1")),
        ("/id", json!("e")),
        ("/extra", json!(1)),
        ("/aws/accounts/0/id", json!("12")),
        ("/aws/accounts/0/id", json!("123456789012\n")),
        ("/aws/accounts/0/regions", json!([])),
        ("/aws/accounts/0/regions/0", json!("Oregon")),
        ("/aws/accounts/0/oidcProvider", json!("https://oidc.example.com")),
        ("/aws/accounts/0/oidcProvider", json!("a\"b")),
        ("/aws/accounts/0/rolePath", json!("tenancy")),
        ("/aws/accounts/0/rolePath", json!(long)),
        ("/aws/accounts/0/boundaryArn", json!("arn:aws:iam::123456789012:role/x")),
        ("/aws/accounts/0/assumeRoleArn", json!("arn:aws:iam::123456789012:policy/x")),
        ("/aws/accounts/0/maxTenants", json!(0)),
        ("/aws/accounts", json!([])),
        ("/portPools/0/name", json!("Default")),
        ("/portPools/0/start", json!(80)),
        ("/portPools/0/end", json!(70000)),
        ("/portPools/0/quarantine", json!("7d")),
        ("/portPools/0/quarantine", json!("")),
        ("/portPools/0/maxBlocks", json!(0)),
        ("/portPools/0/maxBlocks", json!(12_903)),
        ("/portPools/0/overflow", json!("Back")),
        ("/network", json!({"nodePorts": {"start": 0, "end": 40000}})),
        ("/images/enterprise", json!("example.com/teleport:18.1.0")),
        ("/images/community", json!("")),
        ("/clusterDomain", json!("a b")),
        ("/domains", json!([{"suffix": "Example.com"}])),
        ("/domains", json!([{"suffix": "*.example.com"}])),
        ("/domains", json!([{"suffix": "example.com", "namespaces": []}])),
        ("/domains", json!([{"suffix": "example.com", "namespaceSelector": {"matchExpressions": []}}])),
        ("/pod", json!({"nodeselector": {}})),
        ("/pod", json!({"tolerations": [{"key": "a", "operater": "Exists"}]})),
        ("/pod", json!({"affinity": {"nodeAffinity": {"preferred": []}}})),
        ("/pod", json!({"image": "x"})),
        ("/pod", json!({"labels": {"app.kubernetes.io/name": "x"}})),
        ("/pod", json!({"labels": {"team": "a b"}})),
        ("/pod", json!({"annotations": {"tenancy.dev/x": "y"}})),
        ("/pod", json!({"priorityClassName": "High"})),
        ("/pod", json!({"imagePullSecrets": [{"name": ""}]})),
    ]
    .into_iter()
    .map(|(pointer, value)| (installation(), pointer, value))
    .chain(
        [
            ("/releases/0/version", json!("v18.1.0")),
            ("/releases/0/version", json!("18.1.0-rc.1")),
            ("/releases/0/releasedAt", json!("2026-10-12")),
            ("/releases/0/resumedAt", json!("today")),
            ("/releases/0/digests/enterprise", json!("sha256:ABC")),
            ("/releases/0/urgent", json!(true)),
            ("/channels/Stable", json!({})),
            ("/channels/stable/maxMajor", json!(0)),
            ("/channels/stable/soak/patch", json!("1d")),
            ("/waves/haltAfterFailures", json!(0)),
            ("/waves/maxWait", json!("")),
            ("/maxConcurrentUpdates", json!(10_001)),
            ("/monthlyDowntimeBudget", json!("0.1%")),
            ("/freeze/reason", json!("")),
            ("/freeze/until", json!("Christmas")),
        ]
        .into_iter()
        .map(|(pointer, value)| (releases(), pointer, value)),
    )
    .collect();
    for (good, pointer, value) in texts {
        let (text, verdicts) = both(&good, pointer, &value);
        assert_eq!(verdicts, (false, false), "{pointer}: {text}");
    }
}
