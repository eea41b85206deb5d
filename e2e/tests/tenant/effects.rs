//! A tenant, a window and a pool in which nothing is as it would be by itself: what each field asks for is found where it
//! matters, and what the three say of themselves is right.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveTime, SecondsFormat, TimeDelta, Utc};
use crds::Tenant;
use e2e::testbed::{ACCOUNT, INSTALLATION, REGION, TestBed, namespace, wait_until};
use serde_json::{Value, json};

use super::cluster::{self, component};
use super::covered::{says, seen};
use super::manifest::{READY, apply, apply_ready, condition, edit, id, tenant, with};
use super::{cloud, editions, edits};

const NAME: &str = "fielded";
const DOMAIN: &str = "fielded.example.com";
const FOLLOWS: Duration = Duration::from_secs(60);
/// Longer than the shortest time after which a reading is too old, and two readings.
const STALE: Duration = Duration::from_secs(120);

/// All of it.
pub async fn of_fields(bed: &TestBed) -> anyhow::Result<()> {
    let zone = window(bed).await?;
    let found = apply_ready(bed, &wanted()).await?;
    in_teleport(bed, &found).await?;
    in_the_account(bed, &found).await?;
    in_the_cluster(bed, &found).await?;
    at_a_window(bed, zone).await?;
    pool(bed).await?;
    in_status(bed).await?;
    inside(bed).await?;
    stale(bed).await
}

fn wanted() -> Value {
    let mut wanted = tenant(NAME, NAME, DOMAIN);
    wanted["spec"]["edition"] = json!("Enterprise");
    wanted["spec"]["licenseSecretRef"] = json!({"name": "fielded-licence"});
    wanted["spec"]["size"] = json!("Medium");
    wanted["spec"]["agents"] = json!({"reportTTL": "1m"});
    wanted["spec"]["proxy"] = json!({"replicas": 1, "minReadySeconds": 1, "terminationGracePeriodSeconds": 75});
    wanted["spec"]["network"] = json!({"portPool": "default", "tlsRouting": false, "proxyProtocol": "Enabled"});
    wanted["spec"]["storage"] = json!({"pointInTimeRecovery": false, "auditRetentionDays": 30});
    wanted
}

/// What its Teleport says of itself, and runs with.
async fn in_teleport(bed: &TestBed, found: &Tenant) -> anyhow::Result<()> {
    let ping = bed.ask(&bed.reach(NAME, NAME).await?, "/webapi/ping").await?;
    ensure!(ping["cluster_name"] == DOMAIN, "the cluster is {}", ping["cluster_name"]);
    seen("Tenant", "spec.domain", ping["cluster_name"].clone());
    ensure!(ping["server_version"] == "18.1.0", "it runs {}", ping["server_version"]);
    seen("Tenant", "spec.version", ping["server_version"].clone());
    ensure!(ping["edition"] == "ent", "it is of edition {}", ping["edition"]);
    seen("Tenant", "spec.edition", "Enterprise");
    let routing = &ping["proxy"]["tls_routing_enabled"];
    ensure!(*routing == false, "TLS routing is {routing}");
    seen("Tenant", "spec.network.tlsRouting", routing.clone());

    let auth = configuration(bed, found, "auth").await?;
    let retention = auth["teleport"]["storage"]["retention_period"].as_str().unwrap_or_default();
    let days: i64 = retention.strip_suffix('d').context("no days")?.parse()?;
    ensure!(days == 30, "audit events are kept for {retention}");
    seen("Tenant", "spec.storage.auditRetentionDays", days);
    let proxy = configuration(bed, found, "proxy").await?;
    ensure!(proxy["proxy_service"]["proxy_protocol"] == "on", "{}", proxy["proxy_service"]);
    seen("Tenant", "spec.network.proxyProtocol", "Enabled");
    Ok(())
}

/// The one configuration that the pods of a component mount.
async fn configuration(bed: &TestBed, found: &Tenant, part: &str) -> anyhow::Result<Value> {
    let names = cluster::names(bed, NAME, "configmap", &component(&id(found)?, part)).await?;
    let [name] = names.as_slice() else { bail!("the ConfigMaps of {part} are {names:?}") };
    let config = cluster::object(bed, NAME, "configmap", name).await?.context("no ConfigMap")?;
    Ok(serde_saphyr::from_str(config["data"]["teleport.yaml"].as_str().context("no configuration")?)?)
}

