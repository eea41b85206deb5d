//! Texts that a user should not have written, in every field that takes text: the API server or the operator refuses each
//! with the name of the field, or the tenant is healthy and every document says what was meant.

mod documents;
mod issuers;
pub mod object;
mod operator;
mod values;

use anyhow::{Context, ensure};
use e2e::testbed::{TestBed, namespace};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::fields::{self, Kind, Leaf};
use super::manifest::tenant;
use operator::Ended;
use values::Hostile;

const NAME: &str = "hostile";
/// Of a field that Kubernetes explains, one of so many is tried: there are many such fields, and all are alike.
const OF_KUBERNETES: usize = 8;

/// One text in one field.
#[derive(Clone, Debug)]
struct Trial {
    kind: usize,
    leaf: Leaf,
    hostile: Hostile,
}

impl Trial {
    /// For people.
    fn what(&self) -> String {
        let text: String = self.hostile.text.chars().take(80).collect();
        format!("{} in {}: {text:?}", self.hostile.what, self.leaf.path())
    }

    /// What a refusal calls the field: one of these.
    fn names(&self) -> Vec<String> {
        let path = self.leaf.path();
        let last = match path.split_once(".pod.") {
            Some((_, below)) => below.split(['.', '[', '{']).next(),
            None => path.split(['[', '{']).next().and_then(|path| path.rsplit('.').find(|name| *name != "name")),
        };
        let own = last.unwrap_or_default();
        // A scheduler has words of its own.
        let scheduler: &[&str] = match own {
            "affinity" | "nodeSelector" => &["affinity", "selector"],
            "topologySpreadConstraints" => &["topology spread constraints"],
            "priorityClassName" => &["PriorityClass"],
            "runtimeClassName" => &["RuntimeClass"],
            "tenantRef" => &["there is no Tenant"],
            // AWS is told of the key, and names it.
            "kmsKeyArn" => &["the KMS key arn:"],
            _ => &[],
        };
        scheduler.iter().copied().chain([own]).map(str::to_owned).collect()
    }
}

/// All of it.
pub async fn values_are_refused_or_meant(bed: &TestBed) -> anyhow::Result<()> {
    let kinds = fields::kinds(bed).await?;
    bed.apply(&namespace(NAME).to_string()).await?;
    let trials = trials(&kinds);
    let asked = trials.len();
    let accepted = at_the_api_server(bed, &kinds, trials).await?;
    println!("counted: {asked} hostile values at the API server, {} refused", asked - accepted.len());
    ensure!(asked - accepted.len() > 200, "too few of them are hostile");
    let mut ended = Ended::default();
    // Pools are of one of the tenants.
    let mut order: Vec<(usize, &Kind)> = kinds.iter().enumerate().collect();
    order.sort_by_key(|(_, kind)| kind.name != "Tenant");
    for (index, kind) in order {
        let of_kind: Vec<Trial> = accepted.iter().filter(|trial| trial.kind == index).cloned().collect();
        let one = match kind.name.as_str() {
            "Tenant" => operator::tenants(bed, kind, of_kind).await?,
            _ => operator::objects(bed, kind, &of_kind).await?,
        };
        println!(
            "counted: {} at the operator: {} meant what they said, {} refused",
            kind.name, one.healthy, one.refused
        );
        ended.healthy += one.healthy;
        ended.refused += one.refused;
    }
    ensure!(ended.healthy > 200 && ended.refused > 20, "too few of them came to the operator: {ended:?}");
    Ok(())
}

fn trials(kinds: &[Kind]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, schema) in kinds.iter().enumerate() {
        let leaves = fields::leaves(schema, "spec").into_iter().filter(Leaf::is_text);
        for (number, leaf) in leaves.chain([name()]).enumerate() {
            let good = object::good(&leaf.path(), &leaf.schema);
            let all = values::of(number as u64, &good, leaf.schema["maxLength"].as_u64());
            let few = leaf.is_of_kubernetes();
            let tried = all.into_iter().enumerate().filter(|(index, _)| !few || (index + number) % OF_KUBERNETES == 0);
            trials.extend(tried.map(|(_, hostile)| Trial { kind, leaf: leaf.clone(), hostile }));
        }
    }
    trials
}

/// `metadata.name`, which no schema of ours describes.
fn name() -> Leaf {
    let steps = ["metadata", "name"].map(|name| fields::Step::Property(name.to_owned()));
    Leaf { steps: steps.to_vec(), schema: json!({"type": "string", "maxLength": 253}) }
}

/// Asks for each as if it were to be stored; answers those that would be. Those that are refused are so by name.
async fn at_the_api_server(bed: &TestBed, kinds: &[Kind], trials: Vec<Trial>) -> anyhow::Result<Vec<Trial>> {
    let asked = trials.into_iter().map(|trial| ask(bed, kinds, trial)).collect();
    Ok(operator::all(asked).await?.into_iter().flatten().collect())
}

async fn ask(bed: &TestBed, kinds: &[Kind], trial: Trial) -> anyhow::Result<Option<Trial>> {
    let refused = refusal(bed.client(), &kinds[trial.kind], &trial).await?;
    let Some(message) = refused else { return Ok(Some(trial)) };
    // The keys and values of a map, and the items of a list, are refused with the name of the map or the list.
    let path = trial.leaf.path();
    let field = path.split(['{', '[']).next().unwrap_or_default();
    ensure!(message.contains(field), "refused without its name is {}: {message}", trial.what());
    Ok(None)
}

/// Why the API server does not take an object with this text; none where it does.
async fn refusal(client: Client, kind: &Kind, trial: &Trial) -> anyhow::Result<Option<String>> {
    let object = object::with(kind, base(kind), &trial.leaf, &trial.hostile.text);
    let object: DynamicObject = serde_json::from_value(object).context("an object")?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api(client, kind, NAME).create(&dry, &object).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(Some(status.message.clone())),
        Err(error) => Err(error).with_context(|| format!("{} in {}", trial.hostile.what, trial.leaf.path())),
    }
}

fn api(client: Client, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "tenancy.dev".into(),
        version: "v1alpha1".into(),
        api_version: "tenancy.dev/v1alpha1".into(),
        kind: kind.name.clone(),
        plural: kind.plural.clone(),
    };
    Api::namespaced_with(client, namespace, &resource)
}

/// A good object of the kind.
fn base(kind: &Kind) -> Value {
    let metadata = json!({"namespace": NAME, "name": NAME});
    let spec = match kind.name.as_str() {
        "Tenant" => return tenant(NAME, NAME, "hostile.example.com"),
        "MaintenanceWindow" => {
            json!({"timeZone": "UTC", "windows": [{"days": ["Sun"], "start": "02:00", "duration": "3h"}]})
        }
        _ => json!({"tenantRef": {"name": NAME}}),
    };
    json!({"apiVersion": "tenancy.dev/v1alpha1", "kind": kind.name, "metadata": metadata, "spec": spec})
}
