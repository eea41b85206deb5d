//! The Secrets of a tenant: reading and checking them, and making those that need randomness. The authorities are
//! created and never applied: whatever is there first wins.

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
use plan::keys::{Authorities, Sensitive, StoredAuthorities, WebIssuer, generation};
use plan::names::{self, Identity, MANAGER};
use plan::observed::{AuthoritySecret, Contents, IssuedBy, LicenseSecret, Secrets, WebSecret};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::pki;

/// Finalizer on the Secret of the authorities: the namespace's or the user's deletion does not take it while the tenant
/// stands.
const GUARD: &str = "tenancy.dev/authorities";
const LICENSE_KEY: &str = "license.pem";
const NEXT_KEY: &str = "tls.key";
/// The authorities of the certificate that was replaced last.
const FORMER: &str = "former-ca.crt";
/// Annotation on a web certificate: the directory of the ACME server that issued it.
const DIRECTORY: &str = "tenancy.dev/acme-directory";

/// All of them as they are, or were a moment ago; the first failure is returned beside what could be read.
pub async fn read(tenant: &Tenant, identity: &Identity, context: &Context) -> (Secrets, Option<Error>) {
    let generation = tenant.metadata.generation;
    let read_at = Instant::now();
    if let Some(known) = context.memory.secrets(&identity.uid, generation, read_at) {
        return (known, None);
    }
    let (secrets, failure) = read_now(&context.client, tenant, identity).await;
    if is_whole(&secrets, tenant) {
        context.memory.keep_secrets(&identity.uid, generation, secrets.clone(), read_at);
    } else {
        context.memory.forget_secrets(&identity.uid);
    }
    (secrets, failure)
}

/// Whether everything is there and as it should be.
fn is_whole(secrets: &Secrets, tenant: &Tenant) -> bool {
    let Secrets { authorities, web, license } = secrets;
    let there = matches!(authorities, Fact::Known(Ok(_))) && matches!(web, Fact::Known(Ok(_)));
    there && (tenant.spec.license_secret_ref.is_none() || matches!(license, Fact::Known(Ok(_))))
}

