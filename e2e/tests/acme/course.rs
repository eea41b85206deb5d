//! One certificate at a time: renewed without anybody noticing, issued although the operator dies, refused with words that help.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{TimeDelta, Utc};
use e2e::http::Http;
use e2e::testbed::{TestBed, ZONE, pod_of, wait_until};
use rand::Rng;
use serde_json::json;

use super::front::Front;
use super::manifest::{READY, apply, apply_ready, condition, edit, tenant, with};
use super::{cluster, probes};

const TOLD: Duration = Duration::from_secs(40);
const ISSUED: Duration = Duration::from_secs(90);
/// Some moment in which a certificate is being issued.
const SOON: std::ops::Range<u64> = 300..4000;

fn public(namespace: &str, name: &str) -> serde_json::Value {
    let tenant = tenant(namespace, name, &format!("{name}.{ZONE}"));
    with(tenant, "certificates", json!({"web": {"issuer": "Acme"}}))
}

/// The serial number of what Proxy shows at the published address.
async fn shown(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<String> {
    let reach = bed.reach(namespace, name).await?;
    // Whoever trusts the root of the public authority alone is served.
    let trusting = e2e::testbed::Reach { authority: bed.control_plane().acme().issuing_root().to_owned(), ..reach };
    bed.ask(&trusting, "/webapi/ping").await?;
    let secret = cluster::object(bed, namespace, "secret", &format!("{name}-web")).await?.context("no web Secret")?;
    Ok(secret["data"]["tls.crt"].as_str().context("no certificate")?.to_owned())
}

async fn pods(bed: &TestBed, namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut pods = cluster::names(bed, namespace, "pods", "").await?;
    pods.sort();
    Ok(pods)
}

/// Nothing of an issuance is left.
async fn is_clean(bed: &TestBed, namespace: &str, name: &str) -> anyhow::Result<()> {
    wait_until("what was made for the certificate to go", ISSUED, || async {
        let tenant = bed.tenants(namespace).get(name).await?;
        let proof = format!("_acme-challenge.{}", tenant.spec.domain);
        let texts = bed.cloud().texts().await?;
        let key = cluster::object(bed, namespace, "secret", &format!("{name}-web-next")).await?;
        ensure!(!texts.iter().any(|(name, _)| *name == proof), "the record is there: {texts:?}");
        ensure!(key.is_none(), "the key is there");
        let issuance = tenant.status.and_then(|status| status.issuance);
        ensure!(issuance.is_none(), "status says {issuance:?}");
        Ok(Some(()))
    })
    .await
}

/// From the tenant's own issuer to the public one, renewed when the server says so, and back; no pod is replaced.
pub async fn runs_by_itself(bed: &TestBed, front: &Front) -> anyhow::Result<()> {
    let (space, name) = ("course", "course");
    apply_ready(bed, &tenant(space, name, &format!("{name}.{ZONE}"))).await?;
    let before = pods(bed, space).await?;
    bed.cloud().spread_names_late(1500).await?;
    edit(bed, space, name, json!({"certificates": {"web": {"issuer": "Acme"}}})).await?;
    let issued = wait_until("a public certificate", ISSUED, || async { shown(bed, space, name).await.map(Some) }).await;
    bed.cloud().spread_names_late(0).await?;
    let first = issued?;
    bed.await_condition(space, name, "Ready", "True", READY).await?;
    is_clean(bed, space, name).await?;

    // The server wants it renewed now; the next process asks it.
    let orders = front.orders().len();
    let pem = String::from_utf8(base64_of(&first)?)?;
    let now = Utc::now();
    let window = json!({"suggestedWindow": {"start": now - TimeDelta::hours(2), "end": now - TimeDelta::hours(1)}});
    let body = json!({"certificate": pem, "ariResponse": window.to_string()});
    let management = format!("https://{}:15000/set-renewal-info/", bed.control_plane().acme().name_server());
    Http::new(bed.control_plane().acme_authority())?.post(&management, &body).await?.success()?;
    let leader = bed.leader().await?;
    bed.kill_operator(pod_of(&leader))?;
    bed.expire_lead().await?;
    wait_until("a renewed certificate", ISSUED, || async {
        let ready = condition(&bed.tenants(space).get(name).await?, "Available")?;
        ensure!(ready.0 == "True", "users cannot log in while it is renewed: {ready:?}");
        Ok((shown(bed, space, name).await? != first).then_some(()))
    })
    .await?;
    is_clean(bed, space, name).await?;
    let order = front.orders().get(orders).cloned().context("no order was made")?;
    ensure!(order.replaces.is_some(), "the order does not say what it replaces: {order:?}");

    edit(bed, space, name, json!({"certificates": {"web": {"issuer": "Tenant"}}})).await?;
    bed.await_condition(space, name, "Ready", "True", READY).await?;
    ensure!(pods(bed, space).await? == before, "pods were replaced: {before:?}, {:?}", pods(bed, space).await?);
    Ok(())
}

fn base64_of(text: &str) -> anyhow::Result<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).context("no base64")
}

