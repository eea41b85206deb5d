//! The Secrets of a tenant: reading and checking them, and making those that need randomness. The authorities are
//! created and never applied: whatever is there first wins.

pub mod issued;
pub mod web;

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use crds::Tenant;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use plan::Fact;
use plan::clock::from_jiff;
use plan::keys::{Authorities, MetricsKeys, StoredAuthorities, WebIssuer, generation};
use plan::manifest::metrics::until;
use plan::names::{self, Identity, MANAGER};
use plan::object::{foreign_by, foreign_owner};
use plan::observed::{AuthoritySecret, Contents, LicenseSecret, Secrets};
use serde_json::Value;

use crate::clock;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::pki;

/// Finalizer on the Secret of the authorities: the namespace's or the user's deletion does not take it while the tenant
/// stands.
const GUARD: &str = "tenancy.dev/authorities";
const LICENSE_KEY: &str = "license.pem";

/// All of them as they are, or were a moment ago; the first failure is returned beside what could be read.
pub async fn read(tenant: &Tenant, identity: &Identity, context: &Context) -> (Secrets, Option<Error>) {
    let generation = tenant.metadata.generation;
    let read_at = Instant::now();
    // What cert-manager writes is looked at each time: when its Certificate tells of it, it is another one.
    let kept = issued_secret(tenant).is_none();
    if let Some(known) = context.memory.secrets(&identity.uid, generation, read_at).filter(|_| kept) {
        return (known, None);
    }
    let (secrets, failure) = read_now(&context.client, tenant, identity).await;
    if kept && is_whole(&secrets, tenant) {
        context.memory.keep_secrets(&identity.uid, generation, secrets.clone(), read_at);
    } else {
        context.memory.forget_secrets(&identity.uid);
    }
    (secrets, failure)
}

/// Whether nothing in it waits for somebody else. What only the operator makes is absent until it does, and then it is read anew.
fn is_whole(secrets: &Secrets, tenant: &Tenant) -> bool {
    let Secrets { authorities, web, issued: _, license } = secrets;
    let ours = !matches!(authorities, Fact::Unknown | Fact::Known(Err(_)))
        && !matches!(web, Fact::Unknown | Fact::Known(Err(_)));
    ours && (tenant.spec.license_secret_ref.is_none() || matches!(license, Fact::Known(Ok(_))))
}

/// The Secret that cert-manager writes, of a tenant that has one.
fn issued_secret(tenant: &Tenant) -> Option<String> {
    tenant.status.as_ref()?.cert_manager.as_ref().map(|objects| objects.secret_name.clone())
}

async fn read_now(client: &Client, tenant: &Tenant, identity: &Identity) -> (Secrets, Option<Error>) {
    let get = |name: String| async move { get(client, identity, &name).await };
    let license = tenant.spec.license_secret_ref.as_ref().map(|reference| reference.name.clone());
    let (authorities, web, issued, license) = futures::join!(
        get(identity.authorities(generation(tenant.status.as_ref()))),
        get(identity.web_certificate()),
        async {
            match issued_secret(tenant) {
                Some(name) => Some(get(name).await),
                None => None,
            }
        },
        async {
            match license {
                Some(name) => get(name).await,
                None => Ok(None),
            }
        }
    );
    let mut failure = None;
    let authorities = fact(authorities, &mut failure, |secret| read_authorities(secret, identity, moment(tenant)));
    let issuer = match &authorities {
        Fact::Known(Ok(found)) => Some(found.authorities.web.clone()),
        Fact::Known(Err(_)) | Fact::Absent | Fact::Unknown => None,
    };
    let secrets = Secrets {
        web: fact(web, &mut failure, |secret| web::read(secret, identity, issuer.as_ref())),
        issued: match issued {
            Some(found) => fact(found, &mut failure, |secret| issued::read(secret, identity, &tenant.spec.domain)),
            None => Fact::Unknown,
        },
        license: fact(license, &mut failure, read_license),
        authorities,
    };
    (secrets, failure)
}

