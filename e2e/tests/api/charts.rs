//! The chart of the operator: values that it refuses, what it renders, and that a second upgrade changes nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};
use e2e::testbed::operator_binary;
use serde_json::{Value, json};

use super::bed::{Bed, OPERATOR_NAMESPACE, root};
use super::report::Report;
use super::tables;

const CHART: &str = "tenant-operator";

/// Values that helm must refuse: what is merged into good ones, and what the refusal must say.
fn bad_values() -> Vec<(Value, &'static str)> {
    let installation = |change: Value| json!({"fleet": {"installation": change}});
    let account = |change: Value| {
        let mut account = account();
        tables::merge(&mut account, &change);
        installation(json!({"aws": {"accounts": [account]}}))
    };
    let releases = |change: Value| json!({"fleet": {"releases": change}});
    let release = |change: Value| {
        let mut release = json!({"version": "18.1.0", "releasedAt": "2026-10-12T00:00:00Z"});
        tables::merge(&mut release, &change);
        release
    };
    let listed = |change: Value| releases(json!({"releases": [release(change)]}));
    vec![
        (json!({"replica": 3}), "replica"),
        (json!({"replicas": 0}), "/replicas"),
        (json!({"image": {"registry": "x"}}), "registry"),
        (json!({"cloudResync": "6 hours"}), "/cloudResync"),
        (json!({"extraArgs": ["verbose"]}), "/extraArgs/0"),
        (json!({"aws": {"roleArn": "tenancy-operator"}}), "/aws/roleArn"),
        (installation(json!({"regions": []})), "regions"),
        (installation(json!({"id": "EU-1"})), "/fleet/installation/id"),
        (account(json!({"id": 123_456_789_012_u64})), "/aws/accounts/0/id"),
        (account(json!({"regions": []})), "/aws/accounts/0/regions"),
        (account(json!({"oidcProvider": "https://oidc.example.com"})), "/aws/accounts/0/oidcProvider"),
        (account(json!({"rolePath": "tenancy"})), "/aws/accounts/0/rolePath"),
        (account(json!({"boundaryArn": "boundary"})), "/aws/accounts/0/boundaryArn"),
        (account(json!({"assumeRoleArn": "provisioner"})), "/aws/accounts/0/assumeRoleArn"),
        (account(json!({"maxTenants": 0})), "/aws/accounts/0/maxTenants"),
        (installation(json!({"aws": {"accounts": []}})), "/fleet/installation/aws/accounts"),
        (
            installation(json!({"images": {"community": "example.com/teleport:18"}})),
            "/fleet/installation/images/community",
        ),
        (installation(json!({"portPools": [{"name": "a", "start": 80, "end": 2000}]})), "/portPools/0/start"),
        (installation(json!({"portPools": [{"name": "a", "start": 2000, "end": 2003}]})), "raise end to 2004"),
        (
            installation(
                json!({"portPools": [{"name": "a", "start": 2000, "end": 2010}, {"name": "a", "start": 3000, "end": 3010}]}),
            ),
            "rename one",
        ),
        (
            installation(
                json!({"portPools": [{"name": "a", "start": 2000, "end": 2010}, {"name": "b", "start": 2010, "end": 3010}]}),
            ),
            "overlap",
        ),
        (releases(json!({"errorBudget": {}})), "errorBudget"),
        (listed(json!({"version": "v18.1.0"})), "/fleet/releases/releases/0/version"),
        (listed(json!({"version": "18.1.0-rc.1"})), "/fleet/releases/releases/0/version"),
        (listed(json!({"releasedAt": "2026-10-12"})), "/fleet/releases/releases/0/releasedAt"),
        (listed(json!({"urgent": true})), "urgent"),
        (listed(json!({"digests": {"community": "sha256:abc"}})), "/releases/0/digests/community"),
        (releases(json!({"releases": [release(json!({})), release(json!({}))]})), "18.1.0 is listed twice"),
        (releases(json!({"channels": {"Stable": {}}})), "Stable"),
        (releases(json!({"channels": {"stable": {"soak": {"patch": "1d"}}}})), "/channels/stable/soak/patch"),
        (releases(json!({"waves": {"haltAfterFailures": 0}})), "/fleet/releases/waves/haltAfterFailures"),
        (releases(json!({"maxConcurrentUpdates": 0})), "/fleet/releases/maxConcurrentUpdates"),
        (releases(json!({"monthlyDowntimeBudget": ""})), "/fleet/releases/monthlyDowntimeBudget"),
        (releases(json!({"freeze": {"reason": ""}})), "/fleet/releases/freeze/reason"),
    ]
}

