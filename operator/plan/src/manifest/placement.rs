//! Where pods run and what others know them by: what the user asks for, over what the fleet policy says for all tenants.

use std::collections::BTreeMap;

use crds::pod::Pod;
use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, PodSpec, PodTemplateSpec, Toleration, TopologySpreadConstraint,
};

use super::Inputs;
use crate::names::Component;

/// Puts it into the template of a component.
pub fn place(template: &mut PodTemplateSpec, inputs: &Inputs<'_>, component: Component) {
    let pod = wanted(inputs, component);
    know(template, &pod);
    let Some(spec) = &mut template.spec else { return };
    schedule(spec, &pod);
    if let Some(affinity) = pod.affinity {
        let own = spec.affinity.take().and_then(|affinity| affinity.pod_anti_affinity);
        let pod_anti_affinity = affinity.pod_anti_affinity.or(own);
        spec.affinity = Some(Affinity { pod_anti_affinity, ..affinity });
    }
    if !pod.topology_spread_constraints.is_empty() {
        let of_component = inputs.tenant.label_selector(component);
        let filled = pod.topology_spread_constraints.into_iter().map(|constraint| TopologySpreadConstraint {
            label_selector: constraint.label_selector.or_else(|| Some(of_component.clone())),
            ..constraint
        });
        spec.topology_spread_constraints = Some(filled.collect());
    }
}

/// The same for a pod that runs once and beside no other: it goes where those of Auth may go.
pub fn place_once(template: &mut PodTemplateSpec, inputs: &Inputs<'_>) {
    let pod = wanted(inputs, Component::Auth);
    know(template, &pod);
    let Some(spec) = &mut template.spec else { return };
    schedule(spec, &pod);
    spec.affinity = pod
        .affinity
        .and_then(|affinity| affinity.node_affinity)
        .map(|node_affinity| Affinity { node_affinity: Some(node_affinity), ..Affinity::default() });
}

/// Labels and annotations; the operator's own labels stay.
fn know(template: &mut PodTemplateSpec, pod: &Pod) {
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &pod.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if !pod.annotations.is_empty() {
        metadata.annotations.get_or_insert_default().extend(pod.annotations.clone());
    }
}

fn schedule(spec: &mut PodSpec, pod: &Pod) {
    let secret = |name: &String| LocalObjectReference { name: name.clone() };
    let secrets: Vec<_> = pod.image_pull_secrets.iter().map(|reference| secret(&reference.name)).collect();
    spec.node_selector = Some(pod.node_selector.clone()).filter(|selector| !selector.is_empty());
    let tolerations: Vec<_> = pod.tolerations.iter().cloned().map(stored).collect();
    spec.tolerations = Some(tolerations).filter(|tolerations| !tolerations.is_empty());
    spec.image_pull_secrets = Some(secrets).filter(|secrets| !secrets.is_empty());
    spec.priority_class_name.clone_from(&pod.priority_class_name);
    spec.runtime_class_name.clone_from(&pod.runtime_class_name);
}

/// As the API server stores it: an empty text is no text.
fn stored(toleration: Toleration) -> Toleration {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let Toleration { effect, key, operator, toleration_seconds, value } = toleration;
    Toleration {
        effect: text(effect),
        key: text(key),
        operator: text(operator),
        toleration_seconds,
        value: text(value),
    }
}

/// Maps are merged, lists joined, and anything else replaced.
fn wanted(inputs: &Inputs<'_>, component: Component) -> Pod {
    let fleet = inputs.installation.pod.as_ref().clone();
    let own = match component {
        Component::Auth => &inputs.wanted.pod_inputs.auth_pod,
        Component::Proxy => &inputs.wanted.pod_inputs.proxy_pod,
    };
    let own = own.clone().unwrap_or_default();
    let merged =
        |fleet: BTreeMap<String, String>, own: BTreeMap<String, String>| fleet.into_iter().chain(own).collect();
    Pod {
        node_selector: merged(fleet.node_selector, own.node_selector),
        tolerations: joined(fleet.tolerations, own.tolerations),
        affinity: own.affinity.or(fleet.affinity),
        topology_spread_constraints: if own.topology_spread_constraints.is_empty() {
            fleet.topology_spread_constraints
        } else {
            own.topology_spread_constraints
        },
        priority_class_name: own.priority_class_name.or(fleet.priority_class_name),
        runtime_class_name: own.runtime_class_name.or(fleet.runtime_class_name),
        image_pull_secrets: joined(fleet.image_pull_secrets, own.image_pull_secrets),
        labels: merged(fleet.labels, own.labels),
        annotations: merged(fleet.annotations, own.annotations),
    }
}

fn joined<T: PartialEq>(fleet: Vec<T>, own: Vec<T>) -> Vec<T> {
    let mut joined = fleet;
    for item in own {
        if !joined.contains(&item) {
            joined.push(item);
        }
    }
    joined
}
