//! What the API server let through, at the operator: a few tenants that live are edited, and where a field cannot be edited
//! a tenant is made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crds::Tenant;
use e2e::testbed::{TestBed, wait_until};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::Value;

use super::super::cluster;
use super::super::fields::{Kind, Step};
use super::super::manifest::{self, condition, tenant};
use super::{Trial, api, base, documents, issuers, object};

/// Until a value is refused by name, or everything is as asked.
const DECIDED: Duration = Duration::from_secs(60);
/// Tenants that are made, or looked at, at the same time.
const AT_ONCE: usize = 8;
/// Namespaces, names and domains that another reader may take for numbers, for nothing, or for yes and no.
const LIVING: [(&str, &str, &str); 5] = [
    (super::NAME, super::NAME, "hostile.example.com"),
    ("1e3", "null", "1.e5"),
    ("on", "true", "null.true"),
    ("0x1f", "y", "0.e0"),
    ("no", "e1", "xn--80ak6aa92e.xn--p1ai"),
];
/// What cannot be changed later.
const FIXED: [&str; 6] = [
    "spec.domain",
    "spec.channel",
    "spec.region",
    "spec.network.portPool",
    "spec.network.loadBalancerClass",
    "spec.licenseSecretRef.name",
];

/// How many ended how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// The tenant was as asked.
    pub healthy: usize,
    /// The field was named.
    pub refused: usize,
}

impl Ended {
    fn of(outcomes: &[Outcome]) -> Ended {
        let healthy = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Healthy)).count();
        Ended { healthy, refused: outcomes.len() - healthy }
    }
}

/// All of a kind.
pub async fn tenants(bed: &TestBed, kind: &Kind, accepted: Vec<Trial>) -> anyhow::Result<Ended> {
    let (issuers, accepted): (Vec<Trial>, Vec<Trial>) =
        accepted.into_iter().partition(|trial| trial.leaf.path().contains(".issuerRef."));
    let (fixed, edits): (Vec<Trial>, Vec<Trial>) = accepted
        .into_iter()
        .partition(|trial| FIXED.contains(&&*trial.leaf.path()) || trial.leaf.path() == "metadata.name");
    let living = living(&fixed);
    all(living.iter().map(|(namespace, name, domain)| live(bed, namespace, name, domain)).collect()).await?;
    let mut ended = all_made(bed, kind, &fixed).await?;
    ended.healthy += living.len();
    let queue = Mutex::new(bundles(edits));
    let work: Vec<_> = living
        .iter()
        .map(|(namespace, name, domain)| edit_all(bed, kind, tenant(namespace, name, domain), &queue))
        .collect();
    ended.healthy += issuers::are_asked_for(bed, kind, &issuers).await?;
    for one in futures::future::join_all(work).await {
        let one = one?;
        ended.healthy += one.healthy;
        ended.refused += one.refused;
    }
    Ok(ended)
}

/// Those of a name or a domain of their own, and those that are there for their names.
fn living(fixed: &[Trial]) -> Vec<(String, String, String)> {
    let texts = |path: &'static str| {
        fixed.iter().filter(move |trial| trial.leaf.path() == path).map(|trial| trial.hostile.text.clone())
    };
    let own = LIVING.map(|(namespace, name, domain)| (namespace.to_owned(), name.to_owned(), domain.to_owned()));
    let names = texts("metadata.name")
        .enumerate()
        .map(|(number, name)| (format!("hostile-name-{number}"), name, format!("n{number}.hostile.example.org")));
    let domains = texts("spec.domain")
        .enumerate()
        .map(|(number, domain)| (format!("hostile-domain-{number}"), format!("hostile-domain-{number}"), domain));
    own.into_iter().chain(names).chain(domains).collect()
}

async fn live(bed: &TestBed, namespace: &str, name: &str, domain: &str) -> anyhow::Result<()> {
    let found = manifest::apply_ready(bed, &tenant(namespace, name, domain)).await?;
    documents::are_meant(bed, &found).await.with_context(|| format!("tenant {namespace}/{name} of {domain}"))
}

/// Fields that cannot be edited: one tenant for each text.
async fn all_made(bed: &TestBed, kind: &Kind, fixed: &[Trial]) -> anyhow::Result<Ended> {
    let alone = fixed.iter().filter(|trial| !["metadata.name", "spec.domain"].contains(&&*trial.leaf.path()));
    let made = alone.enumerate().map(|(number, trial)| made(bed, kind, format!("hostile-{number}"), trial)).collect();
    Ok(Ended::of(&all(made).await?))
}

