//! A running hop: what comes next. Until `Auth` it can be given up without a trace; from there only forward motion is
//! planned, or, for a patch or minor that took too long, the way back: Proxy first, so that it is never newer than an Auth
//! that serves.

use chrono::{DateTime, TimeDelta, Utc};
use crds::update_status::{HopKind, HopResult, HopStage, Update};

use crate::clock::from_jiff;
use crate::cloud::backup::BackupState;
use crate::manifest::preflight;
use crate::mutant::mutant;
use crate::version::Version;

/// How long the target image may take to check the configuration, pulling the image included.
pub const PREFLIGHT: TimeDelta = TimeDelta::minutes(15);
/// How long a backup of the state table may take.
pub const RECOVERY_POINT: TimeDelta = TimeDelta::minutes(30);
/// How long an operator that has just started may take to read what the gate asks for. A hop that is given up for that
/// would begin anew with another recovery point.
const FIRST_LOOK: TimeDelta = TimeDelta::minutes(15);
/// How long Proxy is waited for where it goes first and no Auth serves.
pub const IN_VAIN: TimeDelta = TimeDelta::minutes(5);
/// How long replacing both Auth pods may take, and the whole of what does not grow with the number of Proxy pods.
const BASE: TimeDelta = TimeDelta::minutes(15);
/// What each Proxy pod may take beyond its grace and its delay: pulling, starting, becoming ready.
const PER_PROXY: TimeDelta = TimeDelta::minutes(2);

/// What is known of a running hop.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The one time of this run.
    pub now: DateTime<Utc>,
    /// The hop.
    pub update: &'a Update,
    /// Whether the gate is open for it, as of now.
    pub open: bool,
    /// Whether nothing closes it but what this process has not read yet, as after a restart.
    pub unread: bool,
    /// Whether what the gate was asked with was just read.
    pub live: bool,
    /// Whether the inventory was read after this stage began.
    pub agents_read_since: bool,
    /// The Jobs of the preflight.
    pub preflight: &'a preflight::Outcome,
    /// The recovery point.
    pub recovery: &'a BackupState,
    /// Whether Auth is as this stage wants it.
    pub auth_settled: bool,
    /// Whether Proxy is.
    pub proxy_settled: bool,
    /// Since when no Auth has served, as far as that is known.
    pub silent_since: Option<DateTime<Utc>>,
    /// What keeps from saying that every single process runs what it should; looked at in the stages that end a hop.
    pub unverified: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing changed; it waits for this.
    Wait(String),
    /// Everything that the gate looks at is to be read anew.
    Look,
    /// The next stage.
    Enter(HopStage),
    /// The recovery point is there.
    Recovered(String),
    /// Given up before anything was touched.
    Abandon,
    /// It takes longer than it may, and cannot go back, or not in time either.
    Halt,
    /// Over.
    End(HopResult, String),
}

/// Decides.
pub fn next(facts: &Facts<'_>) -> Move {
    let Facts { now, update, .. } = facts;
    let since = from_jiff(update.stage_since.0);
    match update.stage {
        HopStage::Preflight | HopStage::RecoveryPoint | HopStage::Confirm if !facts.open => {
            if facts.unread && *now <= since + FIRST_LOOK {
                Move::Wait("everything that the gate asks for to be read".into())
            } else {
                Move::Abandon
            }
        }
        HopStage::Preflight => match facts.preflight {
            preflight::Outcome::Succeeded if update.kind == HopKind::Major => Move::Enter(HopStage::RecoveryPoint),
            preflight::Outcome::Succeeded => confirmed(facts),
            preflight::Outcome::Failed(message) => Move::End(
                HopResult::PreflightFailed,
                format!("{} does not take the configuration: {message}", update.to),
            ),
            preflight::Outcome::Running if *now > since + PREFLIGHT => {
                Move::End(HopResult::PreflightFailed, format!("{} did not check the configuration in time", update.to))
            }
            preflight::Outcome::Running => Move::Wait(format!("{} to check the configuration", update.to)),
        },
        HopStage::RecoveryPoint => match facts.recovery {
            BackupState::Available { arn } => Move::Recovered(arn.clone()),
            _ if *now > since + RECOVERY_POINT => Move::Abandon,
            _ => Move::Wait("the recovery point".into()),
        },
        HopStage::Confirm => confirmed(facts),
        HopStage::Auth | HopStage::Proxy | HopStage::Verify if !facts.open && mutant!(WindowEndsHops) => {
            Move::Wait("the window".into())
        }
        HopStage::Auth if facts.auth_settled && (facts.proxy_settled || !proxy_first(update)) => {
            Move::Enter(HopStage::Proxy)
        }
        HopStage::Auth if in_vain(facts) => Move::Enter(HopStage::Proxy),
        HopStage::Proxy if facts.auth_settled && facts.proxy_settled => Move::Enter(HopStage::Verify),
        HopStage::Verify if facts.auth_settled && facts.proxy_settled && facts.unverified.is_none() => {
            Move::End(HopResult::Succeeded, String::new())
        }
        HopStage::Auth | HopStage::Proxy | HopStage::Verify if overdue(facts) => late(update),
        HopStage::Auth if !proxy_first(update) => Move::Wait(format!("Auth to run {}", update.to)),
        HopStage::Proxy if proxy_first(update) => Move::Wait(format!("Auth to run {}", update.to)),
        HopStage::Verify if facts.auth_settled && facts.proxy_settled => waits_for_each(facts),
        HopStage::Auth | HopStage::Proxy | HopStage::Verify => Move::Wait(format!("Proxy to run {}", update.to)),
        HopStage::RevertProxy if facts.proxy_settled || in_vain(facts) => Move::Enter(HopStage::RevertAuth),
        HopStage::RevertAuth if facts.auth_settled && facts.proxy_settled && facts.unverified.is_none() => {
            Move::End(HopResult::RolledBack, format!("not every process ran {} in time", update.to))
        }
        HopStage::RevertProxy | HopStage::RevertAuth if overdue(facts) => Move::Halt,
        HopStage::RevertProxy => Move::Wait(format!("Proxy to run {} again", update.from)),
        HopStage::RevertAuth if facts.auth_settled && facts.proxy_settled => waits_for_each(facts),
        HopStage::RevertAuth => Move::Wait(format!("Auth to run {} again", update.from)),
    }
}

