//! Tenants that somebody broke. `kubectl describe` of the Tenant is all that is looked at: it names what is wrong and what mends
//! it, and doing that mends it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{TestBed, namespace, wait_until};
use futures::StreamExt;
use serde_json::{Value, json};

use super::covered::seen;
use super::editions;
use super::manifest::{apply, edit, tenant};

/// Pods are only late after a while.
const TOLD: Duration = Duration::from_secs(60);
/// Controllers try again less and less often.
const MENDED: Duration = Duration::from_secs(150);
/// Tenants at the same time.
const AT_ONCE: usize = 6;

/// A key that is not there.
pub const NO_KEY: &str = "key/00000000-0000-0000-0000-000000000000";

/// What mends it.
enum Remedy {
    /// Another spec.
    Edit(Value),
    /// Another Tenant in the place of this one: the field is immutable.
    Anew(Value),
    /// Something is deleted: namespace, kind, name.
    Delete(&'static str, &'static str),
    /// Something is created beside it.
    Create(Value),
    /// The command that stands in the description, in backquotes, is run as it is.
    Command,
}

/// One way to break a tenant.
struct Breakage {
    /// Name and namespace of the Tenant.
    name: &'static str,
    /// Objects of its namespace that are there before it.
    before: Vec<Value>,
    /// Merged into its spec.
    spec: Value,
    /// What the description must say: the trouble, and the remedy.
    tells: &'static [&'static str],
    remedy: Remedy,
}

/// All of them.
pub async fn stand_on_the_object(bed: &TestBed) -> anyhow::Result<()> {
    let license = editions::license()?;
    let all = breakages(&license);
    ensure!(all.len() >= 20, "only {} ways to break a tenant are tried", all.len());
    // A domain that the others cannot have.
    apply(bed, &tenant("fix-holder", "fix-holder", "holder.fix.example.com")).await?;
    bed.await_condition("fix-holder", "fix-holder", "Ready", "True", MENDED).await?;
    let license = license.as_str();
    let tried = futures::stream::iter(all).map(|breakage| async move {
        let name = breakage.name;
        mend(bed, breakage, license).await.with_context(|| format!("tenant {name}"))
    });
    let failed: Vec<String> = tried
        .buffer_unordered(AT_ONCE)
        .filter_map(|outcome| std::future::ready(outcome.err().map(|error| format!("{error:#}"))))
        .collect()
        .await;
    ensure!(failed.is_empty(), "{} were not mended:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

async fn mend(bed: &TestBed, breakage: Breakage, license: &str) -> anyhow::Result<()> {
    let Breakage { name, before, spec, tells, remedy } = breakage;
    bed.apply(&namespace(name).to_string()).await?;
    for mut object in before {
        object["metadata"]["namespace"] = json!(name);
        bed.apply(&object.to_string()).await?;
    }
    let broken = merged(name, &spec);
    apply(bed, &broken).await?;
    let described = wait_until(&format!("{tells:?} in the description"), TOLD, || async {
        let described = bed.kubectl(["-n", name, "describe", "tenant", name]).await?;
        // kubectl breaks no lines; it indents them.
        let missing: Vec<&&str> = tells.iter().filter(|part| !described.contains(**part)).collect();
        if missing.is_empty() { Ok(Some(described)) } else { bail!("{missing:?} are missing in\n{described}") }
    })
    .await?;
    if tells == ["Paused", "spec.paused"] {
        seen("Tenant", "spec.paused", true);
    }
    match remedy {
        Remedy::Edit(spec) => edit(bed, name, name, spec).await?,
        Remedy::Anew(spec) => {
            bed.kubectl(["-n", name, "delete", "tenant", name, "--timeout=60s"]).await?;
            apply(bed, &merged(name, &spec)).await?;
        }
        Remedy::Delete(kind, object) => {
            bed.kubectl(["-n", name, "delete", kind, object, "--timeout=60s"]).await?;
        }
        Remedy::Create(mut object) => {
            object["metadata"]["namespace"] = json!(name);
            bed.apply(&object.to_string()).await?;
        }
        Remedy::Command => {
            let command = described.split('`').find_map(|text| text.strip_prefix("kubectl "));
            let command = command.context("no command stands in the description")?;
            let file = bed.control_plane().run_dir().path().join("license.pem");
            std::fs::write(&file, license)?;
            let file = format!("--from-file=license.pem={}", file.display());
            let words =
                command.split_whitespace().map(|word| if word.starts_with("--from-file") { &file } else { word });
            bed.kubectl(words.collect::<Vec<&str>>()).await?;
        }
    }
    bed.await_condition(name, name, "Ready", "True", MENDED).await.map(drop)
}

/// The tenant with its spec, other maps merged and everything else replaced.
fn merged(name: &str, spec: &Value) -> Value {
    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    match value {
                        Value::Null => drop(into.remove(key)),
                        value => merge(into.entry(key.clone()).or_insert(Value::Null), value),
                    }
                }
            }
            (into, from) => *into = from.clone(),
        }
    }
    let mut tenant = tenant(name, name, &format!("{name}.example.com"));
    merge(&mut tenant["spec"], spec);
    tenant
}

fn object(api: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}

fn foreign_deployment(name: &str) -> Value {
    let labels = json!({"app": "somebody-elses"});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": {
        "metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "example.com/a:1"}]},
    }});
    object("apps/v1", "Deployment", name, json!({"spec": spec}))
}