fn fact<T>(
    found: Result<Option<Secret>>,
    failure: &mut Option<Error>,
    read: impl FnOnce(&Secret) -> Contents<T>,
) -> Fact<Contents<T>> {
    match found {
        Ok(Some(secret)) => Fact::Known(read(&secret)),
        Ok(None) => Fact::Absent,
        Err(error) => {
            failure.get_or_insert(error);
            Fact::Unknown
        }
    }
}

/// A text in a Secret, or what is wrong with it.
pub fn entry(secret: &Secret, key: &str) -> Contents<String> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(format!("has no key {key}"))?;
    String::from_utf8(bytes.0.clone()).map_err(|_| format!("holds no text under {key}"))
}

/// The time by which certificates of metrics are made: while a hop runs it stands still, for else pods that the hop has replaced would be
/// replaced again.
fn moment(tenant: &Tenant) -> DateTime<Utc> {
    let update = tenant.status.as_ref().and_then(|status| status.update.as_ref());
    let began = update.map(|update| from_jiff(update.started_at.0));
    began.map_or(clock::wall(), |began| began.min(clock::wall()))
}

/// What metrics are served with by the pods of this Deployment, where it is not what new ones would get.
pub fn metrics_in_use(secrets: &Secrets, identity: &Identity, proxy: Option<&Value>) -> Option<MetricsKeys> {
    let Fact::Known(Ok(found)) = &secrets.authorities else { return None };
    let until = until(proxy?).filter(|until| *until != found.metrics.not_after)?;
    pki::metrics_keys(&found.authorities.host, &identity.id, pki::Span::Until(until)).ok()
}

/// The authorities have no owner, so that nothing takes them with it; the labels say whose they are.
fn keys_of(secret: &Secret, identity: &Identity) -> Contents<Authorities> {
    for (key, value) in identity.labels() {
        if secret.labels().get(&key) != Some(&value) {
            return Err(foreign_by(format_args!("label {key} is not {value}")));
        }
    }
    let data = secret.data.clone().unwrap_or_default();
    let entries: BTreeMap<String, String> =
        data.into_iter().filter_map(|(key, bytes)| Some((key, String::from_utf8(bytes.0).ok()?))).collect();
    Authorities::from_entries(&entries).map_err(|key| format!("has no key {key}"))
}

fn read_authorities(secret: &Secret, identity: &Identity, now: DateTime<Utc>) -> Contents<AuthoritySecret> {
    let authorities = keys_of(secret, identity)?;
    let facts =
        |name: &str, pem: &str| pki::read_certificate(pem).map_err(|error| format!("{name} authority: {error}"));
    let metrics = pki::metrics_keys(&authorities.host, &identity.id, pki::Span::At(now));
    Ok(AuthoritySecret {
        metrics: metrics.map_err(|error| format!("host authority: {error}"))?,
        host: facts("host", &authorities.host.certificate)?,
        user: facts("user", &authorities.user.certificate)?,
        authorities,
    })
}

fn read_license(secret: &Secret) -> Contents<LicenseSecret> {
    let license = entry(secret, LICENSE_KEY)?;
    Ok(LicenseSecret { digest: names::digest(license.as_bytes())[..16].to_owned() })
}

fn owned(secret: &Secret, identity: &Identity) -> Contents<()> {
    foreign_owner(secret.owner_references(), &identity.uid).map_or(Ok(()), Err)
}

/// Makes the authorities. Existing ones win: the loser's keys are thrown away unused.
pub async fn create_authorities(client: &Client, identity: &Identity, domain: &str, now: DateTime<Utc>) -> Result<()> {
    store(client, identity, 1, &pki::authorities(domain, now)?).await
}

