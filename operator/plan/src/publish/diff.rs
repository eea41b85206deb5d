//! From what should stand in a tenant's Teleport to steps. What is there is ours to change only if it is what we wrote or
//! were about to write, or if we never wrote and nothing is there; anything else was somebody's decision: it is told, and
//! left alone. A digest of what will be written goes into status before the write, so that a write whose answer was lost
//! is known again.

use crds::published::{LONGEST_HOW, LONGEST_WHAT, MOST_NOTES, Published, PublishedNote, PublishedResource};

use super::Rounded;
use super::live::{Found, Live};
use super::spec::Said;
use super::step::PublishStep;
use super::wanted::Wanted;
use crate::fact::Fact;

/// What to do about what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Effects in order: the hours before the version that makes agents move.
    pub steps: Vec<PublishStep>,
    /// What somebody else changed.
    pub foreign: Vec<Foreign>,
    /// `status.published`. A step is only given once the status that was read has its intent; so there is one run that
    /// writes this first, and the next one has the steps.
    pub record: Published,
    /// Whether everything stands as wanted.
    pub settled: bool,
}

/// An edit that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The resource.
    pub what: String,
    /// What differs, and what would help.
    pub how: String,
}

/// Compares; `rounded` is what `wanted` said, for the record.
pub fn diff(wanted: &Wanted, rounded: &[Rounded], live: &Fact<Live>, last: &Published) -> Difference {
    let mut result = Difference { steps: Vec::new(), foreign: Vec::new(), record: last.clone(), settled: false };
    let idle = wanted.is_idle();
    let mut rounded = rounded.to_vec();
    let live = match live {
        Fact::Known(live) => live,
        // Nobody was asked, or nobody answered: what was recorded stands.
        Fact::Absent | Fact::Unknown => return result,
    };
    if live.cloud {
        if !idle {
            rounded.push(Rounded::new(
                "autoupdate_version",
                "nothing is published: with the Cloud feature in its licence Teleport keeps the updates of agents itself",
            ));
        }
        result.settled = true;
        result.record = Published { rounded: notes(&rounded), foreign: Vec::new(), ..result.record };
        return result;
    }
    let maintenance = match &wanted.maintenance {
        Some(spec) => settle(spec, &live.maintenance, last.maintenance.as_ref(), idle),
        None => Settled { record: last.maintenance.clone(), outcome: Outcome::Stands },
    };
    let config = settle(&wanted.config, &live.config, last.config.as_ref(), idle);
    let version = settle(&wanted.version, &live.version, last.version.as_ref(), idle);
    result.settled =
        [&maintenance.outcome, &config.outcome, &version.outcome].iter().all(|outcome| **outcome == Outcome::Stands);

    if let (Outcome::Write, Some(spec)) = (&maintenance.outcome, &wanted.maintenance) {
        let seen = live.maintenance.revision().map(str::to_owned);
        result.steps.push(PublishStep::Maintenance { seen, spec: spec.clone() });
    }
    if config.outcome == Outcome::Write {
        let seen = live.config.revision().map(str::to_owned);
        result.steps.push(PublishStep::Config { seen, spec: wanted.config.clone() });
    }
    // Under hours that somebody else chose, a new version might move agents that are not enrolled.
    let hours_are_ours = matches!(config.outcome, Outcome::Stands | Outcome::Write);
    if version.outcome == Outcome::Write && hours_are_ours {
        let seen = live.version.revision().map(str::to_owned);
        result.steps.push(PublishStep::Version { seen, spec: wanted.version.clone() });
    }
    for outcome in [&maintenance.outcome, &config.outcome, &version.outcome] {
        match outcome {
            Outcome::Foreign(foreign) => result.foreign.push(foreign.clone()),
            Outcome::NotOffered(note) => rounded.push(note.clone()),
            Outcome::Stands | Outcome::Recorded | Outcome::Write => {}
        }
    }
    let foreign: Vec<Rounded> =
        result.foreign.iter().map(|Foreign { what, how }| Rounded::new(what.as_str(), how.as_str())).collect();
    result.record = Published {
        version: version.record,
        config: config.record,
        maintenance: maintenance.record,
        alert: last.alert.clone(),
        rounded: notes(&rounded),
        foreign: notes(&foreign),
    };
    result
}

