//! The account with the ACME server. Its key is stored before the server hears of it, so that an answer that is lost leads to the same
//! account again: the server finds it by the key (RFC 8555, section 7.3.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use instant_acme::{Account, ExternalAccountKey, Key, NewAccount};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use plan::acme::policy::{Acme, ExternalAccount};
use plan::acme::problem;
use plan::names::MANAGER;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Server;
use super::error::AcmeError;
use super::transport::{Patience, Transport};
use crate::error::{Error, Result};
use crate::secrets::entry;

/// Keeps the account's key when somebody deletes its Secret by mistake: another key is another account.
const GUARD: &str = "tenancy.dev/acme-account";
/// The private key: PKCS#8, base64.
const KEY: &str = "key";
/// The key of an external account binding.
const HMAC: &str = "hmacKey";

/// Opens the account that the policy names; makes it where there is none.
pub(super) async fn open(secrets: &Api<Secret>, policy: &Acme) -> Result<Server> {
    let patience = Patience::default();
    let builder = || {
        Transport::new(policy.ca_bundle.as_deref(), Arc::clone(&patience))
            .map(|transport| Account::builder_with_http(Box::new(transport)))
            .map_err(|missing| AcmeError::Policy { missing })
    };
    let refused = |attempt| {
        let patience = Arc::clone(&patience);
        move |source| super::refused(attempt, &patience, source)
    };
    let contacts = policy.email.as_ref().map(|email| format!("mailto:{email}"));
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let name = &policy.account_secret_ref.name;
    let stored = read(secrets, name).await?;
    let account = match (stored, &policy.external_account) {
        (Some(key), _) => {
            let found = builder()?.from_key(pair(&key, name)?, policy.directory.clone()).await;
            match found {
                Err(error) if is_unknown(&error) && policy.external_account.is_none() => {
                    create(builder()?, &key, name, policy).await.map_err(refused("open an account"))
                }
                found => found.map(|(account, _)| account).map_err(refused("open the account")),
            }?
        }
        (None, None) => {
            let (_, key) = Key::generate_pkcs8().map_err(refused("take a new key"))?;
            let key = store(secrets, name, key.secret_pkcs8_der()).await?;
            create(builder()?, &key, name, policy).await.map_err(refused("open an account"))?
        }
        (None, Some(external)) => {
            // The library makes the key of a bound account itself, so that it can only be stored afterwards. An account whose answer
            // was lost stays unused.
            let binding = binding(secrets, external).await?;
            let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
            let made = builder()?.create(&new, policy.directory.clone(), Some(&binding)).await;
            let (account, credentials) = made.map_err(refused("open a bound account"))?;
            let kept = store(secrets, name, credentials.private_key().secret_pkcs8_der()).await?;
            if kept != credentials.private_key().secret_pkcs8_der() {
                return Err(Error::Overtaken { attempt: "open an account with the ACME server".into() });
            }
            account
        }
    };
    if !contacts.is_empty() {
        account.update_contacts(&contacts).await.map_err(refused("take the address of the account"))?;
    }
    Ok(Server { account, patience })
}

async fn create(
    builder: instant_acme::AccountBuilder,
    key: &[u8],
    name: &str,
    policy: &Acme,
) -> std::result::Result<Account, instant_acme::Error> {
    let pair = pair(key, name).map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
    builder.create_from_key(pair, policy.directory.clone()).await.map(|(account, _)| account)
}

fn is_unknown(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem) if problem::word(problem.r#type.as_deref()) == "accountDoesNotExist")
}

fn pair(key: &[u8], name: &str) -> std::result::Result<(Key, PrivateKeyDer<'static>), AcmeError> {
    let pkcs8 = PrivatePkcs8KeyDer::from(key.to_vec());
    let fault = |_| AcmeError::Secret { name: name.to_owned(), fault: format!("holds no P-256 key under {KEY}") };
    let parsed = Key::from_pkcs8_der(pkcs8.clone_key()).map_err(fault)?;
    Ok((parsed, PrivateKeyDer::Pkcs8(pkcs8)))
}

async fn read(secrets: &Api<Secret>, name: &str) -> Result<Option<Vec<u8>>> {
    let found = secrets.get_opt(name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source))?;
    let Some(secret) = found else { return Ok(None) };
    let text = entry(&secret, KEY).unwrap_or_default();
    let fault = |_| AcmeError::Secret { name: name.to_owned(), fault: format!("holds no base64 under {KEY}") };
    Ok(Some(STANDARD.decode(text.trim()).map_err(fault)?))
}

/// Stores the key, and answers the one that is there then.
async fn store(secrets: &Api<Secret>, name: &str, key: &[u8]) -> Result<Vec<u8>> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            finalizers: Some(vec![GUARD.into()]),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(STANDARD.encode(key).into_bytes()))])),
        immutable: Some(true),
        type_: Some("Opaque".into()),
        ..Secret::default()
    };
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match secrets.create(&parameters, &secret).await {
        Ok(_) => Ok(key.to_vec()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let missing = Error::Missing { attempt: "open an account".into(), missing: format!("Secret {name} went") };
            read(secrets, name).await?.ok_or(missing)
        }
        Err(source) => Err(Error::kube(format!("create Secret {name}"), source)),
    }
}

async fn binding(secrets: &Api<Secret>, external: &ExternalAccount) -> Result<ExternalAccountKey> {
    let name = &external.secret_ref.name;
    let found = secrets.get_opt(name).await.map_err(|source| Error::kube(format!("read Secret {name}"), source))?;
    let fault = |fault: &str| AcmeError::Secret { name: name.clone(), fault: fault.to_owned() };
    let secret = found.ok_or_else(|| fault("does not exist: create it with the key hmacKey"))?;
    let text = entry(&secret, HMAC).map_err(|_| fault("has no key hmacKey"))?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    let bytes = bytes.map_err(|_| fault("holds no base64url under hmacKey"))?;
    Ok(ExternalAccountKey::new(external.key_id.clone(), &bytes))
}
