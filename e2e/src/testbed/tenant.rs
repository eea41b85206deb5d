//! Tenants as their users see them: conditions, and the answer at the published address.

use std::collections::BTreeMap;
use std::future::Future;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crds::Tenant;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;

use super::TestBed;

/// Where and how a tenant is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Host name.
    pub domain: String,
    /// Published address.
    pub address: String,
    /// PEM of the issuer of the web certificate.
    pub authority: String,
}

/// Asks again and again until there is an answer; the error tells what was waited for, and the last reason for waiting.
///
/// # Errors
/// When there is none within `limit`.
pub async fn wait_until<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    let mut interval = tokio::time::interval(Duration::from_millis(100));
    loop {
        interval.tick().await;
        let reason = match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {} s for {what}{reason}", limit.as_secs());
        }
    }
}

impl TestBed {
    /// The tenants of a namespace.
    pub fn tenants(&self, namespace: &str) -> Api<Tenant> {
        Api::namespaced(self.client(), namespace)
    }

    /// Waits until a condition has this status; answers the Tenant.
    ///
    /// # Errors
    /// With the conditions it has instead.
    pub async fn await_condition(
        &self,
        namespace: &str,
        name: &str,
        condition: &str,
        status: &str,
        limit: Duration,
    ) -> anyhow::Result<Tenant> {
        let api = self.tenants(namespace);
        let what = format!("{condition}={status} of {namespace}/{name}");
        let waited = wait_until(&what, limit, || async {
            let tenant = api.get(name).await?;
            let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
            let conditions: BTreeMap<&str, String> = conditions
                .map(|found| (found.type_.as_str(), format!("{} {}: {}", found.status, found.reason, found.message)))
                .collect();
            let found = conditions.get(condition).and_then(|text| text.split(' ').next());
            match found {
                Some(found) if found == status => Ok(Some(tenant)),
                None if status == "absent" => Ok(Some(tenant)),
                Some(_) | None => bail!("{conditions:#?}"),
            }
        });
        waited.await
    }

    /// Where a tenant is reached.
    ///
    /// # Errors
    /// When it is not published yet.
    pub async fn reach(&self, namespace: &str, name: &str) -> anyhow::Result<Reach> {
        let tenant = self.tenants(namespace).get(name).await?;
        let endpoints = tenant.status.and_then(|status| status.endpoints).context("no endpoint is published")?;
        let address = endpoints.addresses.first().context("no address is published")?.clone();
        Ok(Reach { domain: tenant.spec.domain, address, authority: self.authority(namespace, name).await? })
    }

    /// PEM of the issuer of a tenant's web certificate.
    ///
    /// # Errors
    /// When there is none yet.
    pub async fn authority(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let secret = secrets.get(&format!("{name}-web")).await?;
        let authority = secret.data.and_then(|mut data| data.remove("ca.crt")).context("the Secret has no ca.crt")?;
        String::from_utf8(authority.0).context("ca.crt is no text")
    }

    /// The curl command by which a person asks a tenant, with its authority in a file of this run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn curl(&self, reach: &Reach, path: &str) -> anyhow::Result<Vec<String>> {
        let file = self.control_plane().run_dir().path().join(format!("{}.pem", reach.domain));
        std::fs::write(&file, &reach.authority).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(vec![
            "curl".into(),
            "--silent".into(),
            "--show-error".into(),
            "--fail".into(),
            "--max-time".into(),
            "10".into(),
            "--cacert".into(),
            file.display().to_string(),
            "--resolve".into(),
            format!("{}:443:{}", reach.domain, reach.address),
            format!("https://{}{path}", reach.domain),
        ])
    }

    /// Asks a tenant at its published address, as curl does.
    ///
    /// # Errors
    /// With what curl said.
    pub async fn ask(&self, reach: &Reach, path: &str) -> anyhow::Result<Value> {
        let command = self.curl(reach, path)?;
        let output = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run curl; install it")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("the answer is no JSON")
    }
}
