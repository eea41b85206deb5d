//! What is committed is what the types say, and the schema keeps its own house rules: descriptions, bounds, no formats
//! that the API server does not know. The judge of the rules themselves is a real API server, in the crate `e2e`.

use std::path::{Path, PathBuf};

use crds::manifest;
use crds::network::Network;
use crds::tenant::{Edition, SecretRef};
use crds::{Tenant, TenantSpec};
use kube::core::cel::{validate_cel, validate_cel_update};
use serde_json::{Value, json};

/// etcd refuses objects over 1.5 MiB, and a client-side apply keeps a second copy in an annotation of at most 256 KiB.
const LARGEST_FILE: usize = 200_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn committed_yaml_is_what_the_types_say() {
    for manifest in manifest::all() {
        let wanted = manifest::render(&manifest);
        assert!(wanted.len() < LARGEST_FILE, "{} has {} bytes", manifest.file, wanted.len());
        for folder in ["crds", "charts/tenant-operator-crds/templates"] {
            let path = root().join(folder).join(manifest.file);
            let found = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(found == wanted, "{folder}/{} is stale: run `cargo run -p crds --bin crdgen`", manifest.file);
        }
    }
}

#[test]
fn the_chart_ships_nothing_else() {
    let mut shipped: Vec<String> = std::fs::read_dir(root().join("charts/tenant-operator-crds/templates"))
        .expect("the chart has templates")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    shipped.sort();
    let mut generated: Vec<String> = manifest::all().iter().map(|manifest| manifest.file.to_owned()).collect();
    generated.sort();
    assert_eq!(shipped, generated);
    for file in shipped {
        let text = std::fs::read_to_string(root().join("charts/tenant-operator-crds/templates").join(&file))
            .expect("readable");
        assert!(!text.contains("{{"), "{file}: helm would take this for a template");
    }
}

#[test]
fn every_field_is_described_and_bounded() {
    let mut faults = Vec::new();
    let mut fields = 0;
    for manifest in manifest::all() {
        let crd = serde_json::to_value(&manifest.crd).expect("a CustomResourceDefinition serializes");
        for version in crd["spec"]["versions"].as_array().expect("versions") {
            let schema = &version["schema"]["openAPIV3Schema"];
            walk(schema, manifest.file, &mut faults, &mut fields);
        }
    }
    assert!(fields > 60, "the walk saw only {fields} fields");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn walk(schema: &Value, path: &str, faults: &mut Vec<String>, fields: &mut usize) {
    let mut require = |holds: bool, fault: &str| {
        if !holds {
            faults.push(format!("{path}: {fault}"));
        }
    };
    require(schema.get("nullable").is_none(), "must not be nullable: a null would be stored and keep the default out");
    if let Some(format) = schema.get("format") {
        require(
            ["int32", "int64", "date-time"].iter().any(|known| format == known),
            "has a format the API server warns about",
        );
    }
    match schema["type"].as_str() {
        Some("string") => {
            let bounded =
                ["maxLength", "enum"].iter().any(|key| schema.get(key).is_some()) || schema["format"] == "date-time";
            require(bounded, "a string needs a maxLength");
        }
        Some("array") => require(schema.get("maxItems").is_some(), "a list needs maxItems"),
        Some("object" | "integer" | "boolean") => {}
        other => require(false, &format!("has the type {other:?}")),
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        require(
            message.contains(": ") || message.contains("must") || message.contains("Create "),
            &format!("the message {message:?} names no remedy"),
        );
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        *fields += 1;
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(|text| text.len() < 8) {
            faults.push(format!("{path}: has no description"));
        }
        walk(property, &path, faults, fields);
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), faults, fields);
    }
}

fn tenant() -> Tenant {
    let spec: TenantSpec = serde_json::from_value(json!({
        "domain": "acme.example.com", "edition": "Community", "version": "18.1.0", "region": "us-west-2",
    }))
    .expect("the smallest spec");
    Tenant::new("acme", spec)
}

#[test]
fn defaults_of_the_type_are_defaults_of_the_schema() {
    let crd = serde_json::to_value(&manifest::all()[0].crd).expect("a CustomResourceDefinition serializes");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let spec = serde_json::to_value(tenant().spec).expect("a spec serializes");
    let mut compared = 0;
    for (name, property) in schema.as_object().expect("properties") {
        let Some(default) = property.get("default") else { continue };
        compared += 1;
        assert_eq!(spec[name], *default, "{name}");
    }
    assert_eq!(compared, 7, "agents, auth, deletionProtection, network, proxy, size, storage");
}

#[test]
fn rules_hold_without_a_server() {
    validate_cel(&tenant()).expect("the smallest tenant is valid");
    type Edit = fn(&mut Tenant);
    let refused: [(&str, Edit, &str); 6] = [
        ("upper case", |tenant| tenant.spec.domain = "Acme.example.com".into(), "spec.domain must be"),
        ("no licence", |tenant| tenant.spec.edition = Edition::Enterprise, "spec.licenseSecretRef is required"),
        (
            "licence",
            |tenant| tenant.spec.license_secret_ref = Some(SecretRef { name: "licence".into() }),
            "must be absent",
        ),
        ("no pool", |tenant| tenant.spec.network.tls_routing = false, "spec.network.portPool is required"),
        ("version", |tenant| tenant.spec.version = "v18.1.0".into(), "spec.version must be"),
        ("ttl", |tenant| tenant.spec.agents.report_ttl = "25h".into(), "spec.agents.reportTTL must be"),
    ];
    for (name, edit, expected) in refused {
        let mut changed = tenant();
        edit(&mut changed);
        let refusal = validate_cel(&changed).expect_err(name).to_string();
        assert!(refusal.contains(expected), "{name}: {refusal}");
    }
}

#[test]
fn what_cannot_change_cannot_be_set_later_either() {
    let pooled = || {
        let mut tenant = tenant();
        tenant.spec.network = Network { port_pool: Some("default".into()), ..Network::default() };
        tenant
    };
    validate_cel_update(&pooled(), &pooled()).expect("no change");
    for (old, new) in [(tenant(), pooled()), (pooled(), tenant())] {
        let refusal = validate_cel_update(&new, &old).expect_err("immutable").to_string();
        assert!(refusal.contains("spec.network.portPool is immutable"), "{refusal}");
    }
}
