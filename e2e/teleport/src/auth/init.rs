//! What Auth does with the shared state before it serves, under the cluster's init lock: the version guard, the cluster's
//! name, bootstrap, apply-on-startup, and the certificate authorities that nobody brought.

use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::authority::{self, Authority};
use super::resource::{self, Resource};
use crate::cloud::CloudError;
use crate::log::Log;
use crate::process::Process;
use crate::release::{self, Release};
use crate::rule::{Refusal, Rule};
use crate::state::{New, State};
use crate::{config, pki};

const LOCK_LIFE: Duration = Duration::from_secs(30);
const LOCK_REFRESH: Duration = Duration::from_secs(20);
const BACKEND_INFO: &str = "backend_info";
const CLUSTER_NAME: &str = "cluster_configuration/name";

const APPLY_KINDS: &[&str] = &[
    "token",
    "user",
    "role",
    "bot",
    "cluster_networking_config",
    "cluster_auth_preference",
    "autoupdate_config",
    "autoupdate_version",
];
const BOOTSTRAP_KINDS: &[&str] = &[
    "user",
    "cert_authority",
    "trusted_cluster",
    "github",
    "oidc",
    "saml",
    "role",
    "token",
    "lock",
    "cluster_networking_config",
    "cluster_auth_preference",
    "autoupdate_config",
    "autoupdate_version",
    "health_check_config",
];

/// What the start needs, apart from the state.
pub(super) struct Start<'a> {
    pub(super) process: &'a Process,
    pub(super) log: &'a Log,
    pub(super) release: &'a Release,
    pub(super) config: &'a config::auth::Auth,
    pub(super) bootstrap: Vec<Resource>,
    pub(super) apply: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct BackendInfo {
    kind: String,
    version: String,
    metadata: resource::Metadata,
    spec: BackendInfoSpec,
}

#[derive(Serialize, Deserialize)]
struct BackendInfoSpec {
    teleport_version: String,
}

pub(super) fn storage(error: CloudError) -> Refusal {
    Rule::KeySchema.by(error)
}

