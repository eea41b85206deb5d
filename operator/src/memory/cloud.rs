//! The cloud as it was read: each part by itself, since while one is being made the others need not be asked again and again.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use plan::cloud::{CloudFacts, Part, all_parts};

/// What was read, and when.
#[derive(Clone, Debug)]
pub struct Read {
    /// All facts; what was not read now is as it was known.
    pub facts: CloudFacts,
    /// The parts that were read now.
    pub parts: BTreeSet<Part>,
    /// For which generation of the spec.
    pub generation: Option<i64>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Reading {
    facts: CloudFacts,
    generation: Option<i64>,
    good_until: DateTime<Utc>,
    stale: BTreeSet<Part>,
}

impl Reading {
    pub(super) fn known(&self, generation: Option<i64>, now: DateTime<Utc>) -> Option<(CloudFacts, BTreeSet<Part>)> {
        (self.generation == generation && now < self.good_until).then(|| (self.facts.clone(), self.stale.clone()))
    }

    /// A reading of some parts does not make the others younger.
    pub(super) fn keep(kept: &mut Option<Reading>, read: Read, period: TimeDelta) {
        let Read { facts, parts, generation, at } = read;
        match kept {
            Some(reading) if reading.generation == generation && parts != all_parts() => {
                reading.facts = facts;
                reading.stale.retain(|part| !parts.contains(part));
            }
            _ => {
                let stale = all_parts().difference(&parts).copied().collect();
                *kept = Some(Reading { facts, generation, good_until: at + period, stale });
            }
        }
    }

    pub(super) fn forget<'a>(&mut self, parts: impl IntoIterator<Item = &'a Part>) {
        self.stale.extend(parts);
    }

    /// None while some of it is to be read at once: whoever made it so looks again by himself.
    pub(super) fn due(&self) -> Option<DateTime<Utc>> {
        self.stale.is_empty().then_some(self.good_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn read(parts: BTreeSet<Part>, generation: i64, seconds: i64) -> Read {
        Read { facts: CloudFacts::unknown(), parts, generation: Some(generation), at: at(seconds) }
    }

    fn stale(reading: &Option<Reading>, generation: i64, seconds: i64) -> Option<Vec<Part>> {
        let known = reading.as_ref()?.known(Some(generation), at(seconds))?;
        Some(known.1.into_iter().collect())
    }

    #[test]
    fn a_reading_ages_and_belongs_to_one_generation() {
        let mut kept = None;
        assert_eq!(stale(&kept, 1, 0), None);
        Reading::keep(&mut kept, read(all_parts(), 1, 0), TimeDelta::seconds(100));
        assert_eq!(stale(&kept, 1, 99), Some(vec![]));
        assert_eq!((stale(&kept, 1, 100), stale(&kept, 2, 1)), (None, None));
        assert_eq!(kept.as_ref().and_then(Reading::due), Some(at(100)));
    }

    #[test]
    fn one_part_that_is_read_again_makes_the_others_no_younger() {
        let mut kept = None;
        Reading::keep(&mut kept, read(all_parts(), 1, 0), TimeDelta::seconds(100));
        kept.as_mut().expect("kept").forget(&[Part::Bucket, Part::Role]);
        assert_eq!(stale(&kept, 1, 1), Some(vec![Part::Bucket, Part::Role]));
        assert_eq!(kept.as_ref().and_then(Reading::due), None);
        Reading::keep(&mut kept, read(BTreeSet::from([Part::Bucket]), 1, 50), TimeDelta::seconds(100));
        assert_eq!(stale(&kept, 1, 51), Some(vec![Part::Role]));
        Reading::keep(&mut kept, read(BTreeSet::from([Part::Role]), 1, 60), TimeDelta::seconds(100));
        assert_eq!((stale(&kept, 1, 99), stale(&kept, 1, 100)), (Some(vec![]), None));
        // What is known of a former generation is no ground for a part of the next one.
        Reading::keep(&mut kept, read(BTreeSet::from([Part::Role]), 2, 60), TimeDelta::seconds(100));
        assert_eq!(stale(&kept, 2, 61), Some(vec![Part::StateTable, Part::EventsTable, Part::Bucket]));
    }
}
