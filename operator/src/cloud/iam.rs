//! Roles: a complete read of one, and the steps that change one. IAM answers from several replicas, so that what was
//! just made can be missing for some seconds: on a change "no such role" means later, not never.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types as sdk;
use percent_encoding::percent_decode_str;
use plan::cloud::facts::RoleFacts;
use plan::cloud::step::NewRole;
use serde_json::Value;

use super::aws::Aws;
use super::error::CloudError;

/// Reads a role with its policies and tags.
pub(super) async fn read(aws: &Aws, name: &str) -> Result<Option<RoleFacts>, CloudError> {
    let call = aws.iam.get_role().role_name(name).send();
    let role = match aws.call("iam:GetRole", &resource(name), call).await {
        Ok(answer) => answer.role,
        Err(error) if error.code() == Some("NoSuchEntity") => return Ok(None),
        Err(error) => return Err(error),
    };
    let role = role.ok_or_else(|| incomplete("iam:GetRole", name, "Role"))?;
    let trust = role.assume_role_policy_document.ok_or_else(|| incomplete("iam:GetRole", name, "trust policy"))?;
    let (policies, attached, tags) = futures::try_join!(policies(aws, name), attached(aws, name), tags(aws, name))?;
    Ok(Some(RoleFacts {
        arn: role.arn,
        trust: encoded_document(&trust),
        boundary: role.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
        policies,
        attached,
        tags,
    }))
}

/// Creates a role. One that exists is left as it is: its facts say whether it is the right one.
pub(super) async fn create(aws: &Aws, role: &NewRole) -> Result<(), CloudError> {
    const ACTION: &str = "iam:CreateRole";
    let NewRole { name, path, trust, boundary, tags } = role;
    let call = aws
        .iam
        .create_role()
        .role_name(name)
        .path(path)
        .assume_role_policy_document(trust.to_string())
        .set_permissions_boundary(boundary.clone())
        .set_tags(Some(sdk_tags(ACTION, name, tags)?))
        .send();
    match aws.call(ACTION, &resource(name), call).await {
        Err(error) if error.code() == Some("EntityAlreadyExists") => Ok(()),
        answer => answer.map(drop),
    }
}

/// Replaces the trust policy.
pub(super) async fn set_trust(aws: &Aws, role: &str, trust: &Value) -> Result<(), CloudError> {
    let call = aws.iam.update_assume_role_policy().role_name(role).policy_document(trust.to_string()).send();
    aws.call("iam:UpdateAssumeRolePolicy", &resource(role), call).await.map(drop)
}

/// Replaces one inline policy.
pub(super) async fn set_policy(aws: &Aws, role: &str, name: &str, policy: &Value) -> Result<(), CloudError> {
    let call = aws.iam.put_role_policy().role_name(role).policy_name(name).policy_document(policy.to_string()).send();
    aws.call("iam:PutRolePolicy", &resource(role), call).await.map(drop)
}

/// Removes one inline policy.
pub(super) async fn remove_policy(aws: &Aws, role: &str, name: &str) -> Result<(), CloudError> {
    let call = aws.iam.delete_role_policy().role_name(role).policy_name(name).send();
    unless_gone(aws.call("iam:DeleteRolePolicy", &resource(role), call).await)
}

/// Detaches one managed policy.
pub(super) async fn detach_policy(aws: &Aws, role: &str, arn: &str) -> Result<(), CloudError> {
    let call = aws.iam.detach_role_policy().role_name(role).policy_arn(arn).send();
    unless_gone(aws.call("iam:DetachRolePolicy", &resource(role), call).await)
}

/// Sets the permissions boundary.
pub(super) async fn set_boundary(aws: &Aws, role: &str, boundary: &str) -> Result<(), CloudError> {
    let call = aws.iam.put_role_permissions_boundary().role_name(role).permissions_boundary(boundary).send();
    aws.call("iam:PutRolePermissionsBoundary", &resource(role), call).await.map(drop)
}

/// A policy as a value. AWS accepts nothing but JSON; whatever else it might answer differs from every wanted policy
/// and so gets replaced.
pub(super) fn document(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// IAM answers policies with percent-encoding (RFC 3986).
fn encoded_document(text: &str) -> Value {
    document(percent_decode_str(text).decode_utf8_lossy().into_owned())
}

fn resource(role: &str) -> String {
    format!("role {role}")
}

fn incomplete(action: &'static str, role: &str, field: &'static str) -> CloudError {
    CloudError::Incomplete { action, resource: resource(role), field }
}

/// What should not be there and is not is done.
fn unless_gone<T>(answer: Result<T, CloudError>) -> Result<(), CloudError> {
    match answer {
        Err(error) if error.code() == Some("NoSuchEntity") => Ok(()),
        answer => answer.map(drop),
    }
}

async fn policies(aws: &Aws, role: &str) -> Result<BTreeMap<String, Value>, CloudError> {
    let mut policies = BTreeMap::new();
    let mut marker = None;
    loop {
        let call = aws.iam.list_role_policies().role_name(role).set_marker(marker).send();
        let page = aws.call("iam:ListRolePolicies", &resource(role), call).await?;
        for name in page.policy_names {
            let call = aws.iam.get_role_policy().role_name(role).policy_name(&name).send();
            let policy = aws.call("iam:GetRolePolicy", &resource(role), call).await?;
            policies.insert(name, encoded_document(&policy.policy_document));
        }
        if !page.is_truncated {
            return Ok(policies);
        }
        marker = Some(page.marker.ok_or_else(|| incomplete("iam:ListRolePolicies", role, "Marker"))?);
    }
}

async fn attached(aws: &Aws, role: &str) -> Result<Vec<String>, CloudError> {
    let mut attached = BTreeSet::new();
    let mut marker = None;
    loop {
        let call = aws.iam.list_attached_role_policies().role_name(role).set_marker(marker).send();
        let page = aws.call("iam:ListAttachedRolePolicies", &resource(role), call).await?;
        attached.extend(page.attached_policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn));
        if !page.is_truncated {
            return Ok(attached.into_iter().collect());
        }
        marker = Some(page.marker.ok_or_else(|| incomplete("iam:ListAttachedRolePolicies", role, "Marker"))?);
    }
}

async fn tags(aws: &Aws, role: &str) -> Result<BTreeMap<String, String>, CloudError> {
    let mut tags = BTreeMap::new();
    let mut marker = None;
    loop {
        let call = aws.iam.list_role_tags().role_name(role).set_marker(marker).send();
        let page = aws.call("iam:ListRoleTags", &resource(role), call).await?;
        tags.extend(page.tags.into_iter().map(|tag| (tag.key, tag.value)));
        if !page.is_truncated {
            return Ok(tags);
        }
        marker = Some(page.marker.ok_or_else(|| incomplete("iam:ListRoleTags", role, "Marker"))?);
    }
}

fn sdk_tags(action: &'static str, role: &str, tags: &BTreeMap<String, String>) -> Result<Vec<sdk::Tag>, CloudError> {
    tags.iter()
        .map(|(key, value)| sdk::Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>()
        .map_err(|source| CloudError::Request { action, resource: resource(role), source })
}
