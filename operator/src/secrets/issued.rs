//! The Secret that cert-manager writes: read and checked, copied into the Secret of the web certificate, and removed at the end.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt};
use plan::names::{Identity, TENANT_ID};
use plan::object::foreign_by;
use plan::observed::{Contents, IssuedSecret};

use super::{entry, get, web};
use crate::clock;
use crate::error::{Error, Result};
use crate::pki;

/// What cert-manager writes beside it.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";
const ISSUER: [&str; 3] =
    ["cert-manager.io/issuer-kind", "cert-manager.io/issuer-group", "cert-manager.io/issuer-name"];

/// A pair that can serve.
struct Pair {
    chain: String,
    key: String,
    /// The authorities by which the chain is verified, PEM.
    trust: String,
}

/// Reads it as cert-manager wrote it for this tenant.
pub(super) fn read(secret: &Secret, identity: &Identity, domain: &str) -> Contents<IssuedSecret> {
    owned(secret, identity)?;
    let Pair { chain, trust, .. } = pair(secret, domain, clock::wall())?;
    let certificate = pki::read_certificate(&chain).map_err(|error| unusable(&error))?;
    Ok(IssuedSecret { certificate, issuer: issuer(secret), digest: web::digest(&chain, &trust) })
}

/// Its labels come from our Certificate, and cert-manager writes beside it for which Certificate it is.
fn owned(secret: &Secret, identity: &Identity) -> Contents<()> {
    if secret.labels().get(TENANT_ID) != Some(&identity.id) {
        return Err(foreign_by(format_args!("label {TENANT_ID} is not {}", identity.id)));
    }
    let name = identity.web_certificate();
    if secret.annotations().get(CERTIFICATE) != Some(&name) {
        return Err(foreign_by(format_args!("annotation {CERTIFICATE} is not {name}")));
    }
    Ok(())
}

/// Kind, group and name, as `plan::cert_manager::word` has them.
fn issuer(secret: &Secret) -> String {
    let [kind, group, name] = ISSUER.map(|key| secret.annotations().get(key).map_or("", String::as_str));
    // Written by cert-manager as it was asked for: without a group, and without a kind, it means these.
    let group = if group.is_empty() { "cert-manager.io" } else { group };
    let kind = if kind.is_empty() { "Issuer" } else { kind };
    format!("{kind}.{group}/{name}")
}

/// Key and chain, checked as a client does who trusts the authority beside it; where that is not it, or there is none, the last
/// certificate of the chain.
fn pair(secret: &Secret, domain: &str, now: DateTime<Utc>) -> Contents<Pair> {
    let (chain, key) = (entry(secret, "tls.crt")?, entry(secret, "tls.key")?);
    if !pki::key_matches(&chain, &key).map_err(|error| unusable(&error))? {
        return Err("holds a key that is not that of its certificate".into());
    }
    let last = pki::last_of_chain(&chain).map_err(|error| unusable(&error))?;
    let authority = entry(secret, "ca.crt").ok().filter(|authority| !authority.trim().is_empty());
    let mut refusal = None;
    for trust in authority.into_iter().chain([last]) {
        match pki::verify(&chain, &trust, domain, now) {
            Ok(()) => return Ok(Pair { chain, key, trust }),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.map_or_else(String::new, |error| unusable(&error)))
}

fn unusable(error: &pki::PkiError) -> String {
    format!("holds a certificate that cannot serve: {}", crate::error::chain(error))
}

/// Copies it, as it is now, into the Secret of the web certificate.
pub async fn copy(client: &Client, identity: &Identity, name: &str, domain: &str, wanted: &str) -> Result<()> {
    let attempt = || format!("copy Secret {name}");
    let missing = |missing: &str| Error::Missing { attempt: attempt(), missing: missing.to_owned() };
    let secret = get(client, identity, name).await?.ok_or_else(|| missing("it is gone"))?;
    let unfit = |fault: String| Error::Unreadable { attempt: attempt(), fault: format!("it {fault}") };
    owned(&secret, identity).map_err(unfit)?;
    if issuer(&secret) != wanted {
        return Err(missing("it is of another issuer by now"));
    }
    let Pair { chain, key, trust } = pair(&secret, domain, clock::wall()).map_err(unfit)?;
    let entries = [("tls.crt", chain), ("tls.key", key), ("ca.crt", trust)];
    web::put(client, identity, entries, Some((web::CERT_MANAGER, wanted))).await
}

/// Removes it, if it is ours. Gone already = done.
pub async fn remove(client: &Client, identity: &Identity, name: &str) -> Result<()> {
    super::remove(client, identity, name, owned).await
}

#[cfg(test)]
mod tests;
