//! The manifests of every example, as files to be read. After a wanted change: `UPDATE_EXPECT=1 cargo test -p plan`, and
//! read the difference before accepting it.
#![expect(clippy::disallowed_methods, reason = "the test reads the examples")]

use std::path::{Path, PathBuf};

use crds::Tenant;
use expect_test::expect_file;
use kube::ResourceExt;
use plan::claims;
use plan::cloud::CloudNames;
use plan::fleet::Installation;
use plan::keys::{Authorities, Authority, Sensitive, WebIssuer};
use plan::manifest::{AuthObjects, Inputs, ProxyObjects, Rendered};
use plan::names::{Identity, tenant_id};
use plan::object::sorted;
use plan::wanted::Wanted;
use serde_json::{Value, json};

const INSTALLATION: &str = r#"
id: eu1
aws: {account: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: public.ecr.aws/gravitational/teleport-ent-distroless, community: public.ecr.aws/gravitational/teleport-distroless}
"#;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
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

fn authorities() -> Authorities {
    let authority = |name: &str| Authority {
        certificate: format!("{name} certificate\n"),
        key: Sensitive(format!("{name} key\n")),
        ssh_public: format!("ssh-ed25519 {name}\n"),
        ssh_key: Sensitive(format!("{name} ssh key\n")),
    };
    Authorities {
        host: authority("host"),
        user: authority("user"),
        web: WebIssuer { certificate: "web\n".into(), key: Sensitive("web key\n".into()) },
    }
}

fn manifests(tenant: &Tenant) -> String {
    let uid = format!("uid-of-{}", tenant.name_any());
    let identity = Identity {
        slug: tenant.name_any(),
        namespace: tenant.namespace().expect("an example names its namespace"),
        id: tenant_id(&uid),
        uid,
    };
    let installation = Installation::parse(INSTALLATION).expect("a good policy");
    let wanted = Wanted::parse(tenant).expect("a good spec");
    let cloud = CloudNames::new(&installation, &identity, &wanted.region);
    let ports = wanted.port_pool.as_ref().map(|pool| claims::block(pool, 11105));
    let Rendered { auth, proxy } = Rendered::new(&Inputs {
        tenant: &identity,
        wanted: &wanted,
        installation: &installation,
        cloud: &cloud,
        ports: ports.as_ref(),
        version: &wanted.version,
        authorities: &authorities(),
    });
    let AuthObjects { service_account, config, startup, service, deployments } = auth;
    let ProxyObjects { config: proxy_config, join, service: public, deployment } = proxy;
    let mut objects = vec![service_account, config, startup, service];
    objects.extend(deployments);
    objects.extend([proxy_config, join, public, deployment]);
    objects
        .into_iter()
        .map(|object| serde_saphyr::to_string(&readable(object.manifest)).expect("YAML"))
        .collect::<Vec<_>>()
        .join("---\n")
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
                assert!(image.trim_end().ends_with(&format!(":{}", tenant.spec.version)), "{image}");
            }
        }
    }
}
