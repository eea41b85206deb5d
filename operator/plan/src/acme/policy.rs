//! `acme` of the fleet policy: which server issues web certificates, for whom it counts, and where proofs are made.

use core::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ledger::Limits;
use crate::pattern;

/// A zone for each tenant of a large fleet.
const MOST_ZONES: usize = 1000;
const MOST_RESOLVERS: usize = 8;

/// An ACME server, and an account there.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Acme {
    /// URL of the server's directory, such as `https://acme-v02.api.letsencrypt.org/directory`. Naming it agrees to the server's terms of
    /// service.
    #[schemars(regex(pattern = pattern::HTTPS), length(max = 1024))]
    pub directory: String,
    /// The authority of the server's own certificate, PEM, for servers that are not publicly trusted.
    #[serde(default)]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
    /// Whom the server tells of trouble.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::EMAIL), length(max = 254))]
    pub email: Option<String>,
    /// The Secret in the operator's namespace that holds the key of the account. The operator makes it; losing it means another
    /// account, whose limits begin anew.
    #[serde(default = "default_account_secret")]
    pub account_secret_ref: SecretName,
    /// How the account is bound to one that the server's owner knows, where the server asks for it.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
    /// How many first certificates for one registered domain, such as `example.com`, are ordered in seven days.
    #[serde(default = "default_weekly_budget")]
    #[schemars(range(min = 1, max = 100_000))]
    pub weekly_budget: u32,
    /// How many orders are made in three hours.
    #[serde(default = "default_orders")]
    #[schemars(range(min = 1, max = 100_000))]
    pub orders_per_three_hours: u32,
    /// How often a certificate for the same names is ordered in seven days.
    #[serde(default = "default_duplicates")]
    #[schemars(range(min = 1, max = 100_000))]
    pub duplicates_per_week: u32,
    /// Where the operator proves that a domain is its to use.
    pub dns: Dns,
}

/// A Secret in the operator's namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// Its name.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub name: String,
}

/// External account binding (RFC 8555, section 7.3.4).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalAccount {
    /// Id of the key, as the server's owner gave it.
    #[schemars(length(min = 1, max = 1024))]
    pub key_id: String,
    /// The Secret in the operator's namespace with the key itself, base64url as it was given, under `hmacKey`.
    pub secret_ref: SecretName,
}

/// Where proofs are made.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dns {
    /// The public hosted zones of Route 53. That of a tenant is the longest whose name its domain ends with.
    #[schemars(length(min = 1, max = MOST_ZONES))]
    pub route53: Vec<HostedZone>,
    /// DNS servers that find the name servers of a zone, as IP addresses; absent = those of the operator's pod. For networks in which
    /// names mean something else inside than outside.
    #[serde(default)]
    #[schemars(length(max = MOST_RESOLVERS), inner(regex(pattern = pattern::ADDRESS)))]
    pub resolvers: Vec<String>,
}

/// A hosted zone.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostedZone {
    /// Its name, without a trailing dot.
    #[schemars(regex(pattern = pattern::DOMAIN), length(max = 253))]
    pub zone: String,
    /// ARN of the role that the operator takes to write there; absent = it calls as itself.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::ROLE_ARN))]
    pub role_arn: Option<String>,
}

fn default_account_secret() -> SecretName {
    SecretName { name: "tenant-operator-acme-account".to_owned() }
}

/// Let's Encrypt: 50 certificates for one registered domain in seven days.
fn default_weekly_budget() -> u32 {
    50
}

/// Let's Encrypt: 300 orders of an account in three hours.
fn default_orders() -> u32 {
    300
}

/// Let's Encrypt: 5 certificates for the same names in seven days.
fn default_duplicates() -> u32 {
    5
}

