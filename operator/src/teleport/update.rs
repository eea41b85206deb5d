//! What a tenant's Teleport is told about its agents, over gRPC. A write reads the resource once more, as a whole, checks
//! that it still is what the decision was made on, changes the agents' part and writes all of it back under the revision
//! that was read: Teleport compares it, so that nobody's write is ever overwritten unseen.

mod alert;
mod calls;
mod resource;

use std::time::Duration;

use plan::publish::{Found, Live, PublishStep};
use prost::DecodeError;
use tonic::Code;
use tonic::transport::Channel;

use super::auth::{connect, ping_on, refused, within};
use super::error::Refusal;
use super::kept::Kept;
use super::tls::Identities;
use super::{AuthTarget, TeleportError, Told};
use calls::Calls;

pub(super) use alert::alerts;

const READING: &str = "what agents are told";
const WRITING: &str = "a change of what agents are told";
/// Four short questions at most.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Reads all that agents are told.
pub(super) async fn published(identities: &Identities, target: &AuthTarget) -> Result<Live, TeleportError> {
    within(TIMEOUT, READING, target, async {
        let channel = connect(identities, target).await?;
        let ping = ping_on(&channel, target).await?;
        Ok(Live {
            cloud: ping.server_features.is_some_and(|features| features.cloud),
            version: found(target, &channel).await?,
            config: found(target, &channel).await?,
            maintenance: found(target, &channel).await?,
        })
    })
    .await
}

/// Carries a step out.
pub(super) async fn publish(
    identities: &Identities,
    target: &AuthTarget,
    step: &PublishStep,
) -> Result<Told, TeleportError> {
    within(TIMEOUT, WRITING, target, async {
        let channel = connect(identities, target).await?;
        match step {
            PublishStep::Version { seen, spec } => change(target, &channel, seen.as_deref(), spec).await,
            PublishStep::Config { seen, spec } => change(target, &channel, seen.as_deref(), spec).await,
            PublishStep::Maintenance { seen, spec } => change(target, &channel, seen.as_deref(), spec).await,
            PublishStep::Alert { alert, created, expires } => {
                alert::raise(target, &channel, alert, *created, *expires).await
            }
        }
    })
    .await
}

enum Answer {
    NotOffered,
    Absent,
    There(Kept),
}

async fn get<T: Calls>(target: &AuthTarget, channel: &Channel) -> Result<Answer, TeleportError> {
    match T::get(channel).await {
        Ok(answer) => Ok(Answer::There(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(Answer::Absent),
        Err(status) if status.code() == Code::Unimplemented => Ok(Answer::NotOffered),
        Err(status) => Err(refused(target, T::GET)(status)),
    }
}

async fn found<T: Calls>(target: &AuthTarget, channel: &Channel) -> Result<Found<T>, TeleportError> {
    match get::<T>(target, channel).await? {
        Answer::NotOffered => Ok(Found::NotOffered),
        Answer::Absent => Ok(Found::Absent),
        Answer::There(kept) => {
            let unreadable = unreadable(target, T::GET);
            let revision = T::revision(&kept).map_err(&unreadable)?;
            Ok(Found::There { revision, agents: T::read(&kept).map_err(&unreadable)? })
        }
    }
}

async fn change<T: Calls>(
    target: &AuthTarget,
    channel: &Channel,
    seen: Option<&str>,
    wanted: &T,
) -> Result<Told, TeleportError> {
    let changed = |source| TeleportError::Changed { address: target.address, resource: T::KIND, source };
    let unreadable = unreadable(target, T::GET);
    let (mut resource, there) = match get::<T>(target, channel).await? {
        Answer::NotOffered => return Ok(Told::NotOffered),
        Answer::Absent => (T::fresh(), None),
        Answer::There(kept) => {
            let revision = T::revision(&kept).map_err(&unreadable)?;
            (kept, Some(revision))
        }
    };
    if there.as_deref() != seen {
        return Err(changed(None));
    }
    wanted.put(&mut resource).map_err(&unreadable)?;
    let written = match there {
        Some(_) => T::update(channel, resource).await,
        None => T::create(channel, resource).await,
    };
    match written {
        Ok(()) => Ok(Told::Done),
        // With the Cloud feature in its licence Teleport keeps some of these itself.
        Err(status) if status.code() == Code::Unimplemented => Ok(Told::NotOffered),
        Err(status) => match status.code() {
            // Compared and found to be another, made or removed meanwhile.
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists | Code::NotFound => {
                Err(changed(Some(Refusal(Box::new(status)))))
            }
            _ => Err(refused(target, T::PUT)(status)),
        },
    }
}

fn unreadable(target: &AuthTarget, question: &'static str) -> impl Fn(DecodeError) -> TeleportError {
    let address = target.address;
    move |error| TeleportError::Answer { address, question, problem: format!("cannot be read: {error}") }
}
