//! The installation: what the platform team decides once about cloud, ports and images. Parsed whole or not at all; every
//! fault is named with its field, so that one edit mends them all. `schema` shows the same rules to editors.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::acme::policy::Acme;
use crate::cluster_network::ClusterNetwork;
use crate::domains::DomainRule;
use crate::monitoring::Monitoring;
use crate::pattern;
use crate::pod_defaults::{self, PodDefaults};
use crate::port_pool::{self, MOST_POOLS, PortPool};

/// Every tenant with a domain of its own.
const MOST_DOMAINS: usize = 1000;
/// As many as AWS has, about.
const MOST_REGIONS: usize = 32;
/// A hundred thousand tenants at the default quotas.
const MOST_ACCOUNTS: usize = 100;

/// `installation.yaml` of the policy ConfigMap.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Installation {
    /// Prefix of every cloud name and tag; never reused. 2 to 8 lower-case letters and digits.
    #[schemars(regex(pattern = pattern::ID))]
    pub id: String,
    /// Where the tenants' data lives.
    pub aws: Aws,
    /// The server that issues web certificates of issuer `Acme`.
    #[serde(default)]
    pub acme: Option<Acme>,
    /// Who may use which domains; absent = everybody every one.
    #[serde(default)]
    #[schemars(length(max = MOST_DOMAINS))]
    pub domains: Vec<DomainRule>,
    /// Where public ports come from: ranges that do not overlap. A pool may name another one that takes over while it is full.
    #[serde(default)]
    #[schemars(length(max = MOST_POOLS))]
    pub port_pools: Vec<PortPool>,
    /// Image repositories; the tag is the Teleport version.
    pub images: Images,
    /// DNS domain of the Kubernetes cluster.
    #[serde(default = "default_cluster_domain")]
    #[schemars(regex(pattern = pattern::DNS))]
    pub cluster_domain: String,
    /// The network of the Kubernetes cluster.
    #[serde(default)]
    pub network: ClusterNetwork,
    /// Who reads the metrics of the tenants' processes.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// What stands beneath `spec.auth.pod` and `spec.proxy.pod` of every tenant.
    #[serde(default)]
    pub pod: PodDefaults,
}

fn default_cluster_domain() -> String {
    "cluster.local".to_owned()
}

/// AWS.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Aws {
    /// The accounts: a new tenant goes into the first one that has its region and room. It never leaves it, so an account
    /// with tenants stays listed.
    #[schemars(length(min = 1, max = MOST_ACCOUNTS))]
    pub accounts: Vec<Account>,
}

/// One AWS account.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Account {
    /// Account id: 12 digits, in quotes, since it is not a number.
    #[schemars(regex(pattern = pattern::ACCOUNT))]
    pub id: String,
    /// Regions in which tenants may keep their data.
    #[schemars(length(min = 1, max = MOST_REGIONS), inner(regex(pattern = pattern::REGION)))]
    pub regions: Vec<String>,
    /// ARN of the role that the operator takes for its calls in this account; absent = it calls as itself.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::ROLE_ARN))]
    pub assume_role_arn: Option<String>,
    /// Issuer of the cluster's ServiceAccount tokens as its OIDC provider is called in IAM: without `https://`.
    #[schemars(regex(pattern = pattern::ISSUER))]
    pub oidc_provider: String,
    /// IAM path of the tenants' roles, such as `/tenancy/eu1/`: it starts and ends with a slash.
    #[schemars(regex(pattern = pattern::ROLE_PATH), length(max = 512))]
    pub role_path: String,
    /// ARN of the permissions boundary of the tenants' roles.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::POLICY_ARN))]
    pub boundary_arn: Option<String>,
    /// How many tenants it takes. AWS allows 1,000 roles in an account, and 2,500 tables in a region (two for each tenant),
    /// until a quota is raised. What removed tenants have left behind uses them as well, and is not counted here.
    #[serde(default = "default_max_tenants")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_tenants: u32,
}

/// Below the default quota of IAM on roles, with some left for others.
fn default_max_tenants() -> u32 {
    900
}

