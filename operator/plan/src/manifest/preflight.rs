//! The check before a hop: a Job that has the target version read the configuration which it is to run with. It finds keys
//! that this version does not know and no more; what a process refuses at its start shows only there.

use std::collections::BTreeMap;

use crds::tenant::Edition;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::mount::{self, item};
use super::{Inputs, placement, pod};
use crate::names::Component;
use crate::object::{Kind, Object};

/// Pulling the image is most of it: it is the one that the pods pull next.
const DEADLINE_SECONDS: i64 = 600;
/// Long enough to read the log of a failure next morning.
const KEPT_SECONDS: i32 = 86_400;
/// Ends as this when the configuration is refused. Trying again would not help.
const REFUSED: i32 = 1;
const MEMORY_MEBIBYTES: i64 = 512;

/// How far the check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Running,
    /// The target version reads both configurations.
    Succeeded,
    /// It does not, or could not be run: what the cluster says of it, and where to look.
    Failed(String),
}

/// The Job for the version of `inputs`, with the configurations (ConfigMaps) of that version, which must be there. The
/// name follows from everything in it, so that another check is another Job: a failed one is run again by the next
/// `attempt`.
pub fn job(inputs: &Inputs<'_>, auth_config: &str, proxy_config: &str, attempt: u32) -> Object {
    let tenant = inputs.tenant;
    let template = template(inputs, auth_config, proxy_config);
    let text = serde_json::to_string(&template).expect("a pod template serializes");
    let name = tenant.preflight(&format!("{text}\n{}\n{attempt}", inputs.version));
    Object::new(
        Kind::Job,
        &Job {
            metadata: tenant.metadata(name, tenant.preflight_labels()),
            spec: Some(JobSpec {
                active_deadline_seconds: Some(DEADLINE_SECONDS),
                backoff_limit: Some(1),
                pod_failure_policy: Some(PodFailurePolicy {
                    rules: vec![PodFailurePolicyRule {
                        action: "FailJob".into(),
                        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                            container_name: None,
                            operator: "In".into(),
                            values: vec![REFUSED],
                        }),
                        on_pod_conditions: None,
                    }],
                }),
                template,
                ttl_seconds_after_finished: Some(KEPT_SECONDS),
                ..JobSpec::default()
            }),
            ..Job::default()
        },
    )
}

/// What a Job that was read says.
pub fn outcome(live: &Value) -> Outcome {
    let conditions = live["status"]["conditions"].as_array().into_iter().flatten();
    for condition in conditions.filter(|condition| condition["status"] == "True") {
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        match text("type") {
            "Complete" => return Outcome::Succeeded,
            "Failed" => {
                let metadata = |field: &str| live["metadata"][field].as_str().unwrap_or_default();
                let (namespace, name) = (metadata("namespace"), metadata("name"));
                let said = Some(text("message")).filter(|said| !said.is_empty()).unwrap_or_else(|| text("reason"));
                return Outcome::Failed(format!(
                    "{said}: see `kubectl -n {namespace} logs job/{name} --all-containers` and `kubectl -n {namespace} describe job {name}`"
                ));
            }
            _ => {}
        }
    }
    Outcome::Running
}

fn template(inputs: &Inputs<'_>, auth_config: &str, proxy_config: &str) -> PodTemplateSpec {
    let (scratch_mounts, scratch_volumes) = pod::scratch();
    let mut volumes: Vec<Volume> = Vec::new();
    let containers = [auth(inputs, auth_config), proxy(inputs, proxy_config)].map(|(component, mounted)| {
        let mut mounts = pod::read_only(&mounted);
        mounts.extend(scratch_mounts.clone());
        volumes.extend(mounted.into_iter().map(|(volume, _)| volume));
        Container { volume_mounts: Some(mounts), ..container(inputs, component) }
    });
    volumes.extend(scratch_volumes);
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(inputs.tenant.preflight_labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            containers: containers.to_vec(),
            enable_service_links: Some(false),
            restart_policy: Some("Never".into()),
            security_context: Some(pod::pod_security()),
            termination_grace_period_seconds: Some(5),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
    };
    placement::place_once(&mut template, inputs);
    template
}

fn auth(inputs: &Inputs<'_>, config: &str) -> (Component, Vec<(Volume, String)>) {
    let mut volumes = vec![(mount::config("auth-config", config), mount::CONFIG.to_owned())];
    if let (Edition::Enterprise, Some(license)) = (inputs.wanted.edition, &inputs.wanted.license_secret) {
        let items = Some(vec![item("license.pem", "license.pem")]);
        volumes.push((mount::secret("license", license, items), mount::LICENSE.to_owned()));
    }
    (Component::Auth, volumes)
}

fn proxy(inputs: &Inputs<'_>, config: &str) -> (Component, Vec<(Volume, String)>) {
    let items = Some(vec![item("tls.crt", "tls.crt"), item("tls.key", "tls.key")]);
    let volumes = vec![
        (mount::config("proxy-config", config), mount::CONFIG.to_owned()),
        (mount::secret("tls", &inputs.tenant.web_certificate(), items), mount::TLS.to_owned()),
    ];
    (Component::Proxy, volumes)
}

/// One container for each configuration, named after it: the Job's condition names the container that failed.
fn container(inputs: &Inputs<'_>, component: Component) -> Container {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    Container {
        name: component.label().into(),
        image: Some(pod::image(inputs)),
        image_pull_policy: Some("IfNotPresent".into()),
        // The image itself would start Teleport.
        command: words(&["teleport", "configure"]),
        args: words(&["--test", "/etc/teleport/teleport.yaml"]),
        env: Some(vec![pod::variable("GOMEMLIMIT", format!("{}MiB", MEMORY_MEBIBYTES * 9 / 10))]),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity("100m".into())),
                ("memory".to_owned(), Quantity(format!("{}Mi", MEMORY_MEBIBYTES / 2))),
            ])),
            limits: Some(BTreeMap::from([("memory".to_owned(), Quantity(format!("{MEMORY_MEBIBYTES}Mi")))])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(pod::container_security()),
        // `kubectl describe` then shows the refusal itself.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(conditions: Value) -> Value {
        json!({"metadata": {"name": "acme-preflight-0123456789", "namespace": "customers"}, "status": {"conditions": conditions}})
    }

    #[test]
    fn a_job_without_a_final_condition_runs() {
        assert_eq!(outcome(&json!({"metadata": {"name": "new"}})), Outcome::Running);
        let ending = json!([
            {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy"},
            {"type": "Failed", "status": "False"},
        ]);
        assert_eq!(outcome(&live(ending)), Outcome::Running);
    }

    #[test]
    fn a_job_that_completed_succeeded() {
        let conditions =
            json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]);
        assert_eq!(outcome(&live(conditions)), Outcome::Succeeded);
    }

    #[test]
    fn a_failure_says_what_failed_and_where_to_look() {
        let conditions = json!([{
            "type": "Failed", "status": "True", "reason": "PodFailurePolicy",
            "message": "Container proxy for pod customers/x failed with exit code 1 matching FailJob rule at index 0",
        }]);
        let Outcome::Failed(message) = outcome(&live(conditions)) else { panic!("it failed") };
        assert!(message.starts_with("Container proxy for pod customers/x failed with exit code 1"), "{message}");
        assert!(message.contains("kubectl -n customers logs job/acme-preflight-0123456789"), "{message}");
        let Outcome::Failed(message) =
            outcome(&live(json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])))
        else {
            panic!("it failed")
        };
        assert!(message.starts_with("DeadlineExceeded: see"), "{message}");
    }
}
