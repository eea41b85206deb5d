//! The downward API: what a pod may ask to be told about itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use kube::ResourceExt;

use super::quantity;

/// Stands for what the node has left, which a container without a limit is told as its limit.
const ALLOCATABLE: [(&str, &str); 3] = [("cpu", "2"), ("memory", "8Gi"), ("ephemeral-storage", "64Gi")];
/// Of every node: the stand-in kubelet is on this machine.
pub(super) const HOST_IP: &str = "127.0.0.1";

/// A field of a pod as text. `address` is where the pod's processes listen: the address that they can bind.
///
/// # Errors
/// What is wrong with the path, in the words of an error message.
pub(super) fn field(pod: &Pod, address: Ipv4Addr, path: &str) -> Result<String, String> {
    let spec = |get: fn(&k8s_openapi::api::core::v1::PodSpec) -> &Option<String>| {
        pod.spec.as_ref().and_then(|spec| get(spec).clone()).unwrap_or_default()
    };
    let keyed = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
    match path {
        "metadata.name" => Ok(pod.name_any()),
        "metadata.namespace" => Ok(pod.namespace().unwrap_or_default()),
        "metadata.uid" => Ok(pod.uid().unwrap_or_default()),
        "metadata.labels" => Ok(lines(pod.labels())),
        "metadata.annotations" => Ok(lines(pod.annotations())),
        "spec.nodeName" => Ok(spec(|spec| &spec.node_name)),
        "spec.serviceAccountName" => Ok(spec(|spec| &spec.service_account_name)),
        "status.podIP" | "status.podIPs" => Ok(address.to_string()),
        "status.hostIP" | "status.hostIPs" => Ok(HOST_IP.to_owned()),
        _ => match path.strip_suffix("']").and_then(|path| path.split_once("['")) {
            Some(("metadata.labels", key)) => Ok(keyed(pod.labels(), key)),
            Some(("metadata.annotations", key)) => Ok(keyed(pod.annotations(), key)),
            _ => Err(format!("unsupported fieldPath: {path}")),
        },
    }
}

/// A resource of a container as a number.
///
/// # Errors
/// What is wrong with the selector, in the words of an error message.
pub(super) fn resource(
    containers: &[Container],
    own: Option<&str>,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().or(own).unwrap_or_default();
    let container = containers.iter().find(|container| container.name == name);
    let container = container.ok_or_else(|| format!("container {name} not found"))?;
    let (kind, resource) = selector.resource.split_once('.').unwrap_or_default();
    let resources = container.resources.as_ref();
    let limit = || resources.and_then(|resources| resources.limits.as_ref()?.get(resource));
    let amount = match kind {
        "limits" => limit(),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()?.get(resource)),
        _ => return Err(format!("unsupported resource: {}", selector.resource)),
    };
    let default = match kind {
        "limits" => ALLOCATABLE.iter().find(|(name, _)| *name == resource).map(|(_, amount)| *amount),
        _ => Some("0"),
    };
    let amount = amount.map(|amount| amount.0.as_str()).or(default);
    let divisor = selector.divisor.as_ref().map_or("1", |divisor| if divisor.0 == "0" { "1" } else { &divisor.0 });
    let value = amount.and_then(|amount| quantity::divided(amount, divisor));
    value.map(|value| value.to_string()).ok_or_else(|| format!("unsupported resource: {}", selector.resource))
}

/// One `key="value"` per line, values escaped, as a kubelet writes maps.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "acme-auth-0", "namespace": "tenants", "uid": "u",
                "labels": {"b": "2", "a": "say \"hi\""}, "annotations": {"x/y": "z"}},
            "spec": {"nodeName": "node", "serviceAccountName": "acme", "containers": [
                {"name": "teleport", "resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1500m"}}},
                {"name": "bare"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_learns_its_own_fields() {
        let cases = [
            ("metadata.name", Ok("acme-auth-0")),
            ("metadata.namespace", Ok("tenants")),
            ("metadata.uid", Ok("u")),
            ("metadata.labels", Ok("a=\"say \\\"hi\\\"\"\nb=\"2\"")),
            ("metadata.labels['b']", Ok("2")),
            ("metadata.annotations['x/y']", Ok("z")),
            ("metadata.annotations['none']", Ok("")),
            ("spec.nodeName", Ok("node")),
            ("spec.serviceAccountName", Ok("acme")),
            ("status.podIP", Ok("127.96.0.3")),
            ("status.phase", Err("unsupported fieldPath: status.phase")),
        ];
        for (path, expected) in cases {
            let told = field(&pod(), Ipv4Addr::new(127, 96, 0, 3), path);
            assert_eq!(told.as_deref().map_err(String::as_str), expected, "{path}");
        }
    }

    #[test]
    fn a_container_learns_its_resources() {
        let containers = pod().spec.unwrap().containers;
        let ask = |own: &str, resource: &str, divisor: &str| {
            let selector = json!({"resource": resource, "divisor": divisor});
            super::resource(&containers, Some(own), &serde_json::from_value(selector).unwrap())
        };
        assert_eq!(ask("teleport", "limits.memory", "1Mi").unwrap(), "2048");
        assert_eq!(ask("teleport", "requests.cpu", "0").unwrap(), "2");
        assert_eq!(ask("bare", "requests.cpu", "1").unwrap(), "0");
        assert_eq!(ask("bare", "limits.memory", "1Gi").unwrap(), "8", "what the node has");
        assert!(ask("none", "limits.memory", "1").is_err());
        assert!(ask("bare", "limits.example.com/gpu", "1").is_err());
    }
}