async fn made(bed: &TestBed, kind: &Kind, name: String, trial: &Trial) -> anyhow::Result<Outcome> {
    let good = tenant(super::NAME, &name, &format!("{name}.example.net"));
    let object = object::with(kind, good, &trial.leaf, &trial.hostile.text);
    api(bed.client(), kind, super::NAME).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let names = trial.names();
    let what = trial.what();
    let decided = wait_until(&what, DECIDED, || async {
        let found = bed.tenants(super::NAME).get(&name).await?;
        let (status, reason, message) = condition(&found, "Ready")?;
        if status == "True" {
            return Ok(Some((Outcome::Healthy, found)));
        }
        // The load balancer is named while it is waited for, too.
        let waits = message.contains("the load balancer of");
        let named = names.iter().any(|name| message.contains(name));
        if named && !waits { Ok(Some((Outcome::Refused, found))) } else { bail!("Ready={status}/{reason}: {message}") }
    });
    let (outcome, found) = decided.await?;
    if matches!(outcome, Outcome::Healthy) {
        is_meant(bed, &found, trial).await?;
    }
    Ok(outcome)
}

/// Some at a time; every fault is told.
pub async fn all<T>(futures: Vec<impl Future<Output = anyhow::Result<T>>>) -> anyhow::Result<Vec<T>> {
    let outcomes: Vec<anyhow::Result<T>> = futures::stream::iter(futures).buffer_unordered(AT_ONCE).collect().await;
    let (mut done, mut faults) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(one) => done.push(one),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    ensure!(faults.is_empty(), "{} of them:\n{}", faults.len(), faults.join("\n"));
    Ok(done)
}

/// Texts that are tried together: what restarts no pod, what restarts pods, and by itself what may keep pods from running, of
/// which one for each field.
fn bundles(trials: Vec<Trial>) -> VecDeque<Vec<Trial>> {
    let (mut alone, mut bundles) = (BTreeMap::new(), [Vec::<Vec<Trial>>::new(), Vec::new()]);
    for trial in trials {
        let path = trial.leaf.path();
        let placed = ["Selector", "ClassName", "kmsKeyArn"].iter().any(|part| path.contains(part));
        if trial.leaf.is_of_kubernetes() || placed {
            // Auth and Proxy have the same fields: of each pair one is tried, by turns.
            let field = path.replace("spec.proxy.", "spec.auth.");
            let turn = alone.len() % 2 == 0;
            alone
                .entry(field)
                .and_modify(|kept| {
                    if path.starts_with("spec.proxy.") && turn {
                        *kept = trial.clone();
                    }
                })
                .or_insert(trial);
            continue;
        }
        let bundles = &mut bundles[usize::from(path.contains(".pod."))];
        let has_room =
            |bundle: &&mut Vec<Trial>| bundle.iter().filter(|other| other.leaf.path() == path).count() < most(&trial);
        match bundles.iter_mut().find(has_room) {
            Some(bundle) => bundle.push(trial),
            None => bundles.push(vec![trial]),
        }
    }
    // Each of these may cost the start of a pod, and there are many.
    let alone: BTreeMap<String, Trial> =
        alone.into_iter().enumerate().filter(|(number, _)| number % 3 == 0).map(|(_, one)| one).collect();
    let [quiet, pods] = bundles;
    pods.into_iter().chain(alone.into_values().map(|trial| vec![trial])).chain(quiet).collect()
}

/// Texts of one field in one object.
fn most(trial: &Trial) -> usize {
    let path = trial.leaf.path();
    match trial.leaf.steps.last() {
        Some(Step::Key) => 3,
        Some(Step::Entry) => 12,
        Some(Step::Item) => 12,
        _ if path.contains("[]") => 8,
        _ => 1,
    }
}

/// Takes bundles until none is left. One that is refused is taken apart until each text is refused by itself.
async fn edit_all(
    bed: &TestBed,
    kind: &Kind,
    good: Value,
    queue: &Mutex<VecDeque<Vec<Trial>>>,
) -> anyhow::Result<Ended> {
    let mut ended = Ended::default();
    loop {
        let next = queue.lock().expect("nobody panics with it").pop_front();
        let Some(bundle) = next else { return Ok(ended) };
        match edit(bed, kind, &good, &bundle).await? {
            Outcome::Healthy => ended.healthy += bundle.len(),
            Outcome::Refused if bundle.len() == 1 => ended.refused += 1,
            Outcome::Refused => {
                let mut queue = queue.lock().expect("nobody panics with it");
                let (one, other) = bundle.split_at(bundle.len() / 2);
                queue.push_front(other.to_vec());
                queue.push_front(one.to_vec());
            }
        }
    }
}

enum Outcome {
    Healthy,
    Refused,
}

