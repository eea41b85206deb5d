//! Who a client is, from its verified certificate alone. What it may do is decided in `access`.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::resource::SYSTEM_ROLES;
use super::trust::{Anchor, Signer};
use crate::pki;
use crate::rule::{Refusal, Rule};
use crate::world::Identity;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Client {
    /// No certificate: role `Nop`.
    Nobody,
    System {
        role: String,
    },
    User {
        name: String,
        roles: Vec<String>,
    },
}

/// The subject as it stands, for the record; empty if it does not parse.
pub(super) fn subject(chain: &[CertificateDer<'_>]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let name = certificate.subject();
    Some(Identity {
        common_name: common_name(name).unwrap_or_default(),
        organizations: name.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect(),
    })
}

/// Judges a chain that TLS has verified against the anchors.
pub(super) fn client(chain: &[CertificateDer<'_>], anchors: &[Anchor], cluster: &str) -> Result<Client, Refusal> {
    let leaf = match chain {
        [] => return Ok(Client::Nobody),
        [leaf] => leaf,
        _ => return Err(Rule::ClientIntermediates.by(format!("{} certificates", chain.len()))),
    };
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| Rule::ClientSubject.by(error))?;
    let name = certificate.subject();
    let organizations: Vec<&str> = name.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    let common = common_name(name).filter(|common| !common.is_empty());
    let (Some(common), false) = (common, organizations.is_empty()) else {
        return Err(Rule::ClientSubject.by(name));
    };
    if name.iter_organizational_unit().next().is_some() {
        return Err(Rule::ClientRestricted.by(name));
    }
    let issuers: Vec<&Anchor> =
        anchors.iter().filter(|anchor| anchor.subject == certificate.issuer().as_raw()).collect();
    let said = attribute(name, pki::CLUSTER_ATTRIBUTE);
    if issuers.is_empty() || issuers.iter().any(|issuer| said.as_deref() != Some(issuer.organization.as_str())) {
        return Err(Rule::ClientCluster.by(format!("{said:?}")));
    }
    // One subject for both authorities makes the issuer ambiguous, which serves neither.
    let only = |signer| issuers.iter().all(|issuer| issuer.signer == signer && issuer.cluster == cluster);
    match organizations.iter().find(|role| SYSTEM_ROLES.contains(role)) {
        Some(_) if !only(Signer::Host) => Err(Rule::ClientSystemRoleIssuer.by(name)),
        Some(role) => match common.split_once('.') {
            Some((host, rest)) if pki::is_uuid(host) && rest == cluster => {
                Ok(Client::System { role: (*role).to_owned() })
            }
            _ => Err(Rule::ClientHostName.by(common)),
        },
        None if !only(Signer::User) => Err(Rule::ClientUserIssuer.by(name)),
        None => Ok(Client::User { name: common, roles: organizations.into_iter().map(str::to_owned).collect() }),
    }
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

/// The value of an attribute **in the subject**; an extension of the certificate with the same number is something else.
fn attribute(name: &X509Name<'_>, oid: &[u64]) -> Option<String> {
    let wanted = x509_parser::der_parser::oid::Oid::from(oid).ok()?;
    name.iter_by_oid(&wanted).next()?.as_str().ok().map(str::to_owned)
}