impl Start<'_> {
    /// Runs under the lock; returns the name of the cluster.
    pub(super) async fn run(&self, state: &State) -> Result<String, Refusal> {
        let lock = Lock::acquire(state, &self.config.cluster, self.process).await?;
        let refresh = async {
            loop {
                tokio::time::sleep(self.process.scaled(LOCK_REFRESH)).await;
                if let Err(error) = lock.refresh(state).await {
                    return storage(error);
                }
            }
        };
        let done = tokio::select! {
            lost = refresh => Err(lost),
            done = self.locked(state, &lock) => done,
        };
        // A lock that is left behind expires.
        let released = state.remove_revision(&lock.key, &lock.revision).await;
        if let Err(error) = released {
            self.log.error("Failed to release the init lock", &error);
        }
        done
    }

    async fn locked(&self, state: &State, lock: &Lock) -> Result<String, Refusal> {
        self.guard_version(state).await?;
        let cluster = self.cluster_name(state).await?;
        self.bootstrap(state, &cluster).await?;
        self.apply(state).await?;
        self.authorities(state, &cluster, lock).await?;
        Ok(cluster)
    }

    async fn guard_version(&self, state: &State) -> Result<(), Refusal> {
        let recorded: Option<BackendInfo> = state.get_json(BACKEND_INFO).await.map_err(storage)?;
        let bypass = self.process.env.contains_key("TELEPORT_UNSTABLE_SKIP_VERSION_UPGRADE_CHECK");
        let last = recorded.and_then(|info| release::parse(&info.spec.teleport_version));
        if let (Some(last), false) = (last, bypass) {
            check_hop(last.major, self.release.major())
                .map_err(|rule| rule.by(format!("{last} → {}", self.release.version)))?;
        }
        let info = BackendInfo {
            kind: "backend_info".to_owned(),
            version: "v1".to_owned(),
            metadata: resource::Metadata { name: "backend-info".to_owned(), ..resource::Metadata::default() },
            spec: BackendInfoSpec { teleport_version: self.release.version.to_string() },
        };
        state.put(New::json(BACKEND_INFO, &info)).await.map(drop).map_err(storage)
    }

    /// The stored name wins over the configured one.
    async fn cluster_name(&self, state: &State) -> Result<String, Refusal> {
        let wanted = &self.config.cluster;
        let resource = Resource {
            kind: "cluster_name".to_owned(),
            sub_kind: String::new(),
            version: "v2".to_owned(),
            metadata: resource::Metadata { name: "cluster-name".to_owned(), ..resource::Metadata::default() },
            spec: json!({ "cluster_name": wanted, "cluster_id": pki::uuid() }),
        };
        if state.create(New::json(CLUSTER_NAME, &resource)).await.map_err(storage)?.is_some() {
            return Ok(wanted.clone());
        }
        let stored: Option<Resource> = state.get_json(CLUSTER_NAME).await.map_err(storage)?;
        let stored = stored.and_then(|name| name.spec.get("cluster_name")?.as_str().map(str::to_owned));
        let stored = stored.ok_or_else(|| Rule::ResourceInvalid.by("stored cluster_name"))?;
        if stored != *wanted {
            self.log
                .error("Cannot rename the cluster, continuing with the stored name", &format!("{wanted} → {stored}"));
        }
        Ok(stored)
    }

    async fn bootstrap(&self, state: &State, cluster: &str) -> Result<(), Refusal> {
        if self.bootstrap.is_empty() {
            return Ok(());
        }
        if state.get(&authority::key("host", cluster)).await.map_err(storage)?.is_some() {
            let count = self.bootstrap.len();
            self.log.warn(
                "Ignoring bootstrap resources: the cluster is initialized already",
                json!({ "resources": count }),
            );
            return Ok(());
        }
        let mut items = Vec::new();
        for resource in &self.bootstrap {
            items.push(self.bootstrapped(resource, cluster)?);
        }
        // Before 18 all were written at once, or none when one was there.
        if self.release.major() < 18 {
            for item in &items {
                if state.get(&item.key).await.map_err(storage)?.is_some() {
                    return Err(Rule::BootstrapExists.by(&item.key));
                }
            }
        }
        let count = items.len();
        for item in items {
            // One that is there is skipped: an earlier start died half-way.
            state.create(item).await.map_err(storage)?;
        }
        self.log.info("Applied bootstrap resources", json!({ "resources": count }));
        Ok(())
    }

    fn bootstrapped(&self, resource: &Resource, cluster: &str) -> Result<New, Refusal> {
        if !BOOTSTRAP_KINDS.contains(&resource.kind.as_str()) {
            return Err(Rule::ResourceKind.by(&resource.kind));
        }
        if resource.kind != "cert_authority" {
            return resource::stored(resource);
        }
        let authority = resource::authority(resource)?;
        authority.check(cluster, self.release.major())?;
        Ok(New::json(authority.key(), &authority))
    }

    async fn apply(&self, state: &State) -> Result<(), Refusal> {
        if let Some(other) = self.apply.iter().find(|resource| !APPLY_KINDS.contains(&resource.kind.as_str())) {
            return Err(Rule::ApplyKind.by(&other.kind));
        }
        let mut ordered: Vec<&Resource> = self.apply.iter().collect();
        ordered.sort_by_key(|resource| match resource.kind.as_str() {
            "autoupdate_config" | "autoupdate_version" | "cluster_networking_config" | "cluster_auth_preference" => 0,
            "role" => 1,
            "user" => 2,
            _ => 3,
        });
        for resource in ordered {
            state.put(resource::stored(resource)?).await.map_err(storage)?;
            self.log.info("Applied resource on startup", json!({ "kind": resource.kind }));
        }
        Ok(())
    }

    async fn authorities(&self, state: &State, cluster: &str, lock: &Lock) -> Result<(), Refusal> {
        let stored = state.list(authority::PREFIX).await.map_err(storage)?;
        let mut missing = Vec::new();
        for kind in authority::types(self.release.major()) {
            if !stored.iter().any(|item| item.key == authority::key(kind, cluster)) {
                self.log.info("First start: generating certificate authority", json!({ "type": kind }));
                let made = authority::generate(kind, cluster)?;
                missing.push(New::json(made.key(), &made));
            }
        }
        if !missing.is_empty() && !state.create_all((&lock.key, &lock.revision), missing).await.map_err(storage)? {
            return Err(Rule::KeySchema.by("the init lock was lost"));
        }
        for item in stored {
            let authority: Authority = item.json().map_err(storage)?;
            authority.check_subjects()?;
        }
        Ok(())
    }
}

/// Which changes of the major Auth takes part in.
fn check_hop(last: u64, own: u64) -> Result<(), Rule> {
    let allowed_back = u64::from(own < 18);
    if own > last + 1 {
        Err(Rule::MajorSkipped)
    } else if last > own + allowed_back {
        Err(Rule::MajorDowngrade)
    } else {
        Ok(())
    }
}

/// The init lock: an item that expires.
struct Lock {
    key: String,
    revision: String,
    life_seconds: i64,
}

impl Lock {
    async fn acquire(state: &State, cluster: &str, process: &Process) -> Result<Lock, Refusal> {
        let key = format!(".locks/{cluster}");
        // Expiry counts whole seconds, so a scaled life below two would be none.
        let life_seconds = i64::try_from(process.scaled(LOCK_LIFE).as_secs()).unwrap_or(i64::MAX).max(2);
        loop {
            let mut item = New::json(key.clone(), &json!({ "holder": process.hostname }));
            item.expires = Some(Utc::now().timestamp() + life_seconds);
            if let Some(revision) = state.create(item).await.map_err(storage)? {
                return Ok(Lock { key, revision, life_seconds });
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn refresh(&self, state: &State) -> Result<(), CloudError> {
        state.keep_alive(&self.key, &self.revision, Utc::now().timestamp() + self.life_seconds).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_major_up_is_allowed_and_down_only_before_18() {
        assert_eq!(check_hop(17, 18), Ok(()));
        assert_eq!(check_hop(18, 18), Ok(()));
        assert_eq!(check_hop(18, 17), Ok(()));
        assert_eq!(check_hop(16, 18), Err(Rule::MajorSkipped));
        assert_eq!(check_hop(19, 18), Err(Rule::MajorDowngrade));
        assert_eq!(check_hop(19, 17), Err(Rule::MajorDowngrade));
    }
}
