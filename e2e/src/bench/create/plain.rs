//! A client that makes what it is given and decides nothing: for each tenant its AWS resources, then its objects, as many
//! tenants at the same time as the operator has by default. It has no more rights than the operator, whose requests are
//! queued and judged like everybody's.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::account::{Account, Clients};
use super::objects::Objects;
use crate::bench::crowd::Crowd;
use crate::testbed::{ACCOUNT, TestBed, aws_policy};

/// Its role in AWS, and its ServiceAccount.
pub(super) const ROLE: &str = "plain-client";
/// Tenants at the same time: the operator's `--concurrency`.
const AT_ONCE: usize = 32;

/// One tenant as the operator made it.
#[derive(Clone, Debug)]
pub(super) struct Original {
    account: Account,
    objects: Objects,
}

/// The tenants of a crowd, in the order of their names.
///
/// # Errors
/// When something of one cannot be read.
pub(super) async fn originals(
    bed: &TestBed,
    crowd: &Crowd,
    mut objects: BTreeMap<String, Objects>,
) -> anyhow::Result<Vec<Original>> {
    let clients = Clients::root(bed);
    let mut originals = Vec::new();
    for name in crowd.names() {
        let tenant = bed.tenants(&crowd.namespace).get(&name).await.with_context(|| format!("cannot read {name}"))?;
        let status = tenant.status.with_context(|| format!("{name} has no status"))?;
        let storage = status.storage.with_context(|| format!("{name} has no storage"))?;
        let id = status.tenant_id.with_context(|| format!("{name} has no id"))?;
        let objects = objects.remove(&id).with_context(|| format!("{name} has no objects"))?;
        originals.push(Original { account: Account::read(&clients, &storage).await?, objects });
    }
    Ok(originals)
}

/// The client.
#[derive(Clone)]
pub(super) struct Client {
    kubernetes: kube::Client,
    aws: Clients,
}

impl Client {
    /// Makes what the client finds: namespaces, the account's provider and boundary, and an identity of its own in both.
    ///
    /// # Errors
    /// When the API server or the emulator refuses.
    pub(super) async fn prepare(bed: &TestBed, namespaces: &[&str]) -> anyhow::Result<Client> {
        for name in namespaces {
            let space = json!({"metadata": {"name": name}});
            let spaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(bed.client());
            let created = spaces.create(&PostParams::default(), &serde_json::from_value(space)?).await;
            created.with_context(|| format!("cannot create the namespace {name}"))?;
        }
        bed.prepare_account().await?;
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        }]});
        let role = bed.cloud().create_role(ROLE, &trust, &aws_policy("operator-policy.json")?).await?;
        let home = namespaces.first().context("no namespace")?;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ROLE}}))?;
        let accounts: Api<ServiceAccount> = Api::namespaced(bed.client(), home);
        accounts.create(&PostParams::default(), &account).await.context("cannot create a ServiceAccount")?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": ROLE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": home, "name": ROLE}],
        }))?;
        let bindings: Api<ClusterRoleBinding> = Api::all(bed.client());
        bindings.create(&PostParams::default(), &binding).await.context("cannot bind a ServiceAccount")?;
        Ok(Client {
            kubernetes: bed.control_plane().service_account_client(home, ROLE).await?,
            aws: Clients::of_role(bed, &role).await?,
        })
    }

    /// Makes them all; answers when everything is asked for.
    ///
    /// # Errors
    /// When something of one is refused.
    pub(super) async fn make_all(&self, originals: Vec<Original>) -> anyhow::Result<()> {
        let all = stream::iter(originals.into_iter().map(|original| self.make(original)));
        all.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn make(&self, original: Original) -> anyhow::Result<()> {
        original.account.make(&self.aws).await?;
        original.objects.create(&self.kubernetes).await
    }
}