/// The least that is said of an account.
fn account() -> Value {
    json!({"id": "123456789012", "regions": ["us-west-2"], "oidcProvider": "oidc.example.com/id/1", "rolePath": "/"})
}

/// Leaves the chart installed, for the checks that need what it brings.
pub async fn check(bed: &Bed, report: &mut Report) {
    let Some(values) = report.add("values of the tests", values()) else { return };
    for (change, text) in bad_values() {
        report.add(format!("helm refuses {change}"), refused(bed, &values, &change, text));
    }
    report.add(
        "helm refuses a chart without values",
        refused(bed, &Value::Null, &Value::Null, "missing properties 'id', 'aws'"),
    );
    report.add("the least values suffice", least(bed));
    report.add("the operator's AWS policy", policy());
    report.add("the policy is checked before it is in force", checked_in_a_pipeline(bed, &values));
    report.add("the schema of the policy", schema());

    // The strictest standard of Kubernetes: a pod that breaks it is never created.
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    report.add(
        "restricted namespace",
        bed.merge(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}"), json!({"metadata": {"labels": restricted}}))
            .await,
    );
    if report.add("install the operator's chart", bed.helm_install(CHART, Some(&values)).await).is_none() {
        return;
    }
    report.add("the Deployment", deployment(bed).await);
    report.add("the fleet policy", fleet(bed, &values).await);
    report.add("a second upgrade changes nothing", second_upgrade(bed, &values).await);
}

/// The values with which the chart is installed.
fn values() -> anyhow::Result<Value> {
    Ok(serde_saphyr::from_str(include_str!("values.yaml"))?)
}

fn refused(bed: &Bed, values: &Value, change: &Value, text: &str) -> anyhow::Result<()> {
    let mut values = values.clone();
    tables::merge(&mut values, change);
    let refusal = bed.helm_template(CHART, &values)?.err().context("helm accepts it")?;
    ensure!(refusal.contains(text), "the refusal does not say {text:?}: {refusal}");
    Ok(())
}

fn least(bed: &Bed) -> anyhow::Result<()> {
    let aws = json!({"accounts": [account()]});
    let rendered = bed.helm_template(CHART, &json!({"fleet": {"installation": {"id": "eu1", "aws": aws}}}))?;
    let rendered = rendered.map_err(anyhow::Error::msg)?;
    ensure!(rendered.contains("- --fleet-config-map=tenant-operator-fleet"), "no argument for the policy");
    for absent in ["AWS_ROLE_ARN", "serviceAccountToken", "--cloud-resync", "--log-level"] {
        ensure!(!rendered.contains(absent), "renders {absent} without a value for it");
    }
    Ok(())
}

