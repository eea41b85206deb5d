//! Resources in YAML files, as `--bootstrap` and `--apply-on-startup` read them: parsing, and what makes each kind valid.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::authority::Authority;
use super::update;
use crate::rule::{Refusal, Rule};
use crate::state::New;
use crate::wire::teleport::autoupdate::v1::{AutoUpdateConfig, AutoUpdateVersion};

/// Roles of processes, which certificates carry and tokens grant.
pub(super) const SYSTEM_ROLES: &[&str] = &[
    "Auth",
    "Admin",
    "Proxy",
    "Node",
    "Kube",
    "App",
    "Db",
    "WindowsDesktop",
    "Discovery",
    "Okta",
    "MDM",
    "Bot",
    "Instance",
    "Nop",
    "Signup",
    "ProvisionToken",
    "Trusted_cluster",
    "RemoteProxy",
    "AccessGraphPlugin",
];
const JOIN_METHODS: &[&str] = &[
    "token",
    "ec2",
    "iam",
    "github",
    "circleci",
    "kubernetes",
    "azure",
    "gitlab",
    "gcp",
    "spacelift",
    "tpm",
    "terraform_cloud",
    "bitbucket",
    "oracle",
    "azure_devops",
    "bound_keypair",
    "env0",
];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// A resource of any kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resource {
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sub_kind: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Value,
}

/// The part of a token that joining looks at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TokenSpec {
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    #[serde(default)]
    pub(crate) join_method: String,
}

/// The part of a role that authorisation looks at.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RoleSpec {
    #[serde(default)]
    pub(crate) allow: RoleRules,
    #[serde(default)]
    pub(crate) deny: RoleRules,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RoleRules {
    #[serde(default)]
    pub(crate) rules: Vec<RoleRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RoleRule {
    #[serde(default)]
    pub(crate) resources: Vec<String>,
    #[serde(default)]
    pub(crate) verbs: Vec<String>,
}

impl RoleRules {
    pub(crate) fn cover(&self, resource: &str, verb: &str) -> bool {
        let matches = |list: &[String], wanted: &str| list.iter().any(|entry| entry == wanted || entry == "*");
        self.rules.iter().any(|rule| matches(&rule.resources, resource) && matches(&rule.verbs, verb))
    }
}

/// All documents of a file, in file order.
pub(crate) fn parse(text: &str) -> Result<Vec<Resource>, Refusal> {
    let syntax = |error: serde_saphyr::Error| {
        Rule::ResourceSyntax.by(error.to_string().lines().next().unwrap_or_default().to_owned())
    };
    let documents: Vec<Option<Resource>> = serde_saphyr::from_multiple(text).map_err(syntax)?;
    Ok(documents.into_iter().flatten().collect())
}

/// Where a resource is kept, and its stored form.
pub(crate) fn stored(resource: &Resource) -> Result<New, Refusal> {
    let name = &resource.metadata.name;
    let invalid = |error: &str| Rule::ResourceInvalid.by(format!("{}/{name}: {error}", resource.kind));
    let named = |prefix: &str| match name.is_empty() {
        true => Err(invalid("metadata.name is missing")),
        false => Ok(New::json(format!("{prefix}/{name}"), resource)),
    };
    let mut new = match resource.kind.as_str() {
        "token" => {
            check_token(resource)?;
            named("tokens")?
        }
        "user" => named("web/users")?,
        "role" => {
            role(resource).map_err(|error| invalid(&error))?;
            named("roles")?
        }
        "bot" => named("bots")?,
        "lock" => named("locks")?,
        "trusted_cluster" => named("trusted_clusters")?,
        "github" => named("web/connectors/github")?,
        "oidc" => named("web/connectors/oidc")?,
        "saml" => named("web/connectors/saml")?,
        "health_check_config" => named("health_check_config")?,
        "cluster_networking_config" => New::json("cluster_configuration/networking", resource),
        "cluster_auth_preference" => New::json("authentication/preference/general", resource),
        "autoupdate_config" => {
            let config: AutoUpdateConfig = update::config_of(resource)?;
            update::check_config(&config)?;
            update::stored_config(&config)
        }
        "autoupdate_version" => {
            let version: AutoUpdateVersion = update::version_of(resource)?;
            update::check_version(&version)?;
            update::stored_version(&version)
        }
        other => return Err(Rule::ResourceKind.by(other)),
    };
    new.expires = resource.metadata.expires.map(|expires| expires.timestamp());
    Ok(new)
}

/// A `cert_authority` read in full.
pub(crate) fn authority(resource: &Resource) -> Result<Authority, Refusal> {
    let form = serde_json::to_value(resource).and_then(serde_json::from_value);
    form.map_err(|error| Rule::ResourceInvalid.by(format!("cert_authority/{}: {error}", resource.metadata.name)))
}

pub(crate) fn role(resource: &Resource) -> Result<RoleSpec, String> {
    match &resource.spec {
        Value::Null => Ok(RoleSpec::default()),
        spec => serde_json::from_value(spec.clone()).map_err(|error| error.to_string()),
    }
}

fn check_token(resource: &Resource) -> Result<(), Refusal> {
    let name = &resource.metadata.name;
    let spec: TokenSpec = serde_json::from_value(resource.spec.clone())
        .map_err(|error| Rule::ResourceInvalid.by(format!("token: {error}")))?;
    if resource.version != "v2" {
        return Err(Rule::ResourceInvalid.by(format!("token: version {:?}", resource.version)));
    }
    if name.is_empty() {
        return Err(Rule::ResourceInvalid.by("token: metadata.name is missing"));
    }
    // The name is the secret: it is never printed.
    if spec.roles.is_empty() {
        return Err(Rule::TokenRoles.by("none"));
    }
    if let Some(unknown) =
        spec.roles.iter().find(|role| !SYSTEM_ROLES.iter().any(|known| known.eq_ignore_ascii_case(role)))
    {
        return Err(Rule::TokenRoles.by(unknown));
    }
    if !spec.join_method.is_empty() && !JOIN_METHODS.contains(&spec.join_method.as_str()) {
        return Err(Rule::TokenMethod.by(spec.join_method));
    }
    Ok(())
}
