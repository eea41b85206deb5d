//! The check before a hop, as the operator renders it, run for real: the Job tells whether the target version reads both
//! configurations, and which of them it does not.

use crds::Tenant;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use plan::cloud::CloudNames;
use plan::fleet::Installation;
use plan::keys::{Authorities, Authority, MetricsKeys, Sensitive, WebIssuer};
use plan::manifest::preflight::{self, Outcome};
use plan::manifest::{Inputs, Rendered};
use plan::names::{Identity, tenant_id};
use plan::object::Object;
use plan::wanted::Wanted;
use serde_json::{Value, json};

use crate::bed::{Bed, Space, VERSION};

const NAMESPACE: &str = "preflight";
/// A configuration with a key that no version knows.
const ODD: &str = "odd";
const INSTALLATION: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}]}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
"#;

pub async fn a_configuration_is_read_by_the_version_that_is_to_run(bed: &Bed) {
    let space = bed.namespace(NAMESPACE).await;
    let Prepared { configs, good, bad } = rendered();
    for config in &configs {
        space.create::<ConfigMap>(orphan(config)).await;
    }
    space.secret("acme-web", json!({"tls.crt": "certificate", "tls.key": "key"})).await;
    space.create::<Job>(orphan(&good)).await;
    assert_eq!(ended(&space, &good).await, Outcome::Succeeded);

    let odd = "version: v3\nproxy_service: {enabled: true, colour: red}\n";
    space.config_map(ODD, json!({"teleport.yaml": odd}), true).await;
    space.create::<Job>(orphan(&bad)).await;
    let Outcome::Failed(message) = ended(&space, &bad).await else { panic!("a key that nobody knows was accepted") };
    assert!(message.starts_with("Container proxy for pod preflight/") && message.contains("exit code 1"), "{message}");
}

async fn ended(space: &Space<'_>, job: &Object) -> Outcome {
    let outcome = |job: &Job| preflight::outcome(&serde_json::to_value(job).unwrap());
    let is_over = |job: &Job| outcome(job) != Outcome::Running;
    outcome(&space.until::<Job>(&job.reference.name, "over", is_over).await)
}

/// Without its owner, which does not exist here: the garbage collector would take it away.
fn orphan(object: &Object) -> Value {
    let mut manifest = object.manifest.clone();
    manifest["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    manifest
}

/// A tenant's configurations, and two checks of it.
struct Prepared {
    configs: [Object; 2],
    good: Object,
    bad: Object,
}

fn rendered() -> Prepared {
    let identity = Identity { slug: "acme".into(), namespace: NAMESPACE.into(), uid: "u".into(), id: tenant_id("u") };
    let tenant: Tenant = serde_json::from_value(json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "namespace": NAMESPACE},
        "spec": {"domain": "acme.example.com", "edition": "Community", "version": VERSION, "region": "us-west-2"},
    }))
    .unwrap();
    let wanted = Wanted::parse(&tenant).unwrap();
    let version = plan::version::Version::parse(VERSION).unwrap();
    let installation = Installation::parse(INSTALLATION).unwrap();
    let cloud = CloudNames::new(&installation, &installation.aws.accounts[0], &identity, &wanted.region);
    let none = || Sensitive(String::new());
    let authority = || Authority {
        certificate: String::new(),
        key: none(),
        ssh_public: String::new(),
        ssh_key: none(),
        trusted: String::new(),
    };
    let web = WebIssuer { certificate: String::new(), key: none(), trusted: String::new() };
    let authorities = Authorities { host: authority(), user: authority(), web };
    let metrics = MetricsKeys {
        authority: String::new(),
        server_certificate: String::new(),
        server_key: none(),
        server_name: "acme.metrics.tenancy.dev".into(),
        scraper_certificate: String::new(),
        scraper_key: none(),
        not_after: chrono::DateTime::UNIX_EPOCH,
    };
    let inputs = Inputs {
        tenant: &identity,
        wanted: &wanted,
        installation: &installation,
        cloud: &cloud,
        ports: None,
        feed: None,
        version: &version,
        authorities: &authorities,
        metrics: &metrics,
        license: None,
        operator_namespace: "tenancy-system",
    };
    let Rendered { auth, proxy, metrics: _ } = Rendered::new(&inputs);
    let name = |object: &Object| object.reference.name.clone();
    Prepared {
        good: preflight::job(&inputs, &name(&auth.config), &name(&proxy.config), 1),
        bad: preflight::job(&inputs, &name(&auth.config), ODD, 1),
        configs: [auth.config, proxy.config],
    }
}
