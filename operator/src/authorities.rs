//! The authorities in a tenant's state table, which are those that count once Auth has started: looked for when their Secret is
//! gone, when Auth is not believed any more, and now and then, since Teleport rotates them by itself. Nothing of it is kept.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use crds::Tenant;
use plan::Fact;
use plan::keys::{Authority, Sensitive, StoredAuthorities};
use plan::names::Identity;
use plan::observed::{Secrets, Source, StageName};
use serde::Deserialize;

use crate::cloud::Cloud;
use crate::context::Context;
use crate::error::{Class, chain};
use crate::observe::failed;
use crate::pki;

/// A resource `cert_authority`, as far as it is looked at (api/types: CertAuthorityV2 as JSON).
#[derive(Deserialize)]
struct Resource {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    active_keys: Keys,
    #[serde(default)]
    additional_trusted_keys: Keys,
}

/// All texts are base64 of PEM, or of an authorized_keys line.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    ssh: Vec<Ssh>,
    tls: Vec<Tls>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ssh {
    public_key: String,
    private_key: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tls {
    cert: String,
    key: String,
}

/// Those in the table, if there is a reason to look.
pub async fn read(
    tenant: &Tenant,
    identity: &Identity,
    secrets: &Secrets,
    context: &Context,
    now: DateTime<Utc>,
) -> Fact<StoredAuthorities> {
    let Some(status) = tenant.status.as_ref().filter(|status| status.auth_high_water.is_some()) else {
        return Fact::Unknown;
    };
    let gone = matches!(secrets.authorities, Fact::Absent);
    let disbelieved = context.memory.failures(&identity.uid).contains_key(&(StageName::Auth, Source::Process));
    let due = context.memory.authorities_due(&identity.uid, Instant::now(), disbelieved, context.periods.cloud);
    if !gone && !due {
        return Fact::Unknown;
    }
    let Ok(installation) = context.policy.current() else { return Fact::Unknown };
    let recorded = status.storage.as_ref();
    let Some((storage, account)) = recorded.and_then(|it| Some((it, installation.account(&it.account)?))) else {
        return Fact::Unknown;
    };
    let account = context.clouds.account(account).await;
    let read = |kind| stored(&*account, &storage.region, &storage.state_table, kind, &tenant.spec.domain);
    let row = (StageName::Keys, Source::Process);
    let (host, user) = match futures::try_join!(read("host"), read("user")) {
        Ok((Some(host), Some(user))) => (host, user),
        Ok(_) => {
            context.memory.succeeded(&identity.uid, row);
            return Fact::Absent;
        }
        Err((class, message)) => {
            failed(context, identity, row, class, message, now);
            return Fact::Unknown;
        }
    };
    context.memory.succeeded(&identity.uid, row);
    Fact::Known(StoredAuthorities { host, user })
}

async fn stored(
    account: &dyn Cloud,
    region: &str,
    table: &str,
    kind: &str,
    domain: &str,
) -> Result<Option<Authority>, (Class, String)> {
    let found = account.authority(region, table, kind, domain).await;
    let Some(found) = found.map_err(|error| (error.class(), chain(&error)))? else { return Ok(None) };
    let unusable = |fault| (Class::Invalid, format!("the {kind} authority in table {table} cannot be used: {fault}"));
    parse(&found).map(Some).map_err(unusable)
}

/// What signs comes first among the active keys; all the others are trusted.
fn parse(json: &[u8]) -> Result<Authority, String> {
    let resource: Resource = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let Spec { active_keys, additional_trusted_keys } = resource.spec;
    let tls = active_keys.tls.iter().position(|pair| !pair.key.is_empty()).ok_or("no X.509 key signs")?;
    let ssh = active_keys.ssh.iter().find(|pair| !pair.private_key.is_empty()).ok_or("no SSH key signs")?;
    let others = active_keys.tls.iter().enumerate().filter(|(index, _)| *index != tls).map(|(_, pair)| pair);
    let trusted = others.chain(&additional_trusted_keys.tls).map(|pair| text(&pair.cert));
    let tls = &active_keys.tls[tls];
    let authority = Authority {
        certificate: text(&tls.cert)?,
        key: Sensitive(text(&tls.key)?),
        ssh_public: text(&ssh.public_key)?,
        ssh_key: Sensitive(text(&ssh.private_key)?),
        trusted: trusted.collect::<Result<String, String>>()?,
    };
    match pki::key_matches(&authority.certificate, &authority.key.0) {
        Ok(true) => Ok(authority),
        Ok(false) => Err("the key is not that of the certificate".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn text(base64: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock;

    fn pair(authority: &Authority) -> (Value, Value) {
        let encoded = |text: &str| STANDARD.encode(text);
        (
            json!({"public_key": encoded(&authority.ssh_public), "private_key": encoded(&authority.ssh_key.0)}),
            json!({"cert": encoded(&authority.certificate), "key": encoded(&authority.key.0)}),
        )
    }

    fn resource(active: &Authority, trusted: Option<&Authority>) -> Vec<u8> {
        let (ssh, tls) = pair(active);
        let further = trusted.map(pair).map(|(ssh, tls)| json!({"ssh": [ssh], "tls": [tls]}));
        let spec = json!({"type": "host", "cluster_name": "acme.example.com", "active_keys": {"ssh": [ssh], "tls": [tls]},
            "additional_trusted_keys": further.unwrap_or(json!({}))});
        json!({"kind": "cert_authority", "version": "v2", "spec": spec}).to_string().into_bytes()
    }

    #[test]
    fn what_was_bootstrapped_comes_back_byte_for_byte() {
        let made = pki::authorities("acme.example.com", clock::wall()).expect("authorities");
        assert_eq!(parse(&resource(&made.host, None)), Ok(made.host));
    }

    #[test]
    fn while_one_is_rotated_both_are_trusted_and_the_active_one_signs() {
        let [before, after] =
            [0, 1].map(|_| pki::authorities("acme.example.com", clock::wall()).expect("authorities").host);
        let read = parse(&resource(&after, Some(&before))).expect("an authority");
        assert_eq!((&read.key, read.trusts()), (&after.key, format!("{}{}", after.certificate, before.certificate)));
    }

    #[test]
    fn one_that_cannot_sign_is_refused() {
        let [one, other] =
            [0, 1].map(|_| pki::authorities("acme.example.com", clock::wall()).expect("authorities").host);
        let mixed = Authority { key: other.key, ..one.clone() };
        assert_eq!(parse(&resource(&mixed, None)), Err("the key is not that of the certificate".into()));
        let silent = Authority { key: Sensitive(String::new()), ..one };
        assert_eq!(parse(&resource(&silent, None)), Err("no X.509 key signs".into()));
        assert!(parse(b"{}").is_err() && parse(b"nonsense").is_err());
    }
}
