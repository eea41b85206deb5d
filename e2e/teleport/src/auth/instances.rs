//! The inventory: heartbeats of Auth and Proxy in the state table, agents from the world, and what the calls make of them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Core;
use crate::cloud::Answer;
use crate::release;
use crate::state::New;
use crate::wire::proto::{InventoryStatusSummary, UpstreamInventoryHello};
use crate::wire::types::{
    InstanceFilter, InstanceSpecV1, InstanceV1, Metadata, ResourceHeader, UpdaterStatus, UpdaterV2Info,
};
use crate::world::Agent;

const PREFIX: &str = "instances/";
/// An instance that is silent for longer is not in the inventory.
const LIFE: Duration = Duration::from_secs(20 * 60);
/// Below the longest real interval, 18 minutes.
const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The first one comes within a minute of the start.
const FIRST: Duration = Duration::from_secs(30);

/// An instance in the table, with the keys of the resource's JSON form.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Heartbeat {
    kind: String,
    version: String,
    metadata: HeartbeatMetadata,
    spec: HeartbeatSpec,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeartbeatMetadata {
    name: String,
    expires: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeartbeatSpec {
    version: String,
    services: Vec<String>,
    hostname: String,
    auth_id: String,
    last_seen: DateTime<Utc>,
}

/// Heartbeats of this Auth itself; runs until it is dropped.
pub(super) async fn heartbeats(core: &Core) {
    tokio::time::sleep(core.process.scaled(FIRST)).await;
    loop {
        let version = core.release.version.to_string();
        if let Err(error) = beat(core, &core.host_id, &core.process.hostname, &version, "Auth").await {
            core.log.error("Failed to write the instance heartbeat", &error);
            tokio::time::sleep(core.process.scaled(FIRST)).await;
            continue;
        }
        tokio::time::sleep(core.process.scaled(INTERVAL)).await;
    }
}

/// Writes a Proxy's heartbeat if its last one is due.
pub(super) async fn proxy_lives(core: &Core, host_id: &str, hostname: &str, version: &str) -> Answer<()> {
    let now = Utc::now();
    let interval = chrono::Duration::from_std(core.process.scaled(INTERVAL)).unwrap_or_default();
    let due = {
        let heartbeats = core.heartbeats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heartbeats.get(host_id).is_none_or(|last| now - *last >= interval)
    };
    if due {
        beat(core, host_id, hostname, version, "Proxy").await?;
        let mut heartbeats = core.heartbeats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heartbeats.retain(|_, last| now - *last < interval * 2);
        heartbeats.insert(host_id.to_owned(), now);
    }
    Ok(())
}

async fn beat(core: &Core, host_id: &str, hostname: &str, version: &str, service: &str) -> Answer<()> {
    let now = Utc::now();
    // DynamoDB counts whole seconds.
    let life = i64::try_from(core.process.scaled(LIFE).as_secs()).unwrap_or(i64::MAX / 2).max(2);
    let expires = now + chrono::Duration::seconds(life);
    let heartbeat = Heartbeat {
        kind: "instance".to_owned(),
        version: "v1".to_owned(),
        metadata: HeartbeatMetadata { name: host_id.to_owned(), expires },
        spec: HeartbeatSpec {
            version: format!("v{version}"),
            services: vec![service.to_owned()],
            hostname: hostname.to_owned(),
            auth_id: core.host_id.clone(),
            last_seen: now,
        },
    };
    let mut new = New::json(format!("{PREFIX}{host_id}"), &heartbeat);
    new.expires = Some(expires.timestamp());
    core.state.put(new).await.map(drop)
}

pub(super) fn timestamp(at: DateTime<Utc>) -> prost_types::Timestamp {
    // Below a second's thousand million by definition.
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// Every live instance of the cluster: own processes first, then agents.
pub(super) async fn all(core: &Core) -> Answer<Vec<InstanceV1>> {
    let mut instances = Vec::new();
    for stored in core.state.list(PREFIX).await? {
        instances.push(of_heartbeat(stored.json()?));
    }
    let agents = core.process.world.shared_agents(&core.cluster);
    instances.extend(live(core, &agents).map(|agent| of_agent(core, agent)));
    Ok(instances)
}

fn live<'a>(core: &Core, agents: &'a [Agent]) -> impl Iterator<Item = &'a Agent> {
    let life = chrono::Duration::from_std(core.process.scaled(LIFE)).unwrap_or_default();
    let oldest = Utc::now() - life;
    agents.iter().filter(move |agent| agent.last_seen.is_none_or(|seen| seen >= oldest))
}

fn header(name: &str, expires: DateTime<Utc>) -> ResourceHeader {
    ResourceHeader {
        kind: "instance".to_owned(),
        sub_kind: String::new(),
        version: "v1".to_owned(),
        metadata: Some(Metadata {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            expires: Some(timestamp(expires)),
            ..Metadata::default()
        }),
    }
}

