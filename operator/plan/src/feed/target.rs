//! What a tenant should run next by the feed alone: the next hop on the way to what it wants, with everything in the
//! policy that holds it. Windows, agents and all else that the gate looks at are not looked at here.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use crds::tenant_status::HopKind;

use super::hold::{self, Hold};
use super::standing::{Arrival, Standing, WaveState};
use super::{Channel, Feed, Release};
use crate::mutant::mutant;
use crate::version::{Version, change};

/// What a tenant wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// This version.
    Pinned(Version),
    /// Whatever this channel takes.
    Channel(String),
}

/// How far the answer may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To any release.
    Any,
    /// Only within the major that runs. For a tenant whose agents hold back a major, so that it still gets the patches of
    /// its own; a pin of another major is then no goal.
    SameMajor,
}

/// Everything that the answer depends on.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The feed.
    pub feed: &'a Feed,
    /// How the fleet has fared.
    pub standing: &'a Standing,
    /// What the tenant wants.
    pub goal: &'a Goal,
    /// What its pods run.
    pub running: &'a Version,
    /// The highest version whose Auth was ever started.
    pub high_water: Option<&'a Version>,
    /// The majors that the operator can run.
    pub majors: RangeInclusive<u64>,
    /// The tenant's wave, 1 to 3.
    pub wave: u8,
    /// The versions that failed on this tenant and are not to be tried again by themselves, and when they did.
    pub failed: &'a BTreeMap<Version, DateTime<Utc>>,
    /// How far to look.
    pub reach: Reach,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The tenant runs what it should.
    Settled,
    /// A change that may start as far as the policy is concerned, or waits for what it lists.
    Hop(Hop),
    /// The tenant wants a change to which no hop leads.
    Nowhere(Nowhere),
}

/// One change of version: upward by one major at most, downward within the major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What it changes.
    pub kind: HopKind,
    /// What runs.
    pub from: Version,
    /// What runs after it.
    pub to: Version,
    /// Where the way ends.
    pub goal: Version,
    /// How many hops lead there, this one included.
    pub hops: u64,
    /// Whether it brings what cannot wait. A change of the major is never critical.
    pub critical: bool,
    /// Since when the channel has allowed it; none while it does not, and for a pin, whose time the policy does not know.
    pub due_since: Option<DateTime<Utc>>,
    /// What the policy holds against it; empty: nothing.
    pub holds: Vec<Hold>,
}

/// A change to which no hop leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nowhere {
    /// The version that is wanted; none when the channel does not exist.
    pub goal: Option<Version>,
    /// Why no hop leads there; never empty.
    pub holds: Vec<Hold>,
}

/// What the policy says about one release.
struct Allowance {
    since: Option<DateTime<Utc>>,
    holds: Vec<Hold>,
}

/// What a tenant should run next.
pub fn target(question: &Question<'_>) -> Target {
    match question.goal {
        Goal::Pinned(version) => question.pinned(version),
        Goal::Channel(name) => match question.feed.channels.get(name) {
            Some(channel) => question.followed(name, channel),
            None => {
                let known = question.feed.channels.keys().cloned().collect();
                let holds = vec![Hold::ChannelUnknown { channel: name.clone(), known }];
                Target::Nowhere(Nowhere { goal: None, holds })
            }
        },
    }
}