struct Settled {
    record: Option<PublishedResource>,
    outcome: Outcome,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    /// As wanted, or none of our business.
    Stands,
    /// The intent goes into status first.
    Recorded,
    /// The intent is in status: write.
    Write,
    Foreign(Foreign),
    NotOffered(Rounded),
}

fn settle<T: Said>(wanted: &T, found: &Found<T>, last: Option<&PublishedResource>, idle: bool) -> Settled {
    if matches!(found, Found::NotOffered) {
        let note = Rounded::new(T::RESOURCE, "not published: this version of Teleport does not have it");
        let outcome = if idle { Outcome::Stands } else { Outcome::NotOffered(note) };
        return Settled { record: None, outcome };
    }
    let (said, digest) = (found.agents(), wanted.digest());
    let found_digest = said.map(Said::digest);
    if found_digest.as_ref() == Some(&digest) {
        // Without an enrolled pool an equal value is not thereby ours.
        let keeps = !idle || last.is_some();
        let record = keeps.then_some(PublishedResource { written: Some(digest), intended: None });
        return Settled { record, outcome: Outcome::Stands };
    }
    let (written, intended) = last.map_or((None, None), |last| (last.written.as_ref(), last.intended.as_ref()));
    let ours = match &found_digest {
        // Deleted by somebody, if our write had arrived.
        None => written.is_none(),
        found => [written, intended].contains(&found.as_ref()),
    };
    // Never ours, no longer ours, or nothing there to take back.
    if idle && (!ours || last.is_none() || said.is_none()) {
        return Settled { record: None, outcome: Outcome::Stands };
    }
    if !ours {
        return Settled { record: last.cloned(), outcome: Outcome::Foreign(foreign(wanted, said)) };
    }
    let recorded = intended == Some(&digest);
    let record = PublishedResource { written: found_digest, intended: Some(digest) };
    Settled { record: Some(record), outcome: if recorded { Outcome::Write } else { Outcome::Recorded } }
}

/// The first difference, or all that is wanted where nothing is left.
fn foreign<T: Said>(wanted: &T, said: Option<&T>) -> Foreign {
    let wanted = wanted.fields();
    let how = match said.map(Said::fields) {
        None => {
            let all: Vec<String> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("somebody deleted it: it is left alone until there is one with {}", all.join(", "))
        }
        Some(said) => {
            let of = |fields: &[(String, String)], index: usize| fields.get(index).cloned().unwrap_or_default();
            let index = (0..wanted.len().max(said.len())).find(|index| wanted.get(*index) != said.get(*index));
            let index = index.unwrap_or_default();
            let (name, found) =
                if index < said.len() { of(&said, index) } else { (of(&wanted, index).0, String::new()) };
            format!(
                "somebody changed it: {name} is {found:?}, not {:?}. It is left alone; put it back, and the operator \
                 goes on",
                of(&wanted, index).1
            )
        }
    };
    Foreign { what: T::RESOURCE.to_owned(), how }
}

/// As status holds them.
fn notes(notes: &[Rounded]) -> Vec<PublishedNote> {
    let cut = |text: &str, longest: usize| text.chars().take(longest).collect::<String>();
    let note = |note: &Rounded| PublishedNote { what: cut(&note.what, LONGEST_WHAT), how: cut(&note.how, LONGEST_HOW) };
    let mut kept: Vec<PublishedNote> = notes.iter().take(MOST_NOTES).map(note).collect();
    if let (Some(last), true) = (kept.last_mut(), notes.len() > MOST_NOTES) {
        let left_out = notes.len() + 1 - MOST_NOTES;
        *last = note(&Rounded::new(
            "more",
            format!("{left_out} more notes find no room here: fewer AgentPools need fewer"),
        ));
    }
    kept
}
