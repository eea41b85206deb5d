//! The manifests of every example, as files to be read. After a wanted change: `UPDATE_EXPECT=1 cargo test -p plan`, and
//! read the difference before accepting it.
#![expect(clippy::disallowed_methods, reason = "the test reads the examples")]

#[path = "rendering/authorities.rs"]
mod authorities;

use std::path::{Path, PathBuf};

use authorities::{authorities, metrics};
use crds::Tenant;
use expect_test::expect_file;
use kube::ResourceExt;
use plan::cert_manager;
use plan::claims;
use plan::cloud::CloudNames;
use plan::feed::target::Goal;
use plan::fleet::Installation;
use plan::manifest::{AuthObjects, Inputs, MetricsObjects, ProxyObjects, Rendered, certificate, preflight};
use plan::names::{Component, Identity, tenant_id};
use plan::object::{Object, sorted};
use plan::version::Version;
use plan::wanted::Wanted;
use serde_json::{Value, json};

const INSTALLATION: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}]}
portPools: [{name: default, start: 11100, end: 29999}, {name: nodes, start: 30000, end: 30999}, {name: edge, start: 31000, end: 31099, gatewayRef: {name: edge, namespace: gateways, sectionName: tls}, loadBalancer: {class: metallb.io/metallb, annotations: {metallb.io/allow-shared-ip: edge}}}]
images: {enterprise: public.ecr.aws/gravitational/teleport-ent-distroless, community: public.ecr.aws/gravitational/teleport-distroless}
"#;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("TENANT_OPERATOR_ROOT")).join("examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the examples are there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn tenants(file: &Path) -> Vec<Tenant> {
    let text = std::fs::read_to_string(file).expect("an example is text");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("an example is YAML");
    documents
        .into_iter()
        .filter(|document| document["kind"] == "Tenant")
        .map(|document| serde_json::from_value(document).expect("a Tenant"))
        .collect()
}

/// What a tenant is rendered from.
fn with_inputs<T>(tenant: &Tenant, render: impl FnOnce(&Inputs<'_>) -> T) -> T {
    let uid = format!("uid-of-{}", tenant.name_any());
    let identity = Identity {
        slug: tenant.name_any(),
        namespace: tenant.namespace().expect("an example names its namespace"),
        id: tenant_id(&uid),
        uid,
    };
    let installation = Installation::parse(INSTALLATION).expect("a good policy");
    let wanted = Wanted::parse(tenant).expect("a good spec");
    let Goal::Pinned(version) = wanted.goal.clone() else { panic!("examples pin their version") };
    let cloud = CloudNames::new(&installation, &installation.aws.accounts[0], &identity, &wanted.region);
    let base = |pool: &str| installation.pool(pool).map_or(0, |pool| pool.start + 5);
    let ports = wanted.port_pool.as_ref().map(|pool| claims::ports::block(pool, base(pool)));
    render(&Inputs {
        tenant: &identity,
        wanted: &wanted,
        installation: &installation,
        cloud: &cloud,
        ports: ports.as_ref(),
        version: &version,
        feed: None,
        authorities: &authorities(),
        metrics: &metrics(),
        license: wanted.license_secret.as_ref().map(|_| "0123456789abcdef"),
        operator_namespace: "tenancy-system",
    })
}

fn manifests(tenant: &Tenant) -> String {
    let (Rendered { auth, proxy, metrics }, preflight) = with_inputs(tenant, |inputs| {
        let rendered = Rendered::new(inputs);
        let configs = [&rendered.auth.config, &rendered.proxy.config].map(|config| config.reference.name.clone());
        let preflight = preflight::job(inputs, &configs[0], &configs[1], 1);
        (rendered, preflight)
    });
    let AuthObjects { service_account, config, startup, service, budget, network, deployments } = auth;
    let ProxyObjects { config: proxy_config, join, service: public, budget: proxy_budget, deployment, gateway } = proxy;
    let mut objects = vec![service_account, config, startup, service, budget];
    objects.extend(network);
    objects.extend(deployments);
    objects.extend([proxy_config, join, public, proxy_budget, deployment, preflight]);
    objects.extend(gateway);
    let MetricsObjects { served, scraper, monitor, until: _ } = metrics;
    objects.extend([served, scraper, monitor]);
    objects.extend(certificate_of(tenant));
    objects
        .into_iter()
        .map(|object| serde_saphyr::to_string(&readable(object.manifest)).expect("YAML"))
        .collect::<Vec<_>>()
        .join("---\n")
}

/// What cert-manager is asked for, for tenants that are.
fn certificate_of(tenant: &Tenant) -> Option<Object> {
    with_inputs(tenant, |inputs| {
        let issuer = inputs.wanted.issuer_ref.as_ref()?;
        let objects = cert_manager::objects(inputs.tenant);
        Some(certificate::object(inputs.tenant, &inputs.wanted.domain, issuer, &objects))
    })
}

/// Secrets in plain text, so that a person can read the difference.
fn readable(mut manifest: Value) -> Value {
    if manifest["kind"] == "Secret" {
        let decode = |text: &Value| {
            use base64::Engine as _;
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap_or_default()).expect("base64");
            json!(String::from_utf8(bytes).expect("text"))
        };
        let data =
            manifest["data"].as_object().expect("data").iter().map(|(key, text)| (key.clone(), decode(text))).collect();
        manifest["data"] = Value::Object(data);
    }
    sorted(manifest)
}