/// Whether Proxy, which goes first, cannot come up because no Auth serves. Then Auth must follow all the same, for the
/// while beside a Proxy that is newer: Teleport takes clients of its own major (teleport.md 5.1).
fn in_vain(facts: &Facts<'_>) -> bool {
    vain_from(facts).is_some_and(|from| facts.now > from)
}

/// When that will be, if no Auth serves until then.
pub fn vain_from(facts: &Facts<'_>) -> Option<DateTime<Utc>> {
    let waits = facts.update.stage == HopStage::RevertProxy
        || (facts.update.stage == HopStage::Auth && proxy_first(facts.update));
    let since = facts.silent_since.filter(|_| waits)?;
    Some(since.max(from_jiff(facts.update.stage_since.0)) + IN_VAIN)
}

fn waits_for_each(facts: &Facts<'_>) -> Move {
    Move::Wait(facts.unverified.clone().unwrap_or_default())
}

/// Whether the first disruptive stage replaces Proxy, and the next one Auth: on the way down within a major, so that Proxy
/// is never newer than Auth.
pub fn proxy_first(update: &Update) -> bool {
    let versions = Version::parse(&update.from).ok().zip(Version::parse(&update.to).ok());
    versions.is_some_and(|(from, to)| to < from) || mutant!(ProxyBeforeAuth)
}

/// The last look before the first disruptive write.
fn confirmed(facts: &Facts<'_>) -> Move {
    if facts.update.kind == HopKind::Major && !facts.agents_read_since {
        return Move::Wait("the agents to be read once more".into());
    }
    if facts.live || mutant!(GateFromCache) { Move::Enter(HopStage::Auth) } else { Move::Look }
}

fn overdue(facts: &Facts<'_>) -> bool {
    facts.update.halted_at.is_none()
        && facts.update.deadline.as_ref().is_some_and(|deadline| facts.now > from_jiff(deadline.0))
}

/// The data of a new major cannot go back, and a template that nobody renders any more cannot be rendered.
fn late(update: &Update) -> Move {
    match (update.kind, update.stage) {
        (HopKind::Major | HopKind::Template, _) => Move::Halt,
        (HopKind::Patch | HopKind::Minor, HopStage::Auth) => Move::Enter(HopStage::RevertAuth),
        // Upward again: Auth first.
        (HopKind::Patch | HopKind::Minor, _) if proxy_first(update) => Move::Enter(HopStage::RevertAuth),
        (HopKind::Patch | HopKind::Minor, _) => Move::Enter(HopStage::RevertProxy),
    }
}

/// Until when everything must run the new version, from the first disruptive write on, or the old one, from the first step
/// back on.
pub fn deadline(now: DateTime<Utc>, proxies: i32, grace_seconds: i64, min_ready_seconds: i32) -> DateTime<Utc> {
    let each = PER_PROXY + TimeDelta::seconds(grace_seconds + i64::from(min_ready_seconds));
    now + BASE + each * proxies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(stage: HopStage) -> Update {
        serde_json::from_value(serde_json::json!({
            "kind": "Major", "from": "17.5.2", "to": "18.1.0", "stage": stage, "startedAt": "2026-11-02T02:00:00Z",
            "stageSince": "2026-11-02T02:00:00Z", "downSecondsBefore": 0,
        }))
        .expect("an update")
    }

    /// What comes next so long after the stage began, while the gate is closed.
    fn closed(stage: HopStage, unread: bool, since: TimeDelta) -> Move {
        let update = update(stage);
        next(&Facts {
            now: from_jiff(update.stage_since.0) + since,
            update: &update,
            open: false,
            unread,
            live: true,
            agents_read_since: true,
            preflight: &preflight::Outcome::Succeeded,
            recovery: &BackupState::Available { arn: "arn".into() },
            auth_settled: true,
            proxy_settled: true,
            silent_since: None,
            unverified: None,
        })
    }

    #[test]
    fn a_restart_gives_no_hop_up_before_it_has_read_what_the_gate_asks_for() {
        let soon = TimeDelta::minutes(1);
        for stage in [HopStage::Preflight, HopStage::RecoveryPoint, HopStage::Confirm] {
            let waits = closed(stage, true, soon);
            assert!(matches!(waits, Move::Wait(_)), "{stage:?}: {waits:?}");
            assert_eq!(closed(stage, true, FIRST_LOOK + soon), Move::Abandon, "{stage:?}: it holds a place");
            assert_eq!(closed(stage, false, soon), Move::Abandon, "{stage:?}");
        }
        assert_eq!(
            closed(HopStage::Auth, true, soon),
            Move::Enter(HopStage::Proxy),
            "from Auth on nobody asks the gate"
        );
    }
}
