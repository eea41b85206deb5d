//! What the public Service says to load balancers and to external-dns, and what is recorded: as the spec has it, changed, and
//! taken back.

use anyhow::{Context, ensure};
use e2e::testbed::TestBed;
use serde_json::{Value, json};

use super::cluster::{self, component};
use super::covered::seen;
use super::edits::settled;
use super::manifest::{apply_ready, edit, id, tenant, with};

const NAME: &str = "published";
const SCHEME: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";
const HOSTNAMES: &str = "external-dns.alpha.kubernetes.io/hostname";

/// The Service, and then the recording.
pub async fn as_the_spec_says(bed: &TestBed) -> anyhow::Result<()> {
    let network = json!({
        "loadBalancerClass": "testbed.example.com/loopback", "annotations": {SCHEME: "internal"},
        "sourceRanges": ["127.0.0.0/8"], "ipFamilyPolicy": "SingleStack",
    });
    let found = apply_ready(bed, &with(tenant(NAME, NAME, "published.example.com"), "network", network)).await?;
    let service = service(bed).await?;
    let (spec, annotations) = (&service["spec"], &service["metadata"]["annotations"]);
    ensure!(spec["loadBalancerClass"] == "testbed.example.com/loopback", "{spec}");
    ensure!(spec["loadBalancerSourceRanges"] == json!(["127.0.0.0/8"]), "{spec}");
    ensure!(spec["ipFamilyPolicy"] == "SingleStack", "{spec}");
    ensure!(annotations[SCHEME] == "internal", "{annotations}");
    ensure!(annotations[HOSTNAMES] == "published.example.com,*.published.example.com", "{annotations}");

    for (field, found) in [
        ("loadBalancerClass", &spec["loadBalancerClass"]),
        ("ipFamilyPolicy", &spec["ipFamilyPolicy"]),
        ("sourceRanges[]", &spec["loadBalancerSourceRanges"][0]),
    ] {
        seen("Tenant", &format!("spec.network.{field}"), found.clone());
    }
    seen("Tenant", "spec.network.annotations", json!({SCHEME: annotations[SCHEME]}));

    let tenant_id = id(&found)?;
    let auth = async || cluster::names(bed, NAME, "pods", &component(&tenant_id, "auth")).await;
    let before = auth().await?;
    edit(
        bed,
        NAME,
        NAME,
        json!({"network": {"annotations": {SCHEME: null, "example.com/zone": "a"}, "sourceRanges": null}}),
    )
    .await?;
    settled(bed, NAME, NAME).await?;
    let service = self::service(bed).await?;
    let annotations = &service["metadata"]["annotations"];
    ensure!(annotations[SCHEME].is_null() && annotations["example.com/zone"] == "a", "{annotations}");
    ensure!(service["spec"]["loadBalancerSourceRanges"].is_null(), "{}", service["spec"]);
    ensure!(auth().await? == before, "Auth was restarted for a Service");

    for (mode, written) in [("NodeSync", "session_recording: node-sync"), ("Disabled", "session_recording: \"off\"")] {
        edit(bed, NAME, NAME, json!({"sessionRecording": mode})).await?;
        settled(bed, NAME, NAME).await?;
        // What Auth runs with: it does not start with a mode that it does not know.
        let pods = auth().await?;
        let pod = cluster::object(bed, NAME, "pod", pods.first().context("no Auth")?).await?.context("no pod")?;
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut configs = volumes.filter_map(|volume| volume["configMap"]["name"].as_str());
        let config = configs.next().context("no configuration is mounted")?;
        let config = cluster::object(bed, NAME, "configmap", config).await?.context("no ConfigMap")?;
        ensure!(
            config["data"]["teleport.yaml"].as_str().is_some_and(|text| text.contains(written)),
            "{mode}: {config:#}"
        );
        seen("Tenant", "spec.sessionRecording", mode);
    }
    ensure!(auth().await? != before, "Auth was not restarted for another mode of recording");
    Ok(())
}

async fn service(bed: &TestBed) -> anyhow::Result<Value> {
    cluster::object(bed, NAME, "service", NAME).await?.context("no Service")
}