async fn in_the_account(bed: &TestBed, found: &Tenant) -> anyhow::Result<()> {
    let read = cloud::tenant(bed, &id(found)?).await?;
    for table in ["state table", "events table"] {
        let recovery = &read[table]["PointInTimeRecovery"];
        ensure!(*recovery == "DISABLED", "the {table} has point-in-time recovery {recovery}");
    }
    seen("Tenant", "spec.storage.pointInTimeRecovery", false);
    let region = &read["bucket"]["Location"];
    ensure!(*region == REGION, "the bucket is in {region}");
    seen("Tenant", "spec.region", region.clone());
    Ok(())
}

/// Pods and claims; then other amounts.
async fn in_the_cluster(bed: &TestBed, found: &Tenant) -> anyhow::Result<()> {
    let tenant_id = id(found)?;
    let lease = cluster::claim(bed, "ports", &tenant_id).await?;
    let pool = lease.strip_prefix("ports-").and_then(|lease| lease.rsplit_once('-')).context("no pool")?.0;
    ensure!(pool == "default", "the ports are of {lease}");
    seen("Tenant", "spec.network.portPool", pool);

    let auth = pod(bed, &tenant_id, "auth").await?;
    let volumes = auth["spec"]["volumes"].as_array().context("no volumes")?;
    let license = volumes.iter().map(|volume| &volume["secret"]["secretName"]).find(|name| *name == "fielded-licence");
    seen("Tenant", "spec.licenseSecretRef.name", license.context("Auth mounts no licence")?.clone());
    let medium = &auth["spec"]["containers"][0]["resources"]["limits"]["memory"];
    ensure!(*medium == "4Gi", "Auth of a Medium tenant has {medium}");
    seen("Tenant", "spec.size", "Medium");

    let proxy = pod(bed, &tenant_id, "proxy").await?;
    let grace = &proxy["spec"]["terminationGracePeriodSeconds"];
    ensure!(*grace == 75, "Proxy has {grace} s");
    seen("Tenant", "spec.proxy.terminationGracePeriodSeconds", grace.clone());
    let deployment = cluster::object(bed, NAME, "deployment", "fielded-proxy").await?.context("no Deployment")?;
    let delay = &deployment["spec"]["minReadySeconds"];
    ensure!(*delay == 1, "Proxy is ready after {delay} s");
    seen("Tenant", "spec.proxy.minReadySeconds", delay.clone());

    let amounts =
        |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": "640Mi"}, "limits": {"memory": "704Mi"}}});
    edit(bed, NAME, NAME, json!({"auth": amounts("150m"), "proxy": amounts("160m")})).await?;
    edits::settled(bed, NAME, NAME).await?;
    for (part, cpu) in [("auth", "150m"), ("proxy", "160m")] {
        let pod = pod(bed, &tenant_id, part).await?;
        let found = &pod["spec"]["containers"][0]["resources"];
        ensure!(*found == amounts(cpu)["resources"], "{part} has {found}");
        for field in ["requests.cpu", "requests.memory", "limits.memory"] {
            let value = field.split('.').fold(found, |value, name| &value[name]);
            seen("Tenant", &format!("spec.{part}.resources.{field}"), value.clone());
        }
    }
    Ok(())
}

async fn pod(bed: &TestBed, tenant_id: &str, part: &str) -> anyhow::Result<Value> {
    let labels = component(tenant_id, part);
    let printed = bed.kubectl(["-n", NAME, "get", "pods", "-l", &labels, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    let pods = list["items"].as_array().into_iter().flatten();
    let mut pods = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods.next().cloned().with_context(|| format!("no pod of {part}"))
}

/// A window on a weekday of India, half an hour off every hour of UTC, without its second occurrence.
async fn window(bed: &TestBed) -> anyhow::Result<Vec<DateTime<Utc>>> {
    let india = FixedOffset::east_opt(5 * 3600 + 1800).context("an offset")?;
    let first = (Utc::now().with_timezone(&india) + Days::new(3)).date_naive();
    let start = NaiveTime::from_hms_opt(1, 30, 0).context("a time")?;
    let at = |week: u64| {
        let local = (first + Days::new(7 * week)).and_time(start).and_local_timezone(india);
        local.single().context("a moment").map(|moment| moment.to_utc())
    };
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let day = days[first.weekday().num_days_from_monday() as usize];
    let out = [at(1)? - TimeDelta::hours(1), at(1)? + TimeDelta::hours(2)].map(rfc3339);
    let window = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "MaintenanceWindow",
        "metadata": {"namespace": NAME, "name": "default"},
        "spec": {
            "timeZone": "Asia/Kolkata", "windows": [{"days": [day], "start": "01:30", "duration": "45m"}],
            "exclusions": [{"start": out[0], "end": out[1], "reason": "stocktaking"}],
        },
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": NAME, "name": "fielded-licence"},
        "stringData": {"license.pem": editions::license()?},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [namespace(NAME), window, secret]});
    bed.apply(&list.to_string()).await?;
    [0, 2, 3].into_iter().map(at).collect()
}

fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn at_a_window(bed: &TestBed, opens: Vec<DateTime<Utc>>) -> anyhow::Result<()> {
    let next =
        opens.into_iter().map(|start| json!({"start": rfc3339(start), "end": rfc3339(start + TimeDelta::minutes(45))}));
    let next: Vec<Value> = next.collect();
    wait_until("the window to count its tenant", FOLLOWS, || async {
        let window = cluster::object(bed, NAME, "maintenancewindow", "default").await?.context("no window")?;
        says("MaintenanceWindow", &window["status"], &json!({
            "observedGeneration": 1, "open": false, "next": next, "tenants": 1, "due": 0, "updating": 0, "missed": 0,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "AsSpecified", "observedGeneration": 1,
                 "message": "~Asia/Kolkata", "lastTransitionTime": "~^20.*Z$"},
                {"type": "Undersized"},
            ],
        }))?;
        let spec = &window["spec"];
        for path in ["timeZone", "windows[].days[]", "windows[].start", "windows[].duration", "exclusions[].start", "exclusions[].end"] {
            let value = path.replace("[]", "/0").replace('.', "/");
            let value = spec.pointer(&format!("/{value}")).with_context(|| format!("no {path}"))?;
            seen("MaintenanceWindow", &format!("spec.{path}"), value.clone());
        }
        Ok(Some(()))
    })
    .await
}

/// Of three agents one fits both lists; it is behind.
async fn pool(bed: &TestBed) -> anyhow::Result<()> {
    let pool = json!({
        "apiVersion": "tenancy.dev/v1alpha1", "kind": "AgentPool", "metadata": {"namespace": NAME, "name": "canaries"},
        "spec": {"tenantRef": {"name": NAME}, "required": false, "match": {"services": ["Kube"], "updateGroups": ["canary"]}},
    });
    bed.apply(&pool.to_string()).await?;
    let agent = |name: &str, version: &str, service: &str, group: &str| teleport_standin::Agent {
        update_group: group.into(),
        upgrader: "unit".into(),
        ..e2e::testbed::agent(name, version, &[service])
    };
    let laggard = agent("kube-canary", "17.5.2", "Kube", "canary");
    bed.world().set_agents(
        DOMAIN,
        vec![
            laggard.clone(),
            agent("node-canary", "18.1.0", "Node", "canary"),
            agent("kube-stable", "18.1.0", "Kube", "stable"),
        ],
    );
    wait_until("the pool to count its agents", FOLLOWS, || async {
        let pool = cluster::object(bed, NAME, "agentpool", "canaries").await?.context("no pool")?;
        says(
            "AgentPool",
            &pool["status"],
            &json!({
                "observedGeneration": 1, "agents": 1, "behind": 1, "oldest": "17.5.2", "enrolled": 1,
                "majors": [{"major": 17, "count": 1}],
                "laggards": [{"id": laggard.id, "hostname": "kube-canary", "version": "17.5.2", "services": ["Kube"]}],
                "updaters": [{"name": "unit", "count": 1}],
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "~.", "message": "~.", "observedGeneration": 1,
                     "lastTransitionTime": "~^20.*Z$"},
                    {"type": "Observed", "status": "True"},
                ],
            }),
        )?;
        let status = bed.status(NAME, NAME).await?;
        ensure!(status["agents"]["total"] == 3 && status["agents"]["behind"] == 1, "{}", status["agents"]);
        seen("AgentPool", "spec.tenantRef.name", NAME);
        seen("AgentPool", "spec.match.services[]", "Kube");
        seen("AgentPool", "spec.match.updateGroups[]", "canary");
        Ok(Some(()))
    })
    .await
}