fn of_heartbeat(heartbeat: Heartbeat) -> InstanceV1 {
    InstanceV1 {
        header: Some(header(&heartbeat.metadata.name, heartbeat.metadata.expires)),
        spec: Some(InstanceSpecV1 {
            version: heartbeat.spec.version,
            services: heartbeat.spec.services,
            hostname: heartbeat.spec.hostname,
            auth_id: heartbeat.spec.auth_id,
            last_seen: Some(timestamp(heartbeat.spec.last_seen)),
            ..InstanceSpecV1::default()
        }),
    }
}

fn of_agent(core: &Core, agent: &Agent) -> InstanceV1 {
    let seen = agent.last_seen.unwrap_or_else(Utc::now);
    InstanceV1 {
        header: Some(header(
            &agent.id,
            seen + chrono::Duration::from_std(core.process.scaled(LIFE)).unwrap_or_default(),
        )),
        spec: Some(InstanceSpecV1 {
            version: with_v(&agent.version),
            services: agent.services.clone(),
            hostname: agent.hostname.clone(),
            auth_id: core.host_id.clone(),
            last_seen: Some(timestamp(seen)),
            external_upgrader: agent.upgrader.clone(),
            external_upgrader_version: agent.upgrader_version.clone(),
            // Version 2 of the updater is known from 18 on.
            updater_info: (core.release.major() >= 18).then(|| updater(agent)).flatten(),
            ..InstanceSpecV1::default()
        }),
    }
}

fn updater(agent: &Agent) -> Option<UpdaterV2Info> {
    (!agent.update_group.is_empty()).then(|| UpdaterV2Info {
        update_group: agent.update_group.clone(),
        update_uuid: Sha256::digest(&agent.id)[..16].to_vec(),
        updater_status: UpdaterStatus::Ok.into(),
    })
}

fn with_v(version: &str) -> String {
    if version.starts_with('v') { version.to_owned() } else { format!("v{version}") }
}

/// Whether an instance passes a filter.
pub(super) fn matches(instance: &InstanceV1, filter: &InstanceFilter) -> bool {
    let empty = InstanceSpecV1::default();
    let spec = instance.spec.as_ref().unwrap_or(&empty);
    let id = instance.header.as_ref().and_then(|header| header.metadata.as_ref()).map_or("", |metadata| &metadata.name);
    let group = spec.updater_info.as_ref().map_or("", |updater| &updater.update_group);
    let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
    let version = release::parse(&spec.version);
    let below =
        release::parse(&filter.older_than_version).is_none_or(|bound| version.as_ref().is_some_and(|v| *v < bound));
    let above =
        release::parse(&filter.newer_than_version).is_none_or(|bound| version.as_ref().is_some_and(|v| *v > bound));
    is(&filter.server_id, id)
        // An exact string: `18.0.0` does not find `v18.0.0`.
        && is(&filter.version, &spec.version)
        && (filter.services.is_empty() || filter.services.iter().any(|wanted| spec.services.contains(wanted)))
        && is(&filter.external_upgrader, &spec.external_upgrader)
        && (!filter.no_ext_upgrader || spec.external_upgrader.is_empty())
        && is(&filter.update_group, group)
        && below
        && above
}

/// Counts over the whole inventory.
pub(super) async fn summary(core: &Core) -> Answer<InventoryStatusSummary> {
    let mut summary = InventoryStatusSummary::default();
    for instance in all(core).await? {
        let spec = instance.spec.unwrap_or_default();
        summary.instance_count += 1;
        let upgrader = if spec.external_upgrader.is_empty() { "none".to_owned() } else { spec.external_upgrader };
        count(&mut summary.version_counts, spec.version);
        count(&mut summary.upgrader_counts, upgrader);
        spec.services.into_iter().for_each(|service| count(&mut summary.service_counts, service));
    }
    Ok(summary)
}

fn count(counts: &mut HashMap<String, u32>, key: String) {
    *counts.entry(key).or_default() += 1;
}

/// The agents whose control stream ends at this very Auth; all counts stay empty.
pub(super) fn connected(core: &Core) -> InventoryStatusSummary {
    let (index, auths) = core.process.world.share_of(&core.cluster, &core.host_id);
    let mine = |agent: &&Agent| usize::from(Sha256::digest(&agent.id)[0]) % auths == index;
    let agents = core.process.world.shared_agents(&core.cluster);
    let connected = live(core, &agents).filter(mine).map(|agent| UpstreamInventoryHello {
        version: agent.version.trim_start_matches('v').to_owned(),
        server_id: agent.id.clone(),
        services: agent.services.clone(),
        hostname: agent.hostname.clone(),
        external_upgrader: agent.upgrader.clone(),
        external_upgrader_version: agent.upgrader_version.clone(),
        updater_info: updater(agent),
    });
    InventoryStatusSummary { connected: connected.collect(), ..InventoryStatusSummary::default() }
}
