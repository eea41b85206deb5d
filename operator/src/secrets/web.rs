//! The Secret of a web certificate, and that of the private key of the one that is being issued.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use plan::keys::{Sensitive, WebIssuer};
use plan::names::{self, Identity, MANAGER};
use plan::observed::{Contents, IssuedBy, WebSecret};

use super::{create, entry, get, owned, remove, secret, stored_authorities};
use crate::error::{Error, Result};
use crate::pki;

/// Annotation on a web certificate: the directory of the ACME server that issued it.
pub(super) const DIRECTORY: &str = "tenancy.dev/acme-directory";
/// The same: the issuer of cert-manager, as `plan::cert_manager::word` has it.
pub(super) const CERT_MANAGER: &str = "tenancy.dev/cert-manager-issuer";
/// The authorities of the certificate that was replaced last.
const FORMER: &str = "former-ca.crt";
const NEXT_KEY: &str = "tls.key";

/// Reads the web certificate.
pub(super) fn read(secret: &Secret, identity: &Identity, issuer: Option<&WebIssuer>) -> Contents<WebSecret> {
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
    let noted = |key: &str| secret.annotations().get(key).cloned();
    let issued_by = match (noted(DIRECTORY), noted(CERT_MANAGER)) {
        _ if issued => IssuedBy::Tenant,
        (Some(directory), _) => IssuedBy::Acme { directory },
        (None, Some(issuer)) => IssuedBy::CertManager { issuer },
        (None, None) => IssuedBy::Unknown,
    };
    Ok(WebSecret {
        certificate: pki::read_certificate(&chain).map_err(failed)?,
        key_matches: pki::key_matches(&chain, &key).map_err(failed)?,
        certificate_id: pki::certificate_id(&chain).map_err(failed)?,
        digest: digest(&chain, &entry(secret, "ca.crt").unwrap_or_default()),
        trust: [entry(secret, "ca.crt"), entry(secret, FORMER)].into_iter().flatten().collect(),
        issued_by,
    })
}

/// What tells one certificate with its authorities from another.
pub(super) fn digest(chain: &str, trust: &str) -> String {
    names::digest(format!("{chain}\n{trust}").as_bytes())
}

/// Issues a web certificate into its Secret, which pods read again without a restart.
pub async fn issue(
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
    put(client, identity, entries, None).await
}

/// Puts a certificate that an ACME server issued for the key that was made for it into the Secret of the web certificate.
pub async fn store(client: &Client, identity: &Identity, chain: &str, domain: &str, directory: &str) -> Result<()> {
    let unfit = |fault: String| Error::Unreadable { attempt: "store the web certificate".into(), fault };
    let key = next_key(client, identity).await?;
    let key = key.ok_or_else(|| unfit("its key is not there".into()))?;
    let names = pki::read_certificate(chain)?.names;
    if !pki::key_matches(chain, &key.0)? || !plan::acme::names(domain).iter().all(|name| names.contains(name)) {
        return Err(unfit(format!("the ACME server issued another one than was asked for, for {}", names.join(", "))));
    }
    // Proxies verify what they serve, and look for its authority here too.
    let entries = [("tls.crt", chain.to_owned()), ("tls.key", key.0), ("ca.crt", pki::last_of_chain(chain)?)];
    put(client, identity, entries, Some((DIRECTORY, directory))).await
}

/// What pods read again without a restart. `issuer`: the annotation that tells of another issuer than the tenant.
pub(super) async fn put(
    client: &Client,
    identity: &Identity,
    entries: [(&str, String); 3],
    issuer: Option<(&str, &str)>,
) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &identity.namespace);
    let attempt = "store the web certificate";
    let mut metadata = identity.metadata(identity.web_certificate(), identity.labels());
    metadata.annotations = issuer.map(|(key, value)| BTreeMap::from([(key.to_owned(), value.to_owned())]));
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
pub async fn next_key(client: &Client, identity: &Identity) -> Result<Option<Sensitive>> {
    let name = identity.next_web_key();
    let Some(secret) = get(client, identity, &name).await? else { return Ok(None) };
    let unfit =
        |fault| Error::Unreadable { attempt: format!("read Secret {name}"), fault: format!("it {fault}: delete it") };
    owned(&secret, identity).map_err(unfit)?;
    entry(&secret, NEXT_KEY).map(|text| Some(Sensitive(text))).map_err(unfit)
}

/// Makes that key. An existing one wins.
pub async fn create_next_key(client: &Client, identity: &Identity) -> Result<()> {
    let key = pki::certificate_key()?;
    let metadata = identity.metadata(identity.next_web_key(), identity.labels());
    create(client, identity, secret(metadata, BTreeMap::from([(NEXT_KEY.to_owned(), key.0)]))).await
}

/// Removes it, if it is ours. Gone already = done.
pub async fn remove_next_key(client: &Client, identity: &Identity) -> Result<()> {
    remove(client, identity, &identity.next_web_key(), owned).await
}
