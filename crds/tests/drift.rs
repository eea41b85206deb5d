//! What is committed is what the types say, and the schema keeps its own house rules: descriptions, bounds, no formats
//! that the API server does not know. The judge of the rules themselves is a real API server, in the crate `e2e`.

use std::path::PathBuf;

use crds::manifest;
use crds::network::Network;
use crds::tenant::{Edition, Forget, SecretRef};
use crds::{AgentPool, MaintenanceWindow, Tenant, TenantSpec};
use kube::core::cel::{validate_cel, validate_cel_update};
use serde_json::{Value, json};

/// etcd refuses objects over 1.5 MiB, and a client-side apply keeps a second copy in an annotation of at most 256 KiB.
const LARGEST_FILE: usize = 200_000;

fn root() -> PathBuf {
    PathBuf::from(env!("TENANT_OPERATOR_ROOT"))
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
    assert!(fields > 90, "the walk saw only {fields} fields");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is below these is explained by Kubernetes.
const KUBERNETES: [&str; 3] = [".pod.tolerations[]", ".pod.affinity.", ".pod.topologySpreadConstraints[]"];

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
        Some("object") if schema.get("additionalProperties").is_some() => {
            require(schema.get("maxProperties").is_some(), "a map needs maxProperties");
        }
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
        let of_kubernetes = KUBERNETES.iter().any(|field| path.contains(field));
        if !of_kubernetes && property["description"].as_str().is_none_or(|text| text.len() < 8) {
            faults.push(format!("{path}: has no description"));
        }
        walk(property, &path, faults, fields);
    }
    for (key, place) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key) {
            walk(inner, &format!("{path}{place}"), faults, fields);
        }
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
    let specs = [
        ("tenants.yaml", serde_json::to_value(tenant().spec), 11),
        ("maintenancewindows.yaml", serde_json::to_value(window(json!({})).spec), 1),
    ];
    for (file, spec, expected) in specs {
        let manifest = manifest::all().into_iter().find(|manifest| manifest.file == file).expect(file);
        let crd = serde_json::to_value(&manifest.crd).expect("a CustomResourceDefinition serializes");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let spec = spec.expect("a spec serializes");
        let mut compared = 0;
        for (name, property) in schema.as_object().expect("properties") {
            let Some(default) = property.get("default") else { continue };
            compared += 1;
            assert_eq!(spec[name], *default, "{file}: {name}");
        }
        assert_eq!(compared, expected, "{file}: the defaults of the schema");
    }
}

#[test]
fn rules_hold_without_a_server() {
    validate_cel(&tenant()).expect("the smallest tenant is valid");
    type Edit = fn(&mut Tenant);
    let refused: [(&str, Edit, &str); 7] = [
        ("upper case", |tenant| tenant.spec.domain = "Acme.example.com".into(), "spec.domain must be"),
        ("no licence", |tenant| tenant.spec.edition = Edition::Enterprise, "spec.licenseSecretRef is required"),
        (
            "licence",
            |tenant| tenant.spec.license_secret_ref = Some(SecretRef { name: "licence".into() }),
            "must be absent",
        ),
        ("no pool", |tenant| tenant.spec.network.tls_routing = false, "spec.network.portPool is required"),
        ("version", |tenant| tenant.spec.version = Some("v18.1.0".into()), "spec.version must be"),
        ("remember", |tenant| tenant.spec.agents.remember_for = "30m".into(), "spec.agents.rememberFor must be"),
        ("ttl", |tenant| tenant.spec.agents.report_ttl = "25h".into(), "spec.agents.reportTTL must be"),
    ];
    for (name, edit, expected) in refused {
        let mut changed = tenant();
        edit(&mut changed);
        let refusal = validate_cel(&changed).expect_err(name).to_string();
        assert!(refusal.contains(expected), "{name}: {refusal}");
    }
}

fn pool() -> AgentPool {
    let spec = serde_json::from_value(json!({"tenantRef": {"name": "acme"}})).expect("the smallest spec");
    AgentPool::new("nodes", spec)
}

#[test]
fn rules_of_pools_hold_without_a_server() {
    validate_cel(&pool()).expect("the smallest pool is valid");
    type Edit = fn(&mut AgentPool);
    let refused: [(&str, Edit, &str); 3] = [
        ("auth", |pool| pool.spec.matches.services = vec!["AUTH".into()], "must not name Auth or Proxy"),
        ("service", |pool| pool.spec.matches.services = vec!["a b".into()], "must be names of Teleport services"),
        ("tenant", |pool| pool.spec.tenant_ref.name = "Acme".into(), "spec.tenantRef.name must be"),
    ];
    for (name, edit, expected) in refused {
        let mut changed = pool();
        edit(&mut changed);
        let refusal = validate_cel(&changed).expect_err(name).to_string();
        assert!(refusal.contains(expected), "{name}: {refusal}");
    }
    let mut moved = pool();
    moved.spec.tenant_ref.name = "other".into();
    let refusal = validate_cel_update(&moved, &pool()).expect_err("immutable").to_string();
    assert!(refusal.contains("Create a new AgentPool"), "{refusal}");
}