#[test]
fn the_manifests_of_every_example_are_as_committed() {
    let files = examples();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        for tenant in tenants(&file) {
            let golden =
                format!("golden/{}-{}.yaml", file.file_stem().expect("a name").to_string_lossy(), tenant.name_any());
            expect_file![golden].assert_eq(&manifests(&tenant));
        }
    }
}

#[test]
fn no_name_of_a_registry_image_goes_without_a_version() {
    for file in examples() {
        for tenant in tenants(&file) {
            let text = manifests(&tenant);
            let images: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("image:")).collect();
            assert!(!images.is_empty());
            for image in images {
                assert!(
                    image.trim_end().ends_with(&format!(":{}", tenant.spec.version.as_deref().expect("a version"))),
                    "{image}"
                );
            }
        }
    }
}

fn checks(file: &Path, tenant: &Tenant) -> Vec<Object> {
    let check = |auth: &str, version: Option<Version>, attempt: u32| {
        with_inputs(tenant, |inputs| {
            let version = version.unwrap_or_else(|| inputs.version.clone());
            preflight::job(&Inputs { version: &version, ..inputs.clone() }, auth, "proxy", attempt)
        })
    };
    assert_eq!(check("auth", None, 1), check("auth", None, 1), "{}", file.display());
    let newer = Some(Version::new(18, 9, 9));
    vec![check("auth", None, 1), check("auth", None, 2), check("other", None, 1), check("auth", newer, 1)]
}

#[test]
fn another_attempt_configuration_or_version_is_checked_by_another_job() {
    for file in examples() {
        for tenant in tenants(&file) {
            let mut names: Vec<String> = checks(&file, &tenant).into_iter().map(|check| check.reference.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 4, "{names:?}");
        }
    }
}

#[test]
fn the_pod_of_a_check_is_in_no_service_and_no_deployment() {
    for file in examples() {
        for tenant in tenants(&file) {
            let labels = |check: &Object| check.manifest["spec"]["template"]["metadata"]["labels"].clone();
            let check = checks(&file, &tenant).remove(0);
            with_inputs(&tenant, |inputs| {
                for component in [Component::Auth, Component::Proxy] {
                    let selector = inputs.tenant.selector(component);
                    let found = selector.iter().all(|(key, value)| labels(&check)[key] == **value);
                    assert!(!found, "{selector:?} finds {}", labels(&check));
                }
            });
            // By this one the objects of a tenant are told apart from others.
            assert!(labels(&check)["tenancy.dev/tenant-id"].is_string());
        }
    }
}

/// Where pods run already, the other order would cut them off until the next run.
#[test]
fn what_shuts_all_pods_off_is_applied_after_what_lets_them_speak() {
    let tenant = examples().iter().flat_map(|file| tenants(file)).next().expect("an example");
    let rendered = with_inputs(&tenant, Rendered::new);
    let rules = |object: &Object| ["ingress", "egress"].iter().any(|part| object.manifest["spec"].get(part).is_some());
    let shown: Vec<(&str, bool)> =
        rendered.auth.network.iter().map(|object| (object.reference.name.as_str(), rules(object))).collect();
    let slug = tenant.name_any();
    assert_eq!(shown, [(&*format!("{slug}-auth"), true), (&*format!("{slug}-proxy"), true), (&*slug, false)]);
}
