//! The IAM role of a tenant, read back as it is, and made again.

use anyhow::Context;
use aws_sdk_iam::types::Tag;
use percent_encoding::percent_decode_str;

use super::account::Clients;

#[derive(Clone, Debug)]
pub(super) struct Role {
    name: String,
    path: String,
    trust: String,
    boundary: Option<String>,
    tags: Vec<Tag>,
    policies: Vec<(String, String)>,
}

impl Role {
    /// Reads it with its inline policies.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) async fn read(Clients { iam, .. }: &Clients, name: &str) -> anyhow::Result<Role> {
        let what = || format!("cannot read the role {name}");
        let role = iam.get_role().role_name(name).send().await.with_context(what)?.role.with_context(what)?;
        let tags = iam.list_role_tags().role_name(name).send().await.with_context(what)?.tags;
        let mut policies = Vec::new();
        for policy in iam.list_role_policies().role_name(name).send().await.with_context(what)?.policy_names {
            let found = iam.get_role_policy().role_name(name).policy_name(&policy).send().await.with_context(what)?;
            policies.push((policy, decoded(&found.policy_document)?));
        }
        Ok(Role {
            name: name.to_owned(),
            path: role.path,
            trust: decoded(&role.assume_role_policy_document.with_context(what)?)?,
            boundary: role.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
            tags,
            policies,
        })
    }

    /// Makes it.
    ///
    /// # Errors
    /// When AWS refuses.
    pub(super) async fn make(&self, Clients { iam, .. }: &Clients) -> anyhow::Result<()> {
        let Role { name, path, trust, boundary, tags, policies } = self;
        let what = || format!("cannot make the role {name}");
        let create = iam
            .create_role()
            .role_name(name)
            .path(path)
            .assume_role_policy_document(trust)
            .set_permissions_boundary(boundary.clone())
            .set_tags(Some(tags.clone()));
        create.send().await.with_context(what)?;
        for (policy, document) in policies {
            let put = iam.put_role_policy().role_name(name).policy_name(policy).policy_document(document);
            put.send().await.with_context(what)?;
        }
        Ok(())
    }
}

/// IAM answers policies with percent-encoding (RFC 3986).
fn decoded(document: &str) -> anyhow::Result<String> {
    Ok(percent_decode_str(document).decode_utf8().context("a policy is no text")?.into_owned())
}
