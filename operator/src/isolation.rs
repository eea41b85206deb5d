//! `tenant-operator verify-isolation`: takes the place of two tenants' Auth and tries everything that Auth may do, on its own
//! data, on the other's, and on what is no tenant's. AWS answers, not a reading of policies. Nothing is changed: each call either
//! reads, or is made so that it cannot take effect.

mod attempt;
mod report;
mod session;

use anyhow::Context as _;
use crds::Tenant;
use futures::StreamExt as _;
use futures::stream;
use kube::{Api, Client};
use plan::cloud::CloudNames;
use plan::cloud::rights::{RIGHTS, Right};

pub use attempt::{Outcome, Target};
pub use report::{Report, Row};
pub use session::{Session, environment};

use crate::cloud::CloudError;
use crate::observe::identity;

/// Rights tried at the same time, each in three places: few, since a real account serves others, too.
const AT_ONCE: usize = 8;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct IsolationArgs {
    /// A tenant that is Ready, as NAMESPACE/NAME.
    #[arg(value_parser = path)]
    pub first: (String, String),

    /// Another one.
    #[arg(value_parser = path)]
    pub second: (String, String),

    /// An object of the account, as BUCKET/KEY, in a bucket without versioning that is no tenant's. S3 tells everybody that a
    /// bucket is not there, and nobody that an object is not, so that one which is has to be named; without it, rights to buckets
    /// are tried on the two tenants alone.
    #[arg(long, value_parser = object)]
    pub unrelated_object: Option<(String, String)>,

    /// Put an empty object into the bucket of a tenant that has no recording yet: whether an object can be read is seen only of
    /// one that is there.
    #[arg(long)]
    pub write_object: bool,
}

fn path(text: &str) -> Result<(String, String), String> {
    halves(text).ok_or_else(|| format!("{text:?} is no tenant: write NAMESPACE/NAME"))
}

fn object(text: &str) -> Result<(String, String), String> {
    halves(text).ok_or_else(|| format!("{text:?} is no object: write BUCKET/KEY"))
}

/// What stands on both sides of the first slash.
fn halves(text: &str) -> Option<(String, String)> {
    let (first, second) = text.split_once('/').filter(|(first, second)| !first.is_empty() && !second.is_empty())?;
    Some((first.to_owned(), second.to_owned()))
}

/// One tenant, as its own Auth would be.
#[derive(Debug)]
pub struct Side {
    /// For people.
    pub name: String,
    /// Its resources.
    pub names: CloudNames,
    /// Acts as its role.
    pub session: Session,
}

/// Verifies both directions, with the kubeconfig and the AWS endpoints of the environment. No AWS credentials are needed: those
/// of the two tenants are had for tokens of their ServiceAccounts.
///
/// # Errors
/// When it cannot be tried: a tenant is not there, or its role cannot be taken by its own Auth.
pub async fn verify(args: &IsolationArgs) -> anyhow::Result<[Report; 2]> {
    let client = Client::try_default().await.context("cannot reach the cluster")?;
    let (first, second) = futures::try_join!(found(&client, &args.first), found(&client, &args.second))?;
    if args.write_object {
        for side in [&first, &second] {
            let put = attempt::ensure_object(&side.session, &side.names.bucket).await;
            put.with_context(|| format!("Tenant {} cannot write into its own bucket", side.name))?;
        }
    }
    let strange = args.unrelated_object.as_ref();
    Ok([compare(&first, &second, strange).await, compare(&second, &first, strange).await])
}

async fn found(client: &Client, (namespace, name): &(String, String)) -> anyhow::Result<Side> {
    let shown = format!("{namespace}/{name}");
    let api: Api<Tenant> = Api::namespaced(client.clone(), namespace);
    let tenant = api.get(name).await.with_context(|| format!("cannot read Tenant {shown}"))?;
    let storage = tenant.status.as_ref().and_then(|status| status.storage.as_ref());
    let names = CloudNames::from(storage.with_context(|| format!("Tenant {shown} has no status.storage yet"))?);
    let identity = identity(&tenant);
    let token = session::token(client, namespace, &identity.auth()).await?;
    let config = environment(&names.region).await;
    let session = Session::take(&config, &names, &token).await;
    let session =
        session.with_context(|| format!("the Auth of Tenant {shown} cannot take its role {}", names.role_arn))?;
    Ok(Side { name: shown, names, session })
}

