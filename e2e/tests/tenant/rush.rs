//! Five hundred tenants are created at once, for fewer blocks than that and for domains of which many exclude each other, while the
//! lead passes from one operator to the other: first with the old leader still at work, then by its end without notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use crds::Tenant;
use crds::tenant_status::Ports;
use e2e::testbed::{ACCOUNT, NAMESPACE, REGION, TestBed, namespace, pod_of, wait_until};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::manifest::{tenant, with};
use super::remedies::NO_KEY;

/// Whole families.
const TENANTS: usize = 500;
/// Of each five, three want names that exclude each other: one, one below it, and the same once more.
const FAMILY: usize = 5;
const WINNERS: usize = TENANTS / FAMILY * 3;
/// Blocks of the first pool, by what its address carries.
pub const FRONT: usize = 120;
/// Blocks of the pool that takes over, by its range.
pub const SPILL: usize = 100;
const CLIENTS: usize = 4;
const AT_ONCE: usize = 4;
const NAMESPACES: [&str; 2] = ["rush-a", "rush-b"];
const LEADS: Duration = Duration::from_secs(30);
const SETTLES: Duration = Duration::from_secs(120);
/// How long the scenario may take on two busy cores.
pub const LIMIT: Duration = Duration::from_secs(240);

/// What a tenant has ever said of its ports.
type Published = Mutex<BTreeMap<String, BTreeSet<(String, i32)>>>;

/// Every tenant ends with a block and a domain of its own, or is told what is not to be had; and nothing was ever published twice.
pub async fn of_five_hundred(bed: &TestBed) -> anyhow::Result<()> {
    let spaces = NAMESPACES.map(namespace);
    bed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": spaces}).to_string()).await?;
    let published = Published::default();
    let since = Instant::now();
    let rush = async {
        let ((), ()) = futures::try_join!(create(bed), disturb(bed))?;
        wait_until("all to be settled", SETTLES, || settled(bed)).await
    };
    tokio::select! {
        settled = rush => if let Err(error) = settled {
            silent(bed).await;
            return Err(error);
        },
        () = listen(bed, &published) => bail!("the watch ended"),
    }
    bed.say(&format!("  {TENANTS} tenants: all claims settled after {:.1} s", since.elapsed().as_secs_f32()));
    never_twice(&published.into_inner().expect("no holder of this lock panics"))?;
    claims(bed).await?;
    // What is left would be looked at again and again beside other scenarios.
    for name in NAMESPACES {
        bed.tenants(name).delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    }
    wait_until("all to be gone", SETTLES, || async {
        let left = tenants(bed).await?.len();
        if left == 0 { Ok(Some(())) } else { bail!("{left} are left") }
    })
    .await
}

fn name(number: usize) -> String {
    format!("rush-{number:03}")
}

fn domain(number: usize) -> String {
    let family = number / FAMILY;
    match number % FAMILY {
        0 | 2 => format!("f{family}.rush.example.com"),
        1 => format!("below.f{family}.rush.example.com"),
        _ => format!("{}.rush.example.com", name(number)),
    }
}

/// By several clients at the same time, each with some requests under way. Their data never comes to be: the key for it is not there.
async fn create(bed: &TestBed) -> anyhow::Result<()> {
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:{NO_KEY}");
    let part = |client: usize| {
        let numbers = (0..TENANTS).filter(move |number| number % CLIENTS == client);
        let creates = numbers.map(|number| {
            // The members of a family are in both namespaces.
            let space = NAMESPACES[number % NAMESPACES.len()];
            let wanted = with(tenant(space, &name(number), &domain(number)), "network", json!({"portPool": "rush"}));
            let wanted = with(wanted, "storage", json!({"kmsKeyArn": key}));
            let api = bed.tenants(space);
            async move {
                let wanted: Tenant = serde_json::from_value(wanted).context("a Tenant")?;
                api.create(&PostParams::default(), &wanted)
                    .await
                    .with_context(|| format!("cannot create {}", name(number)))?;
                anyhow::Ok(())
            }
        });
        let creates: Vec<_> = creates.collect();
        stream::iter(creates).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>()
    };
    try_join_all((0..CLIENTS).map(part)).await.map(drop)
}

/// Takes the lead away from a leader that is at work and does not know it yet; then ends the next one without notice.
async fn disturb(bed: &TestBed) -> anyhow::Result<()> {
    for (claimed, dies) in [(30, false), (FRONT, true)] {
        wait_until(&format!("{claimed} claims of ports"), LEADS, || async {
            let held = leases(bed, "ports").await?.len();
            if held >= claimed { Ok(Some(())) } else { bail!("{held} are held") }
        })
        .await?;
        let leader = bed.leader().await?;
        if dies {
            bed.kill_operator(pod_of(&leader))?;
        }
        bed.expire_lead().await?;
        wait_until("another leader", LEADS, || async {
            let now = bed.leader().await?;
            if now.is_empty() || now == leader { bail!("the leader is {now:?}") } else { Ok(Some(())) }
        })
        .await?;
    }
    Ok(())
}

/// Listens to what tenants say of their ports.
async fn listen(bed: &TestBed, published: &Published) {
    let api: Api<Tenant> = Api::all(bed.client());
    let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    changes
        .try_for_each(|tenant| {
            let ports = tenant.status.as_ref().and_then(|status| status.ports.as_ref());
            if let Some(Ports { pool, ssh, .. }) = ports.filter(|_| tenant.name_any().starts_with("rush-")) {
                let mut published = published.lock().expect("no holder of this lock panics");
                published.entry(tenant.name_any()).or_default().insert((pool.clone(), *ssh));
            }
            futures::future::ok(())
        })
        .await
        .unwrap_or_default();
}