/// What helm renders passes the operator's own check, and what helm cannot see does not.
fn checked_in_a_pipeline(bed: &Bed, values: &Value) -> anyhow::Result<()> {
    let rendered = bed.helm_template(CHART, values)?.map_err(anyhow::Error::msg)?;
    let good = fleet_command(&["check", "-"], &rendered)?;
    let told = String::from_utf8(good.stdout)?;
    ensure!(good.status.success(), "refused: {}", String::from_utf8_lossy(&good.stderr));
    ensure!(told.contains("installation.yaml: installation") && told.contains("releases.yaml: "), "{told}");
    let id = values["fleet"]["installation"]["id"].as_str().context("an id")?;
    let edited = rendered.replace(&format!("id: {id}\n"), "id: Europe\n");
    ensure!(edited != rendered, "the id is written otherwise");
    let bad = fleet_command(&["check", "-"], &edited)?;
    let told = String::from_utf8(bad.stderr)?;
    ensure!(bad.status.code() == Some(1), "{:?}", bad.status);
    ensure!(told.starts_with("ConfigMap tenant-operator-fleet, installation.yaml: id: \"Europe\" must be"), "{told}");
    Ok(())
}

fn schema() -> anyhow::Result<()> {
    let printed: Value = serde_json::from_slice(&fleet_command(&["schema"], "")?.stdout)?;
    let chart = std::fs::read(root().join("charts/tenant-operator/values.schema.json"))?;
    let chart: Value = serde_json::from_slice(&chart)?;
    for key in ["installation", "releases"] {
        ensure!(printed["properties"][key] == chart["definitions"][key], "{key} is another one in the chart");
    }
    Ok(())
}

fn fleet_command(args: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(operator_binary()?);
    command.arg("fleet").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run the operator")?;
    // Less than a pipe holds comes back, so that nobody waits for the other.
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// The policy file is JSON, names only its placeholders, and can delete no data but the backups of state tables.
fn policy() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("charts/tenant-operator/files/operator-policy.json"))?;
    let text = text
        .replace("${ACCOUNT}", "123456789012")
        .replace("${INSTALLATION}", "eu1")
        .replace("${ROLE_PATH}", "/tenancy/eu1/");
    ensure!(!text.contains("${"), "an unknown placeholder");
    let policy: Value = serde_json::from_str(&text)?;
    for statement in policy["Statement"].as_array().context("no statements")? {
        let resource = statement["Resource"].as_str().context("one resource for each statement")?;
        // AWS knows no resource for this one.
        let listing = statement["Action"] == json!(["dynamodb:ListBackups"]) && resource == "*";
        // Whose key a customer names is the customer's to say: it may be looked at, and given to DynamoDB.
        let uses = statement["Action"].as_array().into_iter().flatten();
        let key = resource.ends_with(":key/*")
            && uses.into_iter().all(|use_of| use_of.as_str().is_some_and(|use_of| use_of.starts_with("kms:")));
        ensure!(listing || key || resource.contains("eu1"), "{resource} reaches beyond the installation");
        for action in statement["Action"].as_array().context("a list of actions")? {
            let action = action.as_str().context("an action is a string")?;
            ensure!(!action.contains('*'), "{action} is a wildcard");
            let expires = action == "dynamodb:DeleteBackup" && resource.ends_with(":table/eu1-*-state/backup/*");
            let destroys = action.contains("Delete") && action != "iam:DeleteRolePolicy" && !expires;
            ensure!(!destroys && !action.ends_with("Object"), "{action} reaches data");
        }
    }
    Ok(())
}