/// Tries every right of `own` on its own data, on the other's, and on what is nobody's.
pub async fn compare(own: &Side, other: &Side, unrelated: Option<&(String, String)>) -> Report {
    let (at_home, abroad) =
        futures::join!(Target::of(&own.names, &own.session), Target::of(&other.names, &other.session));
    let nowhere = Target::nowhere(&own.names, unrelated);
    let rows = stream::iter(RIGHTS).map(|right: Right| {
        let (session, at_home, abroad, nowhere) = (&own.session, &at_home, &abroad, &nowhere);
        async move {
            let (own, other, unrelated) = futures::join!(
                attempt::of(session, &right, at_home),
                attempt::of(session, &right, abroad),
                attempt::of(session, &right, nowhere)
            );
            Row { action: right.action, on: right.on.text(), own, other, unrelated }
        }
    });
    let mut rows: Vec<Row> = rows.buffered(AT_ONCE).collect().await;
    let [other_role, no_role] = [other.names.role_arn.clone(), format!("{}-none", own.names.role_arn)];
    let (other_role, no_role) = futures::join!(own.session.taking(&other_role), own.session.taking(&no_role));
    rows.push(Row {
        action: "sts:AssumeRoleWithWebIdentity",
        on: "role",
        own: Outcome::Allowed,
        other: other_role,
        unrelated: no_role,
    });
    Report { own: own.name.clone(), other: other.name.clone(), rows }
}

/// How AWS answered a call of this action.
fn outcome<T>(action: &str, answer: Result<T, CloudError>) -> Outcome {
    let Err(error) = answer else { return Outcome::Allowed };
    match (error.code(), error.status()) {
        (Some("AccessDenied" | "AccessDeniedException"), _) | (None, Some(403)) => Outcome::Denied,
        (Some(code), _) if without_effect(action).contains(&code) => Outcome::Allowed,
        _ => Outcome::Unclear(crate::error::chain(&error)),
    }
}

/// What AWS says to somebody who may, of a call that cannot take effect. A complaint that it might make before it looks at rights
/// counts only where nothing else can come.
fn without_effect(action: &str) -> &'static [&'static str] {
    match action {
        "dynamodb:ConditionCheckItem" => &["TransactionCanceledException", "ResourceNotFoundException"],
        "dynamodb:DeleteItem" | "dynamodb:PutItem" | "dynamodb:UpdateItem" => {
            &["ConditionalCheckFailedException", "ResourceNotFoundException"]
        }
        "dynamodb:UpdateTable" | "dynamodb:UpdateTimeToLive" => {
            &["ValidationException", "ResourceInUseException", "ResourceNotFoundException"]
        }
        "dynamodb:GetRecords" => {
            &["ExpiredIteratorException", "TrimmedDataAccessException", "ResourceNotFoundException"]
        }
        "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts" => &["NoSuchUpload"],
        "s3:GetObject" | "s3:GetObjectVersion" => &["NoSuchKey", "NoSuchVersion"],
        "s3:GetObjectRetention" => {
            &["InvalidRequest", "NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"]
        }
        "s3:GetEncryptionConfiguration" => &["ServerSideEncryptionConfigurationNotFoundError"],
        _ => &["ResourceNotFoundException"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_named_with_its_namespace() {
        assert_eq!(path("acme/acme"), Ok(("acme".into(), "acme".into())));
        for wrong in ["acme", "/acme", "acme/", ""] {
            assert!(path(wrong).is_err_and(|message| message.contains("NAMESPACE/NAME")), "{wrong}");
            assert!(object(wrong).is_err_and(|message| message.contains("BUCKET/KEY")), "{wrong}");
        }
        assert_eq!(object("photographs/2026/a.jpg"), Ok(("photographs".into(), "2026/a.jpg".into())));
    }
}
