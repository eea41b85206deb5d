//! Whatever stands in a Tenant, whoever let it through: it is refused with the name of the field, or each document that is
//! generated says what was meant, to a reader who shares no code with the writer.

#[path = "rendering/authorities.rs"]
mod authorities;

use std::cell::Cell;

use authorities::{authorities, metrics};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::Tenant;
use plan::cert_manager;
use plan::claims;
use plan::cloud::{CloudNames, rights, wanted};
use plan::fleet::Installation;
use plan::manifest::{Inputs, Rendered, certificate};
use plan::names::{Component, Identity, tenant_id};
use plan::object::Object;
use plan::version::Version;
use plan::wanted::{Refusal, Wanted};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde::Deserialize as _;
use serde_json::{Value, json};

const INSTALLATION: &str = r#"
id: eu1
aws: {accounts: [{id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}]}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
network: {serviceAnnotations: [example.com/zone]}
"#;
/// What means something to one of the readers.
const FRAGMENTS: [&str; 32] = [
    "*",
    "?",
    "${aws:username}",
    ":extra",
    "arn:aws:s3:::*",
    "\n",
    "\r\n",
    "\0",
    "\t",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{200b}",
    ": ",
    " #",
    "&a",
    "*a",
    "!!binary",
    "\n---\n",
    "\n...\n",
    "'",
    "\"",
    "\\",
    "{a: b}",
    "[",
    "|",
    "%",
    "{{ .x }}",
    "~",
    "../..",
    "\nauth_service:\n  enabled: false\n",
];

/// A text of the field's own form, which another reader may still take for something else; or one with a fragment in it.
fn text(form: &'static str) -> BoxedStrategy<String> {
    let good = || proptest::string::string_regex(form).expect("a pattern");
    let cut = (good(), proptest::sample::select(FRAGMENTS.as_slice()), any::<prop::sample::Index>());
    let broken = cut.prop_map(|(text, fragment, index)| {
        let at = index.index(text.len() + 1);
        let at = text.char_indices().map(|(at, _)| at).find(|found| *found >= at).unwrap_or(text.len());
        format!("{}{fragment}{}", &text[..at], &text[at..])
    });
    let words = ["null.true", "1.e5", "no", "y", "e1", "0x1f", "on.off", "12e03.e5", "true"];
    let words = proptest::sample::select(words.to_vec()).prop_map(str::to_owned);
    prop_oneof![6 => good(), 1 => broken, 1 => words, 1 => ".{0,40}"].boxed()
}

#[derive(Clone, Debug)]
struct Texts {
    name: String,
    namespace: String,
    domain: String,
    region: String,
    key: Option<String>,
    license: Option<String>,
    label: (String, String),
    annotation: String,
    class: String,
    issuer: (String, String, String),
}

fn texts() -> impl Strategy<Value = Texts> {
    const NAME: &str = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
    // Mostly a plain one: whatever is wrong in one field hides what others mean.
    let plain = ("ca".to_owned(), "Issuer".to_owned(), "cert-manager.io".to_owned());
    let issuer = prop_oneof![
        3 => Just(plain),
        1 => (text(NAME), text("[A-Z][A-Za-z]{0,8}"), text("([a-z]{1,5}[.]){1,2}[a-z]{1,3}")),
    ];
    let label = (text("([a-z]{1,4}[.][a-z]{1,3}/)?[A-Za-z0-9]{1,5}"), text("[A-Za-z0-9]{1,5}"));
    (
        text(NAME),
        "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
        text("([a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?[.]){1,3}[a-z]([a-z0-9-]{0,3}[a-z0-9])?"),
        prop_oneof![9 => Just("us-west-2".to_owned()), 1 => text("[a-z]{2}-[a-z]{2,5}-[0-9]")],
        prop::option::of(text("arn:aws:kms:us-west-2:123456789012:key/[A-Za-z0-9-]{1,8}")),
        prop::option::of(text(NAME)),
        label,
        text("[a-z]{0,8}"),
        text("[a-z]{1,5}[.][a-z]{1,3}/[a-z]{1,5}"),
        issuer,
    )
        .prop_map(|(name, namespace, domain, region, key, license, label, annotation, class, issuer)| Texts {
            name,
            namespace,
            domain,
            region,
            key,
            license,
            label,
            annotation,
            class,
            issuer,
        })
}

