//! What must be true of a running control plane.

use std::fmt::Debug;
use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::control_plane::ControlPlane;
use e2e::helm::{Helm, Release};
use e2e::http::Http;
use hyper::Request;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

pub async fn pods_run_unless_a_stand_in_runs_them(control_plane: &ControlPlane) {
    let client = control_plane.client();
    for (name, label) in [("of-a-tenant", "tenancy.dev/tenant-id"), ("of-the-harness", "tenancy.dev/process")] {
        create::<Pod>(&client, json!({ "metadata": { "name": name, "labels": { label: "x" } }, "spec": spec() })).await;
    }
    let deployment = json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": spec() },
        },
    });
    create::<Deployment>(&client, deployment).await;
    until::<Deployment>(&client, "web", "available", |web| web["status"]["availableReplicas"] == 2).await;
    for name in ["of-a-tenant", "of-the-harness"] {
        let bound = |pod: &Value| pod["spec"]["nodeName"].is_string();
        let pod = until::<Pod>(&client, name, "scheduled", bound).await;
        // It was there before the others, which run by now.
        assert_eq!(pod["status"]["phase"], "Pending", "KWOK has touched {name}: {}", pod["status"]);
        // Its deletion waits for the stand-in's word too.
        namespaced::<Pod>(&client).delete(name, &DeleteParams::default()).await.unwrap();
    }
}

pub async fn a_job_completes_and_a_deleted_pod_goes(control_plane: &ControlPlane) {
    let client = control_plane.client();
    let mut pod = spec();
    pod["restartPolicy"] = json!("Never");
    create::<Job>(&client, json!({ "metadata": { "name": "once" }, "spec": { "template": { "spec": pod } } })).await;
    until::<Job>(&client, "once", "complete", |job| job["status"]["succeeded"] == 1).await;

    create::<Pod>(&client, json!({ "metadata": { "name": "short" }, "spec": spec() })).await;
    until::<Pod>(&client, "short", "running", |pod| pod["status"]["phase"] == "Running").await;
    namespaced::<Pod>(&client).delete("short", &DeleteParams::default()).await.unwrap();
    until::<Pod>(&client, "short", "gone", Value::is_null).await;
    let tenants = namespaced::<Pod>(&client).get("of-a-tenant").await.unwrap();
    assert!(tenants.metadata.deletion_timestamp.is_some(), "KWOK must leave the deletion to the stand-in as well");
}

pub async fn a_stranger_is_refused_and_audited(control_plane: &ControlPlane) {
    account(control_plane, "stranger").await;
    let stranger = control_plane.service_account_client("default", "stranger").await.unwrap();
    let refusal = namespaced::<Secret>(&stranger).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refusal, kube::Error::Api(status) if status.is_forbidden()), "{refusal}");

    let log = fs::read_to_string(control_plane.audit_log().unwrap()).unwrap();
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused = entries.iter().any(|entry| {
        entry["user"]["username"] == "system:serviceaccount:default:stranger"
            && entry["verb"] == "list"
            && entry["objectRef"]["resource"] == "secrets"
            && entry["responseStatus"]["code"] == 403
            && entry["stage"] == "ResponseComplete"
    });
    assert!(refused, "the audit log does not tell of the refusal");
    let level = |entry: &Value| entry["level"] == "Metadata" && entry["stage"] != "RequestReceived";
    assert!(entries.iter().all(level), "one line per request, without bodies");
}

pub async fn owner_references_need_permission(control_plane: &ControlPlane) {
    let client = control_plane.client();
    account(control_plane, "writer").await;
    let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"] }]);
    create::<Role>(&client, json!({ "metadata": { "name": "writer" }, "rules": rules })).await;
    let binding = json!({
        "metadata": { "name": "writer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer" },
        "subjects": [{ "kind": "ServiceAccount", "name": "writer", "namespace": "default" }],
    });
    create::<RoleBinding>(&client, binding).await;
    let owner = namespaced::<ServiceAccount>(&client).get("writer").await.unwrap();
    let reference = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "name": "writer", "uid": owner.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    });
    let writer = control_plane.service_account_client("default", "writer").await.unwrap();
    let plain: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "plain" } })).unwrap();
    // A new binding takes a moment to reach the authorizer.
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = namespaced(&writer).create(&PostParams::default(), &plain).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let owned = json!({ "metadata": { "name": "owned", "ownerReferences": [reference] } });
    let owned: ConfigMap = serde_json::from_value(owned).unwrap();
    let refusal = namespaced(&writer).create(&PostParams::default(), &owned).await.unwrap_err();
    assert!(refusal.to_string().contains("cannot set blockOwnerDeletion"), "{refusal}");
}