impl Question<'_> {
    /// A pin is what a person decided: neither soak nor wave holds it, and within the major it may go back.
    fn pinned(&self, goal: &Version) -> Target {
        let elsewhere = self.reach == Reach::SameMajor && goal.major != self.running.major;
        if goal == self.running || elsewhere {
            return Target::Settled;
        }
        let release = self.feed.releases.get(goal);
        let mut holds = Vec::new();
        if !(goal.pre.is_empty() && goal.build.is_empty()) {
            holds.push(Hold::PreRelease { version: goal.clone() });
        } else if release.is_none() {
            holds.push(Hold::VersionUnknown { version: goal.clone() });
        }
        if goal.major < self.floor() {
            holds.push(Hold::Downgrade { version: goal.clone(), major: self.floor() });
        } else if !self.majors.contains(&goal.major) {
            holds.push(Hold::unsupported(goal.major, &self.majors));
        }
        match release {
            Some(release) if holds.is_empty() => self.way(release, None),
            _ => Target::Nowhere(Nowhere { goal: Some(goal.clone()), holds }),
        }
    }

    /// A channel leads to its newest release to which a hop may start now. Where none may, the one that time alone will
    /// open first is shown, since that is what happens next; where none of these is, the newest.
    fn followed(&self, name: &str, channel: &Channel) -> Target {
        let newer = self.feed.releases.values().rev().filter(|release| {
            let major = release.version.major;
            release.version > *self.running
                && major >= self.floor()
                && !release.withdrawn
                && channel.max_major.is_none_or(|highest| major <= highest)
                && (self.reach == Reach::Any || major == self.running.major)
        });
        let ways: Vec<Target> = newer.map(|release| self.way(release, Some((name, channel)))).collect();
        let open = || {
            ways.iter().filter_map(|way| match way {
                Target::Hop(hop) if hop.holds.is_empty() => Some(hop),
                _ => None,
            })
        };
        // What cannot wait goes before a change of the major, which may lack it and may have to wait for agents.
        let same_major = || open().filter(|hop| hop.kind != HopKind::Major);
        let urgent = same_major().next().filter(|_| same_major().any(|hop| hop.critical));
        if let Some(hop) = urgent.or_else(|| open().next()) {
            return Target::Hop(hop.clone());
        }
        let ends = |way: &Target| match way {
            Target::Hop(hop) => hold::until(&hop.holds),
            Target::Nowhere(_) | Target::Settled => None,
        };
        // The first of equals is taken, and the newest stands first.
        let shown = ways.into_iter().min_by_key(|way| ends(way).unwrap_or(DateTime::<Utc>::MAX_UTC));
        shown.unwrap_or(Target::Settled)
    }

    /// The next hop on the way to a release: there directly, or to the newest release of the next major that may be
    /// started, since Teleport bears one major at a time.
    fn way(&self, goal: &Release, followed: Option<(&str, &Channel)>) -> Target {
        let nowhere = |holds| Target::Nowhere(Nowhere { goal: Some(goal.version.clone()), holds });
        let mut end = self.allowance(goal, followed);
        let next = self.running.major + 1;
        for major in [goal.version.major, next.min(goal.version.major)] {
            if !self.majors.contains(&major) {
                end.holds.insert(0, Hold::unsupported(major, &self.majors));
                return nowhere(end.holds);
            }
        }
        if next.min(goal.version.major) < self.floor() {
            end.holds.insert(0, Hold::Downgrade { version: self.running.clone(), major: self.floor() });
            return nowhere(end.holds);
        }
        let (to, since) = if goal.version.major <= next || mutant!(MajorsAtOnce) {
            (&goal.version, end.since)
        } else {
            let Some((step, by)) = self.between(next, followed) else {
                end.holds.insert(0, Hold::MajorMissing { major: next, goal: goal.version.clone() });
                return nowhere(end.holds);
            };
            end.holds.extend(by.holds);
            (&step.version, end.since.max(by.since))
        };
        let kind = change(self.running, to);
        Target::Hop(Hop {
            kind,
            from: self.running.clone(),
            to: to.clone(),
            goal: goal.version.clone(),
            hops: goal.version.major.saturating_sub(self.running.major).max(1),
            critical: kind != HopKind::Major && self.brings_what_cannot_wait(to),
            due_since: since.filter(|_| end.holds.is_empty()),
            holds: end.holds,
        })
    }

    /// The newest release of a major on the way that nothing holds, else the one that is open first. Waves do not count
    /// here: those before may long have passed that major, and nobody is left in them who could go first.
    fn between(&self, major: u64, followed: Option<(&str, &Channel)>) -> Option<(&Release, Allowance)> {
        let of_major = Version::new(major, 0, 0)..Version::new(major + 1, 0, 0);
        let may_start = self.feed.releases.range(of_major).rev().filter(|(_, release)| !release.withdrawn);
        let allowed = may_start.map(|(_, release)| {
            let mut allowance = self.health(release);
            if let Some((_, channel)) = followed {
                self.soak(release, channel, &mut allowance);
            }
            (release, allowance)
        });
        allowed.min_by_key(|(_, allowance)| match allowance.holds.as_slice() {
            [] => DateTime::<Utc>::MIN_UTC,
            holds => hold::until(holds).unwrap_or(DateTime::<Utc>::MAX_UTC),
        })
    }

    fn allowance(&self, release: &Release, followed: Option<(&str, &Channel)>) -> Allowance {
        let mut allowance = self.health(release);
        let Some((name, channel)) = followed else { return allowance };
        let allowed_at = self.soak(release, channel, &mut allowance);
        let kind = change(self.running, &release.version);
        if hurried(release, kind) {
            return allowance;
        }
        let arrival = Arrival { channel: name, version: &release.version, kind, allowed_at };
        match self.standing.wave(&arrival, self.wave, &self.feed.waves, self.now) {
            WaveState::Open(since) => allowance.since = Some(since),
            WaveState::Pending { why, latest } => {
                let version = release.version.clone();
                allowance.holds.push(Hold::WavePending { version, wave: self.wave, why, until: latest });
            }
        }
        allowance
    }

    /// What is known against a release, whoever wants it.
    fn health(&self, release: &Release) -> Allowance {
        let version = || release.version.clone();
        let mut holds = Vec::new();
        if release.withdrawn {
            holds.push(Hold::Withdrawn { version: version() });
        }
        if self.standing.halted(release, &self.feed.waves).is_some() {
            holds.push(Hold::Halted { version: version(), after: self.feed.waves.halt_after_failures });
        }
        let failed = self.failed.get(&release.version);
        if let Some(at) = failed.filter(|at| release.resumed_at.is_none_or(|resumed| **at >= resumed)) {
            holds.push(Hold::FailedHere { version: version(), at: *at });
        }
        Allowance { since: None, holds }
    }

    /// Adds the soak; answers when it ends.
    fn soak(&self, release: &Release, channel: &Channel, allowance: &mut Allowance) -> DateTime<Utc> {
        let kind = change(self.running, &release.version);
        let soak = if hurried(release, kind) { chrono::TimeDelta::zero() } else { channel.soak.of(kind) };
        let allowed_at = release.released_at + soak;
        if self.now < allowed_at {
            allowance.holds.push(Hold::SoakPending { version: release.version.clone(), until: allowed_at });
        }
        allowance.since = Some(allowed_at);
        allowed_at
    }

    /// Whether a critical release lies on the way up to this one.
    fn brings_what_cannot_wait(&self, to: &Version) -> bool {
        let passed = self.feed.releases.values().filter(|release| release.version > *self.running);
        passed.filter(|release| release.version <= *to).any(|release| release.critical && !release.withdrawn)
    }

    /// The lowest major that can read the tenant's state.
    fn floor(&self) -> u64 {
        self.high_water.map_or(0, |highest| highest.major).max(self.running.major)
    }
}

/// Whether soak and waves are skipped. An urgent mend is no reason to hurry a change of the major: the feed lists one for
/// each major that is still served.
fn hurried(release: &Release, kind: HopKind) -> bool {
    release.critical && kind != HopKind::Major
}

#[cfg(test)]
mod tests;
