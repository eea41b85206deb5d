//! When a container that ended may start again, by the rules of a kubelet: the first time at once, then after 10 s,
//! doubling to 5 min; one that ran for 10 min starts from the beginning.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pace;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The restarts of one container.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    /// The pause before the next restart in real time, and when the last one was.
    next: Option<(Duration, Instant)>,
}

/// A pause, as it passes here and as a person is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) here: Duration,
    pub(super) real: Duration,
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Backoff {
        Backoff { pace, next: None }
    }

    /// The pause after an end at this time.
    pub(super) fn after(&mut self, ended: Instant) -> Pause {
        let forgiven = self.pace.of(FORGIVEN_AFTER);
        let held = self.next.filter(|(_, restarted)| ended.duration_since(*restarted) <= forgiven);
        let real = held.map_or(Duration::ZERO, |(pause, _)| pause);
        let here = self.pace.of(real);
        let following = held.map_or(FIRST, |(pause, _)| (pause * 2).min(LONGEST));
        self.next = Some((following, ended + here));
        Pause { here, real }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(backoff: &mut Backoff, ran: Duration, times: usize) -> Vec<u64> {
        let mut now = Instant::now();
        let mut told = Vec::new();
        for _ in 0..times {
            now += ran;
            let pause = backoff.after(now);
            now += pause.here;
            told.push(pause.real.as_secs());
        }
        told
    }

    #[test]
    fn a_container_that_keeps_crashing_waits_longer_each_time() {
        let mut backoff = Backoff::new(Pace::new(1.0));
        assert_eq!(pauses(&mut backoff, Duration::from_secs(1), 8), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_container_that_ran_for_ten_minutes_starts_at_once() {
        let mut backoff = Backoff::new(Pace::new(1.0));
        assert_eq!(pauses(&mut backoff, Duration::from_secs(601), 3), [0, 0, 0]);
        assert_eq!(pauses(&mut backoff, Duration::from_secs(599), 3), [10, 20, 40]);
    }

    #[test]
    fn everything_is_scaled() {
        let mut backoff = Backoff::new(Pace::new(10.0));
        let now = Instant::now();
        backoff.after(now);
        assert_eq!(backoff.after(now).here, Duration::from_secs(1));
        assert_eq!(backoff.after(now + Duration::from_secs(62)).here, Duration::ZERO);
    }
}
