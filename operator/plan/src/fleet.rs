//! The fleet policy: what the platform team decides for all tenants. Parsed whole or not at all; every fault is named
//! with its field, so that one edit mends them all.

use chrono::TimeDelta;
use serde::Deserialize;

use crate::duration;

/// `installation.yaml` of the policy ConfigMap.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Installation {
    /// Prefix of every cloud name and tag; never reused. 2 to 8 lower-case letters and digits.
    pub id: String,
    /// Where the tenants' data lives.
    pub aws: Aws,
    /// Where public ports come from.
    #[serde(default)]
    pub port_pools: Vec<PortPool>,
    /// Image repositories; the tag is the Teleport version.
    pub images: Images,
    /// DNS domain of the Kubernetes cluster.
    #[serde(default = "default_cluster_domain")]
    pub cluster_domain: String,
}

fn default_cluster_domain() -> String {
    "cluster.local".to_owned()
}

/// The AWS account.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Aws {
    /// Account id, 12 digits.
    pub account: String,
    /// Regions in which tenants may keep their data.
    pub regions: Vec<String>,
    /// Issuer of the cluster's ServiceAccount tokens as its OIDC provider is called in IAM: without `https://`.
    pub oidc_provider: String,
    /// IAM path of the tenants' roles, such as `/tenancy/eu1/`.
    pub role_path: String,
    /// Permissions boundary of the tenants' roles.
    #[serde(default)]
    pub boundary_arn: Option<String>,
}

/// A range of public ports, handed out in blocks of five.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortPool {
    /// The name that tenants refer to.
    pub name: String,
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
    /// How long a block rests after its release, so that nobody reaches another tenant by an old address.
    #[serde(default = "default_quarantine")]
    pub quarantine: String,
}

fn default_quarantine() -> String {
    "168h".to_owned()
}

impl PortPool {
    /// How long a block rests.
    pub fn rest(&self) -> TimeDelta {
        duration::parse(&self.quarantine).unwrap_or(TimeDelta::hours(168))
    }
}

/// Image repositories by edition.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Images {
    /// The Enterprise build.
    pub enterprise: String,
    /// The Community build.
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
        let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        require(
            (2..=8).contains(&self.id.len())
                && lower(&self.id)
                && self.id.starts_with(|first: char| first.is_ascii_lowercase()),
            format!("id: {:?} must be 2 to 8 lower-case letters and digits and start with a letter", self.id),
        );
        let Aws { account, regions, oidc_provider, role_path, boundary_arn } = &self.aws;
        require(
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
            format!("aws.account: {account:?} must be the 12 digits of an AWS account id, in quotes"),
        );
        require(!regions.is_empty(), "aws.regions: name at least one region".into());
        require(
            !oidc_provider.is_empty() && !oidc_provider.contains("://"),
            format!("aws.oidcProvider: {oidc_provider:?} must be the issuer without https://"),
        );
        require(
            role_path.starts_with('/') && role_path.ends_with('/') && role_path.len() <= 512,
            format!("aws.rolePath: {role_path:?} must start and end with '/'"),
        );
        if let Some(boundary) = boundary_arn {
            require(
                boundary.starts_with("arn:") && boundary.contains(":policy/"),
                format!("aws.boundaryArn: {boundary:?} must be the ARN of an IAM policy"),
            );
        }
        for (field, image) in
            [("images.enterprise", &self.images.enterprise), ("images.community", &self.images.community)]
        {
            let last = image.rsplit('/').next().unwrap_or_default();
            require(
                !last.is_empty() && !last.contains([':', '@']),
                format!("{field}: {image:?} must be a repository without tag or digest"),
            );
        }
        for (index, pool) in self.port_pools.iter().enumerate() {
            let PortPool { name, start, end, quarantine } = pool;
            require(
                duration::parse(quarantine).is_some(),
                format!("portPools[{index}].quarantine: {quarantine:?} is no duration: write it as 168h"),
            );
            require(!name.is_empty() && name.len() <= 40, format!("portPools[{index}].name: 1 to 40 characters"));
            require(
                *start >= 1024 && u32::from(*end) >= u32::from(*start) + 4,
                format!("portPools[{index}]: {start} to {end} must lie above 1023 and hold at least five ports"),
            );
            for other in &self.port_pools[..index] {
                require(other.name != *name, format!("portPools[{index}].name: {name:?} is used twice"));
                require(
                    *end < other.start || *start > other.end,
                    format!("portPools[{index}]: {start} to {end} overlaps pool {:?}", other.name),
                );
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id: eu1
aws: {account: "123456789012", regions: [us-west-2], oidcProvider: oidc.example.com/id/1, rolePath: /tenancy/eu1/}
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
            ("\"123456789012\"", "\"12\"", "aws.account:"),
            ("[us-west-2]", "[]", "aws.regions:"),
            ("oidc.example.com", "https://oidc.example.com", "aws.oidcProvider:"),
            ("rolePath: /tenancy/eu1/", "rolePath: tenancy", "aws.rolePath:"),
            ("start: 11100", "start: 80", "portPools[0]"),
            ("end: 31099", "end: 11103", "portPools[0]"),
            ("teleport-ent-distroless,", "teleport-ent-distroless:18.1.0,", "images.enterprise:"),
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