/// The pods exist, so the namespace's standard let them through; and they are what the chart promises.
async fn deployment(bed: &Bed) -> anyhow::Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/tenant-operator");
    let deployment =
        bed.wait_for(&path, "rolled out to two pods", |found| found["status"]["updatedReplicas"] == 2).await?;
    let template = &deployment["spec"]["template"];
    ensure!(template["metadata"]["labels"]["tenancy.dev/process"] == "operator", "no process label");
    let container = &template["spec"]["containers"][0];
    ensure!(container["image"] == "tenant-operator:0.1.0", "image {}", container["image"]);
    let args = json!([
        "run",
        "--listen=$(POD_IP):8080",
        "--fleet-config-map=tenant-operator-fleet",
        "--cloud-resync=6h",
        "--inventory-interval=5m",
        "--log-format=json",
        "--log-level=info"
    ]);
    ensure!(container["args"] == args, "args {}", container["args"]);
    let env: BTreeMap<&str, String> = container["env"].as_array().into_iter().flatten().map(variable).collect();
    let wanted = [
        ("AWS_REGION", "us-west-2"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/tenancy-operator"),
        ("AWS_ROLE_SESSION_NAME", "$(POD_NAME)"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/tenancy.dev/aws/token"),
        ("POD_IP", "status.podIP"),
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
    ];
    ensure!(env == wanted.map(|(name, value)| (name, value.to_owned())).into(), "env {env:?}");
    ensure!(
        container["resources"]["limits"].get("cpu").is_none(),
        "a CPU limit, which would cost the leader its lease"
    );
    let token = &template["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    ensure!(token["audience"] == "sts.amazonaws.com" && token["path"] == "token", "token {token}");
    ensure!(template["spec"]["terminationGracePeriodSeconds"] == 30, "grace period");
    Ok(())
}

fn variable(variable: &Value) -> (&str, String) {
    let value = variable["value"].as_str().or_else(|| variable["valueFrom"]["fieldRef"]["fieldPath"].as_str());
    (variable["name"].as_str().unwrap_or_default(), value.unwrap_or_default().to_owned())
}

async fn fleet(bed: &Bed, values: &Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/tenant-operator-fleet");
    let config_map = bed.get(&path).await?.success()?;
    let text = config_map["data"]["installation.yaml"].as_str().context("no key installation.yaml")?;
    let installation: Value = serde_saphyr::from_str(text)?;
    let wanted = &values["fleet"]["installation"];
    ensure!(tables::contains(&installation, wanted), "{installation} does not contain {wanted}");
    ensure!(installation["aws"]["accounts"][0]["id"].is_string(), "the account has become a number");
    ensure!(installation["images"]["enterprise"].is_string(), "the default images are missing");
    let text = config_map["data"]["releases.yaml"].as_str().context("no key releases.yaml")?;
    let (releases, wanted) = (serde_saphyr::from_str::<Value>(text)?, &values["fleet"]["releases"]);
    ensure!(releases == *wanted, "{releases} is not {wanted}");
    Ok(())
}

/// Every object of the release has the resource version that it had: nothing was written, so no pod restarts.
async fn second_upgrade(bed: &Bed, values: &Value) -> anyhow::Result<()> {
    let before = versions(bed)?;
    ensure!(before.len() >= 12, "only {} objects carry the chart's label: {before:?}", before.len());
    bed.helm_install(CHART, Some(values)).await?;
    bed.helm_install("tenant-operator-crds", None).await?;
    let after = versions(bed)?;
    ensure!(
        before == after,
        "changed: {:?}",
        after.iter().filter(|(name, version)| before.get(*name) != Some(version)).collect::<Vec<_>>()
    );
    Ok(())
}

/// Generation for what controllers write a status to, resource version for everything else.
fn versions(bed: &Bed) -> anyhow::Result<BTreeMap<String, String>> {
    let kinds = "serviceaccounts,services,configmaps,deployments,poddisruptionbudgets,roles,rolebindings,clusterroles,\
                 clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions";
    let selector = "app.kubernetes.io/part-of=tenant-operator";
    let output = bed.kubectl(&["get", kinds, "--all-namespaces", "-l", selector, "-o", "json"])?;
    let list: Value = serde_json::from_str(&output)?;
    let items = list["items"].as_array().context("no list")?;
    Ok(items
        .iter()
        .map(|item| {
            let metadata = &item["metadata"];
            let settles = item.get("status").is_some() && metadata.get("generation").is_some();
            let version = if settles { &metadata["generation"] } else { &metadata["resourceVersion"] };
            (format!("{} {}", item["kind"], metadata["name"]), version.to_string())
        })
        .collect())
}
