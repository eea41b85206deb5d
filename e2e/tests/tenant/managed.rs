//! Web certificates from cert-manager, by its own controllers: told what is missing, served when it is there, renewed and given up
//! without a pod being replaced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::cert_manager::{self, NAMESPACE};
use e2e::kinds;
use e2e::pki::Authority;
use e2e::testbed::{Reach, TestBed, wait_until};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::manifest::{READY, apply_ready, condition, edit, tenant};
use super::{cluster, covered};

pub const SPACE: &str = "managed";
const DOMAIN: &str = "managed.example.com";
const ISSUER: &str = "in-house";
/// As often as a refused object is tried again, and some.
const TOLD: Duration = Duration::from_secs(60);
/// Until pods have read another certificate.
const SERVED: Duration = Duration::from_secs(30);

/// From the tenant's own issuer to one of cert-manager, through everything that may be missing, and back.
pub async fn by_cert_manager(bed: &TestBed) -> anyhow::Result<()> {
    apply_ready(bed, &tenant(SPACE, SPACE, DOMAIN)).await?;
    let before = pods(bed).await?;
    let reference = json!({"name": ISSUER, "kind": "ClusterIssuer", "group": "cert-manager.io"});
    let chosen = json!({"web": {"issuer": "CertManager", "issuerRef": reference}});
    edit(bed, SPACE, SPACE, json!({"certificates": chosen})).await?;
    told(bed, "RefusedByCluster", &["the cluster has no kind Certificate", "install cert-manager"]).await?;

    kinds::install(&bed.client(), kinds::CERTIFICATES).await?;
    let own = Authority::new("in-house")?.pair();
    let authority = own.public.clone();
    cert_manager::with_controllers(bed, async {
        let missing = ["spec.certificates.web.issuerRef", ISSUER, "not found", "describe certificate managed-web"];
        told(bed, "IssuanceFailed", &missing).await?;
        bed.apply(&issuer(&own.public, &own.private).to_string()).await?;
        let ready = bed.await_condition(SPACE, SPACE, "Ready", "True", READY).await?;
        let status = serde_json::to_value(&ready.status)?;
        let made = json!({"certificate": "managed-web", "secretName": "managed-web-issued"});
        covered::says("Tenant", &status, &json!({"certManager": made}))?;
        let web = ready.status.iter().flat_map(|status| &status.certificates).find(|found| found.name == "web");
        ensure!(web.is_some_and(|web| web.issuer == "CertManager"), "status says {web:?}");
        let certificate = cluster::object(bed, SPACE, "certificate", "managed-web").await?.context("no Certificate")?;
        ensure!(certificate["spec"]["issuerRef"] == reference, "{}", certificate["spec"]);
        for field in ["name", "kind", "group"] {
            covered::seen("Tenant", &format!("spec.certificates.web.issuerRef.{field}"), reference[field].clone());
        }
        covered::seen("Tenant", "spec.certificates.web.issuer", "CertManager");
        let first = until_served(bed, &authority, &BTreeSet::new()).await?;

        // As `cmctl renew` asks for it.
        renew(bed, &certificate).await?;
        let second = until_served(bed, &authority, &BTreeSet::from([first.clone()])).await?;
        // And as somebody does who deletes what cert-manager wrote.
        cluster::delete(bed, SPACE, "secret", "managed-web-issued").await?;
        until_served(bed, &authority, &BTreeSet::from([first, second])).await?;
        bed.await_condition(SPACE, SPACE, "Ready", "True", READY).await?;

        edit(bed, SPACE, SPACE, json!({"certificates": {"web": {"issuer": "Tenant", "issuerRef": null}}})).await?;
        bed.await_condition(SPACE, SPACE, "Ready", "True", READY).await?;
        let own = bed.authority(SPACE, SPACE).await?;
        until_served(bed, &own, &BTreeSet::new()).await?;
        is_clean(bed).await?;
        let after = pods(bed).await?;
        ensure!(after == before, "pods were replaced: {before:?}, {after:?}");

        // A Tenant that is deleted takes it along.
        edit(bed, SPACE, SPACE, json!({"certificates": chosen})).await?;
        bed.await_condition(SPACE, SPACE, "Ready", "True", READY).await?;
        bed.kubectl(["-n", SPACE, "delete", "tenant", SPACE, "--timeout=60s"]).await?;
        is_clean(bed).await
    })
    .await
}

