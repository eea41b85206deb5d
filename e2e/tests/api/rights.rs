//! The operator's rights: for every resource that the server serves and every verb, exactly the table and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bed::{Bed, OPERATOR_NAMESPACE, send};
use super::report::Report;

const NAMESPACE: &str = "views";
const ACCOUNT: &str = "tenant-operator";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// `impersonate`, `bind` and `escalate` are asked of every resource too: they turn one right into all.
const VERBS: [&str; 11] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
];
/// Not in any discovery: names that RBAC alone knows.
const UNLISTED: [(&str, &str); 10] = [
    ("", "users"),
    ("", "groups"),
    ("", "serviceaccounts/token"),
    ("tenancy.dev", "tenants/finalizers"),
    // Whether the Gateway API, cert-manager and the Prometheus operator are installed or not.
    ("gateway.networking.k8s.io", "tlsroutes"),
    ("cert-manager.io", "certificates"),
    ("monitoring.coreos.com", "podmonitors"),
    ("cert-manager.io", "certificaterequests"),
    ("*", "*"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    everywhere: BTreeMap<String, BTreeSet<String>>,
    own: BTreeMap<String, BTreeSet<String>>,
}

pub async fn check(bed: &Bed, report: &mut Report) {
    let own: Rights = serde_saphyr::from_str(include_str!("rights.yaml")).expect("the table is valid");
    let Some(operator) = report.add("token of the operator", bed.service_account(OPERATOR_NAMESPACE, ACCOUNT).await)
    else {
        return;
    };
    report.add(
        "a plain ServiceAccount",
        bed.post(&format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), &plain()).await,
    );
    let Some(plain) = report.add("token of a plain ServiceAccount", bed.service_account(NAMESPACE, "plain").await)
    else {
        return;
    };
    report.add("cannot list Secrets", cannot_list_secrets(&operator).await);
    let elsewhere = own.everywhere.clone();
    let mut here = own.everywhere;
    here.extend(own.own);
    for (namespace, wanted) in [(OPERATOR_NAMESPACE, here), (NAMESPACE, elsewhere)] {
        report.add(format!("rights in {namespace}"), exactly(bed, &operator, &plain, namespace, &wanted).await);
    }
    report.add("no wildcard in a rule", no_wildcard(bed));
}

fn plain() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "plain"}})
}

/// The answer to the call itself, not only to the question about it.
async fn cannot_list_secrets(operator: &kube::Client) -> anyhow::Result<()> {
    for path in ["/api/v1/secrets", "/api/v1/namespaces/tenancy-system/secrets"] {
        let answer = send(operator, "GET", path, "application/json", &Value::Null).await?;
        ensure!(answer.code == 403, "GET {path} answers {}", answer.code);
    }
    Ok(())
}

async fn exactly(
    bed: &Bed,
    operator: &kube::Client,
    plain: &kube::Client,
    namespace: &str,
    wanted: &BTreeMap<String, BTreeSet<String>>,
) -> anyhow::Result<()> {
    let resources = resources(bed).await?;
    for name in wanted.keys() {
        ensure!(resources.iter().any(|(group, resource)| name == &named(group, resource)), "{name} is no resource");
    }
    let found = granted(operator, namespace, &resources).await?;
    // What every ServiceAccount may, such as asking about itself, is not of the chart's making.
    let common = granted(plain, namespace, &resources).await?;
    let own: BTreeMap<String, BTreeSet<String>> = found
        .into_iter()
        .map(|(name, verbs)| {
            let common = common.get(&name).cloned().unwrap_or_default();
            let verbs = verbs.difference(&common).cloned().collect::<BTreeSet<String>>();
            (name, verbs)
        })
        .filter(|(_, verbs)| !verbs.is_empty())
        .collect();
    ensure!(&own == wanted, "may {own:?}\nbut should {wanted:?}");
    Ok(())
}

/// Every resource and subresource that the server serves, as (group, resource).
async fn resources(bed: &Bed) -> anyhow::Result<Vec<(String, String)>> {
    let mut versions = vec![("".to_owned(), "/api/v1".to_owned())];
    let groups = bed.get("/apis").await?.success()?;
    for group in groups["groups"].as_array().context("no groups")? {
        let name = group["name"].as_str().context("a group has a name")?;
        let version = group["preferredVersion"]["groupVersion"].as_str().context("a group has a version")?;
        versions.push((name.to_owned(), format!("/apis/{version}")));
    }
    let mut resources: BTreeSet<(String, String)> =
        UNLISTED.iter().map(|(group, resource)| ((*group).to_owned(), (*resource).to_owned())).collect();
    for (group, path) in versions {
        let list = bed.get(&path).await?.success()?;
        for resource in list["resources"].as_array().context("no resources")? {
            let name = resource["name"].as_str().context("a resource has a name")?;
            resources.insert((group.clone(), name.to_owned()));
        }
    }
    ensure!(resources.len() > 80, "the server serves only {} resources", resources.len());
    Ok(resources.into_iter().collect())
}

async fn granted(
    client: &kube::Client,
    namespace: &str,
    resources: &[(String, String)],
) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let questions = resources.iter().flat_map(|resource| VERBS.map(|verb| (resource, verb)));
    let answers = futures::stream::iter(questions).map(|((group, resource), verb)| async move {
        let (name, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"namespace": namespace, "group": group, "resource": name, "subresource": subresource, "verb": verb});
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes},
        });
        let answer = send(client, "POST", REVIEWS, "application/json", &review).await?.success()?;
        anyhow::Ok((answer["status"]["allowed"] == true).then(|| (named(group, resource), verb.to_owned())))
    });
    let granted: Vec<Option<(String, String)>> = answers.buffer_unordered(16).try_collect().await?;
    let mut rights: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, verb) in granted.into_iter().flatten() {
        rights.entry(name).or_default().insert(verb);
    }
    Ok(rights)
}

/// `deployments.apps/scale`, as kubectl writes it.
fn named(group: &str, resource: &str) -> String {
    let (name, subresource) = resource.split_once('/').map_or((resource, None), |(name, sub)| (name, Some(sub)));
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let subresource = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
    format!("{name}{group}{subresource}")
}

/// The matrix above sees today's resources only; a wildcard would also grant tomorrow's.
fn no_wildcard(bed: &Bed) -> anyhow::Result<()> {
    let output = bed.kubectl(&[
        "get",
        "clusterroles,roles",
        "-A",
        "-l",
        "app.kubernetes.io/part-of=tenant-operator",
        "-o",
        "json",
    ])?;
    let list: Value = serde_json::from_str(&output)?;
    let roles = list["items"].as_array().context("no list")?;
    ensure!(roles.len() == 2, "{} roles instead of 2", roles.len());
    for role in roles {
        ensure!(!role["rules"].to_string().contains('*'), "{}: {}", role["metadata"]["name"], role["rules"]);
    }
    Ok(())
}