impl Acme {
    /// What the server allows.
    pub fn limits(&self) -> Limits {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            certificates_per_week: number(self.weekly_budget),
            orders_per_three_hours: number(self.orders_per_three_hours),
            duplicates_per_week: number(self.duplicates_per_week),
        }
    }

    /// The zone of a domain.
    pub fn zone(&self, domain: &str) -> Option<&HostedZone> {
        let within = |zone: &&HostedZone| {
            domain.strip_suffix(zone.zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.dns.route53.iter().filter(within).max_by_key(|zone| zone.zone.len())
    }

    /// What is wrong with it, each fault with its field.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        let Acme {
            directory,
            ca_bundle,
            email,
            account_secret_ref,
            external_account,
            weekly_budget,
            orders_per_three_hours,
            duplicates_per_week,
            dns: Dns { route53, resolvers },
        } = self;
        require(
            pattern::matches(pattern::HTTPS, directory) && directory.len() <= 1024,
            format!(
                "acme.directory: {directory:?} must be an https URL such as https://acme-v02.api.letsencrypt.org/directory"
            ),
        );
        require(
            ca_bundle.as_ref().is_none_or(|pem| pem.contains("-----BEGIN CERTIFICATE-----")),
            "acme.caBundle must hold at least one certificate in PEM".to_owned(),
        );
        if let Some(email) = email {
            require(
                pattern::matches(pattern::EMAIL, email),
                format!("acme.email: {email:?} must be one address, such as platform@example.com"),
            );
        }
        let secrets = [
            ("accountSecretRef", Some(account_secret_ref)),
            ("externalAccount.secretRef", external_account.as_ref().map(|external| &external.secret_ref)),
        ];
        for (field, secret) in secrets {
            require(
                secret.is_none_or(|secret| pattern::matches(pattern::OBJECT_NAME, &secret.name)),
                format!("acme.{field}.name must be the name of a Secret in the operator's namespace"),
            );
        }
        require(
            external_account.as_ref().is_none_or(|external| !external.key_id.is_empty()),
            "acme.externalAccount.keyId is empty: put the id there that the server's owner gave".to_owned(),
        );
        for (field, number) in [
            ("weeklyBudget", weekly_budget),
            ("ordersPerThreeHours", orders_per_three_hours),
            ("duplicatesPerWeek", duplicates_per_week),
        ] {
            require((1..=100_000).contains(number), format!("acme.{field}: {number} must be 1 to 100000"));
        }
        require(
            (1..=MOST_ZONES).contains(&route53.len()),
            format!("acme.dns.route53: name at least one hosted zone, and at most {MOST_ZONES}"),
        );
        for (index, HostedZone { zone, role_arn }) in route53.iter().enumerate() {
            let field = format!("acme.dns.route53[{index}]");
            require(
                pattern::matches(pattern::DOMAIN, zone) && zone.len() <= 253,
                format!(
                    "{field}.zone: {zone:?} must be a lower-case domain such as example.com, without a trailing dot"
                ),
            );
            require(
                !route53[..index].iter().any(|other| other.zone == *zone),
                format!("{field}.zone: {zone:?} is listed twice"),
            );
            require(
                role_arn.as_ref().is_none_or(|role| pattern::matches(pattern::ROLE_ARN, role)),
                format!("{field}.roleArn must be the ARN of an IAM role"),
            );
        }
        require(
            resolvers.len() <= MOST_RESOLVERS,
            format!("acme.dns.resolvers: at most {MOST_RESOLVERS} may be listed"),
        );
        for (index, resolver) in resolvers.iter().enumerate() {
            require(
                resolver.parse::<IpAddr>().is_ok(),
                format!("acme.dns.resolvers[{index}]: {resolver:?} must be an IP address"),
            );
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "directory: https://acme.example.com/dir\ndns: {route53: [{zone: example.com}, {zone: eu.example.com, roleArn: 'arn:aws:iam::123456789012:role/dns'}]}\n";

    #[test]
    fn the_longest_zone_is_that_of_the_domain() {
        let acme: Acme = serde_saphyr::from_str(GOOD).expect("good");
        assert_eq!(acme.faults(), Vec::<String>::new());
        let zone = |domain| acme.zone(domain).map(|zone| zone.zone.as_str());
        assert_eq!(zone("acme.example.com"), Some("example.com"));
        assert_eq!(zone("acme.eu.example.com"), Some("eu.example.com"));
        assert_eq!(zone("example.com"), Some("example.com"));
        assert_eq!(zone("acme.notexample.com"), None, "an ending of a label is no zone");
        assert_eq!(acme.limits().certificates_per_week, 50);
    }

    #[test]
    fn every_fault_is_named_with_its_field() {
        for (good, bad, field) in [
            ("https://", "http://", "acme.directory"),
            ("dns:", "email: 'a b'\ndns:", "acme.email"),
            ("dns:", "email: 'a@b.c, d@e.f'\ndns:", "acme.email"),
            ("dns:", "caBundle: x\ndns:", "acme.caBundle"),
            ("dns:", "weeklyBudget: 0\ndns:", "acme.weeklyBudget"),
            ("dns:", "accountSecretRef: {name: 'A'}\ndns:", "acme.accountSecretRef.name"),
            ("dns:", "externalAccount: {keyId: '', secretRef: {name: a}}\ndns:", "acme.externalAccount.keyId"),
            (
                "dns:",
                "externalAccount: {keyId: 'x', secretRef: {name: 'a/b'}}\ndns:",
                "acme.externalAccount.secretRef.name",
            ),
            ("zone: example.com", "zone: example.com.", "acme.dns.route53[0].zone"),
            ("zone: eu.example.com", "zone: example.com", "acme.dns.route53[1].zone"),
            ("role/dns", "user/dns", "acme.dns.route53[1].roleArn"),
            ("}]}", "}], resolvers: [dns.example.com]}", "acme.dns.resolvers[0]"),
        ] {
            let acme: Acme = serde_saphyr::from_str(&GOOD.replace(good, bad)).expect(bad);
            let faults = acme.faults();
            assert!(faults.iter().any(|fault| fault.starts_with(field)), "{bad}: {faults:?}");
        }
    }
}