fn tenant(texts: &Texts) -> Tenant {
    let (name, kind, group) = &texts.issuer;
    let issuer = json!({"name": name, "kind": kind, "group": group});
    let mut tenant = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": texts.name, "namespace": texts.namespace, "uid": "5f0b8a4e-7f6c-4a55-9f6f-000000000001"},
        "spec": {
            "domain": texts.domain, "version": "18.1.0", "region": texts.region,
            "edition": if texts.license.is_some() { "Enterprise" } else { "Community" },
            "certificates": {"web": {"issuer": "CertManager", "issuerRef": issuer}},
            "network": {"portPool": "default", "annotations": {"example.com/zone": texts.annotation},
                "loadBalancerClass": texts.class},
            "auth": {"pod": {"labels": {&texts.label.0: texts.label.1}, "annotations": {"example.com/a": texts.annotation}}},
        },
    });
    if let Some(key) = &texts.key {
        tenant["spec"]["storage"] = json!({"kmsKeyArn": key});
    }
    if let Some(license) = &texts.license {
        tenant["spec"]["licenseSecretRef"] = json!({"name": license});
    }
    serde_json::from_value(tenant).expect("a Tenant")
}

/// As the other parser reads it.
fn documents(text: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    serde_norway::Deserializer::from_str(text).map(read).collect()
}

fn entry(object: &Object, key: &str) -> String {
    let text = object.manifest["data"][key].as_str().expect("an entry");
    match object.manifest["kind"].as_str() {
        Some("Secret") => String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text"),
        _ => text.to_owned(),
    }
}