pub async fn tokens_verify_with_the_published_keys(control_plane: &ControlPlane) {
    account(control_plane, "bearer").await;
    let lifetime = Duration::from_secs(3600);
    let path = control_plane.service_account_kubeconfig("default", "bearer", lifetime).await.unwrap();
    let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();
    let part = |index: usize| -> Value {
        let part = token.split('.').nth(index).expect("a token has three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0)["alg"], "RS256");
    assert_eq!(part(1)["iss"], "https://kubernetes.default.svc");
    assert_eq!(part(1)["sub"], "system:serviceaccount:default:bearer");

    let client = control_plane.client();
    let request = Request::get("/openid/v1/jwks").body(Vec::new()).unwrap();
    let keys: Value = serde_json::from_str(&client.request_text(request).await.unwrap()).unwrap();
    let signer = part(0)["kid"].clone();
    let published = keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == signer && key["kty"] == "RSA");
    assert!(published, "{signer} is not among {keys}");

    let review = json!({ "metadata": {}, "spec": { "token": token } });
    let review: TokenReview = serde_json::from_value(review).unwrap();
    let review = Api::<TokenReview>::all(client).create(&PostParams::default(), &review).await.unwrap();
    assert_eq!(review.status.and_then(|status| status.authenticated), Some(true));
}

pub async fn the_emulators_answer(control_plane: &ControlPlane) {
    let http = Http::new(control_plane.acme_authority()).unwrap();
    let acme = control_plane.acme();
    let directory = http.get(&acme.directory()).await.unwrap().success().unwrap();
    let directory: Value = serde_json::from_slice(&directory).unwrap();
    assert!(directory["newOrder"].is_string() && directory["renewalInfo"].is_string(), "{directory}");
    assert!(directory["meta"]["profiles"]["shortlived"].is_string(), "{directory}");
    assert!(acme.issuing_root().starts_with("-----BEGIN CERTIFICATE-----"), "{}", acme.issuing_root());
    http.get(&format!("{}/testbed/health", control_plane.aws().endpoint())).await.unwrap().success().unwrap();
    assert!(control_plane.aws().calls().is_file(), "the emulator writes no log of its calls");
}

pub async fn helm_installs_and_upgrades_a_chart(control_plane: &ControlPlane) {
    let directory = tempfile::tempdir().unwrap();
    let template =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  colour: {{ .Values.colour }}\n";
    fs::write(directory.path().join("Chart.yaml"), "apiVersion: v2\nname: probe\nversion: 0.1.0\n").unwrap();
    fs::write(directory.path().join("values.yaml"), "colour: grey\n").unwrap();
    fs::create_dir(directory.path().join("templates")).unwrap();
    fs::write(directory.path().join("templates/settings.yaml"), template).unwrap();
    let helm = Helm::new(control_plane).unwrap();
    let settings = Api::<ConfigMap>::namespaced(control_plane.client(), "probe");
    for colour in ["green", "blue"] {
        let values = json!({ "colour": colour });
        let release = Release {
            name: "probe",
            namespace: "probe",
            chart: directory.path(),
            values: &values,
            wait: Some(Duration::from_secs(30)),
        };
        helm.install(&release).await.unwrap_or_else(|error| panic!("{error:#}"));
        let data = settings.get("settings").await.unwrap().data.unwrap_or_default();
        assert_eq!(data.get("colour").map(String::as_str), Some(colour));
    }
    helm.uninstall("probe", "probe").await.unwrap_or_else(|error| panic!("{error:#}"));
    helm.uninstall("probe", "probe").await.expect("a second time there is nothing to do");
    assert!(settings.get_opt("settings").await.unwrap().is_none());

    fs::write(directory.path().join("templates/settings.yaml"), "{{ fail \"no colour today\" }}").unwrap();
    let release = Release { name: "bad", namespace: "probe", chart: directory.path(), values: &json!({}), wait: None };
    let error = format!("{:#}", helm.install(&release).await.unwrap_err());
    assert!(error.contains("helm upgrade bad") && error.contains("no colour today"), "{error}");
}

pub async fn objects_of_one_are_not_in_the_other(first: &ControlPlane, second: &ControlPlane) {
    create::<ConfigMap>(&first.client(), json!({ "metadata": { "name": "mine" } })).await;
    let other = namespaced::<ConfigMap>(&second.client()).get_opt("mine").await.unwrap();
    assert!(other.is_none(), "two control planes share a store");
}

pub async fn kubernetes_says_its_version(control_plane: &ControlPlane) {
    let info = control_plane.client().apiserver_version().await.unwrap();
    let module = fs::read_to_string(concat!(env!("TENANT_OPERATOR_ROOT"), "e2e/tools/go.mod")).unwrap();
    assert!(module.contains(&format!("k8s.io/kubernetes {}\n", info.git_version)), "{}", info.git_version);
    assert!(info.git_version.starts_with(&format!("v{}.{}.", info.major, info.minor)), "{info:?}");
}

async fn account(control_plane: &ControlPlane, name: &str) {
    let accounts = namespaced::<ServiceAccount>(&control_plane.client());
    if accounts.get_opt(name).await.unwrap().is_none() {
        create::<ServiceAccount>(&control_plane.client(), json!({ "metadata": { "name": name } })).await;
    }
}

fn spec() -> Value {
    json!({ "containers": [{ "name": "main", "image": "registry.invalid/never-pulled:1" }] })
}

fn namespaced<K>(client: &Client) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), "default")
}

async fn create<K>(client: &Client, object: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    namespaced(client).create(&PostParams::default(), &object).await.unwrap();
}

/// Reads the object until `fact` holds of it; `Null` stands for one that is not there.
async fn until<K>(client: &Client, name: &str, what: &str, fact: impl Fn(&Value) -> bool) -> Value
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        let object = namespaced::<K>(client).get_opt(name).await.unwrap();
        let object = serde_json::to_value(object).unwrap();
        if fact(&object) {
            return object;
        }
        assert!(Instant::now() < deadline, "{name} is not {what}: {object}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
