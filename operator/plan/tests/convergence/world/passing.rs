//! What happens by itself: tables settle, checks end, pods end and start.

use std::sync::Arc;

use plan::agents::{Inventory, Reading};
use plan::cloud::backup::BackupStatus;
use plan::cloud::facts::TableStatus;
use plan::object::Kind;
use plan::version::Version;
use serde_json::{Value, json};

use super::{World, image_version};

impl World {
    /// One turn of everything that goes on; answers whether anything changed.
    pub fn pass(&mut self) -> bool {
        let mut changed = false;
        for backup in self.backups.iter_mut().filter(|backup| backup.status == BackupStatus::Creating) {
            backup.status = BackupStatus::Available;
            changed = true;
        }
        for (facts, remaining) in self.tables.values_mut() {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                facts.status = TableStatus::Active;
            }
        }
        let leaving = |live: &Value| !live["metadata"]["deletionTimestamp"].is_null();
        let gone: Vec<_> =
            self.objects.iter().filter(|(_, live)| leaving(live)).map(|(reference, _)| reference.clone()).collect();
        for reference in gone {
            self.objects.remove(&reference);
            if reference.kind == Kind::Deployment {
                self.running.remove(&reference.name);
            }
            changed = true;
        }
        for (reference, live) in &mut self.objects {
            let status = match reference.kind {
                Kind::Job => {
                    let refused = self.refused.iter().any(|version| image_version(live) == version);
                    let type_ = if refused { "Failed" } else { "Complete" };
                    json!({"conditions": [{"type": type_, "status": "True", "message": "said so"}]})
                }
                Kind::Deployment => {
                    let version: Version = image_version(live).parse().expect("a version");
                    let seen = live["status"]["observedGeneration"] == live["metadata"]["generation"];
                    let running = self.running.entry(reference.name.clone()).or_default();
                    let recreated = live["spec"]["strategy"]["type"] == "Recreate";
                    if !seen {
                        self.starting.insert(reference.name.clone(), self.slowness);
                        if recreated {
                            running.clear();
                        }
                    }
                    let served = !running.is_empty() && live["status"]["readyReplicas"].as_i64() > Some(0);
                    running.insert(version.clone());
                    let remaining = self.starting.entry(reference.name.clone()).or_default();
                    let broken = self.broken.contains(&version.to_string());
                    if !broken && *remaining == 0 {
                        running.retain(|other| *other == version);
                        let wanted = live["spec"]["replicas"].clone();
                        json!({"observedGeneration": live["metadata"]["generation"], "replicas": wanted,
                            "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted})
                    } else {
                        *remaining = remaining.saturating_sub(1);
                        changed |= !broken;
                        // Of those that are replaced one by one the old ones serve on.
                        let ready = if served && !recreated { 1 } else { 0 };
                        json!({"observedGeneration": live["metadata"]["generation"], "replicas": 1,
                            "readyReplicas": ready, "availableReplicas": ready})
                    }
                }
                Kind::Service => {
                    if live["spec"]["clusterIP"] != json!("127.64.0.7") {
                        Arc::make_mut(live)["spec"]["clusterIP"] = json!("127.64.0.7");
                        changed = true;
                    }
                    if live["spec"]["type"] != "LoadBalancer" {
                        continue;
                    }
                    json!({"loadBalancer": {"ingress": [{"ip": "127.128.0.1"}]}})
                }
                Kind::ConfigMap
                | Kind::Secret
                | Kind::ServiceAccount
                | Kind::PodDisruptionBudget
                | Kind::PodMonitor
                | Kind::NetworkPolicy
                | Kind::Certificate
                | Kind::CertificateRequest => continue,
                Kind::TLSRoute => {
                    let condition = |type_| json!({"type": type_, "status": "True", "observedGeneration": live["metadata"]["generation"]});
                    let conditions = [condition("Accepted"), condition("ResolvedRefs")];
                    json!({"parents": [{"parentRef": live["spec"]["parentRefs"][0], "conditions": conditions}]})
                }
            };
            if live["status"] != status {
                Arc::make_mut(live)["status"] = status;
                changed = true;
            }
        }
        changed
    }

    /// A complete reading of the inventory.
    pub fn reading(&self) -> Inventory {
        let mut reading = Reading::default();
        for agent in &self.agents {
            reading.add(agent).expect("a good entry");
        }
        reading.finish(self.now)
    }
}
