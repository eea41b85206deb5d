//! The golden manifests on the real API server: each is accepted, and what the server makes of it is no difference to
//! what was asked for. A default or a canonical form that the comparison took for drift would be written for ever.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use e2e::control_plane::{ControlPlane, Options};
use e2e::kinds;
use e2e::testbed::root;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use plan::Fact;
use plan::names::APPLIED;
use plan::object::{Difference, Kind, Object, difference};
use serde_json::{Value, json};

fn files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join("operator/plan/tests/golden");
    let mut files = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

fn kind(manifest: &Value) -> anyhow::Result<Kind> {
    Ok(match manifest["kind"].as_str().unwrap_or_default() {
        "ServiceAccount" => Kind::ServiceAccount,
        "ConfigMap" => Kind::ConfigMap,
        "Secret" => Kind::Secret,
        "Service" => Kind::Service,
        "Deployment" => Kind::Deployment,
        "Job" => Kind::Job,
        "PodDisruptionBudget" => Kind::PodDisruptionBudget,
        "NetworkPolicy" => Kind::NetworkPolicy,
        "TLSRoute" => Kind::TLSRoute,
        "PodMonitor" => Kind::PodMonitor,
        "Certificate" => Kind::Certificate,
        other => anyhow::bail!("a golden file holds a {other}"),
    })
}

/// As it was before it was made readable and got its digest.
fn as_rendered(mut manifest: Value) -> anyhow::Result<Object> {
    use base64::Engine as _;
    if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
        annotations.remove(APPLIED);
    }
    if manifest["kind"] == "Secret"
        && let Some(data) = manifest["data"].as_object_mut()
    {
        for text in data.values_mut() {
            *text = json!(base64::engine::general_purpose::STANDARD.encode(text.as_str().context("a text")?));
        }
    }
    Ok(Object::new(kind(&manifest)?, &manifest))
}

async fn check(control_plane: &ControlPlane, file: &PathBuf) -> anyhow::Result<usize> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(file)?)?;
    let client = control_plane.client();
    let namespaces: Api<DynamicObject> =
        Api::all_with(client.clone(), &ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()));
    let count = documents.len();
    for document in documents {
        let object = as_rendered(document)?;
        let types: TypeMeta = serde_json::from_value(object.manifest.clone())?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let namespace = object.manifest["metadata"]["namespace"].as_str().context("a namespace")?.to_owned();
        let wanted = DynamicObject::new(&namespace, &ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()));
        match namespaces.create(&PostParams::default(), &wanted).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error.into()),
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let parameters = PatchParams::apply("golden").validation_strict();
        let stored = api
            .patch(&object.reference.name, &parameters, &Patch::Apply(&object.manifest))
            .await
            .with_context(|| format!("{} of {}", object.reference, file.display()))?;
        ensure!(stored.name_any() == object.reference.name);
        let live = Fact::Known(serde_json::to_value(&stored)?);
        let owner = object.manifest["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
        let found = difference(&object, &live, owner);
        ensure!(found == Difference::Same, "{} of {}: {found:?}", object.reference, file.display());
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_changes_nothing_that_was_asked_for() -> anyhow::Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let outcome = async {
        kinds::install(&control_plane.client(), kinds::GATEWAYS).await?;
        kinds::install(&control_plane.client(), kinds::POD_MONITORS).await?;
        kinds::install(&control_plane.client(), kinds::CERTIFICATES).await?;
        let mut checked = 0;
        for file in files()? {
            checked += check(&control_plane, &file).await?;
        }
        ensure!(checked >= 30, "only {checked} manifests found");
        println!("{checked} golden manifests: accepted, and unchanged by the server");
        anyhow::Ok(())
    }
    .await;
    control_plane.stop().await;
    outcome
}
