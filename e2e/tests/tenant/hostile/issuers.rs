//! What the API server let through as an issuer of cert-manager: it is asked for as it was written, by a tenant that users notice
//! nothing of. Nobody issues here.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::kinds;
use e2e::testbed::{TestBed, wait_until};
use kube::api::PostParams;

use super::super::cluster;
use super::super::fields::Kind;
use super::super::manifest::{apply_ready, condition, tenant};
use super::{Trial, api, object};

const NAME: &str = "hostile-issuer";
const ASKED: Duration = Duration::from_secs(30);

/// One after the other; answers how many there were.
pub async fn are_asked_for(bed: &TestBed, kind: &Kind, trials: &[Trial]) -> anyhow::Result<usize> {
    kinds::install(&bed.client(), kinds::CERTIFICATES).await?;
    let good = tenant(super::NAME, NAME, "hostile-issuer.example.org");
    apply_ready(bed, &good).await?;
    let api = api(bed.client(), kind, super::NAME);
    for trial in trials {
        let wanted = object::with(kind, good.clone(), &trial.leaf, &trial.hostile.text);
        wait_until(&trial.what(), ASKED, || async {
            let mut live = api.get(NAME).await?;
            live.data["spec"] = wanted["spec"].clone();
            Ok(Some(api.replace(NAME, &PostParams::default(), &live).await?))
        })
        .await?;
        let path = trial.leaf.path();
        let field = path.rsplit('.').next().unwrap_or_default();
        let what = format!("{} to be asked for", trial.what());
        let asked = wait_until(&what, ASKED, || async {
            let made = cluster::object(bed, super::NAME, "certificate", &format!("{NAME}-web")).await?;
            let found = made.context("no Certificate")?["spec"]["issuerRef"][field].clone();
            ensure!(found == trial.hostile.text.as_str(), "the issuer's {field} is {found}");
            Ok(Some(()))
        });
        asked.await?;
        let (available, _, message) = condition(&bed.tenants(super::NAME).get(NAME).await?, "Available")?;
        ensure!(available == "True", "users cannot log in with {}: {message}", trial.what());
    }
    bed.kubectl(["-n", super::NAME, "delete", "tenant", NAME, "--timeout=60s"]).await?;
    Ok(trials.len())
}