async fn read_now(client: &Client, tenant: &Tenant, identity: &Identity) -> (Secrets, Option<Error>) {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let get = |name: String| {
        let api = api.clone();
        async move { api.get_opt(&name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source)) }
    };
    let license = tenant.spec.license_secret_ref.as_ref().map(|reference| reference.name.clone());
    let (authorities, web, license) = futures::join!(
        get(identity.authorities(generation(tenant.status.as_ref()))),
        get(identity.web_certificate()),
        async {
            match license {
                Some(name) => get(name).await,
                None => Ok(None),
            }
        }
    );
    let mut failure = None;
    let authorities = fact(authorities, &mut failure, |secret| read_authorities(secret, identity));
    let issuer = match &authorities {
        Fact::Known(Ok(found)) => Some(found.authorities.web.clone()),
        Fact::Known(Err(_)) | Fact::Absent | Fact::Unknown => None,
    };
    let secrets = Secrets {
        web: fact(web, &mut failure, |secret| read_web(secret, identity, issuer.as_ref())),
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

/// The authorities have no owner, so that nothing takes them with it; the labels say whose they are.
fn read_authorities(secret: &Secret, identity: &Identity) -> Contents<AuthoritySecret> {
    for (key, value) in identity.labels() {
        if secret.labels().get(&key) != Some(&value) {
            return Err(format!("belongs to somebody else (label {key} is not {value})"));
        }
    }
    let data = secret.data.clone().unwrap_or_default();
    let entries: BTreeMap<String, String> =
        data.into_iter().filter_map(|(key, bytes)| Some((key, String::from_utf8(bytes.0).ok()?))).collect();
    let authorities = Authorities::from_entries(&entries).map_err(|key| format!("has no key {key}"))?;
    let facts =
        |name: &str, pem: &str| pki::read_certificate(pem).map_err(|error| format!("{name} authority: {error}"));
    Ok(AuthoritySecret {
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
    let owner = secret.owner_references().iter().find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) if owner.uid == identity.uid => Ok(()),
        Some(owner) => Err(format!("belongs to {} {}", owner.kind, owner.name)),
        None => Err("belongs to nobody the operator knows".into()),
    }
}

fn read_web(secret: &Secret, identity: &Identity, issuer: Option<&WebIssuer>) -> Contents<WebSecret> {
    owned(secret, identity)?;
    let (chain, key) = (entry(secret, "tls.crt")?, entry(secret, "tls.key")?);
    let failed = |error: pki::PkiError| format!("holds a certificate that cannot be read: {error}");
    let issued = match issuer {
        Some(issuer) => {
            pki::issued_by(&chain, &issuer.certificate).map_err(failed)?
                && entry(secret, "ca.crt").is_ok_and(|found| found == issuer.trusts())
        }
        None => false,
    };
    let issued_by = match secret.annotations().get(DIRECTORY) {
        _ if issued => IssuedBy::Tenant,
        Some(directory) => IssuedBy::Acme { directory: directory.clone() },
        None => IssuedBy::Unknown,
    };
    Ok(WebSecret {
        certificate: pki::read_certificate(&chain).map_err(failed)?,
        key_matches: pki::key_matches(&chain, &key).map_err(failed)?,
        certificate_id: pki::certificate_id(&chain).map_err(failed)?,
        trust: [entry(secret, "ca.crt"), entry(secret, FORMER)].into_iter().flatten().collect(),
        issued_by,
    })
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
            let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
            let found = api.get_opt(&identity.web_certificate()).await;
            let found = found.map_err(|source| Error::kube("read the web certificate", source))?;
            let own =
                |secret: &Secret| owned(secret, identity).is_ok() && !secret.annotations().contains_key(DIRECTORY);
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

/// Issues a web certificate into its Secret, which pods read again without a restart.
pub async fn issue_web_certificate(
    client: &Client,
    identity: &Identity,
    generation: i64,
    domain: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let attempt = "issue the web certificate";
    let issuer = stored_authorities(client, identity, generation, attempt).await?.web;
    let web = pki::web_certificate(&issuer, domain, now)?;
    let entries = [("tls.crt", web.certificate), ("tls.key", web.key.0), ("ca.crt", issuer.trusts())];
    put_web_certificate(client, identity, entries, None).await
}

/// Puts a certificate that an ACME server issued for the key that was made for it into the Secret of the web certificate.
pub async fn store_web_certificate(
    client: &Client,
    identity: &Identity,
    chain: &str,
    domain: &str,
    directory: &str,
) -> Result<()> {
    let unfit = |fault: String| Error::Unreadable { attempt: "store the web certificate".into(), fault };
    let key = next_web_key(client, identity).await?;
    let key = key.ok_or_else(|| unfit("its key is not there".into()))?;
    let names = pki::read_certificate(chain)?.names;
    if !pki::key_matches(chain, &key.0)? || !plan::acme::names(domain).iter().all(|name| names.contains(name)) {
        return Err(unfit(format!("the ACME server issued another one than was asked for, for {}", names.join(", "))));
    }
    // Proxies verify what they serve, and look for its authority here too.
    let entries = [("tls.crt", chain.to_owned()), ("tls.key", key.0), ("ca.crt", pki::last_of_chain(chain)?)];
    put_web_certificate(client, identity, entries, Some(directory)).await
}

/// What pods read again without a restart.
async fn put_web_certificate(
    client: &Client,
    identity: &Identity,
    entries: [(&str, String); 3],
    directory: Option<&str>,
) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let attempt = "store the web certificate";
    let mut metadata = identity.metadata(identity.web_certificate(), identity.labels());
    metadata.annotations = directory.map(|directory| BTreeMap::from([(DIRECTORY.to_owned(), directory.to_owned())]));
    let trust = entries[2].1.clone();
    let mut secret = secret(metadata, entries.into_iter().map(|(key, text)| (key.to_owned(), text)).collect());
    secret.immutable = None;
    secret.type_ = Some("kubernetes.io/tls".into());
    let name = identity.web_certificate();
    let failed = |source| Error::kube(attempt, source);
    match api.get_opt(&name).await.map_err(failed)? {
        None => create(client, identity, secret).await,
        Some(found) => {
            if owned(&found, identity).is_err() {
                return Err(Error::Foreign { attempt: attempt.into() });
            }
            // Only to the one that was seen.
            secret.metadata.uid = found.uid();
            // What Proxies serve until they have read the new one is still verified.
            let before = entry(&found, "ca.crt").ok().filter(|before| *before != trust);
            let former = before.or_else(|| entry(&found, FORMER).ok()).map(|text| ByteString(text.into_bytes()));
            secret.data.get_or_insert_default().extend(former.map(|former| (FORMER.to_owned(), former)));
            let parameters = PatchParams::apply(MANAGER).force();
            api.patch(&name, &parameters, &Patch::Apply(&secret)).await.map(drop).map_err(failed)
        }
    }
}

/// The private key of the certificate that is being issued, PEM.
pub async fn next_web_key(client: &Client, identity: &Identity) -> Result<Option<Sensitive>> {
    let name = identity.next_web_key();
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let found = api.get_opt(&name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source))?;
    let Some(secret) = found else { return Ok(None) };
    let unfit =
        |fault| Error::Unreadable { attempt: format!("read Secret {name}"), fault: format!("it {fault}: delete it") };
    owned(&secret, identity).map_err(unfit)?;
    entry(&secret, NEXT_KEY).map(|text| Some(Sensitive(text))).map_err(unfit)
}

/// Makes that key. An existing one wins.
pub async fn create_next_web_key(client: &Client, identity: &Identity) -> Result<()> {
    let key = pki::certificate_key()?;
    let metadata = identity.metadata(identity.next_web_key(), identity.labels());
    create(client, identity, secret(metadata, BTreeMap::from([(NEXT_KEY.to_owned(), key.0)]))).await
}

/// Removes it, if it is ours. Gone already = done.
pub async fn remove_next_web_key(client: &Client, identity: &Identity) -> Result<()> {
    let name = identity.next_web_key();
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let failed = |source| Error::kube(format!("delete Secret {name}"), source);
    let Some(found) = api.get_opt(&name).await.map_err(failed)? else { return Ok(()) };
    if owned(&found, identity).is_err() {
        return Err(Error::Foreign { attempt: format!("delete Secret {name}") });
    }
    let preconditions = Preconditions { uid: found.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&name, &parameters).await {
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
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let name = identity.authorities(generation);
    let found = api.get_opt(&name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source))?;
    found
        .ok_or(format!("Secret {name} is not there"))
        .and_then(|secret| read_authorities(&secret, identity))
        .map(|found| found.authorities)
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

async fn create(client: &Client, identity: &Identity, secret: Secret) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.create(&parameters, &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(source) => Err(Error::kube(format!("create Secret {}", secret.name_any()), source)),
    }
}
