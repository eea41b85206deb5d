//! What the operator generated for a tenant, read by somebody else and held against what the spec says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::Tenant;
use e2e::cache::Cache;
use e2e::testbed::{ACCOUNT, INSTALLATION, ISSUER, TestBed};
use e2e::venv::Venv;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::super::{cloud, cluster, manifest};

/// All documents of a tenant that is ready.
pub async fn are_meant(bed: &TestBed, tenant: &Tenant) -> anyhow::Result<()> {
    let (namespace, slug) = (tenant.namespace().context("a namespace")?, tenant.name_any());
    let tenant_id = manifest::id(tenant)?;
    let parsed = parse(&texts(bed, &namespace, &tenant_id).await?).await?;
    let domain = &tenant.spec.domain;
    let (mut seen, ports) = (Vec::new(), tenant.status.as_ref().and_then(|status| status.ports.clone()));
    let ports = ports.context("no ports")?;
    for (name, documents) in &parsed {
        let kind = name.rsplit('/').next().unwrap_or_default();
        let first = documents.first().context("an empty document")?;
        let fields = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
        match kind {
            "teleport.yaml" => {
                ensure!(documents.len() == 1, "{name} holds {} documents", documents.len());
                let sections =
                    ["auth_service", "metrics_service", "proxy_service", "ssh_service", "teleport", "version"];
                ensure!(fields(first) == Some(sections.map(str::to_owned).to_vec()), "{name}: {first:#}");
                let file = |name: &str| format!("/etc/teleport-metrics/{name}");
                let pairs = json!([{"cert_file": file("tls.crt"), "key_file": file("tls.key")}]);
                let metrics = &first["metrics_service"];
                ensure!(metrics["keypairs"] == pairs, "{name}: {metrics:#}");
                ensure!(metrics["ca_certs"] == json!([file("ca.crt")]), "{name}: {metrics:#}");
                if first["auth_service"]["enabled"] == true {
                    seen.push("auth");
                    let service = &first["auth_service"];
                    ensure!(service["cluster_name"] == **domain, "{name}: {service:#}");
                    ensure!(service["authentication"]["webauthn"] == json!({"rp_id": domain}), "{name}: {service:#}");
                    let storage = &first["teleport"]["storage"];
                    ensure!(storage["region"] == *tenant.spec.region, "{name}: {storage:#}");
                    ensure!(
                        storage["table_name"] == format!("{INSTALLATION}-{tenant_id}-state"),
                        "{name}: {storage:#}"
                    );
                } else {
                    seen.push("proxy");
                    let service = &first["proxy_service"];
                    ensure!(service["public_addr"] == json!([format!("{domain}:443")]), "{name}: {service:#}");
                    let ssh = json!([format!("{domain}:{}", ports.ssh)]);
                    ensure!(service["ssh_public_addr"] == ssh, "{name}: {service:#}");
                    let auth = format!("{slug}-auth.{namespace}.svc.cluster.local:3025");
                    ensure!(first["teleport"]["auth_server"] == auth, "{name}: {first:#}");
                }
            }
            "bootstrap.yaml" => {
                seen.push("bootstrap");
                let of: Vec<&Value> = documents.iter().map(|document| &document["spec"]["type"]).collect();
                ensure!(of == ["user", "host"], "{name} holds {of:?}");
                for document in documents {
                    ensure!(document["metadata"] == json!({"name": domain}), "{name}: {}", document["metadata"]);
                    ensure!(
                        document["spec"]["cluster_name"] == **domain,
                        "{name}: {}",
                        document["spec"]["cluster_name"]
                    );
                }
            }
            "apply-on-startup.yaml" => {
                seen.push("startup");
                ensure!(documents.len() == 1 && first["kind"] == "token", "{name}: {documents:?}");
                ensure!(
                    first["spec"] == json!({"roles": ["Proxy"], "join_method": "token"}),
                    "{name}: {}",
                    first["spec"]
                );
            }
            other => anyhow::bail!("{other} in {name} is not judged here"),
        }
    }
    seen.sort_unstable();
    seen.dedup();
    ensure!(seen == ["auth", "bootstrap", "proxy", "startup"], "only {seen:?} were read");
    let public = cluster::object(bed, &namespace, "service", &slug).await?.context("no Service")?;
    let names = &public["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/hostname"];
    ensure!(*names == format!("{domain},*.{domain}"), "external-dns is told {names}");
    account(bed, &namespace, &slug, &tenant_id).await
}

/// Rights and trust name this tenant's own things, with no other wildcard than those that are meant.
async fn account(bed: &TestBed, namespace: &str, slug: &str, tenant_id: &str) -> anyhow::Result<()> {
    let read = cloud::tenant(bed, tenant_id).await?;
    let prefix = format!("{INSTALLATION}-{tenant_id}");
    let table = |name: &str| format!("arn:aws:dynamodb:us-west-2:{ACCOUNT}:table/{prefix}-{name}");
    let bucket = format!("arn:aws:s3:::{prefix}-recordings");
    let meant = [
        table("state"),
        format!("{}/stream/*", table("state")),
        table("events"),
        format!("{}/index/*", table("events")),
        bucket.clone(),
        format!("{bucket}/*"),
    ];
    let role = read["role"].as_object().context("a role")?;
    let mut resources: Vec<&str> = role
        .iter()
        .filter(|(path, _)| path.starts_with("Policy.tenant.") && path.ends_with(".Resource"))
        .flat_map(|(_, resource)| resource.as_str().unwrap_or_default().split(", "))
        .collect();
    resources.sort_unstable();
    let mut meant: Vec<&str> = meant.iter().map(String::as_str).collect();
    meant.sort_unstable();
    ensure!(resources == meant, "the role has rights to {resources:?}");
    let subject = role.iter().find(|(path, _)| path.ends_with(&format!("{ISSUER}:sub"))).map(|(_, value)| value);
    ensure!(
        subject == Some(&json!(format!("system:serviceaccount:{namespace}:{slug}-auth"))),
        "trusted is {subject:?}"
    );
    let policy = &read["bucket"]["Policy.Statement[TlsOnly].Resource"];
    ensure!(*policy == format!("{bucket}, {bucket}/*"), "the policy of the bucket is on {policy}");
    Ok(())
}

/// Every text in the ConfigMaps and Secrets from which Auth and Proxy start, by object and key.
async fn texts(bed: &TestBed, namespace: &str, tenant_id: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for component in ["auth", "proxy"] {
        let labels = cluster::component(tenant_id, component);
        for kind in ["configmap", "secret"] {
            for name in cluster::names(bed, namespace, kind, &labels).await? {
                let object = cluster::object(bed, namespace, kind, &name).await?.context("no object")?;
                for (key, text) in
                    object["data"].as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("yaml"))
                {
                    let text = text.as_str().unwrap_or_default();
                    let text =
                        if kind == "secret" { String::from_utf8(STANDARD.decode(text)?)? } else { text.to_owned() };
                    texts.insert(format!("{kind}/{name}/{key}"), text);
                }
            }
        }
    }
    Ok(texts)
}

async fn parse(texts: &BTreeMap<String, String>) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let venv = Venv::ensure(&Cache::from_env()?).await?;
    let script = Path::new(env!("TENANT_OPERATOR_ROOT")).join("e2e/tests/tenant/hostile/parse.py");
    let mut child = tokio::process::Command::new(venv.python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run Python")?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(serde_json::to_string(texts)?.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "a document is none: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("parse.py prints no JSON")
}