/// Stores those that Teleport has. What is there first wins, and is compared with Teleport's again.
pub async fn keep_authorities(
    client: &Client,
    identity: &Identity,
    generation: i64,
    domain: &str,
    stored: &StoredAuthorities,
    web: Option<&WebIssuer>,
    now: DateTime<Utc>,
) -> Result<()> {
    let StoredAuthorities { host, user } = stored.clone();
    let web = match web {
        Some(web) => web.clone(),
        // Teleport knows nothing of it. What the former one has issued is served for a while, and goes on being trusted.
        None => {
            let found = get(client, identity, &identity.web_certificate()).await?;
            let others = |secret: &Secret| {
                [web::DIRECTORY, web::CERT_MANAGER].iter().any(|key| secret.annotations().contains_key(*key))
            };
            let own = |secret: &Secret| owned(secret, identity).is_ok() && !others(secret);
            let former = found.filter(own);
            let trusted = former.and_then(|secret| entry(&secret, "ca.crt").ok()).unwrap_or_default();
            WebIssuer { trusted, ..pki::authorities(domain, now)?.web }
        }
    };
    store(client, identity, generation, &Authorities { host, user, web }).await
}

async fn store(client: &Client, identity: &Identity, generation: i64, authorities: &Authorities) -> Result<()> {
    let metadata = ObjectMeta {
        name: Some(identity.authorities(generation)),
        namespace: Some(identity.namespace.clone()),
        labels: Some(identity.labels()),
        finalizers: Some(vec![GUARD.into()]),
        ..ObjectMeta::default()
    };
    create(client, identity, secret(metadata, authorities.entries())).await
}

/// Lets the Secrets of the authorities go when somebody deletes them, up to one that may have been made and not recorded.
/// Gone already = done.
pub async fn unguard_authorities(client: &Client, identity: &Identity, generation: i64) -> Result<()> {
    for generation in 1..=generation + 1 {
        unguard(client, identity, &identity.authorities(generation)).await?;
    }
    Ok(())
}

async fn unguard(client: &Client, identity: &Identity, name: &str) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let failed = |source| Error::kube(format!("release Secret {name}"), source);
    let Some(found) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
    if found.labels().get(plan::names::TENANT_ID) != Some(&identity.id) {
        return Ok(());
    }
    let kept: Vec<&String> = found.finalizers().iter().filter(|finalizer| *finalizer != GUARD).collect();
    if kept.len() == found.finalizers().len() {
        return Ok(());
    }
    let patch = serde_json::json!({"metadata": {"finalizers": kept, "resourceVersion": found.resource_version()}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// The authorities as they are stored, which may be since a moment ago.
async fn stored_authorities(
    client: &Client,
    identity: &Identity,
    generation: i64,
    attempt: &'static str,
) -> Result<Authorities> {
    let name = identity.authorities(generation);
    let found = get(client, identity, &name).await?;
    found
        .ok_or(format!("Secret {name} is not there"))
        .and_then(|secret| keys_of(&secret, identity))
        .map_err(|missing| Error::Missing { attempt: attempt.into(), missing })
}

fn secret(metadata: ObjectMeta, entries: BTreeMap<String, String>) -> Secret {
    Secret {
        metadata,
        data: Some(entries.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect()),
        immutable: Some(true),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

async fn get(client: &Client, identity: &Identity, name: &str) -> Result<Option<Secret>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    api.get_opt(name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source))
}

/// Removes a Secret, if it is ours as `owned` sees it. Gone already = done.
async fn remove(
    client: &Client,
    identity: &Identity,
    name: &str,
    owned: impl Fn(&Secret, &Identity) -> Contents<()>,
) -> Result<()> {
    let Some(found) = get(client, identity, name).await? else { return Ok(()) };
    if owned(&found, identity).is_err() {
        return Err(Error::Foreign { attempt: format!("delete Secret {name}") });
    }
    let preconditions = Preconditions { uid: found.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    match api.delete(name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::kube(format!("delete Secret {name}"), source)),
    }
}

async fn create(client: &Client, identity: &Identity, secret: Secret) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.create(&parameters, &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(source) => Err(Error::kube(format!("create Secret {}", secret.name_any()), source)),
    }
}
