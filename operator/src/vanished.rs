//! The memory of vanished agents in the cluster: one ConfigMap per tenant. It is never written blindly: an answer that was
//! lost, or another operator that still writes, shows as a conflict, and then it is read again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use plan::Fact;
use plan::agents::memory::KEYS;
use plan::agents::{Memory, Stored};
use plan::names::{Identity, MANAGER};
use plan::object::{Kind, Ref, foreign};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};

fn reference(tenant: &Identity) -> Ref {
    Ref::new(Kind::ConfigMap, tenant.agents())
}

/// Reads it: once, and again when the watch shows another one. That there is none is asked only once, too.
///
/// # Errors
/// When it could not be read.
pub async fn read(tenant: &Identity, context: &Context) -> Result<Fact<Stored>> {
    let reference = reference(tenant);
    if context.memory.vanished_is_absent(&tenant.uid) && !context.children.lists(&tenant.namespace, &reference) {
        return Ok(Fact::Absent);
    }
    let found = context.children.read(&context.client, &tenant.namespace, &reference).await?;
    context.memory.set_vanished_absent(&tenant.uid, found.is_none());
    Ok(Fact::answered(found.map(|live| Stored {
        resource_version: live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned(),
        memory: match foreign(&live, &tenant.uid) {
            Some(how) => Err(how),
            None => Memory::parse(&data(&live)),
        },
    })))
}

fn data(live: &Value) -> BTreeMap<String, String> {
    let entries = live["data"].as_object().into_iter().flatten();
    entries.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
}

/// Writes it, if it still is as it was seen.
///
/// # Errors
/// When it could not be written; a conflict when it is another one by now.
pub async fn write(tenant: &Identity, memory: &Memory, seen: Option<&str>, context: &Context) -> Result<()> {
    let wanted = memory.config_map(tenant);
    let name = tenant.agents();
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &tenant.namespace);
    let written = match seen {
        None => {
            let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            api.create(&parameters, &wanted).await
        }
        Some(version) => {
            let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch(&name, &parameters, &Patch::Merge(change(&wanted, version))).await
        }
    };
    // Whatever came of it, what was read before is not what is there now.
    context.memory.set_vanished_absent(&tenant.uid, false);
    context.children.forget(&tenant.namespace, &reference(tenant));
    written.map(drop).map_err(|source| Error::kube(format!("write ConfigMap {name}"), source))
}

/// A merge patch of exactly the object that was seen: keys of ours that are no longer wanted go, those of others stay.
fn change(wanted: &ConfigMap, version: &str) -> Value {
    let data: BTreeMap<&str, Option<&String>> =
        KEYS.into_iter().map(|key| (key, wanted.data.as_ref().and_then(|data| data.get(key)))).collect();
    json!({"metadata": {"resourceVersion": version, "labels": wanted.metadata.labels}, "data": data})
}

#[cfg(test)]
mod tests {
    use plan::agents::Overflow;

    use super::*;

    #[test]
    fn a_change_names_the_version_that_was_seen_and_takes_away_what_is_over() {
        let tenant = Identity { slug: "acme".into(), namespace: "n".into(), uid: "u".into(), id: "0".repeat(16) };
        let patch = change(&Memory::default().config_map(&tenant), "17");
        assert_eq!(patch["metadata"]["resourceVersion"], "17");
        assert_eq!(patch["data"], json!({"agents": "", "overflow": null, "forgotten": null}));
        let full = Memory { overflow: Some(Overflow::Lasting), ..Memory::default() };
        assert_eq!(change(&full.config_map(&tenant), "17")["data"]["overflow"], "lasting");
    }

    #[test]
    fn what_was_written_is_read_back() {
        let tenant = Identity { slug: "acme".into(), namespace: "n".into(), uid: "u".into(), id: "0".repeat(16) };
        let memory = Memory { overflow: Some(Overflow::Lasting), ..Memory::default() };
        let live = serde_json::to_value(memory.config_map(&tenant)).expect("a ConfigMap serializes");
        assert_eq!((Memory::parse(&data(&live)), foreign(&live, "u")), (Ok(memory), None));
        assert!(foreign(&live, "another").is_some());
    }
}