/// The operator is killed in the middle, three times: the certificate comes, by no more orders than places, and nothing is left.
pub async fn outlives_deaths(bed: &TestBed, front: &Front) -> anyhow::Result<()> {
    let orders = front.orders().len();
    apply(bed, &public("deaths", "deaths")).await?;
    for _ in 0..3 {
        // When it dies is left to chance on purpose: no moment may be a bad one.
        let delay = Duration::from_millis(rand::rng().random_range(SOON));
        tokio::time::sleep(delay).await;
        let leader = bed.leader().await?;
        if leader.is_empty() {
            continue;
        }
        bed.kill_operator(pod_of(&leader))?;
        bed.expire_lead().await?;
    }
    bed.await_condition("deaths", "deaths", "Ready", "True", READY).await?;
    is_clean(bed, "deaths", "deaths").await?;
    let made = front.orders().len() - orders;
    ensure!((1..=4).contains(&made), "{made} orders were made for one certificate");
    Ok(())
}

/// What is in the way is told, in the server's words where they are its; each is mended, and the certificate comes.
pub async fn is_told_what_is_wrong(bed: &TestBed, front: &Front) -> anyhow::Result<()> {
    let (space, name) = ("refused", "refused");
    let proof = format!("_acme-challenge.{name}.{ZONE}");
    bed.cloud().put_text(ZONE, &proof, "somebody-elses").await?;
    apply(bed, &public(space, name)).await?;
    let told = async |parts: &[&str], person: bool| -> anyhow::Result<()> {
        wait_until(&format!("{parts:?} to be told"), TOLD, || async {
            let tenant = bed.tenants(space).get(name).await?;
            let (status, reason, message) = condition(&tenant, "CertificatesReady")?;
            ensure!((status.as_str(), reason.as_str()) == ("False", "IssuanceFailed"), "{status} {reason}: {message}");
            for part in parts {
                ensure!(message.contains(part), "{part:?} is not in {message:?}");
            }
            let stalled = condition(&tenant, "Stalled").is_ok();
            ensure!(stalled == person, "Stalled is there: {stalled}");
            Ok(Some(()))
        })
        .await
    };
    told(&[&proof, "somebody else"], true).await?;
    bed.cloud().remove_text(ZONE, &proof, "somebody-elses").await?;
    front.refuse_next(1, 7200);
    bed.clock().advance(TimeDelta::minutes(6)).await?;
    told(&["too many certificates"], false).await?;
    let issuance = bed.tenants(space).get(name).await?.status.and_then(|status| status.issuance).context("issuance")?;
    let left = issuance.retry_at.context("when it is tried again")?.0.as_second() - bed.clock().now()?.timestamp();
    ensure!((7000..=7200).contains(&left), "it is tried again in {left} s, and the server asked for 7200");
    let refusals = |metrics: std::collections::BTreeMap<String, f64>| {
        metrics.get("tenant_operator_acme_refusals_total{mended_by=\"time\"}").copied().unwrap_or_default()
    };
    ensure!(refusals(probes::leaders_metrics(bed).await?) >= 1.0, "the refusal was not counted");
    bed.clock().advance(TimeDelta::hours(2)).await?;
    bed.await_condition(space, name, "Ready", "True", READY).await?;
    is_clean(bed, space, name).await?;

    apply(
        bed,
        &with(tenant(space, "abroad", "abroad.example.net"), "certificates", json!({"web": {"issuer": "Acme"}})),
    )
    .await?;
    let stalled = bed.await_condition(space, "abroad", "Stalled", "True", TOLD).await?;
    let (_, reason, message) = condition(&stalled, "Stalled")?;
    ensure!(reason == "IssuanceFailed" && message.contains("acme.dns.route53"), "{reason}: {message}");
    edit(bed, space, "abroad", json!({"certificates": {"web": {"issuer": "Tenant"}}})).await?;
    bed.await_condition(space, "abroad", "Ready", "True", READY).await.map(drop)
}
