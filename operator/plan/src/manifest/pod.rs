//! What Auth and Proxy pods have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EmptyDirVolumeSource, EnvVar, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Inputs, listen, metrics, mount, placement};
use crate::feed;
use crate::names::Component;
use crate::object::Object;
use crate::resources::{Amounts, cpu, memory};

/// Port of the diagnostics.
pub const DIAGNOSTICS: u16 = 3000;
/// How long an ending pod still serves, while load balancers and kube-proxy take it out.
const DRAIN: &str = "30s";
/// Any user but root; images run as root unless told otherwise.
const USER: i64 = 65532;

/// What differs between the components.
pub struct Parts<'a> {
    /// Which component.
    pub component: Component,
    /// Further labels of the pods, beyond those of the component.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// ServiceAccount; none of its tokens is mounted by default.
    pub service_account: Option<String>,
    /// Arguments after `teleport start`.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Directories with authorities of certificates that the process serves, beside those of its metrics.
    pub trust: Vec<&'static str>,
    /// The Secret with which it serves its metrics.
    pub metrics: &'a Object,
    /// Named ports.
    pub ports: Vec<(&'static str, u16)>,
    /// Volumes with the directory where each is mounted read-only.
    pub volumes: Vec<(Volume, String)>,
    /// Seconds to end.
    pub grace_seconds: i64,
}

/// The pod template of a component.
pub fn template(inputs: &Inputs<'_>, parts: Parts<'_>) -> PodTemplateSpec {
    let Parts {
        component,
        labels,
        mut annotations,
        service_account,
        args,
        env,
        mut trust,
        metrics,
        ports,
        mut volumes,
        grace_seconds,
    } = parts;
    annotations.extend(metrics::annotations(inputs));
    trust.push(mount::METRICS_TRUST);
    volumes.extend(mount::metrics(&metrics.reference.name));
    let mut pod_labels = inputs.tenant.component_labels(component);
    pod_labels.extend(labels);
    pod_labels.insert("app.kubernetes.io/version".into(), inputs.version.to_string());
    pod_labels.insert("teleport.dev/majorVersion".into(), inputs.version.major.to_string());
    let Amounts { milli_cpu, requested_mebibytes, mebibytes } = match component {
        Component::Auth => inputs.wanted.auth_amounts,
        Component::Proxy => inputs.wanted.proxy_amounts,
    };
    let mut mounts = read_only(&volumes);
    let mut pod_volumes: Vec<Volume> = volumes.into_iter().map(|(volume, _)| volume).collect();
    let (scratch_mounts, scratch_volumes) = scratch();
    mounts.extend(scratch_mounts);
    pod_volumes.extend(scratch_volumes);
    let mut container_env = vec![variable("GOMEMLIMIT", format!("{}MiB", mebibytes * 9 / 10))];
    // A process verifies the certificates that it serves against the system's trust store when it starts, and refuses to run when
    // the authority is not there. Directories are read in addition to the system's bundle; a file would replace it.
    container_env.push(variable("SSL_CERT_DIR", trust.join(":")));
    container_env.extend(env);
    let container = Container {
        name: "teleport".into(),
        image: Some(image(inputs)),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(args),
        env: Some(container_env),
        ports: Some(
            ports
                .into_iter()
                .chain([(metrics::PORT, listen::METRICS), ("diag", DIAGNOSTICS)])
                .map(|(name, port)| k8s_openapi::api::core::v1::ContainerPort {
                    name: Some(name.into()),
                    container_port: i32::from(port),
                    protocol: Some("TCP".into()),
                    ..Default::default()
                })
                .collect(),
        ),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(["teleport", "wait", "duration", DRAIN].map(str::to_owned).to_vec()),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        liveness_probe: Some(probe("/healthz", 6)),
        readiness_probe: Some(probe("/readyz", 12)),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity(cpu(milli_cpu))),
                ("memory".to_owned(), Quantity(memory(requested_mebibytes))),
            ])),
            limits: Some(BTreeMap::from([("memory".to_owned(), Quantity(memory(mebibytes)))])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            labels: Some(pod_labels),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: Some(spread_over_hosts(inputs, component)),
            automount_service_account_token: Some(false),
            containers: vec![container],
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            service_account_name: service_account,
            termination_grace_period_seconds: Some(grace_seconds),
            topology_spread_constraints: Some(
                ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
                    .map(|key| TopologySpreadConstraint {
                        label_selector: Some(inputs.tenant.label_selector(component)),
                        max_skew: 1,
                        topology_key: key.into(),
                        when_unsatisfiable: "ScheduleAnyway".into(),
                        ..TopologySpreadConstraint::default()
                    })
                    .to_vec(),
            ),
            volumes: Some(pod_volumes),
            ..PodSpec::default()
        }),
    };
    placement::place(&mut template, inputs, component);
    template
}

/// The image of the version that `inputs` is about.
pub fn image(inputs: &Inputs<'_>) -> String {
    feed::image(&inputs.installation.images, inputs.wanted.edition, inputs.version, inputs.feed)
}

/// Mounts these volumes read-only.
pub fn read_only(volumes: &[(Volume, String)]) -> Vec<VolumeMount> {
    volumes
        .iter()
        .map(|(volume, directory)| VolumeMount {
            name: volume.name.clone(),
            mount_path: directory.clone(),
            read_only: Some(true),
            ..VolumeMount::default()
        })
        .collect()
}

/// The directories that Teleport writes to, the root being read-only; their content goes with the pod.
pub fn scratch() -> (Vec<VolumeMount>, Vec<Volume>) {
    [("data", "/var/lib/teleport"), ("tmp", "/tmp")]
        .map(|(name, directory)| {
            (
                VolumeMount { name: name.into(), mount_path: directory.into(), ..VolumeMount::default() },
                Volume { name: name.into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
            )
        })
        .into_iter()
        .unzip()
}

/// No root, the runtime's default system calls.
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        fs_group: Some(USER),
        run_as_group: Some(USER),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

/// No capability, no way to more rights, nothing to write to but the mounts.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// An environment variable with a value.
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), ..EnvVar::default() }
}

fn probe(path: &str, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("diag".into()),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(5),
        period_seconds: Some(5),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn spread_over_hosts(inputs: &Inputs<'_>, component: Component) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 50,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(inputs.tenant.label_selector(component)),
                    topology_key: "kubernetes.io/hostname".into(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