#[test]
fn a_request_to_forget_names_its_time() {
    let mut tenant = tenant();
    let forget = |requested_at: &str| Forget { ids: vec!["*".into()], requested_at: requested_at.into() };
    for good in ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.5+01:00"] {
        tenant.spec.agents.forget = Some(forget(good));
        validate_cel(&tenant).expect(good);
    }
    for wrong in ["2026-11-22 10:00:00Z", "2026-13-22T10:00:00Z", "2026-11-22T10:00:00X"] {
        tenant.spec.agents.forget = Some(forget(wrong));
        let refusal = validate_cel(&tenant).expect_err(wrong).to_string();
        assert!(refusal.contains("requestedAt must be a time"), "{refusal}");
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

/// The smallest window with fields replaced.
fn window(change: Value) -> MaintenanceWindow {
    let mut spec = json!({
        "timeZone": "Europe/Berlin",
        "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}],
    });
    spec.as_object_mut().expect("a map").extend(change.as_object().expect("a map").clone());
    serde_json::from_value(json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "night"}, "spec": spec,
    }))
    .expect("a window")
}

fn weekly(days: &[&str], start: &str, duration: &str) -> Value {
    json!({"windows": [{"days": days, "start": start, "duration": duration}]})
}

fn excluded(start: &str, end: &str) -> Value {
    json!({"exclusions": [{"start": start, "end": end, "reason": "freeze"}]})
}

/// Whether a zone exists is judged by the real server alone: here `getFullYear` takes any zone for a good one.
#[test]
fn rules_of_windows_hold_without_a_server() {
    let all = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let accepted = [
        json!({}),
        json!({"timeZone": "UTC"}),
        json!({"timeZone": "Etc/GMT+12"}),
        json!({"timeZone": "America/Port-au-Prince"}),
        json!({"timeZone": "America/Argentina/ComodRivadavia"}),
        json!({"timeZone": "W-SU"}),
        json!({"timeZone": "EST5EDT"}),
        weekly(&all, "00:00", "24h"),
        weekly(&["Sat"], "23:59", "30m"),
        weekly(&["Sat"], "19:00", "1440m"),
        weekly(&["Sat"], "09:30", "1h30m15s"),
        excluded("2026-12-20T00:00:00Z", "2026-12-20T00:00:01Z"),
        excluded("2026-12-20T00:00:00+02:00", "2026-12-19T22:00:01Z"),
        json!({"allowedNamespaces": {}}),
        json!({"allowedNamespaces": {"matchLabels": {"team": "payments", "tenancy.dev/empty": ""}}}),
    ];
    for change in accepted {
        validate_cel(&window(change.clone())).unwrap_or_else(|refusal| panic!("{change}: {refusal}"));
    }
    let refused = [
        (json!({"timeZone": "Local"}), "spec.timeZone must be"),
        (json!({"timeZone": "+02:00"}), "spec.timeZone must be"),
        (json!({"timeZone": "utc"}), "spec.timeZone must be"),
        (json!({"timeZone": "../Europe/Berlin"}), "spec.timeZone must be"),
        (json!({"timeZone": "Europe/Berlin\n"}), "spec.timeZone must be"),
        (weekly(&["Sun", "Mon", "Sun"], "02:00", "3h"), "spec.windows[].days must"),
        (weekly(&["Sun"], "24:00", "3h"), "spec.windows[].start must be"),
        (weekly(&["Sun"], "02:60", "3h"), "spec.windows[].start must be"),
        (weekly(&["Sun"], "2:000", "3h"), "spec.windows[].start must be"),
        (weekly(&["Sun"], "2 pm ", "3h"), "spec.windows[].start must be"),
        (weekly(&["Sun"], "02:00", "29m59s"), "spec.windows[].duration must be"),
        (weekly(&["Sun"], "02:00", "24h1s"), "spec.windows[].duration must be"),
        (weekly(&["Sun"], "02:00", "1d"), "spec.windows[].duration must be"),
        (weekly(&["Sun"], "02:00", "1.5h"), "spec.windows[].duration must be"),
        (weekly(&["Sun"], "02:00", "180"), "spec.windows[].duration must be"),
        (excluded("2026-12-20T00:00:00Z", "2026-12-20T00:00:00Z"), "spec.exclusions[].end must lie after start"),
        (excluded("2026-12-20T00:00:00Z", "2026-12-19T00:00:00Z"), "spec.exclusions[].end must lie after start"),
        (
            json!({"allowedNamespaces": {"matchLabels": {"team": "pay ments"}}}),
            "spec.allowedNamespaces.matchLabels must",
        ),
        (
            json!({"allowedNamespaces": {"matchLabels": {"team": "-payments"}}}),
            "spec.allowedNamespaces.matchLabels must",
        ),
    ];
    for (change, expected) in refused {
        let refusal = validate_cel(&window(change.clone())).expect_err(&change.to_string()).to_string();
        assert!(refusal.contains(expected), "{change}: {refusal}");
    }
}
