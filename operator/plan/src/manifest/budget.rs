//! What a drain of nodes may take from a component at once: one pod. With a single replica that pod may go, so that no drain is
//! held up for ever.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Inputs;
use crate::names::Component;
use crate::object::{Kind, Object};

/// The budget of a component, over all its Deployments.
pub fn budget(inputs: &Inputs<'_>, component: Component) -> Object {
    let tenant = inputs.tenant;
    let name = match component {
        Component::Auth => tenant.auth(),
        Component::Proxy => tenant.proxy_deployment(),
    };
    Object::new(
        Kind::PodDisruptionBudget,
        &PodDisruptionBudget {
            metadata: tenant.metadata(name, tenant.component_labels(component)),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(tenant.label_selector(component)),
                // A pod that does not serve protects nobody.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        },
    )
}