#[test]
fn a_text_is_refused_by_name_or_means_in_each_document_what_it_says() {
    let (meant, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let installation = Installation::parse(INSTALLATION).expect("a good policy");
    let outcome = runner.run(&texts(), |texts| match Wanted::parse(&tenant(&texts)) {
        Ok(wanted) => {
            meant.set(meant.get() + 1);
            is_meant(&texts, &wanted, &installation)
        }
        Err(refusals) => {
            refused.set(refused.get() + 1);
            names_the_fields(&texts, &refusals)
        }
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (meant, refused) = (meant.get(), refused.get());
    assert!(meant > 500 && refused > 500, "{meant} were carried out, and {refused} refused");
}

/// Each refusal is of a field that is there, and says what would do.
fn names_the_fields(texts: &Texts, refusals: &[Refusal]) -> Result<(), TestCaseError> {
    prop_assert!(!refusals.is_empty());
    for Refusal { field, remedy } in refusals {
        let fields = ["metadata.name", "spec.domain", "spec.region", "spec.storage.kmsKeyArn", "spec.auth.pod"];
        let of_issuer = ["name", "kind", "group"].map(|part| format!("spec.certificates.web.issuerRef.{part}"));
        let known = fields.contains(field) || of_issuer.iter().any(|known| known == field);
        prop_assert!(known, "{field} of {texts:?}");
        prop_assert!(["must be", "write it as", "use a domain"].iter().any(|word| remedy.contains(word)), "{remedy}");
    }
    Ok(())
}

fn is_meant(texts: &Texts, wanted: &Wanted, installation: &Installation) -> Result<(), TestCaseError> {
    let uid = "5f0b8a4e-7f6c-4a55-9f6f-000000000001".to_owned();
    let identity = Identity { slug: texts.name.clone(), namespace: texts.namespace.clone(), id: tenant_id(&uid), uid };
    let account = &installation.aws.accounts[0];
    let cloud = CloudNames::new(installation, account, &identity, &wanted.region);
    let ports = claims::ports::block("default", 11105);
    let rendered = Rendered::new(&Inputs {
        tenant: &identity,
        wanted,
        installation,
        cloud: &cloud,
        ports: Some(&ports),
        version: &Version::new(18, 1, 0),
        feed: None,
        authorities: &authorities(),
        metrics: &metrics(),
        license: wanted.license_secret.as_ref().map(|_| "0123456789abcdef"),
        operator_namespace: "tenancy-system",
    });
    let domain = &texts.domain;
    let auth = documents(&entry(&rendered.auth.config, "teleport.yaml"));
    prop_assert_eq!(auth.len(), 1);
    let service = &auth[0]["auth_service"];
    prop_assert_eq!(&service["cluster_name"], &json!(domain));
    prop_assert_eq!(&service["authentication"]["webauthn"], &json!({"rp_id": domain}));
    prop_assert_eq!(&auth[0]["teleport"]["storage"]["region"], &json!(texts.region));
    let sessions = auth[0]["teleport"]["storage"]["audit_sessions_uri"].as_str().unwrap_or_default();
    let bare = format!("s3://eu1-{}-recordings/records?region={}", identity.id, texts.region);
    let sessions_meant = texts.key.as_ref().map_or(bare.clone(), |key| format!("{bare}&sse_kms_key={key}"));
    prop_assert_eq!(sessions, sessions_meant);
    let proxy = documents(&entry(&rendered.proxy.config, "teleport.yaml"));
    prop_assert_eq!(&proxy[0]["proxy_service"]["public_addr"], &json!([format!("{domain}:443")]));
    let auth_server = format!("{}-auth.{}.svc.cluster.local:3025", texts.name, texts.namespace);
    prop_assert_eq!(&proxy[0]["teleport"]["auth_server"], &json!(auth_server));
    let bootstrap = documents(&entry(&rendered.auth.startup, "bootstrap.yaml"));
    prop_assert_eq!(bootstrap.len(), 2);
    for document in &bootstrap {
        prop_assert_eq!(&document["metadata"], &json!({"name": domain}));
        prop_assert_eq!(&document["spec"]["cluster_name"], &json!(domain));
    }
    in_the_cluster(texts, wanted, &identity, &rendered)?;
    of_cert_manager(texts, wanted, &identity)?;
    in_the_account(texts, &identity, &cloud, &wanted::role(installation, account, &identity, &cloud).trust)
}

fn in_the_cluster(
    texts: &Texts,
    wanted: &Wanted,
    identity: &Identity,
    rendered: &Rendered,
) -> Result<(), TestCaseError> {
    let annotations = &rendered.proxy.service.manifest["metadata"]["annotations"];
    let domain = &texts.domain;
    let hostnames = &annotations["external-dns.alpha.kubernetes.io/hostname"];
    prop_assert_eq!(hostnames, &json!(format!("{domain},*.{domain}")));
    prop_assert_eq!(&annotations["example.com/zone"], &json!(texts.annotation));
    for deployment in &rendered.auth.deployments {
        let template = &deployment.manifest["spec"]["template"];
        // Those by which the operator finds its pods are as ever.
        for (key, value) in identity.component_labels(Component::Auth) {
            prop_assert_eq!(&template["metadata"]["labels"][key], &json!(value));
        }
        prop_assert_eq!(&template["metadata"]["labels"][&texts.label.0], &json!(texts.label.1));
        prop_assert_eq!(&template["metadata"]["annotations"]["example.com/a"], &json!(texts.annotation));
        if let Some(license) = &wanted.license_secret {
            let volumes = template["spec"]["volumes"].as_array().cloned().unwrap_or_default();
            let secrets: Vec<&Value> = volumes.iter().map(|volume| &volume["secret"]["secretName"]).collect();
            prop_assert!(secrets.contains(&&json!(license)), "the volumes are {:?}", secrets);
        }
    }
    Ok(())
}

/// The issuer is the one that was named, and its word can be read in one way.
fn of_cert_manager(texts: &Texts, wanted: &Wanted, identity: &Identity) -> Result<(), TestCaseError> {
    let issuer = wanted.issuer_ref.as_ref().expect("an issuer");
    let made = certificate::object(identity, &wanted.domain, issuer, &cert_manager::objects(identity));
    let (name, kind, group) = &texts.issuer;
    prop_assert_eq!(&made.manifest["spec"]["issuerRef"], &json!({"name": name, "kind": kind, "group": group}));
    prop_assert_eq!(&made.manifest["spec"]["dnsNames"], &json!([texts.domain, format!("*.{}", texts.domain)]));
    let word = cert_manager::word(issuer);
    let (left, found) = word.split_once('/').expect("a name");
    prop_assert_eq!((left.split_once('.'), found), (Some((kind.as_str(), group.as_str())), name.as_str()));
    Ok(())
}

/// No other wildcard than those that are meant, and nobody else is trusted.
fn in_the_account(texts: &Texts, identity: &Identity, cloud: &CloudNames, trust: &Value) -> Result<(), TestCaseError> {
    let keys = texts.key.iter().cloned().collect();
    let policy: Value = serde_json::from_str(&rights::role_policy(cloud, &keys).to_string()).expect("JSON");
    let prefix = format!("eu1-{}", identity.id);
    for statement in policy["Statement"].as_array().expect("statements") {
        let resources = match &statement["Resource"] {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        for resource in resources.iter().filter_map(Value::as_str) {
            let own = resource.contains(&prefix) && resource.split(':').count() == 6;
            let plain = resource.strip_suffix("/*").unwrap_or(resource);
            prop_assert!(own || texts.key.as_deref() == Some(resource), "{resource}");
            prop_assert!(!plain.contains(['*', '?', '$']), "{resource}");
        }
    }
    let condition = &trust["Statement"][0]["Condition"]["StringEquals"]["oidc.example.com/id/1:sub"];
    let subject = format!("system:serviceaccount:{}:{}-auth", texts.namespace, texts.name);
    prop_assert_eq!(condition, &json!(subject));
    prop_assert!(!subject.contains(['*', '?', '$']));
    Ok(())
}
