//! The Secrets as they were read a moment ago. They hold keys, so that they stay no longer than they are of use.

use std::time::{Duration, Instant};

use plan::observed::Secrets;

use super::Memory;

/// How long a reading is good for. Secrets cannot be watched, so that this delays what is told of a change.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// One tenant's.
pub(super) struct Kept {
    secrets: Secrets,
    generation: Option<i64>,
    read_at: Instant,
}

impl Kept {
    pub(super) fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.read_at) < GOOD_FOR
    }
}

impl Memory {
    /// The Secrets as they were read a moment ago for this generation of the spec. Runs follow each other closely while a tenant is
    /// made or updated, and Secrets change hardly ever.
    pub fn secrets(&self, uid: &str, generation: Option<i64>, now: Instant) -> Option<Secrets> {
        self.look(uid, |tenant| {
            let kept = tenant.secrets.as_ref()?;
            (kept.generation == generation && kept.is_young(now)).then(|| kept.secrets.clone())
        })
    }

    /// Keeps a reading of the Secrets, in which nothing may be missing that somebody else makes: that is looked for each time.
    pub fn keep_secrets(&self, uid: &str, generation: Option<i64>, secrets: Secrets, read_at: Instant) {
        self.with(uid, |tenant| tenant.secrets = Some(Kept { secrets, generation, read_at }));
    }

    /// They are not as they were read.
    pub fn forget_secrets(&self, uid: &str) {
        self.with(uid, |tenant| tenant.secrets = None);
    }
}

#[cfg(test)]
mod tests {
    use plan::Fact;

    use super::*;

    #[test]
    fn secrets_are_good_for_a_moment_and_for_one_generation() {
        let memory = Memory::default();
        let read_at = Instant::now();
        let secrets =
            || Secrets { authorities: Fact::Absent, web: Fact::Absent, issued: Fact::Unknown, license: Fact::Absent };
        let known = |uid: &str, generation, seconds| {
            memory.secrets(uid, Some(generation), read_at + Duration::from_secs(seconds)).is_some()
        };
        assert!(!known("a", 1, 0));
        memory.keep_secrets("a", Some(1), secrets(), read_at);
        assert!(known("a", 1, 9) && !known("a", 1, 10) && !known("a", 2, 0) && !known("b", 1, 0));
        memory.forget_secrets("a");
        assert!(!known("a", 1, 0));
    }
}