/// What it says of itself.
async fn in_status(bed: &TestBed) -> anyhow::Result<()> {
    let found = bed.tenants(NAME).get(NAME).await?;
    let (tenant_id, generation) = (id(&found)?, found.metadata.generation.context("a generation")?);
    let status = serde_json::to_value(found.status.context("a status")?)?;
    let base = status["ports"]["ssh"].as_i64().context("no ports")?;
    let lease = cluster::claim(bed, "ports", &tenant_id).await?;
    ensure!(lease == format!("ports-default-{base}"), "the claim is {lease}");
    let reach = bed.reach(NAME, NAME).await?;
    let prefix = format!("{INSTALLATION}-{tenant_id}");
    says(
        "Tenant",
        &status,
        &json!({
            "observedGeneration": generation,
            "reconciledBy": env!("CARGO_PKG_VERSION"),
            "tenantID": "~^[0-9a-f]{16}$",
            "phase": "Ready",
            "version": "18.1.0",
            "authHighWater": "18.1.0",
            "applied": {"generation": generation, "version": "18.1.0", "podInputs": "~^[0-9a-f]{16}$", "template": "~^[0-9a-f]{16}"},
            "window": "fielded/default",
            "agents": {"total": 3, "behind": 1, "remembered": 0, "oldest": "17.5.2",
                "majors": [{"major": 18, "count": 2}, {"major": 17, "count": 1}]},
            "ports": {"pool": "default", "ssh": base, "tunnel": base + 1, "kube": base + 2, "mysql": base + 3, "postgres": base + 4},
            "endpoints": {"web": "fielded.example.com:443", "addresses": [reach.address]},
            "storage": {
                "account": ACCOUNT, "region": REGION, "stateTable": format!("{prefix}-state"),
                "eventsTable": format!("{prefix}-events"), "bucket": format!("{prefix}-recordings"),
                "roleArn": format!("arn:aws:iam::{ACCOUNT}:role/tenancy/eu1/{prefix}"),
            },
        }),
    )?;
    let certificates = status["certificates"].as_array().context("no certificates")?;
    let web = certificates.iter().find(|found| found["name"] == "web").context("no web certificate")?;
    says(
        "Tenant",
        &json!({"certificates": [web]}),
        &json!({
            "certificates": [{"name": "web", "issuer": "Tenant", "notAfter": "~^20.*Z$"}],
        }),
    )?;
    let conditions = status["conditions"].as_array().context("no conditions")?;
    let ready = conditions.iter().find(|found| found["type"] == "Ready").context("no Ready")?;
    says(
        "Tenant",
        &json!({"conditions": [ready]}),
        &json!({
            "conditions": [{"type": "Ready", "status": "True", "reason": "AsSpecified", "message": "~as the spec asks",
                "observedGeneration": generation, "lastTransitionTime": "~^20.*Z$"}],
        }),
    )
}

/// A tenant that is reachable inside the cluster only.
async fn inside(bed: &TestBed) -> anyhow::Result<()> {
    let wanted = with(tenant(NAME, "inside", "inside.example.com"), "network", json!({"exposure": "ClusterIP"}));
    apply(bed, &wanted).await?;
    bed.await_condition(NAME, "inside", "Ready", "True", READY).await?;
    let service = cluster::object(bed, NAME, "service", "inside").await?.context("no Service")?;
    ensure!(service["spec"]["type"] == "ClusterIP", "the Service is {}", service["spec"]["type"]);
    seen("Tenant", "spec.network.exposure", service["spec"]["type"].clone());
    Ok(())
}

/// An inventory that cannot be read any more counts for a minute, and not for the usual fifteen.
async fn stale(bed: &TestBed) -> anyhow::Result<()> {
    bed.world().hang_inventory(DOMAIN, true);
    wait_until("the reading to be too old", STALE, || async {
        let (status, reason, message) = condition(&bed.tenants(NAME).get(NAME).await?, "AgentsObserved")?;
        if status == "False" { Ok(Some(())) } else { bail!("AgentsObserved={status}/{reason}: {message}") }
    })
    .await?;
    seen("Tenant", "spec.agents.reportTTL", "1m");
    bed.world().hang_inventory(DOMAIN, false);
    bed.world().set_agents(DOMAIN, Vec::new());
    Ok(())
}