async fn edit(bed: &TestBed, kind: &Kind, good: &Value, bundle: &[Trial]) -> anyhow::Result<Outcome> {
    let text = |field: &str| good["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let wanted =
        bundle.iter().fold(good.clone(), |object, trial| object::with(kind, object, &trial.leaf, &trial.hostile.text));
    let api = api(bed.client(), kind, &namespace);
    let what: Vec<String> = bundle.iter().map(Trial::what).collect();
    let generation = wait_until("the edit to be stored", DECIDED, || async {
        let mut object = api.get(&name).await?;
        object.data["spec"] = wanted["spec"].clone();
        Ok(Some(api.replace(&name, &PostParams::default(), &object).await?.metadata.generation))
    })
    .await
    .with_context(|| format!("{what:?}"))?;
    let names: Vec<String> = bundle.iter().flat_map(Trial::names).collect();
    let what = format!("{namespace}/{name} to be decided upon with {what:?}");
    let decided = wait_until(&what, DECIDED, || async {
        let found = bed.tenants(&namespace).get(&name).await?;
        let (status, reason, message) = condition(&found, "Ready")?;
        let seen = found.status.as_ref().and_then(|status| status.observed_generation);
        if seen == generation && status == "True" {
            return Ok(Some((Outcome::Healthy, found)));
        }
        if status != "True" && names.iter().any(|name| message.contains(name)) {
            return Ok(Some((Outcome::Refused, found)));
        }
        bail!("Ready={status}/{reason} of generation {seen:?}, not {generation:?}: {message}")
    });
    let (outcome, found) = decided.await?;
    if matches!(outcome, Outcome::Healthy) {
        for trial in bundle {
            is_meant(bed, &found, trial).await.with_context(|| format!("{namespace}/{name}: {}", trial.what()))?;
        }
    }
    Ok(outcome)
}

/// What reaches an object stands there as it was written.
async fn is_meant(bed: &TestBed, found: &Tenant, trial: &Trial) -> anyhow::Result<()> {
    let (namespace, slug) = (found.namespace().unwrap_or_default(), found.name_any());
    let path = trial.leaf.path();
    let text = &trial.hostile.text;
    if path == "spec.network.annotations{}" {
        let service = cluster::object(bed, &namespace, "service", &slug).await?.context("no Service")?;
        let annotations = &service["metadata"]["annotations"];
        ensure!(holds(annotations, text), "the Service has {annotations}");
    }
    if path == "spec.network.loadBalancerClass" {
        let service = cluster::object(bed, &namespace, "service", &slug).await?.context("no Service")?;
        ensure!(service["spec"]["loadBalancerClass"] == text.as_str(), "the Service is {}", service["spec"]);
    }
    if path == "spec.network.annotations{key}" {
        // The fleet policy does not know the key.
        let (_, _, message) = condition(found, "AnnotationsRefused")?;
        ensure!(message.contains(text.as_str()), "AnnotationsRefused says {message}");
    }
    let Some((component, rest)) = path.split_once(".pod.") else { return Ok(()) };
    let deployment = if component == "spec.auth" { format!("{slug}-auth-0") } else { format!("{slug}-proxy") };
    let deployment = cluster::object(bed, &namespace, "deployment", &deployment).await?.context("no Deployment")?;
    let template = &deployment["spec"]["template"];
    let field = rest.split(['.', '[', '{']).next().unwrap_or_default();
    let of = if ["labels", "annotations"].contains(&field) { &template["metadata"] } else { &template["spec"] };
    ensure!(text.is_empty() || holds(&of[field], text), "the pods have {}", of[field]);
    Ok(())
}

/// Whether a text stands somewhere in it, as a whole.
fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(fields) => fields.iter().any(|(key, value)| key == text || holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Windows and pools: many objects at the same time, none of which costs anything.
pub async fn objects(bed: &TestBed, kind: &Kind, accepted: &[Trial]) -> anyhow::Result<Ended> {
    let decided = accepted.iter().enumerate().map(|(number, trial)| object_of(bed, kind, number, trial)).collect();
    Ok(Ended::of(&all(decided).await?))
}

async fn object_of(bed: &TestBed, kind: &Kind, number: usize, trial: &Trial) -> anyhow::Result<Outcome> {
    let mut good = base(kind);
    good["metadata"]["name"] = format!("hostile-{number}").into();
    let object = object::with(kind, good, &trial.leaf, &trial.hostile.text);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let api = api(bed.client(), kind, super::NAME);
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await.with_context(|| trial.what())?;
    let names = trial.names();
    wait_until(&format!("{} of {}", kind.name, trial.what()), DECIDED, || async {
        let found = api.get(&name).await?;
        let mut conditions = found.data["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.find(|condition| condition["type"] == "Ready").context("no Ready")?;
        if ready["status"] == "True" {
            return Ok(Some(Outcome::Healthy));
        }
        let message = ready["message"].as_str().unwrap_or_default();
        let named = names.iter().any(|name| message.contains(name));
        if ready["status"] == "False" && named { Ok(Some(Outcome::Refused)) } else { bail!("{ready}") }
    })
    .await
}
