//! `cluster_maintenance_config`: the window in which agents update, guarded by a nonce.

use prost::Message;

use super::Core;
use super::init::storage;
use crate::rule::{Refusal, Rule};
use crate::state::New;
use crate::wire::types::{ClusterMaintenanceConfigV1, Metadata};

const KEY: &str = "cluster_maintenance_config";
const KIND: &str = "cluster_maintenance_config";
const NAME: &str = "cluster-maintenance-config";
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

pub(super) async fn get(core: &Core) -> Result<ClusterMaintenanceConfigV1, Refusal> {
    let stored = core.state.get(KEY).await.map_err(storage)?.ok_or_else(|| Rule::Absent.by(KIND))?;
    ClusterMaintenanceConfigV1::decode(stored.value.as_slice()).map_err(|error| Rule::MaintenanceWindow.by(error))
}

pub(super) async fn update(core: &Core, mut wanted: ClusterMaintenanceConfigV1) -> Result<(), Refusal> {
    check(&wanted)?;
    let header = wanted.header.get_or_insert_default();
    header.kind = KIND.to_owned();
    header.version = "v1".to_owned();
    header.metadata.get_or_insert_default().name = NAME.to_owned();
    let nonce = wanted.nonce;
    let stored = core.state.get(KEY).await.map_err(storage)?;
    let last = match &stored {
        Some(stored) => {
            ClusterMaintenanceConfigV1::decode(stored.value.as_slice())
                .map_err(|error| Rule::MaintenanceWindow.by(error))?
                .nonce
        }
        None => 0,
    };
    // The largest value writes regardless, zero only creates.
    let regardless = nonce == u64::MAX;
    if !regardless && nonce != last {
        return Err(Rule::Nonce.by(format!("{nonce}, stored {last}")));
    }
    wanted.nonce = last.wrapping_add(1);
    let new = New { key: KEY.to_owned(), value: wanted.encode_to_vec(), expires: None };
    let written = match (&stored, regardless) {
        (_, true) => core.state.put(new).await.map(Some),
        (None, false) => core.state.create(new).await,
        (Some(stored), false) => core.state.replace(new, &stored.revision).await,
    };
    written.map_err(storage)?.map(drop).ok_or_else(|| Rule::Nonce.by("written meanwhile"))
}

pub(super) async fn delete(core: &Core) -> Result<(), Refusal> {
    if core.state.remove(KEY).await.map_err(storage)? { Ok(()) } else { Err(Rule::Absent.by(KIND)) }
}

fn check(wanted: &ClusterMaintenanceConfigV1) -> Result<(), Refusal> {
    let bad_header = wanted.header.as_ref().is_some_and(|header| {
        !matches!(header.kind.as_str(), "" | KIND)
            || !matches!(header.metadata.as_ref().map_or("", |m: &Metadata| &m.name), "" | NAME)
    });
    if bad_header {
        return Err(Rule::MaintenanceWindow.by("kind or name"));
    }
    let Some(window) = wanted.spec.as_ref().and_then(|spec| spec.agent_upgrades.as_ref()) else { return Ok(()) };
    if window.utc_start_hour > 23 {
        return Err(Rule::MaintenanceWindow.by(format!("utc_start_hour {}", window.utc_start_hour)));
    }
    let known = |day: &str| {
        let day = day.to_ascii_lowercase();
        DAYS.iter().any(|name| *name == day || name[..3] == day)
    };
    match window.weekdays.iter().find(|day| !known(day)) {
        Some(day) => Err(Rule::MaintenanceWindow.by(format!("weekday {day:?}"))),
        None => Ok(()),
    }
}