/// Nobody ever moved, and no port was ever two tenants'.
fn never_twice(published: &BTreeMap<String, BTreeSet<(String, i32)>>) -> anyhow::Result<()> {
    let mut bases: BTreeMap<i32, &str> = BTreeMap::new();
    for (name, said) in published {
        ensure!(said.len() == 1, "{name} has moved: {said:?}");
        for (_, base) in said {
            let near = bases.range(base - 4..=base + 4).next();
            ensure!(near.is_none(), "{name} at {base} and {near:?} have ports in common");
            bases.insert(*base, name);
        }
    }
    ensure!(published.len() == FRONT + SPILL, "{} blocks were published", published.len());
    Ok(())
}

async fn tenants(bed: &TestBed) -> anyhow::Result<Vec<Tenant>> {
    let lists = NAMESPACES.map(|name| bed.tenants(name));
    let lists = try_join_all(lists.iter().map(|api| async { api.list(&ListParams::default()).await })).await?;
    Ok(lists.into_iter().flatten().collect())
}

/// What the operators did with those of which nothing is told.
async fn silent(bed: &TestBed) {
    let log = bed.operator_log().await;
    for tenant in tenants(bed).await.unwrap_or_default() {
        let status = tenant.status.clone().unwrap_or_default();
        if status.conditions.iter().any(|condition| condition.type_ == "Ready") {
            continue;
        }
        let name = tenant.name_any();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&name)).collect();
        bed.say(&format!("--- {name} says nothing: {:?}\n{}", tenant.metadata, lines.join("\n")));
    }
}

/// Whether each has what it can get, and is told what it cannot.
async fn settled(bed: &TestBed) -> anyhow::Result<Option<()>> {
    let (mut with_block, mut without_block, mut without_domain) = (0, 0, 0);
    // Who of a family has not lost its name, as it says itself.
    let mut families: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for tenant in tenants(bed).await? {
        let number: usize = tenant.name_any().trim_start_matches("rush-").parse().context("a number")?;
        let status = tenant.status.clone().unwrap_or_default();
        let reason = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_);
            found.map_or("", |condition| condition.reason.as_str())
        };
        match (&status.ports, reason("PortsAllocated"), reason("Stalled")) {
            (Some(_), ..) => with_block += 1,
            (None, _, "DomainTaken") => without_domain += 1,
            (None, "PoolExhausted", _) => without_block += 1,
            (None, ..) => {}
        }
        if number % FAMILY < 3 && reason("Stalled") != "DomainTaken" {
            let found = status.conditions.iter().find(|condition| condition.type_ == "Ready");
            let said = found.map_or("nothing", |condition| condition.message.as_str());
            families.entry(number / FAMILY).or_default().push(format!("{} says {said}", tenant.name_any()));
        }
    }
    let torn = families.into_values().find(|family| family.len() != 1).unwrap_or_default();
    let found = (with_block, without_block, without_domain);
    let wanted = (FRONT + SPILL, WINNERS - FRONT - SPILL, TENANTS - WINNERS);
    if found == wanted {
        return Ok(Some(()));
    }
    bail!(
        "{with_block} have a block, {without_block} none, and {without_domain} no domain, instead of {wanted:?}; {torn:?}"
    )
}

/// The Leases that somebody of these holds.
async fn leases(bed: &TestBed, kind: &str) -> anyhow::Result<Vec<Lease>> {
    let api: Api<Lease> = Api::namespaced(bed.client(), NAMESPACE);
    let list = api.list(&ListParams::default().labels(&format!("tenancy.dev/claim={kind}"))).await?;
    let ours = |lease: &Lease| {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        holder.is_some_and(|holder| holder.starts_with("rush-"))
    };
    Ok(list.items.into_iter().filter(ours).collect())
}

/// What tenants say of their ports is what kubectl shows of the claims.
async fn claims(bed: &TestBed) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for tenant in tenants(bed).await? {
        let status = tenant.status.clone().unwrap_or_default();
        let Some(ports) = status.ports else { continue };
        let holder = [tenant.namespace().unwrap_or_default(), tenant.name_any(), status.tenant_id.unwrap_or_default()];
        wanted.insert(format!("ports-{}-{}", ports.pool, ports.ssh), holder.join("/"));
    }
    let held = leases(bed, "ports").await?.into_iter().map(|lease| {
        let name = lease.name_any();
        (name, lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
    });
    let held: BTreeMap<String, String> = held.collect();
    // A Lease may also be the place in line of somebody who came too late.
    let unclaimed = wanted.iter().find(|(lease, holder)| held.get(*lease) != Some(holder));
    ensure!(unclaimed.is_none(), "{unclaimed:?} is not what the Leases say: {held:?}");
    for (pool, most) in [("rush", FRONT), ("spill", SPILL)] {
        let of_pool = wanted.keys().filter(|name| name.starts_with(&format!("ports-{pool}-"))).count();
        ensure!(of_pool == most, "pool {pool} carries {of_pool} blocks instead of {most}");
    }
    let domains = leases(bed, "domain").await?;
    let domains = domains.iter().filter_map(|lease| lease.annotations().get("tenancy.dev/domain"));
    let domains: Vec<&String> = domains.collect();
    ensure!(domains.len() == WINNERS, "{} domains are held instead of {WINNERS}", domains.len());
    for one in &domains {
        let above = domains.iter().find(|other| one.ends_with(&format!(".{other}")));
        ensure!(above.is_none(), "{one} is held, and so is {above:?}");
    }
    Ok(())
}