fn breakages(license: &str) -> Vec<Breakage> {
    let pod = |field: Value| json!({"auth": {"pod": field}});
    let quota = object("v1", "ResourceQuota", "none", json!({"spec": {"hard": {"pods": "0"}}}));
    let limits = object(
        "v1",
        "LimitRange",
        "small",
        json!({"spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}}),
    );
    let service = object(
        "v1",
        "Service",
        "fix-service-auth",
        json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}}),
    );
    let bare = object("v1", "Secret", "license", json!({"stringData": {"licence.txt": license}}));
    let whole = object("v1", "Secret", "license", json!({"stringData": {"license.pem": license}}));
    let enterprise = json!({"edition": "Enterprise", "licenseSecretRef": {"name": "license"}});
    let class = object("scheduling.k8s.io/v1", "PriorityClass", "fix-front-door", json!({"value": 1000}));
    let breakage = |name, spec, tells, remedy| Breakage { name, before: Vec::new(), spec, tells, remedy };
    vec![
        breakage(
            "fix-license",
            enterprise.clone(),
            &["spec.licenseSecretRef", "Secret license does not exist", "create it with"],
            Remedy::Command,
        ),
        Breakage {
            before: vec![bare],
            ..breakage("fix-license-key", enterprise, &["Secret license has no key license.pem"], Remedy::Create(whole))
        },
        breakage(
            "fix-version",
            json!({"version": "18.9.9"}),
            &["18.9.9", "release feed"],
            Remedy::Edit(json!({"version": "18.1.0"})),
        ),
        breakage(
            "fix-channel",
            json!({"version": null, "channel": "nightly"}),
            &["channel", "nightly"],
            Remedy::Edit(json!({"version": "18.1.0", "channel": null})),
        ),
        breakage(
            "fix-domain",
            json!({"domain": "holder.fix.example.com"}),
            &["DomainTaken", "holder.fix.example.com", "fix-holder/fix-holder"],
            Remedy::Anew(json!({})),
        ),
        breakage(
            "fix-parent",
            json!({"domain": "fix.example.com"}),
            &["DomainTaken", "holder.fix.example.com", "fix-holder/fix-holder"],
            Remedy::Anew(json!({})),
        ),
        breakage(
            "fix-pool",
            json!({"network": {"portPool": "nowhere"}}),
            &["spec.network.portPool", "nowhere", "add it there"],
            Remedy::Anew(json!({})),
        ),
        breakage(
            "fix-region",
            json!({"region": "ap-south-1"}),
            &["spec.region", "ap-south-1", "us-west-2"],
            Remedy::Anew(json!({})),
        ),
        Breakage {
            before: vec![foreign_deployment("fix-deployment-proxy")],
            ..breakage(
                "fix-deployment",
                json!({}),
                &["NameTaken", "fix-deployment-proxy", "delete or rename it"],
                Remedy::Delete("deployment", "fix-deployment-proxy"),
            )
        },
        Breakage {
            before: vec![service],
            ..breakage(
                "fix-service",
                json!({}),
                &["NameTaken", "fix-service-auth", "delete or rename it"],
                Remedy::Delete("service", "fix-service-auth"),
            )
        },
        Breakage {
            before: vec![quota],
            ..breakage("fix-quota", json!({}), &["exceeded quota: none"], Remedy::Delete("resourcequota", "none"))
        },
        Breakage {
            before: vec![limits],
            ..breakage(
                "fix-limits",
                json!({}),
                &["maximum memory usage per Container is 64Mi"],
                Remedy::Delete("limitrange", "small"),
            )
        },
        breakage(
            "fix-node",
            pod(json!({"nodeSelector": {"disk": "fast"}})),
            &["fix-node-auth-0", "Unschedulable", "node affinity/selector"],
            Remedy::Edit(pod(json!({"nodeSelector": null}))),
        ),
        breakage(
            "fix-toleration",
            pod(json!({"tolerations": [{"key": "a", "operator": "Sometimes"}]})),
            &["tolerations", "Sometimes"],
            Remedy::Edit(pod(json!({"tolerations": null}))),
        ),
        breakage(
            "fix-priority",
            pod(json!({"priorityClassName": "fix-front-door"})),
            &["no PriorityClass with name fix-front-door was found"],
            Remedy::Create(class),
        ),
        breakage(
            "fix-runtime",
            pod(json!({"runtimeClassName": "gvisor"})),
            &["RuntimeClass", "gvisor"],
            Remedy::Edit(pod(json!({"runtimeClassName": null}))),
        ),
        breakage(
            "fix-families",
            json!({"network": {"ipFamilyPolicy": "RequireDualStack"}}),
            &["ipFamilyPolicy", "RequireDualStack"],
            Remedy::Edit(json!({"network": {"ipFamilyPolicy": "SingleStack"}})),
        ),
        breakage(
            "fix-key",
            json!({"storage": {"kmsKeyArn": format!("arn:aws:kms:us-west-2:123456789012:{NO_KEY}")}}),
            &[NO_KEY, "must exist in this account, be enabled, and be tagged"],
            Remedy::Edit(json!({"storage": {"kmsKeyArn": null}})),
        ),
        breakage(
            "fix-account",
            json!({"storage": {"kmsKeyArn": format!("arn:aws:kms:us-west-2:210987654321:{NO_KEY}")}}),
            &["spec.storage.kmsKeyArn", "of account 210987654321", "make a key there"],
            Remedy::Edit(json!({"storage": {"kmsKeyArn": null}})),
        ),
        breakage(
            "fix-annotation",
            json!({"network": {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-ssl-cert": "arn:of-another"}}}),
            &["spec.network.annotations", "aws-load-balancer-ssl-cert", "network.serviceAnnotations"],
            Remedy::Edit(json!({"network": {"annotations": null}})),
        ),
        breakage(
            "fix-paused",
            json!({"paused": true}),
            &["Paused", "spec.paused"],
            Remedy::Edit(json!({"paused": false})),
        ),
    ]
}