/// Image repositories by edition.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Images {
    /// The Enterprise build, without a tag.
    #[schemars(regex(pattern = pattern::REPOSITORY))]
    pub enterprise: String,
    /// The Community build, without a tag.
    #[schemars(regex(pattern = pattern::REPOSITORY))]
    pub community: String,
}

impl Installation {
    /// Reads and checks the policy.
    ///
    /// # Errors
    /// Every fault, each naming its field.
    pub fn parse(yaml: &str) -> Result<Installation, Vec<String>> {
        let installation: Installation =
            serde_saphyr::from_str(yaml).map_err(|error| vec![format!("installation.yaml cannot be read: {error}")])?;
        let faults = installation.faults();
        if faults.is_empty() { Ok(installation) } else { Err(faults) }
    }

    /// The account with this id.
    pub fn account(&self, id: &str) -> Option<&Account> {
        self.aws.accounts.iter().find(|account| account.id == id)
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PortPool> {
        self.port_pools.iter().find(|pool| pool.name == name)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        let Installation { id, aws, acme, domains, port_pools, images, cluster_domain, network, monitoring, pod } =
            self;
        require(
            pattern::matches(pattern::ID, id),
            format!("id: {id:?} must be 2 to 8 lower-case letters and digits and start with a letter"),
        );
        let accounts = &aws.accounts;
        require(
            (1..=MOST_ACCOUNTS).contains(&accounts.len()),
            format!("aws.accounts: name at least one account, and at most {MOST_ACCOUNTS}"),
        );
        for (index, account) in accounts.iter().enumerate() {
            let field = format!("aws.accounts[{index}]");
            account.faults(&field, &mut require);
            let twice = accounts[..index].iter().any(|other| other.id == account.id);
            require(!twice, format!("{field}.id: {:?} is listed twice", account.id));
        }
        for (field, image) in [("images.enterprise", &images.enterprise), ("images.community", &images.community)] {
            require(
                pattern::matches(pattern::REPOSITORY, image),
                format!("{field}: {image:?} must be an image repository without tag or digest"),
            );
        }
        require(
            pattern::matches(pattern::DNS, cluster_domain),
            format!("clusterDomain: {cluster_domain:?} must be a DNS domain such as cluster.local"),
        );
        require(domains.len() <= MOST_DOMAINS, format!("domains: at most {MOST_DOMAINS} may be listed"));
        faults.extend(port_pool::faults(port_pools));
        for (index, rule) in domains.iter().enumerate() {
            faults.extend(rule.faults(&format!("domains[{index}]")));
        }
        faults.extend(acme.iter().flat_map(Acme::faults));
        faults.extend(network.faults());
        faults.extend(monitoring.faults());
        faults.extend(pod_defaults::faults(pod.as_ref()).into_iter().map(|fault| format!("pod.{fault}")));
        faults
    }
}

impl Account {
    fn faults(&self, field: &str, require: &mut impl FnMut(bool, String)) {
        let Account { id, regions, assume_role_arn, oidc_provider, role_path, boundary_arn, max_tenants } = self;
        require(
            pattern::matches(pattern::ACCOUNT, id),
            format!("{field}.id: {id:?} must be the 12 digits of an AWS account id, in quotes"),
        );
        require(
            (1..=MOST_REGIONS).contains(&regions.len()),
            format!("{field}.regions: name at least one region, and at most {MOST_REGIONS}"),
        );
        for (index, region) in regions.iter().enumerate() {
            require(
                pattern::matches(pattern::REGION, region),
                format!("{field}.regions[{index}]: {region:?} must be the name of an AWS region such as us-west-2"),
            );
        }
        if let Some(role) = assume_role_arn {
            require(
                pattern::matches(pattern::ROLE_ARN, role) && role.contains(&format!("::{id}:")),
                format!("{field}.assumeRoleArn: {role:?} must be the ARN of an IAM role in account {id}"),
            );
        }
        require(
            pattern::matches(pattern::ISSUER, oidc_provider),
            format!(
                "{field}.oidcProvider: {oidc_provider:?} must be the issuer without https://, such as \
                 oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE"
            ),
        );
        require(
            pattern::matches(pattern::ROLE_PATH, role_path) && role_path.len() <= 512,
            format!(
                "{field}.rolePath: {role_path:?} must be an IAM path that starts and ends with '/', such as /tenancy/eu1/"
            ),
        );
        if let Some(boundary) = boundary_arn {
            require(
                pattern::matches(pattern::POLICY_ARN, boundary),
                format!("{field}.boundaryArn: {boundary:?} must be the ARN of an IAM policy"),
            );
        }
        require((1..=100_000).contains(max_tenants), format!("{field}.maxTenants: {max_tenants} must be 1 to 100000"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id: eu1
aws:
  accounts:
    - {id: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}
portPools: [{name: default, start: 11100, end: 31099}]
images: {enterprise: example.com/teleport-ent-distroless, community: example.com/teleport-distroless}
"#;

    #[test]
    fn a_good_policy_is_read() {
        let installation = Installation::parse(GOOD).expect("good");
        assert_eq!(installation.pool("default").map(|pool| pool.start), Some(11100));
        assert_eq!(installation.cluster_domain, "cluster.local");
    }

    #[test]
    fn every_fault_is_named_with_its_field() {
        let cases = [
            ("id: eu1", "id: EU1", "id:"),
            ("\"123456789012\"", "\"12\"", "aws.accounts[0].id:"),
            ("[us-west-2]", "[]", "aws.accounts[0].regions:"),
            ("oidc.example.com", "https://oidc.example.com", "aws.accounts[0].oidcProvider:"),
            ("rolePath: /tenancy/eu1/", "rolePath: tenancy", "aws.accounts[0].rolePath:"),
            ("start: 11100", "start: 80", "portPools[0]"),
            ("end: 31099", "end: 11103", "portPools[0]"),
            ("teleport-ent-distroless,", "teleport-ent-distroless:18.1.0,", "images.enterprise:"),
            ("us-west-2", "\"us-west-2\\n\"", "aws.accounts[0].regions[0]:"),
            ("oidc.example.com/id/1", "'oidc.example.com\"'", "aws.accounts[0].oidcProvider:"),
            ("rolePath: /tenancy/eu1/", "rolePath: '/a\"b/'", "aws.accounts[0].rolePath:"),
            (
                "rolePath: /tenancy/eu1/",
                "rolePath: /t/, boundaryArn: 'arn:aws:iam::1:role/x'",
                "aws.accounts[0].boundaryArn:",
            ),
            ("rolePath: /tenancy/eu1/", "rolePath: /t/, maxTenants: 0", "aws.accounts[0].maxTenants:"),
            (
                "rolePath: /tenancy/eu1/",
                "rolePath: /t/, assumeRoleArn: 'arn:aws:iam::210987654321:role/x'",
                "aws.accounts[0].assumeRoleArn:",
            ),
            ("name: default", "name: Default", "portPools[0].name:"),
            ("end: 31099", "end: 31099, quarantine: 7d", "portPools[0].quarantine:"),
            ("id: eu1", "id: eu1\nclusterDomain: 'a b'", "clusterDomain:"),
            ("id: eu1", "id: eu1\ndomains: [{suffix: '*.example.com'}]", "domains[0].suffix:"),
            (
                "id: eu1",
                "id: eu1\ndomains: [{suffix: a.b, namespaceSelector: {matchLabels: {team: 'a b'}}}]",
                "domains[0].namespaceSelector",
            ),
            ("id: eu1", "id: eu1\nextra: 1", "extra"),
        ];
        for (good, bad, field) in cases {
            let faults = Installation::parse(&GOOD.replace(good, bad)).expect_err(bad);
            assert!(faults.iter().any(|fault| fault.contains(field)), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn overlapping_pools_are_refused() {
        let yaml = GOOD.replace("end: 31099}", "end: 31099}, {name: second, start: 31099, end: 32000}");
        let faults = Installation::parse(&yaml).expect_err("overlap");
        assert!(faults[0].contains("overlaps pool \"default\""), "{faults:?}");
    }
}
