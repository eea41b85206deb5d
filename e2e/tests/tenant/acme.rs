//! Web certificates from an ACME server: issued by proof in DNS, read by Proxy without a restart, and nothing left behind.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::testbed::{TestBed, wait_until};
use serde_json::{Value, json};

use super::cluster;
use super::manifest::{apply_ready, tenant, with};

const ISSUED: Duration = Duration::from_secs(90);

/// A tenant that has its certificate from there from the start.
pub fn from_acme(namespace: &str, name: &str, domain: &str) -> Value {
    with(tenant(namespace, name, domain), "certificates", json!({"web": {"issuer": "Acme"}}))
}

/// One is issued; the server that Proxy shows is of the ACME server's root.
pub async fn issues(bed: &TestBed) -> anyhow::Result<()> {
    bed.cloud().spread_names_late(1500).await?;
    let made = apply_ready(bed, &from_acme("acme-issued", "public", "public.example.com")).await;
    bed.cloud().spread_names_late(0).await?;
    let made = made?;
    let status = made.status.clone().context("a status")?;
    let web = status.certificates.iter().find(|certificate| certificate.name == "web").context("a web certificate")?;
    ensure!(web.issuer == "Acme", "issued by {}", web.issuer);
    super::covered::seen("Tenant", "spec.certificates.web.issuer", web.issuer.clone());
    nothing_is_left(bed, "acme-issued", "public").await?;
    Ok(())
}

async fn nothing_is_left(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<()> {
    wait_until("what was made for the certificate to go", ISSUED, || async {
        let tenant = bed.tenants(namespace).get(name).await?;
        let texts = bed.cloud().texts().await?;
        let proof = format!("_acme-challenge.{}", tenant.spec.domain);
        let clean = tenant.status.is_some_and(|status| status.issuance.is_none());
        let key = cluster::object(bed, namespace, "secret", &format!("{name}-web-next")).await?;
        Ok((clean && key.is_none() && !texts.iter().any(|(name, _)| *name == proof)).then_some(()))
    })
    .await
}