async fn pods(bed: &TestBed) -> anyhow::Result<BTreeSet<String>> {
    Ok(cluster::names(bed, SPACE, "pods", "").await?.into_iter().collect())
}

/// A ClusterIssuer that signs with this authority.
fn issuer(certificate: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": ISSUER, "namespace": NAMESPACE},
            "stringData": {"tls.crt": certificate, "tls.key": key}},
        {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": ISSUER}, "spec": {"ca": {"secretName": ISSUER}}},
    ]})
}

/// It is told that a person is needed, and why; who uses the tenant notices nothing.
async fn told(bed: &TestBed, reason: &str, parts: &[&str]) -> anyhow::Result<()> {
    wait_until(&format!("{reason} with {parts:?} to be told"), TOLD, || async {
        let found = bed.tenants(SPACE).get(SPACE).await?;
        let (status, because, message) = condition(&found, "Stalled")?;
        ensure!(status == "True" && because == reason, "{status} {because}: {message}");
        for part in parts {
            ensure!(message.contains(part), "{part:?} is not in {message:?}");
        }
        let (available, _, message) = condition(&found, "Available")?;
        if available != "True" {
            bail!("users cannot log in: {message}");
        }
        Ok(Some(()))
    })
    .await
}

/// Sets the condition by which cert-manager is asked to issue once more.
async fn renew(bed: &TestBed, certificate: &Value) -> anyhow::Result<()> {
    let conditions = certificate["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let issuing = json!({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by the test",
        "observedGeneration": certificate["metadata"]["generation"], "lastTransitionTime": "2026-11-22T10:00:00Z"});
    let conditions: Vec<Value> = conditions.into_iter().chain([issuing]).collect();
    let patch = json!({"status": {"conditions": conditions}}).to_string();
    let certificate = ["-n", SPACE, "patch", "certificate", "managed-web", "--subresource=status", "--type=merge"];
    bed.kubectl(certificate.into_iter().chain(["-p", &patch])).await.map(drop)
}

/// The certificate that Proxy shows at the published address to whoever trusts this authority alone, once it is none of these.
async fn until_served(bed: &TestBed, authority: &str, but: &BTreeSet<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    wait_until("Proxy to show the certificate", SERVED, || async {
        let reach = Reach { authority: authority.to_owned(), ..bed.reach(SPACE, SPACE).await? };
        let shown = shown(&reach).await?;
        Ok((!but.contains(&shown)).then_some(shown))
    })
    .await
}

async fn shown(reach: &Reach) -> anyhow::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(reach.authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Below the domain, where applications are.
    let name = ServerName::try_from(format!("app.{}", reach.domain))?;
    let stream = TcpStream::connect((reach.address.as_str(), 443)).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).context("no certificate")?;
    Ok(shown.to_vec())
}

/// Nothing of cert-manager's is left in the namespace.
async fn is_clean(bed: &TestBed) -> anyhow::Result<()> {
    wait_until("what cert-manager made to go", TOLD, || async {
        for kind in ["certificates", "certificaterequests"] {
            let left = cluster::names(bed, SPACE, kind, "").await?;
            ensure!(left.is_empty(), "{kind}: {left:?}");
        }
        let secrets = cluster::names(bed, SPACE, "secrets", "controller.cert-manager.io/fao=true").await?;
        ensure!(secrets.is_empty(), "Secrets: {secrets:?}");
        let tenant = bed.tenants(SPACE).get_opt(SPACE).await?;
        let recorded = tenant.and_then(|tenant| tenant.status?.cert_manager);
        ensure!(recorded.is_none(), "status says {recorded:?}");
        Ok(Some(()))
    })
    .await
}
