//! Who reads the metrics of the tenants' processes: `monitoring` of the fleet policy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::cluster_network::label_faults;
use crate::pattern;

/// Who scrapes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Monitoring {
    /// The pods that may reach the port of the metrics; absent = none may. Whoever reaches it needs the tenant's own certificate
    /// as well.
    #[serde(default)]
    pub scraper: Option<Scraper>,
    /// Labels of each PodMonitor beside the operator's own, such as those by which a Prometheus selects its monitors.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub pod_monitor_labels: BTreeMap<String, String>,
}

/// Some pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scraper {
    /// Their namespace.
    #[schemars(regex(pattern = pattern::NAMESPACE))]
    pub namespace: String,
    /// Their labels.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub pod_labels: BTreeMap<String, String>,
}

impl Monitoring {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<String> {
        let Monitoring { scraper, pod_monitor_labels } = self;
        let mut faults = label_faults("monitoring.podMonitorLabels", pod_monitor_labels);
        let own = |key: &&String| key.starts_with("app.kubernetes.io/") || key.starts_with("tenancy.dev/");
        faults.extend(pod_monitor_labels.keys().filter(own).map(|key| {
            format!("monitoring.podMonitorLabels: {key:?} is a label that the operator sets itself: choose another key")
        }));
        if let Some(Scraper { namespace, pod_labels }) = scraper {
            if !pattern::matches(pattern::NAMESPACE, namespace) {
                faults.push(format!("monitoring.scraper.namespace: {namespace:?} is no name of a namespace"));
            }
            if pod_labels.is_empty() {
                faults.push(
                    "monitoring.scraper.podLabels: name at least one label, such as app.kubernetes.io/name: prometheus"
                        .to_owned(),
                );
            }
            faults.extend(label_faults("monitoring.scraper.podLabels", pod_labels));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_may_say_of_monitoring() {
        let faults = |yaml: &str| serde_saphyr::from_str::<Monitoring>(yaml).expect("it can be read").faults();
        assert!(faults("{}").is_empty());
        assert!(
            faults("{scraper: {namespace: monitoring, podLabels: {app.kubernetes.io/name: prometheus}}}").is_empty()
        );
        assert!(faults("{podMonitorLabels: {release: prometheus}}").is_empty());
        for (yaml, field) in [
            ("{scraper: {namespace: 'a b', podLabels: {a: b}}}", "monitoring.scraper.namespace"),
            ("{scraper: {namespace: a, podLabels: {}}}", "monitoring.scraper.podLabels"),
            ("{scraper: {namespace: a, podLabels: {a b: c}}}", "monitoring.scraper.podLabels"),
            ("{podMonitorLabels: {a: b c}}", "monitoring.podMonitorLabels"),
            ("{podMonitorLabels: {tenancy.dev/tenant-id: x}}", "monitoring.podMonitorLabels"),
        ] {
            let found = faults(yaml);
            assert!(found.len() == 1 && found[0].starts_with(field), "{yaml}: {found:?}");
        }
    }
}
